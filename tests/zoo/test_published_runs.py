"""Which checkpoints of which runs are taken."""

import pytest

from sctab import ModelFormatError
from sctab.zoo._published_runs import Run, find_runs


def chosen(*names, folder=None):
    return [run.checkpoint for run in find_runs(names, folder=folder, where="a.tar")]


def test_the_best_score_is_taken_and_of_equal_ones_the_earliest_epoch():
    names = [
        "run/last_epoch=50.ckpt",
        "run/val_loss_epoch=9_val_loss=0.1.ckpt",
        "run/val_f1_macro_epoch=12_val_f1_macro=0.847.ckpt",
        "run/val_f1_macro_epoch=9_val_f1_macro=0.847.ckpt",
        "run/val_f1_macro_epoch=7_val_f1_macro=0.85-v1.ckpt",
        "run/val_f1_macro_epoch=8_val_f1_macro=0.85.ckpt",
    ]
    assert chosen(*names) == ["run/val_f1_macro_epoch=7_val_f1_macro=0.85-v1.ckpt"]
    assert chosen(*names[:4]) == ["run/val_f1_macro_epoch=9_val_f1_macro=0.847.ckpt"]


def test_a_single_checkpoint_needs_no_score():
    assert chosen("run/last.ckpt") == ["run/last.ckpt"]
    with pytest.raises(ModelFormatError, match=r"does not say which of `run/a\.ckpt`, `run/b\.ckpt` is best"):
        chosen("run/a.ckpt", "run/b.ckpt")


def test_folders_of_lightning_are_understood():
    names = ["scTab/version_3/hparams.yaml", "scTab/version_3/checkpoints/best.ckpt"]
    assert find_runs(names, folder=None, where="a.tar") == [
        Run("scTab/version_3/checkpoints/best.ckpt", "scTab/version_3/hparams.yaml")
    ]


def test_hidden_files_are_no_checkpoints():
    """What macOS packs beside every file."""
    assert chosen("run/a.ckpt", "run/._a.ckpt") == ["run/a.ckpt"]


@pytest.mark.parametrize("folder", ["scTab", "/scTab/", "all/scTab", "scTab/run1", "all/scTab/run1"])
def test_a_folder_narrows_the_choice(folder):
    assert chosen("all/scTab/run1/a.ckpt", "all/scTab2/run1/b.ckpt", "all/mlp/run1/c.ckpt", folder=folder) == [
        "all/scTab/run1/a.ckpt"
    ]


def test_nothing_to_choose_from():
    with pytest.raises(ModelFormatError, match=r"has no checkpoint\. It has no file that ends in `\.ckpt`"):
        chosen("var.parquet")
