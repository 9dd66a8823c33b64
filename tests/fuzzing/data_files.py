"""Data files in every layout, and what reads them: annotation, training, corpora, evaluation, the choice of cells."""

import json
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import yaml
import zarr
from anndata import AnnData
from scipy import sparse
from tests.fuzzing import damage
from tests.fuzzing.oracle import InvalidDataError, dense_copy, difference, read_intact
from tests.fuzzing.subject import (
    Subject,
    annotation_of,
    content_of_corpus,
    content_of_model,
    counts_of_blood,
    hash_by_gene,
    is_same_annotation,
    packaged_model,
    run_command,
)

import sctab
from sctab.model import LinearClassifier, load_model

LAYOUTS = (
    "h5ad-csr",
    "h5ad-csc",
    "h5ad-dense",
    "zarr2-csr",
    "zarr2-csc",
    "zarr2-dense",
    "zarr3-csr",
    "zarr3-csc",
    "zarr3-dense",
    "zarr3-sharded",
)


def _write(adata: AnnData, path: Path, layout: str) -> None:
    """Write an AnnData with its matrices in a layout, in small chunks, so that there are several."""
    adata = adata.copy()
    kind = layout.split("-")[-1]
    turned = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": lambda X: X.toarray(), "sharded": sparse.csr_matrix}[
        kind
    ]
    raw = adata.raw.to_adata()
    raw.X = turned(raw.X)
    adata.raw = raw
    adata.X = turned(adata.X)
    adata.layers["lognorm"] = turned(adata.layers["lognorm"])
    if path.suffix == ".h5ad":
        adata.write_h5ad(path, compression="gzip" if kind == "csc" else None)
        return
    with ad.settings.override(zarr_write_format=int(layout[4])):
        adata.write_zarr(path)
    root = zarr.open_group(str(path), mode="r+", use_consolidated=False)
    matrices = [root["X"], root["raw/X"], root["layers/lognorm"]]
    for matrix in matrices:
        for name in ("data", "indices") if hasattr(matrix, "keys") else ("",):
            parent = matrix if name else root[str(Path(matrix.path).parent)] if "/" in matrix.path else root
            key = name or Path(matrix.path).name
            values, attributes = parent[key][...], dict(parent[key].attrs)
            chunks = (-(-values.shape[0] // 4), *values.shape[1:])
            shards = {"shards": (2 * chunks[0], *chunks[1:])} if kind == "sharded" else {}
            del parent[key]
            parent.create_array(key, data=values, chunks=chunks, **shards).attrs.update(attributes)
    if kind in {"csr", "dense"}:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(str(path))
    elif layout[4] == "2":
        (path / ".zmetadata").unlink()
    else:
        top = json.loads((path / "zarr.json").read_text())
        (path / "zarr.json").write_text(json.dumps({key: value for key, value in top.items() if key != "consolidated_metadata"}))


def annotate_to(output: str, query: str, folder: Path) -> Any:
    sctab.tl.annotate_files(folder / query, packaged_model(), output=folder / output, block_size=20)
    if output.endswith(".csv"):
        table = pd.read_csv(folder / output, index_col=0, keep_default_na=False)
        table["sctab_confidence"] = pd.to_numeric(table["sctab_confidence"])
        return annotation_of(table, table.index)
    if output.endswith(".parquet"):
        table = pd.read_parquet(folder / output)
        return annotation_of(table, table.index if table.index.name or "cell" not in table else table["cell"])
    return None


def annotate_command(query: str, folder: Path) -> Any:
    run_command("annotate", folder / query, "--csv", folder / "labels.csv")
    table = pd.read_csv(folder / "labels.csv", index_col=0, keep_default_na=False)
    return annotation_of(table, table.index)


def annotate_in_memory(query: str, backed: bool, folder: Path) -> Any:
    adata = read_intact(folder / query, backed=backed)
    sctab.tl.annotate(adata, packaged_model())
    return annotation_of(adata.obs, adata.obs_names)


def judge_annotation(query: str, folder: Path, answer: Any, _: Any) -> str:
    """What anndata reads of the file, annotated as a dense matrix, must have the same labels."""
    adata = dense_copy(read_intact(folder / query))
    sctab.tl.annotate(adata, packaged_model())
    found = annotation_of(adata.obs, adata.obs_names)
    if is_same_annotation(found, answer):
        return "valid"
    n = sum(a != b for a, b in zip(found["predicted"], answer["predicted"], strict=False))
    return f"other labels than what anndata reads: {n} differ, names {'equal' if found['cells'] == answer['cells'] else 'differ'}"


def judge_copy(query: str, output: str, intact: Path, folder: Path, *_: Any) -> str:
    """What anndata reads of the copy must be what it reads of the file, or of the intact one, and the annotation right."""
    try:
        written = read_intact(folder / output)
    except InvalidDataError as error:
        return f"the copy cannot be read: {error}"
    found = annotation_of(written.obs, written.obs_names)
    try:
        source = folder / query
        before = read_intact(source)
    except InvalidDataError:  # what is lost may be what nobody needs: a version, the length of a chunk
        source = intact
        before = read_intact(source)
    written.obs = written.obs[[column for column in written.obs if not column.startswith("sctab_")]]
    for slot, name in ((written.obsm, "X_sctab"), (written.obsm, "sctab_probabilities"), (written.uns, "sctab")):
        if name in slot:
            del slot[name]
    before.obs = before.obs[[column for column in before.obs if not column.startswith("sctab_")]]
    for slot, name in ((before.obsm, "X_sctab"), (before.obsm, "sctab_probabilities"), (before.uns, "sctab")):
        if name in slot:
            del slot[name]
    for slot in ("obs", "var", "X", "layers", "obsm", "obsp", "varm", "uns", "raw"):
        if (problem := difference(getattr(written, slot), getattr(before, slot))) is not None:
            return f"the copy's `{slot}` is not that of the file: {problem}"
    return judge_annotation(source.name, source.parent, found, None)


def train_command(query: str, folder: Path) -> Any:
    run_command(
        "train",
        folder / query,
        "--labels-key",
        "cell_type",
        "--donor-key",
        "donor_id",
        "--model",
        "linear",
        "--max-epochs",
        1,
        "--no-logs",
        "--accelerator",
        "cpu",
        "--output",
        folder / "model",
    )
    return content_of_model(load_model(folder / "model", accelerator="cpu"))


def judge_training(query: str, folder: Path, answer: Any, _: Any) -> str:
    """It must be what training from a dense copy of what anndata reads gives: the same labels, genes and weights."""
    adata = dense_copy(read_intact(folder / query))
    LinearClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    model = LinearClassifier(adata)
    model.train(calibrate=False, max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    found = content_of_model(model)
    for part in ("labels", "genes", "weights"):
        if found[part] != answer[part] and not (part == "weights" and np.allclose(found[part], answer[part], atol=1e-3)):
            return f"another training than that of what anndata reads: {part} differ"
    return "valid"


def corpus_of_file(query: str, folder: Path) -> Any:
    (folder / "blood.yaml").write_text(yaml.safe_dump({"sources": [query], "labels_key": "cell_type", "donor_key": "donor_id"}))
    corpus = sctab.corpus.build(folder / "blood.yaml", folder / "blood.corpus", shard_size=20, n_jobs=1)
    if problems := corpus.verify():
        raise AssertionError(f"a corpus that was just built is damaged: {problems}")
    return content_of_corpus(corpus)


def judge_corpus_of_file(query: str, folder: Path, answer: Any, _: Any) -> str:
    """Every cell of the corpus must have the counts and the label that anndata reads."""
    adata = dense_copy(read_intact(folder / query))
    cells = {}
    for row in range(adata.n_obs):
        of_cell = adata.X[row].astype(np.float32)
        cells[str(row)] = [
            str(adata.obs["cell_type"].iloc[row]),
            str(adata.obs["donor_id"].iloc[row]),
            hash_by_gene(adata.var_names, of_cell),
        ]
    wrong = [row for row, cell in answer["cells"].items() if cells.get(row) != cell]
    return "valid" if not wrong else f"{len(wrong)} of {len(answer['cells'])} cells are not what anndata reads"


def plan_of_file(query: str, folder: Path) -> Any:
    (folder / "blood.yaml").write_text(yaml.safe_dump({"sources": [query], "labels_key": "cell_type", "donor_key": "donor_id"}))
    found = sctab.corpus.plan(folder / "blood.yaml")
    return {"n_obs": int(found.n_obs), "types": found.types_table().to_json(), "splits": found.splits_table().to_json()}


def judge_readable(query: str, folder: Path, *_: Any) -> str:
    """What was not refused must be readable by anndata."""
    read_intact(folder / query)
    return "valid"


def evaluate_command(query: str, folder: Path) -> Any:
    run_command("evaluate", folder / query, "--labels-key", "cell_type", "--n-bootstrap", 0, "--csv", folder / "scores.csv")
    return (folder / "scores.csv").read_text()


def choose_cells(query: str, folder: Path) -> Any:
    adata = read_intact(folder / query)
    sctab.pp.split(adata, "cell_type", donor_key="donor_id")
    sctab.pp.sketch(adata, 0.3, method="k-centre")
    chosen = sctab.pp.subsample(adata, 0.5)
    return {
        "split": [str(value) for value in adata.obs["sctab_split"]],
        "sketch": [bool(value) for value in adata.obs["sctab_sketch"]],
        "n": chosen.n_obs,
    }


def judge_choice(query: str, folder: Path, answer: Any, _: Any) -> str:
    adata = dense_copy(read_intact(folder / query))
    n = adata.n_obs
    return "valid" if len(answer["split"]) == len(answer["sketch"]) == n else "not every cell has an answer"


def data_subjects(root: Path, layouts: Sequence[str] = LAYOUTS) -> list[Subject]:
    subjects = []
    adata = counts_of_blood()
    sctab.tl.annotate(annotated := adata.copy(), packaged_model())
    annotated.uns.pop("nested")
    for layout in layouts:
        files = root / layout
        files.mkdir(parents=True)
        query = "query.h5ad" if layout.startswith("h5ad") else "query.zarr"
        _write(adata, files / query, layout)
        _neighbour(files / "neighbour.h5")
        kinds = damage.H5 if query.endswith(".h5ad") else damage.ZARR
        journal = (
            "labels.csv.parts",
            "labels.parquet.parts",
            "copy.h5ad.parts",
            "copy.zarr.parts",
            "blood.corpus.unfinished",
            "blood.yaml",
        )

        def add(name, read, judge, *, weight=1, layout=layout, files=files, query=query, kinds=kinds, journal=journal):
            subjects.append(Subject(f"{layout} {name}", "data", files, query, kinds, read, judge, may_leave=journal, weight=weight))

        judged = partial(judge_annotation, query)
        add("annotate to .csv", partial(annotate_to, "labels.csv", query), judged, weight=4)
        add("annotate to .parquet", partial(annotate_to, "labels.parquet", query), judged)
        add("annotate (command)", partial(annotate_command, query), judged, weight=2)
        for output in ("copy.h5ad", "copy.zarr"):
            add(
                f"annotate to {output[4:]}",
                partial(annotate_to, output, query),
                partial(judge_copy, query, output, files / query),
                weight=2,
            )
        add("annotate in memory", partial(annotate_in_memory, query, False), judged)
        if layout.startswith("h5ad"):
            add("annotate backed", partial(annotate_in_memory, query, True), judged, weight=2)
        add("train (command)", partial(train_command, query), partial(judge_training, query))
        add("corpus plan", partial(plan_of_file, query), partial(judge_readable, query))
        add("corpus build", partial(corpus_of_file, query), partial(judge_corpus_of_file, query))
        add("split, sketch, subsample", partial(choose_cells, query), partial(judge_choice, query))
    for layout in sorted({"h5ad-csr", "zarr3-csr"} & set(layouts)):
        files = root / f"annotated-{layout}"
        files.mkdir()
        query = "query.h5ad" if layout.startswith("h5ad") else "query.zarr"
        _write(annotated, files / query, layout)
        kinds = damage.H5 if query.endswith(".h5ad") else damage.ZARR
        subjects.append(
            Subject(
                f"{layout} evaluate (command)",
                "data",
                files,
                query,
                kinds,
                partial(evaluate_command, query),
                partial(judge_readable, query),
            )
        )
    return subjects


def _neighbour(path: Path) -> None:
    """A file of somebody else that links may lead to; it must never change."""
    with h5py.File(path, "w") as file:
        file["data"] = np.arange(5000)
        file.create_group("uns")["sctab"] = 1
