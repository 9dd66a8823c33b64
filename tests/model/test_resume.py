"""A training that was interrupted continues as if nothing had happened."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import save as save_file
from tests.reference import make_reference

from sctab import DataFileError, OutputExistsError, SettingError
from sctab.model import SCTAB, AutoClassifier, DeepEnsemble, LinearClassifier, XGBoostClassifier
from sctab.train._state import STATE_FILE, read_history

QUICK = {"max_epochs": 4, "batch_size": 32, "refit": False, "accelerator": "cpu", "enable_progress_bar": False, "seed": 3}
SETTINGS = {"validated": {}, "all": {"train_size": 1.0}}
N_BATCHES = 7  # of 216 training cells
PROGRAM = """
import os, signal, sys
from tests.model.test_resume import At, train
train(sys.argv[1], {}, callbacks=[At(18, lambda: os.kill(os.getpid(), signal.SIGKILL))])
"""
HOLD = """
import time
from pathlib import Path
from sctab.io import held_alone
with held_alone(Path({path!r})):
    print("held", flush=True)
    time.sleep(600)
"""


class At(Callback):
    """Does something after so many steps."""

    def __init__(self, steps, act):
        self.steps, self.act = steps, act

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.steps:
            self.act()


def train(run_dir, settings, *, resume=False, callbacks=(), change=None):
    adata = make_reference(240)
    if change is not None:
        change(adata)
    SCTAB.setup_anndata(adata, "cell_type", donor_key="donor_id")
    model = SCTAB(adata, n_d=8, n_a=8, n_top_genes="all")
    model.train(calibrate=False, **QUICK | settings, run_dir=run_dir, resume=resume, callbacks=list(callbacks))
    return model


def assert_same(model, other):
    for name, tensor in model.module.state_dict().items():
        torch.testing.assert_close(other.module.state_dict()[name], tensor, rtol=0, atol=0, msg=name)
    assert set(model.history) == set(other.history)
    for name, values in model.history.items():
        np.testing.assert_allclose(other.history[name].to_numpy(float), values.to_numpy(float), rtol=1e-6)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return {name: train(tmp_path_factory.mktemp("whole") / "run", settings) for name, settings in SETTINGS.items()}


def break_off():
    raise RuntimeError("broken off")


@pytest.mark.parametrize("steps", [3, 2 * N_BATCHES + 4])
@pytest.mark.parametrize("name", ["validated", "all"])
def test_broken_off_in_an_epoch_it_begins_that_again(tmp_path, uninterrupted, name, steps):
    with pytest.raises(RuntimeError, match="broken off"):
        train(tmp_path / "run", SETTINGS[name], callbacks=[At(steps, break_off)])
    assert (tmp_path / "run" / STATE_FILE).exists() == (steps > N_BATCHES)
    assert_same(uninterrupted[name], train(tmp_path / "run", SETTINGS[name], resume=True))


@pytest.mark.parametrize("steps", [4, 2 * N_BATCHES - 1, 2 * N_BATCHES, 2 * N_BATCHES + 1])
@pytest.mark.parametrize("name", ["validated", "all"])
def test_told_to_end_it_goes_on_where_it_was(tmp_path, uninterrupted, name, steps):
    with pytest.raises(SystemExit) as ended:
        train(tmp_path / "run", SETTINGS[name], callbacks=[At(steps, lambda: os.kill(os.getpid(), signal.SIGTERM))])
    assert ended.value.code == 128 + signal.SIGTERM
    assert (tmp_path / "run" / STATE_FILE).exists()
    assert_same(uninterrupted[name], train(tmp_path / "run", SETTINGS[name], resume=True))


def test_killed(tmp_path, uninterrupted):
    root = Path(__file__).parents[2]
    process = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "run")], check=False, cwd=root, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert_same(uninterrupted["validated"], train(tmp_path / "run", {}, resume=True))


def test_two_trainings_in_one_directory(tmp_path):
    """Whether the other one resumes or begins; afterwards it can."""
    root = Path(__file__).parents[2]
    program = HOLD.format(path=str(tmp_path / "run"))
    with subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE) as other:
        try:
            other.stdout.readline()
            for resume in (False, True):
                with pytest.raises(
                    OutputExistsError, match="Another training is running in .*run`. Wait until it is done, or choose"
                ):
                    train(tmp_path / "run", {"max_epochs": 1}, resume=resume)
        finally:
            other.kill()
    train(tmp_path / "run", {"max_epochs": 1}, resume=True)
    assert (tmp_path / "run" / STATE_FILE).exists()
    assert not list(tmp_path.rglob(".sctab-lock"))


def test_models_of_epochs_need_a_place():
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type")
    with pytest.raises(SettingError, match=r"`keep_checkpoints='all'` needs a run directory .* Provide `run_dir`, or omit it."):
        LinearClassifier(reference).train(keep_checkpoints="all")


def epochs(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_the_same_checkpoints_are_kept(tmp_path):
    """Also where the best epoch was before the interruption."""
    whole = train(tmp_path / "whole", {})
    with pytest.raises(RuntimeError, match="broken off"):
        train(tmp_path / "run", {}, callbacks=[At(3 * N_BATCHES + 2, break_off)])
    train(tmp_path / "run", {}, resume=True)
    assert epochs(tmp_path / "run") == epochs(tmp_path / "whole")
    assert epochs(tmp_path / "run") == sorted({f"epoch_{epoch:03d}" for epoch in (whole.spec.training["best_epoch"], 3)})


def test_checkpoints_that_were_kept_on_purpose_stay(tmp_path):
    with pytest.raises(RuntimeError, match="broken off"):
        train(tmp_path / "run", {"keep_checkpoints": "all"}, callbacks=[At(3 * N_BATCHES + 2, break_off)])
    kept = epochs(tmp_path / "run")
    assert len(kept) == 3
    (tmp_path / "run/checkpoints/epoch_000_good").mkdir()
    train(tmp_path / "run", {}, resume=True)
    assert {*kept, "epoch_000_good", "epoch_003"} <= set(epochs(tmp_path / "run"))


def test_other_settings_are_refused_by_name(tmp_path, uninterrupted):
    train(tmp_path / "run", {"max_epochs": 1})
    with pytest.raises(SettingError, match=r"other `batch_size`, `max_epochs`"):
        train(tmp_path / "run", {"batch_size": 64}, resume=True)


def test_a_damaged_state_is_refused(tmp_path):
    train(tmp_path / "run", {"max_epochs": 1})
    (tmp_path / "run" / STATE_FILE).write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(DataFileError, match="cannot be read"):
        train(tmp_path / "run", {"max_epochs": 1}, resume=True)


def signed(content):
    """A state whose hash is right, whatever it holds."""
    zeros = b'"sha256":"' + 64 * b"0"
    assert content.count(zeros) == 1
    return content.replace(zeros, b'"sha256":"' + hashlib.sha256(content).hexdigest().encode())


def test_flipped_bits_of_a_state_are_refused(tmp_path):
    train(tmp_path / "run", {"max_epochs": 1})
    path = tmp_path / "run" / STATE_FILE
    content = path.read_bytes()
    assert signed(re.sub(rb'"sha256":"[0-9a-f]{64}', b'"sha256":"' + 64 * b"0", content)) == content
    for flip in np.random.default_rng(0).choice(8 * len(content), size=60, replace=False):
        damaged = bytearray(content)
        damaged[flip // 8] ^= 1 << (flip % 8)
        path.write_bytes(damaged)
        with pytest.raises(DataFileError, match="Delete it, and train from the start"):
            read_history(path, {})
    shorter = (content[:size] for size in (0, 7, 8, 100, len(content) - 1))
    for other in (*shorter, b"\xff" * 8 + content[8:], b"\0" * 8 + content[8:]):
        path.write_bytes(other)
        with pytest.raises(DataFileError, match="Delete it, and train from the start"):
            read_history(path, {})


@pytest.mark.parametrize(
    "packed", ["3", "[]", '{"dict": 3}', '{"dict": []}', '{"tensor": "9"}', "[" * 100_000, '{"dict": [["sctab", 3]]}']
)
def test_states_that_hold_no_training_are_refused(tmp_path, packed):
    path = tmp_path / STATE_FILE
    path.write_bytes(signed(save_file({"0": torch.ones(1)}, metadata={"sctab": packed, "sha256": 64 * "0"})))
    with pytest.raises(DataFileError, match="Delete it, and train from the start"):
        read_history(path, {})


def test_a_state_with_something_unknown_is_refused(tmp_path):
    train(tmp_path / "run", {"max_epochs": 1})
    state = save_file({"0": torch.ones(1)}, metadata={"sctab": '{"call": "os.mkdir"}', "sha256": 64 * "0"})
    (tmp_path / "run" / STATE_FILE).write_bytes(signed(state))
    with pytest.raises(DataFileError, match="`call` is not known"):
        train(tmp_path / "run", {"max_epochs": 1}, resume=True)


def permute_cells(adata):
    adata.X = adata.X[np.roll(np.arange(adata.n_obs), 3)]


def permute_genes(adata):
    adata.X = adata.X[:, ::-1].tocsr()


def add_one_count(adata):
    adata.X[0, 0] += 1


def swap_labels(adata):
    adata.obs["cell_type"] = adata.obs["cell_type"].to_numpy()[np.roll(np.arange(adata.n_obs), 1)]


def swap_donors(adata):
    adata.obs["donor_id"] = adata.obs["donor_id"].to_numpy()[np.roll(np.arange(adata.n_obs), 1)]


@pytest.mark.parametrize("change", [permute_cells, permute_genes, add_one_count, swap_labels, swap_donors])
def test_another_reference_of_the_same_size_is_refused(tmp_path, change):
    train(tmp_path / "run", {"max_epochs": 1})
    with pytest.raises(SettingError, match="belongs to a training with other `reference`"):
        train(tmp_path / "run", {"max_epochs": 1}, resume=True, change=change)


def test_the_same_reference_stored_in_another_way_goes_on(tmp_path):
    def store_otherwise(adata):
        adata.X = adata.X.toarray().astype(np.float64)

    model = train(tmp_path / "run", {"max_epochs": 1})
    assert_same(model, train(tmp_path / "run", {"max_epochs": 1}, resume=True, change=store_otherwise))


def test_another_model_to_start_from_is_refused(tmp_path):
    query = make_reference(120, seed=9)
    starts = [train(None, {"max_epochs": 1, "seed": seed}) for seed in (1, 2)]
    for start, resume in zip([*starts[:1], *starts], [False, True, True], strict=True):
        model = SCTAB.load_query_data(query, start)
        options = QUICK | {"max_epochs": 1}
        if start is starts[1]:
            with pytest.raises(SettingError, match="other `initial weights`"):
                model.train(calibrate=False, **options, run_dir=tmp_path / "run", resume=resume)
        else:
            model.train(calibrate=False, **options, run_dir=tmp_path / "run", resume=resume)


def test_going_on_needs_the_directory(tmp_path):
    with pytest.raises(SettingError, match="`resume=True` needs the `run_dir`"):
        train(None, {}, resume=True)
    reference = make_reference(120)
    ensemble = DeepEnsemble(SCTAB, 2)
    ensemble.setup_anndata(reference, "cell_type")
    with pytest.raises(SettingError, match="`resume=True` needs the `run_dir`"):
        ensemble.train(calibrate=False, resume=True)
    AutoClassifier.setup_anndata(reference, "cell_type")
    auto = AutoClassifier(reference, candidates=["linear"])
    with pytest.raises(SettingError, match="`resume=True` cannot be set for `AutoClassifier`"):
        auto.train(calibrate=False, resume=True, run_dir=tmp_path / "run")


def test_a_training_that_is_told_to_end_prints_nothing(tmp_path, capfd):
    with pytest.raises(SystemExit):
        train(tmp_path / "run", {}, callbacks=[At(4, lambda: os.kill(os.getpid(), signal.SIGTERM))])
    assert "Exception raised" not in "".join(capfd.readouterr())


def test_trees_cannot_go_on(tmp_path):
    adata = make_reference(120)
    XGBoostClassifier.setup_anndata(adata, "cell_type")
    with pytest.raises(SettingError, match="grow from the start"):
        XGBoostClassifier(adata).train(calibrate=False, run_dir=tmp_path / "run", resume=True)
