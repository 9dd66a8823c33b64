"""Gene expression and surface proteins of the same cells."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from sctab.data._adata import is_mudata, require_anndata
from sctab.data._roles import PROTEIN, RNA, find_modalities
from sctab.data.genes._features import find_antibodies
from sctab.data.proteins._values import ProteinValues, inspect_proteins
from sctab.errors import InputTypeError, InputValueError, KeyNotFoundError, Parameter, SettingError, did_you_mean, listing
from sctab.io import Beside, RowReader, row_blocks
from sctab.keys import JOINT_PROTEINS

if TYPE_CHECKING:
    from mudata import MuData

NO_GENE = "no gene"
"""Feature of cells without gene expression."""


@dataclass(frozen=True)
class Proteins:
    """Antibodies of a dataset, and where their values are."""

    names: tuple[str, ...]
    name: str
    """Name in messages, such as `mod['prot'].X`."""
    matrix: Any = field(repr=False)
    """Rows of the antibodies, `(n_rows, n_antibodies)`, as :class:`sctab.io.RowReader` takes them."""
    row_of_cell: NDArray[np.int64] | None = field(default=None, repr=False)
    """Row of each cell, -1 where the cell has none, `(n_obs,)`; `None` where rows are cells."""

    @cached_property
    def _reader(self) -> RowReader:
        return RowReader(self.matrix, self.name)

    def content(self) -> str:
        """Hash of the values."""
        return _hash(row_blocks(self.matrix, name=self.name))

    def rows(self, start: int, stop: int) -> NDArray[np.floating]:
        """Values of some cells, `(stop - start, n_antibodies)`; NaN for cells without any."""
        if self.row_of_cell is None:
            return _dense(self._reader.read(start, stop))
        values = np.full((stop - start, len(self.names)), np.nan, dtype=np.float32)
        rows = self.row_of_cell[start:stop]
        if (has := np.flatnonzero(rows >= 0)).size:
            first, last = int(rows[has].min()), int(rows[has].max()) + 1
            values[has] = _dense(self._reader.read(first, last))[rows[has] - first]
        return values


def _hash(blocks: Iterable[sparse.csr_matrix]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(np.ascontiguousarray(_dense(block), dtype=np.float32).tobytes())
    return digest.hexdigest()


def _dense(block: sparse.csr_matrix) -> NDArray[np.floating]:
    values: NDArray[np.floating] = block.toarray()
    return values


@dataclass(frozen=True)
class _Columns:
    """Some columns of a matrix."""

    matrix: Any
    columns: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape[0], len(self.columns)

    @property
    def dtype(self) -> Any:
        return self.matrix.dtype

    def __getitem__(self, rows: slice) -> sparse.csr_matrix:
        return RowReader(self.matrix).read(*rows.indices(self.matrix.shape[0])[:2])[:, self.columns]


def proteins_of(cells: Any) -> Proteins | None:
    """Antibodies beside the gene expression of some cells; `None` where there are none.

    They are found in MuData that was joined (:func:`join`), in files with a second modality, and among the features of an AnnData, where a
    column of `var`, such as `feature_types`, or their names say so.
    """
    beside = getattr(cells, "beside", None)  # of an open file
    if isinstance(beside, Beside):
        return Proteins(tuple(map(str, beside.var.index)), beside.matrix_name, beside.matrix)
    stored = getattr(cells, "uns", {}).get(JOINT_PROTEINS)
    if stored is not None:
        return Proteins(tuple(stored["names"]), str(stored["name"]), cells.obsm[JOINT_PROTEINS])
    columns = np.flatnonzero(find_antibodies(cells.var))
    if not len(columns) or cells.X is None:
        return None
    return Proteins(tuple(map(str, cells.var.index[columns])), "X", _Columns(cells.X, columns))


def join(mdata: MuData, modalities: Mapping[str, str], *, protein_layer: str | None = None) -> AnnData:
    """An AnnData of the gene expression of a MuData, with its surface proteins beside it; matrices are not copied.

    Parameters
    ----------
    mdata
        Cells, `(n_obs, …)`.
    modalities
        Name of the modality with the role `"rna"`, and of the one with the role `"protein"`, if there is one. A query may have proteins
        alone: its gene expression is then one feature of zeros.
    protein_layer
        Layer of the antibodies; `X` by default.

    Returns
    -------
    AnnData `(n_obs, n_vars)` of all cells of `mdata.obs`, in this order. Cells that a modality does not have are zero in gene expression
    and NaN in proteins. Columns of `obs` are those of `mdata.obs`, and of the gene expression where they have other names.

    Raises
    ------
    KeyNotFoundError
        If a modality or the layer of antibodies does not exist.
    SettingError
        If a role is unknown, or if the roles share a modality.
    InputValueError
        If the MuData does not join modalities by cell, if it is backed, or if no cell is in the modality.
    """
    check_modalities(mdata, modalities)
    if getattr(mdata, "isbacked", False):
        raise InputValueError(
            "The MuData is backed by its file. Read it into memory with `mudata.read_h5mu(path)`, or annotate the file itself with "
            "`sctab.tl.annotate_files`."
        )
    if RNA in modalities:
        joint = _with_rows(mdata.mod[modalities[RNA]], _rows(mdata, modalities[RNA]), mdata.obs_names)
    else:
        nothing = sparse.csr_matrix((mdata.n_obs, 1), dtype=np.float32)
        joint = AnnData(nothing, obs=pd.DataFrame(index=mdata.obs_names), var=pd.DataFrame(index=[NO_GENE]))
    joint.obs = pd.concat([mdata.obs, joint.obs[[name for name in joint.obs if name not in mdata.obs]]], axis=1)
    if PROTEIN in modalities:
        name, of_proteins = modalities[PROTEIN], mdata.mod[modalities[PROTEIN]]
        if protein_layer is not None and protein_layer not in of_proteins.layers:
            raise KeyNotFoundError(
                Parameter("protein_layer", protein_layer),
                f" is not in `mod[{name!r}]`.{did_you_mean(protein_layer, list(of_proteins.layers))} Available: "
                f"{listing([key for key in of_proteins.layers if key])}.",
            )
        matrix = of_proteins.X if protein_layer is None else of_proteins.layers[protein_layer]
        if matrix is None:
            raise KeyNotFoundError(f"`mod[{name!r}]` has no `X`. Name the layer with the values of the antibodies.")
        where = f"mod[{name!r}].{'X' if protein_layer is None else f'layers[{protein_layer!r}]'}"
        found = Proteins(tuple(map(str, of_proteins.var_names)), where, matrix, _rows(mdata, name))
        values = found.matrix if found.row_of_cell is None and not hasattr(matrix, "dask") else found.rows(0, mdata.n_obs)
        joint.obsm[JOINT_PROTEINS] = values
        joint.uns[JOINT_PROTEINS] = {"names": list(found.names), "name": where}
    return joint


def check_modalities(mdata: MuData, modalities: Mapping[str, str]) -> None:
    """Refuse roles and names of modalities that a MuData does not have; errors as in :func:`join`."""
    if not isinstance(modalities, Mapping):
        raise SettingError(Parameter("modalities", modalities), ' must be a mapping such as `{"rna": "rna", "protein": "prot"}`.')
    for role in modalities:
        if role not in (RNA, PROTEIN):
            raise SettingError(
                Parameter("modalities"),
                f" has the role {role!r}. Roles are `rna`, gene expression, and `protein`, antibodies. Peaks are not read; gene activities "
                "that were computed from them can have the role `rna`.",
            )
    if len(set(modalities.values())) < len(modalities):
        raise SettingError(Parameter("modalities"), " has one modality in two roles. Name two, or omit `protein`.")
    for name in modalities.values():
        if name not in mdata.mod:
            raise KeyNotFoundError(
                Parameter("modalities"),
                f" has {name!r}, which is not a modality of the MuData.{did_you_mean(name, list(mdata.mod))} "
                f"Available: {listing(list(mdata.mod))}.",
            )
    if getattr(mdata, "axis", 0) != 0:
        raise InputValueError(
            "The modalities of the MuData do not share cells (its axis is not 0). Make one of modalities of the same cells."
        )


def _rows(mdata: MuData, modality: str) -> NDArray[np.int64] | None:
    """Row of each cell of a MuData in a modality, -1 where it has none; `None` where rows are cells."""
    names = mdata.mod[modality].obs_names
    if names.equals(mdata.obs_names):
        return None
    rows = (
        names.get_indexer(mdata.obs_names) if names.is_unique else np.asarray(mdata.obsmap[modality]).ravel().astype(np.int64) - 1
    )
    if (rows < 0).all():
        raise InputValueError(
            f"No cell of `mdata.obs` is in `mod[{modality!r}]`. Call `mdata.update()` after a modality was changed."
        )
    return np.asarray(rows, dtype=np.int64)


def _with_rows(adata: AnnData, rows: NDArray[np.int64] | None, names: pd.Index) -> AnnData:
    """The gene expression of some cells: without copying where rows are cells, with rows of zeros for cells that it does not have."""
    if rows is None:
        layers, raw = dict(adata.layers), adata.raw
        layers.pop(None, None)
        joint = AnnData(adata.X, obs=adata.obs.copy(), var=adata.var, layers=layers)
    else:
        has = rows >= 0
        place = sparse.csr_matrix(
            (np.ones(has.sum(), dtype=np.float32), (np.flatnonzero(has), rows[has])), shape=(len(rows), adata.n_obs)
        )
        layers = {key: place @ sparse.csr_matrix(layer) for key, layer in adata.layers.items() if key is not None}
        obs = adata.obs.set_axis(pd.RangeIndex(adata.n_obs)).reindex(np.where(has, rows, -1)).set_axis(names)
        joint = AnnData(None if adata.X is None else place @ sparse.csr_matrix(adata.X), obs=obs, var=adata.var, layers=layers)
        raw = None if adata.raw is None else AnnData(place @ sparse.csr_matrix(adata.raw.X), var=adata.raw.var)
    joint.obs_names = names
    if raw is not None:
        joint.raw = raw if isinstance(raw, AnnData) else AnnData(raw.X, obs=joint.obs[[]], var=raw.var)
    joint.uns = {key: value for key, value in adata.uns.items() if isinstance(key, str) and not key.startswith("_scvi")}
    return joint


def joined(
    data: Any,
    *,
    modalities: Mapping[str, str] | None = None,
    protein_layer: str | None = None,
    needs_counts: bool = False,
    choose: Callable[..., str] | None = None,
    files: str = "",
) -> AnnData:
    """The cells of an AnnData or a MuData, with proteins beside gene expression.

    Parameters
    ----------
    data
        An AnnData, which is returned as it is, or a MuData.
    modalities
        As in :func:`join`; by default found by their features.
    protein_layer
        Layer of the antibodies, where they have it.
    needs_counts
        Take the first layer of the antibodies that holds counts, where neither that layer nor `X` does.
    choose
        As in :func:`find_modalities`.
    files
        As in :func:`require_anndata`.

    Raises
    ------
    InputTypeError
        If it is something else.
    """
    if not is_mudata(data):
        require_anndata(data, files=files)
        return data
    if not len(data.mod):
        raise InputTypeError("The MuData has no modalities. Add one with gene expression.")
    known = {role: name for role, name in (modalities or {}).items() if name in data.mod}
    if len(known) < max(len(modalities or {}), 1):
        known = find_modalities({name: part.var for name, part in data.mod.items()}, choose)
    if PROTEIN not in known:
        return join(data, known)
    return join(data, known, protein_layer=_layer_of(data.mod[known[PROTEIN]], protein_layer, needs_counts=needs_counts))


def _layer_of(proteins: AnnData, known: str | None, *, needs_counts: bool) -> str | None:
    """The layer of antibodies to use: the known one where it exists, or the first with counts where counts are needed; `None` for `X`."""
    if known is not None and known in proteins.layers:
        return known
    if not needs_counts or _are_counts(proteins.X):
        return None
    return next((key for key in sorted(key for key in proteins.layers if key) if _are_counts(proteins.layers[key])), None)


def _are_counts(matrix: Any) -> bool:
    try:
        return matrix is not None and inspect_proteins(matrix) is ProteinValues.COUNTS
    except InputValueError:
        return False
