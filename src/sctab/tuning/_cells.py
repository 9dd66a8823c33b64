"""Cells that a study holds out to judge settings by."""

from __future__ import annotations

from dataclasses import replace

from sctab.data import reference_source
from sctab.errors import InputValueError, Parameter, SettingError, warn
from sctab.train import HeldOut, MemoryReference


def hold_out(reference: MemoryReference, *, train_size: float, seed: int) -> HeldOut:
    """Split a reference, by donor where there are enough; parameters and errors as in `tune`."""
    if not 0 < train_size < 1:
        raise SettingError(
            Parameter("train_size", train_size), " must be above 0 and below 1: what is left is held out to judge by."
        )
    split = reference.split(train_size, seed)
    if not split.validation.size:
        raise InputValueError(
            f"No cell can be held out to judge by: no type has enough of the {reference.adata.n_obs} cells. Provide more "
            f"cells, or a smaller `train_size` than {train_size}."
        )
    _, notes = reference_source(reference.adata, reference.setup["layer"])
    for note in notes:
        warn(note)
    if split.by != "donor":
        has_donors = reference.setup["donor_key"] is not None
        why = "there are too few donors to hold some of them out" if has_donors else "no `donor_key` was given"
        warn(f"Settings are judged by cells of the donors that they were learned from, since {why}: expect less on new donors.")
    held_out = reference.held_out(split)
    return replace(held_out, identity={**held_out.identity, "train_size": str(train_size)})
