"""Registration of a reference in scvi-tools, and devices."""

from __future__ import annotations

import torch
from anndata import AnnData
from scvi.data.fields import BaseAnnDataField, CategoricalObsField, LabelsWithUnlabeledObsField, LayerField

from sctab.data import (
    resolve,
)
from sctab.inference import device_of
from sctab.keys import REGISTRY_DONOR, REGISTRY_LABELS, REGISTRY_X


def reference_fields(
    adata: AnnData, labels_key: str, *, layer: str | None, donor_key: str | None, unlabeled_category: str | None
) -> list[BaseAnnDataField]:
    """Fields of counts, labels and donors for the registry of scvi-tools.

    It knows `X` and layers. Training reads the matrix itself, so that where that is in `raw`, any other will do.
    """
    is_layer = layer is not None and resolve(adata, layer) == f"layers[{layer!r}]"
    fields: list[BaseAnnDataField] = [
        LayerField(REGISTRY_X, layer if is_layer else None, is_count_data=False),  # looked at above, from all rows
        CategoricalObsField(REGISTRY_LABELS, labels_key)
        if unlabeled_category is None
        else LabelsWithUnlabeledObsField(REGISTRY_LABELS, labels_key, unlabeled_category),
    ]
    if donor_key is not None:
        fields.append(CategoricalObsField(REGISTRY_DONOR, donor_key))
    return fields


def single_device(accelerator: str, device: int | str) -> torch.device:
    """The device that scvi-tools chooses for these; where it does not tell, the first of the accelerator."""
    try:
        from scvi.model._utils import parse_device_args
    except ImportError:  # it is private
        return device_of(accelerator)
    _, _, chosen = parse_device_args(accelerator=accelerator, devices=device, return_device="torch", validate_single_device=True)
    return chosen
