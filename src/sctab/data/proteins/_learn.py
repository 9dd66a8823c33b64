"""Antibodies that a model learns from a reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from sctab.data.genes._features import is_region
from sctab.data.genes._names import parts_of
from sctab.data.genes._reference import gene_reference
from sctab.data.proteins._antigens import antigen_of
from sctab.data.proteins._matching import match_names
from sctab.data.proteins._names import is_hashtag, is_isotype
from sctab.data.proteins._panel import ProteinPanel
from sctab.data.proteins._scale import measured_values, weights_of
from sctab.data.proteins._values import ProteinInspection, ProteinValues
from sctab.errors import InputValueError, agreeing, listing
from sctab.io import row_blocks

_NAME = "proteins"
_FEWEST_GENES = 50
"""Number of gene names without an antigen from which they may be genes, if they are most of the names."""
SMALLEST_SD = 1e-6
"""Standard deviation of what varies by rounding only."""


def learn_panel(names: Sequence[str], matrix: Any) -> tuple[ProteinPanel, list[str]]:
    """Learn the antibodies of a reference, and their scale.

    Hashtags, isotype controls and antibodies that do not vary are left out. Antibodies to one antigen, such as two clones, become one,
    which has the name of the first: their values are averaged, see :func:`~sctab.data.proteins._scale.antibody_values`.

    Parameters
    ----------
    names
        Names of the features, one per column of `matrix`.
    matrix
        Anything that :func:`sctab.io._rows.row_blocks` reads, `(n_obs, n_features)`. It is read twice.

    Returns
    -------
    The panel, and notes on what was left out or averaged.

    Raises
    ------
    InputValueError
        If the names are empty, repeated, not as many as columns, peaks of chromatin, or those of genes; if a value is invalid, as for
        :func:`inspect_proteins`; or if no antibody is left, or only one of counts.

    Examples
    --------
    >>> panel, notes = learn_panel(["CD3", "CD19", "IgG1"], np.array([[9, 0, 1], [0, 7, 0], [12, 1, 1]]))
    >>> panel
    ProteinPanel(names=('CD3', 'CD19'), values=<ProteinValues.COUNTS: 'counts'>)
    >>> notes
    ['Left out isotype controls (1): `IgG1`.']
    """
    names = [str(name) for name in names]
    _require_antibodies(names, matrix.shape[1])
    inspection = ProteinInspection(_NAME, len(names))
    for block in row_blocks(matrix, name=_NAME):
        inspection.add(block.toarray())
    values = inspection.decide()
    varies = inspection.largest > inspection.smallest
    reasons = ["hashtags" if is_hashtag(n) else "isotype controls" if is_isotype(n) else "" for n in names]
    reasons = [reason or ("" if v else "antibodies that do not vary") for reason, v in zip(reasons, varies, strict=True)]
    notes = []
    for reason in dict.fromkeys(filter(None, reasons)):
        left_out = [name for name, why in zip(names, reasons, strict=True) if why == reason]
        notes.append(f"Left out {reason} ({len(left_out)}): {listing(left_out)}.")
    columns = [i for i, reason in enumerate(reasons) if not reason]
    if not columns:
        raise InputValueError(
            f"No antibody is left of {len(names)}. {' '.join(notes)} Provide the counts of antibodies to surface proteins."
        )
    kept, groups = _merge([names[i] for i in columns])
    if values.are_centred and len(kept) == 1:
        raise InputValueError(
            f"Only one antibody is left, {listing(kept)}: {values} of a cell compare antibodies with each other, so at least 2 are "
            "required. Provide a larger panel, or train on gene expression only."
        )
    if len(kept) < len(columns):
        merged = [[names[columns[i]] for i in np.flatnonzero(groups == group)] for group in range(len(kept))]
        shown = [f"{listing(several)} as `{several[0]}`" for several in merged if len(several) > 1]
        notes.append(f"Averaged antibodies to one antigen: {'; '.join(shown)}.")
    positions = np.full(len(names), -1, dtype=np.int32)
    positions[columns] = groups
    moments = moments_of(matrix, _NAME, weights_of(positions, len(kept)), values)
    sd = np.where(moments.sd > SMALLEST_SD, moments.sd, 1.0)
    if inspection.n_measured < inspection.n_obs:
        notes.append(f"Antibodies were measured in {inspection.n_measured:,} of {inspection.n_obs:,} cells.")
    return ProteinPanel(tuple(kept), values, tuple(moments.mean.tolist()), tuple(sd.tolist())), notes


def moments_of(matrix: Any, name: str, weights: sparse.csr_matrix, values: ProteinValues) -> Moments:
    """Means and standard deviations of the antibodies of a model over the measured cells of a matrix that was inspected."""
    moments = Moments(weights.shape[1])
    for block in row_blocks(matrix, name=name):
        moments.add(measured_values(block.toarray().astype(np.float64), weights, values)[1])
    return moments


class Moments:
    """Running means and standard deviations of columns."""

    def __init__(self, n_columns: int) -> None:
        self.n = 0
        self.mean = np.zeros(n_columns)
        self._squares = np.zeros(n_columns)

    def add(self, rows: np.ndarray) -> None:
        """Add rows, `(n_obs, n_columns)`, by the update of Chan et al. 1983, which does not lose digits where the mean is large."""
        n = len(rows)
        if n == 0:
            return
        mean = rows.mean(axis=0)
        difference = mean - self.mean
        total = self.n + n
        self._squares += ((rows - mean) ** 2).sum(axis=0) + difference**2 * self.n * n / total
        self.mean = self.mean + difference * n / total
        self.n = total

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation of each column, `(n_columns,)`."""
        return np.sqrt(self._squares / max(self.n, 1))


def _merge(names: list[str]) -> tuple[list[str], np.ndarray]:
    """Names of the first antibody to each antigen, and which of them each name belongs to."""
    kept: list[str] = []
    groups = []
    for name in names:
        position = int(match_names(kept, [name])[0][0])
        if position < 0:
            position = len(kept)
            kept.append(name)
        groups.append(position)
    return kept, np.array(groups, dtype=np.int32)


def _require_antibodies(names: list[str], n_columns: int) -> None:
    if len(names) != n_columns:
        raise InputValueError(
            f"There are {len(names)} names of antibodies, and the matrix has {n_columns} columns. Provide one name per column."
        )
    if not names:
        raise InputValueError("There are no antibodies. Provide the modality that holds them, or train on gene expression only.")
    peaks = [name for name in names if is_region(name)]
    if len(peaks) > len(names) / 2:
        raise InputValueError(
            f"The features are regions of the genome, such as {listing(peaks, most=3)}, and not antibodies. Peaks of accessible chromatin "
            "cannot be used. Compute gene activities from them and provide these as gene expression."
        )
    genes = _genes(names)
    if len(genes) > len(names) / 2:
        raise InputValueError(
            f"The features are genes, such as {listing(genes, most=3)} ({len(genes):,} of {len(names):,}), and not antibodies. Provide the "
            "modality or the features that hold antibodies, often called `prot` or `Antibody Capture`."
        )
    if empty := sum(not name.strip() for name in names):
        raise InputValueError(
            f"{empty} of {len(names)} antibodies {agreeing(empty, 'has', 'have')} no name. Name every column after its antigen, such as "
            "`CD3`."
        )
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise InputValueError(f"Names of antibodies occur twice: {listing(repeated)}. Make them unique.")


def _genes(names: list[str]) -> list[str]:
    """Names of genes, if there are many, besides those that are also names of antigens."""
    others = [name for name in names if antigen_of(name) is None]
    if len(others) < _FEWEST_GENES:
        return []
    symbols = {symbol for species in ("human", "mouse") for symbol in gene_reference(species, "cellxgene").features.symbols}
    return [name for name in others if name in symbols or parts_of(name).gene_id or parts_of(name).symbol in symbols]
