"""Names of accelerators as devices."""

import pytest
import torch

from sctab import SettingError
from sctab.inference import load_predictor
from sctab.inference._device import device_of
from sctab.zoo import packaged_path


@pytest.fixture
def machine(monkeypatch):
    """Say whether there is a GPU of either kind."""

    def make(*, cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return make


@pytest.mark.parametrize(
    ("accelerator", "there", "device"),
    [
        ("auto", {}, "cpu"),
        ("auto", {"cuda": True, "mps": True}, "cuda"),
        ("auto", {"mps": True}, "cpu"),  # as scvi-tools does: not all operations are there
        ("cpu", {"cuda": True, "mps": True}, "cpu"),
        ("gpu", {"cuda": True}, "cuda"),
        ("cuda", {"cuda": True}, "cuda"),
        ("mps", {"mps": True}, "mps"),
    ],
)
def test_devices(accelerator, there, device, machine):
    machine(**there)
    assert device_of(accelerator) == torch.device(device)


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "mps"])
def test_what_is_not_there_is_refused(accelerator, machine):
    machine()
    with pytest.raises(SettingError, match=f"`accelerator='{accelerator}'` is not in this machine.* Use `auto` or `cpu`"):
        device_of(accelerator)


def test_other_names_are_refused():
    with pytest.raises(SettingError, match="`accelerator='tpu9'` is not known. Choose one of `auto`, `cpu`, `gpu`, `mps`"):
        device_of("tpu9")


def test_a_predictor_is_put_there(machine):
    machine()
    predictor = load_predictor(packaged_path("pbmc"), accelerator="cpu")
    assert {weights.device.type for network in predictor.networks for weights in network.parameters()} == {"cpu"}
    with pytest.raises(SettingError, match="is not in this machine"):
        load_predictor(packaged_path("pbmc"), accelerator="gpu")
