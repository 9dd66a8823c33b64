"""A training that was interrupted goes on as if nothing had happened."""

import os
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

from sctab import DataFileError, SettingError
from sctab.model import SCTAB, XGBoostClassifier
from sctab.model._state import STATE_FILE

QUICK = {"max_epochs": 4, "batch_size": 32, "refit": False, "accelerator": "cpu", "enable_progress_bar": False, "seed": 3}
SETTINGS = {"validated": {}, "all": {"train_size": 1.0}}
N_BATCHES = 7  # of 216 training cells
PROGRAM = """
import os, signal, sys
from tests.model.test_resume import At, train
train(sys.argv[1], {}, callbacks=[At(18, lambda: os.kill(os.getpid(), signal.SIGKILL))])
"""


class At(Callback):
    """Does something after so many steps."""

    def __init__(self, steps, act):
        self.steps, self.act = steps, act

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.steps:
            self.act()


def train(run_dir, settings, *, resume=False, callbacks=()):
    adata = make_reference(240)
    SCTAB.setup_anndata(adata, "cell_type", donor_key="donor_id")
    model = SCTAB(adata, n_d=8, n_a=8, n_top_genes="all")
    model.train(**QUICK | settings, run_dir=run_dir, resume=resume, callbacks=list(callbacks))
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


def test_other_settings_are_refused_by_name(tmp_path, uninterrupted):
    train(tmp_path / "run", {"max_epochs": 1})
    with pytest.raises(SettingError, match=r"other `batch_size`, `max_epochs`"):
        train(tmp_path / "run", {"batch_size": 64}, resume=True)


def test_a_damaged_state_is_refused(tmp_path):
    train(tmp_path / "run", {"max_epochs": 1})
    (tmp_path / "run" / STATE_FILE).write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(DataFileError, match="cannot be read"):
        train(tmp_path / "run", {"max_epochs": 1}, resume=True)


def test_a_state_with_something_unknown_is_refused(tmp_path):
    train(tmp_path / "run", {"max_epochs": 1})
    (tmp_path / "run" / STATE_FILE).write_bytes(save_file({"0": torch.ones(1)}, metadata={"sctab": '{"call": "os.mkdir"}'}))
    with pytest.raises(DataFileError, match="`call` is not known"):
        train(tmp_path / "run", {"max_epochs": 1}, resume=True)


def test_trees_cannot_go_on(tmp_path):
    adata = make_reference(120)
    XGBoostClassifier.setup_anndata(adata, "cell_type")
    with pytest.raises(SettingError, match="grow from the start"):
        XGBoostClassifier(adata).train(run_dir=tmp_path / "run", resume=True)
