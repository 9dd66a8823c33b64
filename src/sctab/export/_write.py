"""Writing of an annotation in the format of a portal, or as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from anndata import AnnData
from anndata.io import write_elem

from sctab.data import choose_expression, is_mudata, joined, require_anndata
from sctab.errors import DataFileError, InputValueError, Parameter, SettingError, listing, warn
from sctab.export._cap import check_set, columns_of_cap, default_set, marker_genes, require_annotated, uns_of_cap
from sctab.export._cell_types import Answer, CellTypes, cell_types
from sctab.export._cellxgene import columns_of_cellxgene, uns_of_cellxgene
from sctab.export._counts import find_counts, write_matrices
from sctab.export._embeddings import find_embeddings
from sctab.export._fields import Format
from sctab.export._lab import Metadata, lab_values, read_metadata
from sctab.export._observations import build_obs
from sctab.export._tables import cell_table, suffix_of_table, write_mappings, write_table
from sctab.get import annotate_call
from sctab.io import DataFile, as_path, base_name, check_apart, check_free, find_data_files, is_url, read_results, written_beside
from sctab.keys import DEFAULT_KEY_ADDED, OBSM_LATENT_PREFIX

FORMATS: tuple[Format, ...] = ("cap", "cellxgene", "table")


def write(
    annotated: AnnData | str | PathLike[str],
    output: str | PathLike[str],
    *,
    format: Format,  # noqa: A002 (as the option is called)
    metadata: Metadata | None = None,
    answer: Answer | None = None,
    set_name: str | None = None,
    label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
    mappings: str | PathLike[str] | None = None,
    model: Any = None,
    n_genes: int = 5,
    layer: str | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
    overwrite: bool = False,
) -> Path:
    r"""Write an annotation in the format of a portal, or as a flat table.

    `"cap"` is CAP AnnData 1.0, which the Cell Annotation Platform takes, and `"cellxgene"` version 7.1 of the schema of CELLxGENE: both
    have Ensembl ids as genes, raw counts, and terms of ontologies. What only the laboratory knows, such as the tissue, is asked for and
    never made up. `"table"` is one row per cell. See :doc:`/export`.

    Parameters
    ----------
    annotated
        Annotated cells, or their file, `.h5ad` or `.zarr`, whose matrix is read and written in blocks.
    output
        The file to write: `.h5ad` for portals; `.csv`, `.tsv`, either with `.gz`, or `.parquet` for a table.
    format
        `"cap"`, `"cellxgene"` or `"table"`.
    metadata
        Fields that only the laboratory knows, as a mapping or a YAML file: for each one value for all cells, or `{"column": name}` with a
        column of `obs`, and `"values"` with a mapping of what is in it. Terms are given by id or name. The error names all that are
        missing, with examples.
    answer
        What a cell is called: `"label"`, `"term"`, the promised term, or `"vote"`, the label of its cluster. By default the promised term
        where cells were annotated with an accepted error, and the label otherwise.
    set_name
        Name of the set of annotations in CAP; by default `{key_added}_cell_type`.
    label_ids
        Cell Ontology ids of labels, as in :func:`sctab.tl.evaluate`, instead of those of the model.
    mappings
        File to write as well: labels and their terms as SSSOM, `.tsv`.
    model
        The model, as in :func:`sctab.tl.annotate`, for genes that speak for each type, in CAP; by default the one that annotated the
        cells, found by its name.
    n_genes
        Number of these genes.
    layer
        Matrix with the raw counts: the name of a layer, `"X"` or `"raw"`; by default it is found.
    key_added
        Prefix of the annotation.
    overwrite
        Replace existing outputs.

    Returns
    -------
    The file.

    Raises
    ------
    SettingError
        If fields of the laboratory are missing or invalid, or if a setting is unknown.
    KeyNotFoundError
        If the cells are not annotated.
    InputValueError
        If there are no raw counts, names of cells are not unique, or cells are ones that the portal refuses.
    GeneOverlapError
        If most genes are unknown to the portal.
    DataFileError, OutputExistsError, OutputError
        If a file cannot be read or written.

    Examples
    --------
    >>> import tempfile, warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"), tempfile.TemporaryDirectory() as directory:
    ...     sctab.tl.annotate(adata, "pbmc")
    ...     table = sctab.export.write(adata, f"{directory}/cells.tsv", format="table")
    ...     print(table.read_text(encoding="utf-8").splitlines()[0].split("\t")[:4])
    ['cell', 'label', 'label_id', 'label_term']
    """
    check_outputs(output, mappings, target=format, overwrite=overwrite)
    if not isinstance(annotated, AnnData) and not is_mudata(annotated):
        if not isinstance(annotated, str | PathLike):
            require_anndata(annotated)
        if not is_url(fspath(annotated)):
            check_apart([place for place in (output, mappings) if place is not None], [annotated])
    given = read_metadata(metadata)
    if format == "table" and given:
        raise SettingError(Parameter("metadata"), " is for formats of portals, and a table has none. Omit it.")
    with _opened(annotated, key_added) as cells:
        run = require_annotated(cells.adata, key_added)
        types = cell_types(cells.adata, answer=answer, label_ids=label_ids, key_added=key_added)
        with ExitStack() as outputs:
            beside = outputs.enter_context(written_beside(output, overwrite=overwrite, kind="file"))
            if format == "table":
                notes = types.notes
                table = cell_table(cells.adata.obs, cells.names(), key_added=key_added)
                write_table(table, beside, suffix_of_table(as_path(output)))
            else:
                job = _Job(cells, types, given, run, format, set_name or default_set(key_added), key_added)
                notes = job.write(beside, layer=layer, model=model, n_genes=n_genes)
            if mappings is not None:
                to = outputs.enter_context(written_beside(mappings, overwrite=overwrite, kind="file"))
                write_mappings(types, to, source=f"the model {run['model']['name']}")
            cells.require_unchanged()
    for note in notes:
        warn(note)
    return as_path(output)


def check_outputs(output: str | PathLike[str], mappings: str | PathLike[str] | None, *, target: str, overwrite: bool) -> None:
    """Refuse outputs before any work is done.

    Raises
    ------
    SettingError, OutputExistsError, OutputError
        See :func:`write`.
    """
    if target not in FORMATS:
        raise SettingError(Parameter("format", target), f" is not known. Choose one of {listing(FORMATS)}.")
    if target == "table":
        suffix_of_table(as_path(output))
    elif as_path(output).suffix.lower() != ".h5ad":
        raise SettingError(
            f"The format `{target}` is written as `.h5ad`, and `{fspath(output)}` ends otherwise. Choose such a name."
        )
    if mappings is not None and as_path(mappings).suffix.lower() != ".tsv":
        raise SettingError(Parameter("mappings", fspath(mappings)), " does not end with `.tsv`. Choose such a name.")
    for place in (output, mappings):
        if place is not None:
            check_free(as_path(place), overwrite=overwrite, kind="file")
    if mappings is not None:
        check_apart([output, mappings])


@dataclass(frozen=True)
class _Cells:
    """Results of an annotation, and what has the matrices of the same cells."""

    adata: AnnData
    source: Any

    def names(self) -> list[str]:
        """Names of the cells."""
        if isinstance(self.source, DataFile):
            return self.source.names(0, self.source.n_obs)
        return [str(name) for name in self.adata.obs_names]

    def require_unchanged(self) -> None:
        """Refuse a file that changed while it was read."""
        if isinstance(self.source, DataFile):
            self.source.require_unchanged()


@dataclass(frozen=True)
class _Job:
    """One file for a portal."""

    cells: _Cells
    types: CellTypes
    given: Mapping[str, Any]
    run: Mapping[str, Any]
    format: Format
    set_name: str
    key_added: str

    def write(self, path: Path, *, layer: str | None, model: Any, n_genes: int) -> list[str]:
        """Write it, and return notes."""
        adata, source = self.cells.adata, self.cells.source
        if not adata.n_obs:
            raise InputValueError("The data has no cells: there is nothing to export.")
        if self.format == "cap":
            check_set(self.set_name, adata.obs.columns)
        counts = find_counts(source, layer=layer, portal="cap" if self.format == "cap" else "cellxgene")
        species = counts.reference.species
        lab = lab_values(adata.obs, self.given, target=self.format, species=species)
        notes = [*self.types.notes, *lab.notes, *counts.notes]
        if self.format == "cap":
            markers, said = marker_genes(adata, source, self.types, counts, model=model, n_genes=n_genes, key_added=self.key_added)
            columns = columns_of_cap(self.types, markers, lab, self.run, species, self.set_name)
            uns: Mapping[str, Any] = uns_of_cap(self.types, lab, self.run, self.set_name)
        else:
            columns, said = columns_of_cellxgene(self.types, lab)
            uns = uns_of_cellxgene(lab, species)
        notes += said
        taken = {name for name in columns if name in adata.obs and name not in self.given and name in lab.columns}
        obs, said = build_obs(adata.obs, self.cells.names(), columns, target=self.format, taken_from_obs=taken)
        notes += said
        embeddings, said = find_embeddings(adata, source, counts, key_added=self.key_added)
        notes += said
        var = pd.DataFrame(index=pd.Index(counts.ids, dtype=object))
        if self.format == "cap":
            var["gene_symbol"] = counts.symbols
        with h5py.File(path, "w") as group:
            group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
            write_elem(group, "obs", obs)
            write_matrices(group, counts, var, has_filter=self.format == "cellxgene", takes_each_once=self.format == "cellxgene")
            for slot in ("layers", "obsp", "varm", "varp"):
                write_elem(group, slot, {})
            write_elem(group, "obsm", embeddings)
            write_elem(group, "uns", {**uns, self.key_added: dict(self.run)})
        return notes


@contextmanager
def _opened(annotated: AnnData | str | PathLike[str], key_added: str) -> Iterator[_Cells]:
    """Results without matrices, and what has the matrices."""
    if isinstance(annotated, AnnData) or is_mudata(annotated):
        yield _Cells(annotated, joined(annotated))
        return
    path = fspath(annotated)
    found = [path] if is_url(path) else find_data_files([path])
    if len(found) > 1:
        raise DataFileError(f"`{path}` holds {len(found)} data files. Provide one of them.")
    with closing(DataFile(found[0], choose=choose_expression())) as file:
        if file.layout is not None:
            raise DataFileError(
                f"`{base_name(file.path)}` is a file without annotations. Annotate it first: run ", annotate_call(key_added), "."
            )
        yield _Cells(
            read_results(
                file, obs=file.obs_columns, obsm=["X_umap", f"{OBSM_LATENT_PREFIX}{key_added}", "X_pca"], uns=(key_added,)
            ),
            file,
        )
