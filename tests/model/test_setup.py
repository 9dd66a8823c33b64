"""What is private in scvi-tools, and where it is missing."""

import pytest
import torch
from scvi.model import _utils

from sctab.model._setup import single_device


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_device_with_and_without_the_function_of_scvi(accelerator, is_there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    if not is_there:
        monkeypatch.delattr(_utils, "parse_device_args")
    assert single_device(accelerator, "auto") == torch.device("cpu")
