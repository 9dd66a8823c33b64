"""Registration of a reference in scvi-tools, and devices."""

from __future__ import annotations

from typing import Any

import torch
from scvi.data.fields import (
    BaseAnnDataField,
    CategoricalObsField,
    LabelsWithUnlabeledObsField,
    LayerField,
    MuDataCategoricalObsField,
    MuDataLabelsWithUnlabeledObsField,
    MuDataLayerField,
)

from sctab.data import (
    resolve,
)
from sctab.inference import device_of
from sctab.keys import REGISTRY_DONOR, REGISTRY_LABELS, REGISTRY_X


def reference_fields(
    adata: Any,
    labels_key: str,
    *,
    layer: str | None,
    donor_key: str | None,
    unlabeled_category: str | None,
    modality: str | None = None,
) -> list[BaseAnnDataField]:
    """Fields of counts, labels and donors for the registry of scvi-tools.

    It knows `X` and layers. Training reads the matrix itself, so that where that is in `raw`, any other will do.
    """
    cells = adata if modality is None else adata.mod[modality]
    of_x, of_labels, of_unlabeled = (
        (LayerField, CategoricalObsField, LabelsWithUnlabeledObsField)
        if modality is None
        else (MuDataLayerField, MuDataCategoricalObsField, MuDataLabelsWithUnlabeledObsField)
    )

    def where(key: str | None) -> dict[str, Any]:
        """The modality of a column or matrix, of a MuData."""
        return {} if modality is None else {"mod_key": None if key in adata.obs else modality}

    is_layer = layer is not None and resolve(cells, layer) == f"layers[{layer!r}]"
    fields: list[BaseAnnDataField] = [
        of_x(REGISTRY_X, layer if is_layer else None, is_count_data=False, **where(None)),  # looked at above, from all rows
        of_labels(REGISTRY_LABELS, labels_key, **where(labels_key))
        if unlabeled_category is None
        else of_unlabeled(REGISTRY_LABELS, labels_key, unlabeled_category, **where(labels_key)),
    ]
    if donor_key is not None:
        fields.append(of_labels(REGISTRY_DONOR, donor_key, **where(donor_key)))
    return fields


def single_device(accelerator: str, device: int | str) -> torch.device:
    """The device that scvi-tools chooses for these; where it does not tell, the first of the accelerator."""
    try:
        from scvi.model._utils import parse_device_args
    except ImportError:  # it is private
        return device_of(accelerator)
    _, _, chosen = parse_device_args(accelerator=accelerator, devices=device, return_device="torch", validate_single_device=True)
    return chosen
