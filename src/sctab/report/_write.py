"""Writing of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from json import dumps
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from anndata import AnnData

from sctab.data import choose_expression, is_mudata, joined, require_anndata
from sctab.errors import DataFileError, Parameter, SettingError, missing_key
from sctab.get import annotate_call
from sctab.io import DataFile, as_path, base_name, check_apart, check_free, find_data_files, is_url, read_results, written_beside
from sctab.keys import DEFAULT_KEY_ADDED, OBSM_LATENT_PREFIX
from sctab.report._content import LABELS, SAMPLES, gather
from sctab.report._multiqc import custom_content
from sctab.report._page import page_of


def write(
    annotated: AnnData | str | PathLike[str],
    output: str | PathLike[str],
    *,
    model: Any = None,
    sample_key: str | None = None,
    labels_key: str | None = None,
    title: str | None = None,
    n_genes: int = 4,
    multiqc: str | PathLike[str] | None = None,
    command: str | None = None,
    key_added: str = DEFAULT_KEY_ADDED,
    overwrite: bool = False,
) -> Path:
    """Write a report of an annotation as one HTML file, which opens offline.

    It has a summary, a table of types, a map of the cells, the genes that speak for each type, the tree of types, the composition of
    samples, agreement with given labels, known limits, and what it takes to repeat it. See :doc:`/report`.

    Parameters
    ----------
    annotated
        Annotated cells, or their file, `.h5ad` or `.zarr`, of which only what is needed is read.
    output
        The file to write, `.html`.
    model
        The model, as in :func:`sctab.tl.annotate`, for genes that speak for each type; by default the one that annotated the cells, found
        by its name. Where it is not found, the report says so.
    sample_key
        Column of `obs` with samples; by default one that is named like samples or donors.
    labels_key
        Column of `obs` with given labels to compare with; by default one that is named like cell types.
    title
        Title of the page; by default the name of the file.
    n_genes
        Genes per type.
    multiqc
        A file to write for MultiQC as well, whose name ends with `_mqc.json`.
    command
        Command that the page repeats.
    key_added
        Prefix of the annotation.
    overwrite
        Replace existing outputs.

    Returns
    -------
    The file of the report.

    Raises
    ------
    KeyNotFoundError
        If the cells are not annotated, or a column does not exist.
    DataFileError
        If the file is missing, of another format, or damaged.
    SettingError
        If an output has another extension, or a setting is invalid.
    ModelNotFoundError, ModelFormatError
        If a `model` is given that is not found or cannot be trusted.
    OutputExistsError, OutputError
        If an output already exists, is the input, or cannot be written.

    Examples
    --------
    >>> import tempfile, warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> with warnings.catch_warnings(action="ignore"), tempfile.TemporaryDirectory() as directory:
    ...     sctab.tl.annotate(adata, "pbmc")
    ...     page = sctab.report.write(adata, f"{directory}/report.html", labels_key="bulk_labels")
    ...     print(page.read_text(encoding="utf-8")[:15])
    <!DOCTYPE html>
    """
    check_outputs(output, multiqc, overwrite=overwrite)
    if not isinstance(annotated, AnnData) and not is_mudata(annotated):
        if not isinstance(annotated, str | PathLike):
            require_anndata(annotated)
        if not is_url(fspath(annotated)):
            check_apart([place for place in (output, multiqc) if place is not None], [annotated])
    keys = {"sample_key": sample_key, "labels_key": labels_key}
    with _opened(annotated, key_added, {name: key for name, key in keys.items() if key is not None}) as (adata, cells, name):
        content = gather(
            adata,
            cells,
            title=title or (Path(name).stem if name else "Annotated cells"),
            source=name,
            n_vars=cells.n_vars,
            key_added=key_added,
            model=model,
            sample_key=sample_key,
            labels_key=labels_key,
            n_genes=n_genes,
        )
        page = page_of(content, command=command)
    with ExitStack() as outputs:
        beside = outputs.enter_context(written_beside(output, overwrite=overwrite, kind="file"))
        beside.write_text(page, encoding="utf-8", errors="replace")
        if multiqc is not None:
            beside = outputs.enter_context(written_beside(multiqc, overwrite=overwrite, kind="file"))
            beside.write_text(dumps(custom_content(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return as_path(output)


def check_outputs(output: str | PathLike[str], multiqc: str | PathLike[str] | None, *, overwrite: bool) -> None:
    """Refuse outputs of a report before any work is done.

    Parameters
    ----------
    output, multiqc, overwrite
        As for :func:`write`.

    Raises
    ------
    SettingError, OutputExistsError, OutputError
        See :func:`write`.
    """
    if as_path(output).suffix.lower() not in {".html", ".htm"}:
        raise SettingError(f"The report `{fspath(output)}` does not end with `.html`. Provide such a name.")
    if multiqc is not None and not as_path(multiqc).name.endswith("_mqc.json"):
        raise SettingError(
            Parameter("multiqc", fspath(multiqc)), " does not end with `_mqc.json`, by which MultiQC finds it. Provide such a name."
        )
    for place in (output, multiqc):
        if place is not None:
            check_free(as_path(place), overwrite=overwrite, kind="file")
    if multiqc is not None:
        check_apart([output, multiqc])


@contextmanager
def _opened(
    annotated: AnnData | str | PathLike[str], key_added: str, keys: Mapping[str, str]
) -> Iterator[tuple[AnnData, Any, str]]:
    """Results, matrices, and the name of the file."""
    if isinstance(annotated, AnnData) or is_mudata(annotated):
        yield annotated, joined(annotated), ""
        return
    path = fspath(annotated)
    found = [path] if is_url(path) else find_data_files([path])
    if len(found) > 1:
        raise DataFileError(f"`{path}` holds {len(found)} data files. Provide one of them.")
    with closing(DataFile(found[0], choose=choose_expression())) as file:
        if file.layout is not None:
            raise DataFileError(
                f"`{file.path}` is a file without annotations. Annotate it first: run ", annotate_call(key_added), "."
            )
        for parameter, key in keys.items():
            if key not in file.obs_columns:
                raise missing_key(parameter, key, file.obs_columns)
        wanted = {*SAMPLES, *LABELS, *keys.values()}
        obs = [name for name in file.obs_columns if name in wanted or name.startswith(f"{key_added}_")]
        yield (
            read_results(
                file, obs=obs, obsm=["X_umap", f"{OBSM_LATENT_PREFIX}{key_added}", "X_pca"], uns=(key_added, *obs, *SAMPLES)
            ),
            file,
            base_name(file.path),
        )
        file.require_unchanged()
