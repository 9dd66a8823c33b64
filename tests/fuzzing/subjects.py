"""What is damaged and what then reads it: data files, models, corpora, journals, states of trainings and published checkpoints.

A :class:`Subject` is a folder with intact files, which file of it is damaged and how, what reads it, and how its answer is judged.
"""

import hashlib
import importlib
import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scanpy as sc
import torch
import yaml
import zarr
from anndata import AnnData
from anndata.tests.helpers import assert_equal
from lightning.pytorch.callbacks import Callback
from scipy import sparse
from tests.fuzzing import damage
from tests.fuzzing.oracle import dense_copy, read_intact
from tests.published import lightning_checkpoint, published_linear, write_tables

import sctab
import sctab.cli
from sctab.inference import Journal
from sctab.model import SCTAB, DeepEnsemble, LinearClassifier, MLPClassifier, XGBoostClassifier, load_model

N_OBS, N_VARS = 48, 120
COARSE = {
    "CD4+/CD25 T Reg": "T cell",
    "CD4+/CD45RA+/CD25- Naive T": "T cell",
    "CD4+/CD45RO+ Memory": "T cell",
    "CD8+ Cytotoxic T": "T cell",
    "CD8+/CD45RA+ Naive Cytotoxic": "T cell",
    "CD19+ B": "B cell",
    "CD14+ Monocyte": "monocyte",
    "CD56+ NK": "natural killer cell",
    "Dendritic": "dendritic cell",
    "CD34+": "hematopoietic precursor cell",
}
QUIET = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "refit": False, "batch_size": 32, "seed": 0}


@dataclass(frozen=True)
class Subject:
    """One way to read one kind of file.

    Parameters
    ----------
    name
        Of the table: what is read, and by what.
    group
        `"data"`, `"model"` or `"store"`.
    files
        Folder of intact files, which every case gets a copy of.
    target
        What in it is damaged.
    kinds
        Kinds of damage.
    read
        Reads what lies in a folder and says what came of it, as plain values.
    judge
        Says of an answer that differs from that of intact files whether it is right: `"valid"` where it is what the damaged file says, or
        why it is wrong.
    after
        Done after the damage, such as putting hashes right.
    may_leave
        Names of files that a refusal may leave behind.
    """

    name: str
    group: str
    files: Path
    target: str
    kinds: tuple[Callable[..., str], ...]
    read: Callable[[Path], Any]
    judge: Callable[[Path, Any, Any], str]
    after: Callable[[Path], None] | None = None
    may_leave: tuple[str, ...] = ()
    weight: int = 1


# Data


def counts_of_blood(seed: int = 0, n_obs: int = N_OBS) -> AnnData:
    """Counts of a few blood cells of Zheng et al. (2017) from the scanpy package, with every kind of column."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packaged = sc.datasets.pbmc68k_reduced()
    rng = np.random.default_rng(seed)
    symbols = sctab.zoo.load("pbmc").spec.features
    known = dict(zip(symbols.symbols, symbols.ids, strict=True))
    depth = packaged.obs["n_counts"].to_numpy()[:, None]
    counts = np.rint(np.expm1(packaged.raw.X.toarray()) * depth / 1e4)
    genes = [i for i in np.argsort(-counts.sum(axis=0)) if packaged.raw.var_names[i] in known][:N_VARS]
    labels = packaged.obs["bulk_labels"].astype(str).map(COARSE).to_numpy()
    cells = np.concatenate(
        [np.flatnonzero(labels == label)[: n_obs // 4] for label in ("T cell", "B cell", "monocyte", "dendritic cell")]
    )
    X = sparse.csr_matrix(counts[np.ix_(cells, genes)].astype(np.float32))
    n = len(cells)
    names = [str(name) for name in packaged.raw.var_names[genes]]
    adata = AnnData(
        X,
        obs=pd.DataFrame(
            {
                "cell_type": pd.Categorical(labels[cells]),
                "donor_id": np.array([f"donor {i % 4}" for i in range(n)], dtype=object),
                "batch": pd.Categorical(np.array(["a", "b"])[np.arange(n) % 2]),
                "n_reads": pd.array([None, *range(1, n)], dtype="Int64"),
                "is_doublet": pd.array([None, *(np.arange(n - 1) % 7 == 0)], dtype="boolean"),
                "score": rng.normal(size=n),
            },
            index=[f"cell-{i}" for i in range(n)],
        ),
        var=pd.DataFrame({"ensembl_id": [known[name] for name in names], "variable": np.arange(len(names)) % 3 == 0}, index=names),
        obsm={"X_pca": rng.normal(size=(n, 4)).astype(np.float32)},
        obsp={"distances": sparse.random(n, n, 0.1, format="csr", random_state=0)},
        uns={
            "title": "blood",
            "colors": np.array(["#fff", "#000"], dtype=object),
            "nested": {"number": 3, "log1p": {"base": None}},
        },
    )
    adata.raw = adata.copy()
    adata.layers["lognorm"] = sparse.csr_matrix(np.log1p(X.toarray() / X.sum(axis=1).A1[:, None] * 1e4).astype(np.float32))
    return adata


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


def _annotation(adata_obs: pd.DataFrame, names: Any) -> dict[str, Any]:
    table = adata_obs
    return {
        "names": [str(name) for name in names],
        "labels": [str(label) for label in table["sctab_label"]],
        "confidence": [round(float(value), 4) for value in table["sctab_confidence"]],
    }


def _same_annotation(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (
        one["names"] == other["names"]
        and one["labels"] == other["labels"]
        and np.allclose(one["confidence"], other["confidence"], atol=2e-3, equal_nan=True)
    )


def annotate_to(output: str, query: str, folder: Path) -> Any:
    sctab.tl.annotate_files(folder / query, _model(), output=folder / output, block_size=20)
    if output.endswith(".csv"):
        table = pd.read_csv(folder / output, index_col=0, keep_default_na=False)
        table["sctab_confidence"] = pd.to_numeric(table["sctab_confidence"])
        return _annotation(table, table.index)
    if output.endswith(".parquet"):
        table = pd.read_parquet(folder / output)
        return _annotation(table, table.index if table.index.name or "cell" not in table else table["cell"])
    return None


def annotate_command(query: str, folder: Path) -> Any:
    _command("annotate", folder / query, "--csv", folder / "labels.csv")
    table = pd.read_csv(folder / "labels.csv", index_col=0, keep_default_na=False)
    return _annotation(table, table.index)


def annotate_in_memory(query: str, backed: bool, folder: Path) -> Any:
    adata = read_intact(folder / query, backed=backed)
    sctab.tl.annotate(adata, _model())
    return _annotation(adata.obs, adata.obs_names)


@cache
def _model() -> Any:
    return sctab.zoo.load("pbmc", accelerator="cpu")


def warm_up() -> None:
    """Load and compile once what every case needs."""
    for name in ("annbatch", "lightning", "scvi", "xgboost", "sctab.model", "sctab.corpus", "sctab.cli"):
        importlib.import_module(name)
    sctab.tl.annotate(counts_of_blood(), _model())


def judge_annotation(query: str, folder: Path, answer: Any, _: Any) -> str:
    """What anndata reads of the file, annotated as a dense matrix, must have the same labels."""
    adata = dense_copy(read_intact(folder / query))
    sctab.tl.annotate(adata, _model())
    found = _annotation(adata.obs, adata.obs_names)
    if _same_annotation(found, answer):
        return "valid"
    n = sum(a != b for a, b in zip(found["labels"], answer["labels"], strict=False))
    return f"other labels than what anndata reads: {n} differ, names {'equal' if found['names'] == answer['names'] else 'differ'}"


def judge_copy(query: str, output: str, folder: Path, *_: Any) -> str:
    """What anndata reads of the copy must be what it reads of the file, and the annotation right."""
    try:
        written = read_intact(folder / output)
    except Exception as error:
        return f"unreadable: anndata cannot read the copy: {type(error).__name__} {error}"
    found = _annotation(written.obs, written.obs_names)
    before = read_intact(folder / query)
    written.obs = written.obs[[column for column in written.obs if not column.startswith("sctab_")]]
    for slot, name in ((written.obsm, "X_sctab"), (written.obsm, "sctab_probabilities"), (written.uns, "sctab")):
        if name in slot:
            del slot[name]
    before.obs = before.obs[[column for column in before.obs if not column.startswith("sctab_")]]
    for slot, name in ((before.obsm, "X_sctab"), (before.obsm, "sctab_probabilities"), (before.uns, "sctab")):
        if name in slot:
            del slot[name]
    for slot in ("obs", "var", "X", "layers", "obsm", "obsp", "varm", "uns", "raw"):
        try:
            assert_equal(getattr(written, slot), getattr(before, slot))
        except AssertionError as error:
            return f"the copy's `{slot}` is not that of the file: {str(error).splitlines()[0][:200]}"
    return judge_annotation(query, folder, found, None)


def train_command(query: str, folder: Path) -> Any:
    _command(
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
    return _content_of_model(load_model(folder / "model", accelerator="cpu"))


def judge_training(query: str, folder: Path, answer: Any, _: Any) -> str:
    """It must be what training from a dense copy of what anndata reads gives: the same labels, genes and weights."""
    adata = dense_copy(read_intact(folder / query))
    LinearClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    model = LinearClassifier(adata)
    model.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    found = _content_of_model(model)
    for part in ("labels", "genes", "weights"):
        if found[part] != answer[part] and not (part == "weights" and np.allclose(found[part], answer[part], atol=1e-3)):
            return f"another training than that of what anndata reads: {part} differ"
    return "valid"


def corpus_of_file(query: str, folder: Path) -> Any:
    (folder / "blood.yaml").write_text(yaml.safe_dump({"sources": [query], "labels_key": "cell_type", "donor_key": "donor_id"}))
    corpus = sctab.corpus.build(folder / "blood.yaml", folder / "blood.corpus", shelf_size=20, n_threads=1)
    if problems := corpus.verify():
        raise AssertionError(f"a corpus that was just built is damaged: {problems}")
    return _content_of_corpus(corpus)


def judge_corpus_of_file(query: str, folder: Path, answer: Any, _: Any) -> str:
    """Every cell of the corpus must have the counts and the label that anndata reads."""
    adata = dense_copy(read_intact(folder / query))
    cells = {}
    for row in range(adata.n_obs):
        of_cell = adata.X[row].astype(np.float32)
        cells[str(row)] = [
            str(adata.obs["cell_type"].iloc[row]),
            str(adata.obs["donor_id"].iloc[row]),
            _by_gene(adata.var_names, of_cell),
        ]
    wrong = [row for row, cell in answer["cells"].items() if cells.get(row) != cell]
    return "valid" if not wrong else f"{len(wrong)} of {len(answer['cells'])} cells are not what anndata reads"


def _by_gene(names: Any, values: Any) -> str:
    order = np.argsort(np.asarray(names, dtype=str), kind="stable")
    return hashlib.sha256("\n".join(np.asarray(names, dtype=str)[order]).encode() + np.asarray(values)[order].tobytes()).hexdigest()


def plan_of_file(query: str, folder: Path) -> Any:
    (folder / "blood.yaml").write_text(yaml.safe_dump({"sources": [query], "labels_key": "cell_type", "donor_key": "donor_id"}))
    found = sctab.corpus.plan(folder / "blood.yaml")
    return {"n_obs": int(found.n_obs), "types": found.types_table().to_json(), "splits": found.splits_table().to_json()}


def judge_readable(query: str, folder: Path, *_: Any) -> str:
    """What was not refused must be readable by anndata."""
    read_intact(folder / query)
    return "valid"


def evaluate_command(query: str, folder: Path) -> Any:
    _command("evaluate", folder / query, "--labels-key", "cell_type", "--n-bootstrap", 0, "--csv", folder / "scores.csv")
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


def _command(*arguments: Any) -> None:
    """A command as typed in a shell; a refusal is what ends it with exit code 2."""
    try:
        sctab.cli.app([str(argument) for argument in arguments], standalone_mode=True)
    except SystemExit as ended:
        if ended.code not in (0, None):
            raise


# Models


def _content_of_model(model: Any) -> dict[str, Any]:
    members = model.members if isinstance(model, DeepEnsemble) else (model,)
    weights = [tensor.detach().double().reshape(-1) for member in members for tensor in member.module.state_dict().values()]
    values = np.round(torch.cat(weights).numpy(), 6) if weights else np.empty(0)
    spec = json.loads(json.dumps([member.spec.to_json() for member in members], default=str))
    for each in spec:
        each.pop("format_version", None)
    return {
        "class": [type(member).__name__ for member in members],
        "labels": list(model.spec.labels.names),
        "genes": list(model.spec.features.names),
        "spec": spec,
        "weights": values.tolist(),
        "finite": bool(np.isfinite(values).all()),
    }


def annotate_with(query: str, folder: Path) -> Any:
    model = load_model(folder / "model", accelerator="cpu")
    adata = ad.read_h5ad(folder / query)
    sctab.tl.annotate(adata, model, min_gene_coverage=0)
    return _content_of_model(model) | _annotation(adata.obs, adata.obs_names)


def judge_changed(folder: Path, answer: Any, expected: Any) -> str:
    """Nothing that is accepted may have other content than what was saved."""
    return f"accepted with other {', '.join(sorted(name for name in expected if expected[name] != answer.get(name)))}"


def judge_imported(folder: Path, answer: Any, expected: Any) -> str:
    """What stands beside the weights names the file, which is another one."""
    parts = [part for part in ("class", "labels", "genes", "weights") if answer[part] != expected[part]]
    return f"imported with other {', '.join(parts)}" if parts else "valid"


def judge_rehashed(folder: Path, answer: Any, expected: Any) -> str:
    """Where hashes were put right, other content is no damage; what it says must make sense all the same."""
    if "finite" in answer and not answer["finite"]:
        return "weights are not finite"
    if "labels" in answer and any(label == "" for label in answer["labels"]):
        return "empty labels"
    return "valid"


# Corpora


def _content_of_corpus(corpus: Any) -> dict[str, Any]:
    cells = {}
    for split in ("train", "validation", "test"):
        adata = corpus.to_anndata(split)
        X, obs = adata.X.toarray().astype(np.float32), adata.obs
        for i in range(adata.n_obs):
            cells[str(obs["row"].iloc[i])] = [
                str(obs["label"].iloc[i]),
                str(obs["donor"].iloc[i]).rsplit("/", 1)[-1],
                _by_gene(corpus.features.symbols, X[i]),
            ]
    return {"cells": cells, "labels": list(corpus.labels.names), "ids": [str(each) for each in corpus.labels.ids]}


def verify_corpus(folder: Path) -> Any:
    _command("corpus", "verify", folder / "blood.corpus")
    corpus = sctab.corpus.Corpus.open(folder / "blood.corpus")
    content = _content_of_corpus(corpus)
    content["measured"] = corpus.is_measured.tolist()
    content["subset"] = corpus.subset(0.5, by="cell").tolist()
    return content


def read_corpus(folder: Path) -> Any:
    _command("corpus", "info", folder / "blood.corpus")
    return _content_of_corpus(sctab.corpus.Corpus.open(folder / "blood.corpus"))


def train_from_corpus(folder: Path) -> Any:
    corpus = sctab.corpus.Corpus.open(folder / "blood.corpus")
    model = LinearClassifier.from_corpus(corpus)
    model.train(**QUIET)
    model.save(folder / "model")
    return _content_of_model(model)


def judge_unverified(folder: Path, answer: Any, _: Any) -> str:
    """Reading alone compares no hashes, but weights must be finite."""
    return "valid" if answer.get("finite", True) else "weights are not finite"


# What an interrupted run leaves


def resume_annotation(query: Path, folder: Path) -> Any:
    sctab.tl.annotate_files(query, _model(), output=folder / "labels.csv", block_size=20, resume=True)
    table = pd.read_csv(folder / "labels.csv", index_col=0, keep_default_na=False)
    return _annotation(table, table.index)


def resume_training(folder: Path) -> Any:
    model = _model_in_training(folder / "run", resume=True)
    return {part: _content_of_model(model)[part] for part in ("class", "labels", "genes", "weights", "finite")}


class _Ended(Callback):
    """Ends a training when its second epoch begins."""

    def on_train_epoch_start(self, trainer: Any, _: Any) -> None:
        if trainer.current_epoch == 1:
            raise InterruptedError


def _model_in_training(run_dir: Path, *, resume: bool) -> Any:
    adata = counts_of_blood()
    del adata.raw, adata.layers["lognorm"]
    LinearClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    model = LinearClassifier(adata)
    model.train(**QUIET | {"max_epochs": 2}, run_dir=run_dir, resume=resume, callbacks=[] if resume else [_Ended()])
    return model


# Published checkpoints


def import_published(folder: Path) -> Any:
    model = sctab.zoo.import_checkpoint(
        folder / "best.ckpt", genes=folder / "var.parquet", labels=folder / "cell_type.parquet", output=folder / "imported"
    )
    return _content_of_model(model)


# All of them


def make_subjects(root: Path) -> list[Subject]:
    """Write all intact files below a folder, and say what can be done with them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [*_data_subjects(root / "data"), *_model_subjects(root / "models"), *_store_subjects(root / "stores")]


def _data_subjects(root: Path) -> list[Subject]:
    subjects = []
    adata = counts_of_blood()
    sctab.tl.annotate(annotated := adata.copy(), _model())
    annotated.uns.pop("nested")
    for layout in LAYOUTS:
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
            add(f"annotate to {output[4:]}", partial(annotate_to, output, query), partial(judge_copy, query, output), weight=2)
        add("annotate in memory", partial(annotate_in_memory, query, False), judged)
        if layout.startswith("h5ad"):
            add("annotate backed", partial(annotate_in_memory, query, True), judged, weight=2)
        add("train (command)", partial(train_command, query), partial(judge_training, query))
        add("corpus plan", partial(plan_of_file, query), partial(judge_readable, query))
        add("corpus build", partial(corpus_of_file, query), partial(judge_corpus_of_file, query))
        add("split, sketch, subsample", partial(choose_cells, query), partial(judge_choice, query))
    for layout in ("h5ad-csr", "zarr3-csr"):
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


def _model_subjects(root: Path) -> list[Subject]:
    root.mkdir(parents=True)
    adata = counts_of_blood()
    del adata.raw, adata.layers["lognorm"]
    query = root / "query.h5ad"
    counts_of_blood(n_obs=16).write_h5ad(query)
    classes = {
        "linear": (LinearClassifier, {}),
        "mlp": (MLPClassifier, {}),
        "sctab": (SCTAB, {"n_d": 4, "n_a": 4}),
        "xgboost": (XGBoostClassifier, {}),
    }
    subjects = []
    for name in (*classes, "ensemble"):
        files = root / name
        files.mkdir()
        shutil.copyfile(query, files / "query.h5ad")
        if name == "ensemble":
            model = DeepEnsemble(LinearClassifier, 2)
            model.setup_anndata(adata, "cell_type")
            model.train(**QUIET)
        else:
            cls, settings = classes[name]
            cls.setup_anndata(adata, "cell_type")
            model = cls(adata, **settings)
            model.train(**QUIET if name != "xgboost" else {"max_epochs": 3, "accelerator": "cpu", "seed": 0, "refit": False})
        model.save(files / "model")
        read = partial(annotate_with, "query.h5ad")
        subjects.append(Subject(f"{name}: load, annotate", "model", files, "model", damage.MODEL, read, judge_changed, weight=12))
        subjects.append(
            Subject(
                f"{name}: hashes put right",
                "model",
                files,
                "model",
                (*[damage.edit_json] * 4, damage.edit_header, damage.edit_tensor, damage.edit_tensor),
                read,
                judge_rehashed,
                after=put_hashes_right,
                weight=8,
            )
        )
    return subjects


def put_hashes_right(folder: Path) -> None:
    """Make the hashes in a model directory those of what it holds, as somebody would who changes a model on purpose."""
    for spec in sorted((folder / "model").rglob("model.json")):
        try:
            values = json.loads(spec.read_text(encoding="utf-8"))
            values["weights"]["sha256"] = hashlib.sha256((spec.parent / "model.safetensors").read_bytes()).hexdigest()
        except (ValueError, KeyError, TypeError, OSError, RecursionError):
            continue
        spec.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")
    listing = folder / "model" / "ensemble.json"
    try:
        values = json.loads(listing.read_text(encoding="utf-8"))
        hashes = [json.loads((listing.parent / f"member_{i}" / "model.json").read_text())["weights"]["sha256"] for i in range(2)]
        values["members"] = hashes
        listing.write_text(json.dumps(values), encoding="utf-8")
    except (ValueError, KeyError, TypeError, OSError, RecursionError, IndexError):
        pass


def _store_subjects(root: Path) -> list[Subject]:
    subjects = []
    # a corpus
    files = root / "corpus"
    files.mkdir(parents=True)
    adata = counts_of_blood()
    del adata.raw, adata.layers["lognorm"]
    adata.write_h5ad(root / "source.h5ad")
    (root / "blood.yaml").write_text(
        yaml.safe_dump({"sources": ["source.h5ad"], "labels_key": "cell_type", "donor_key": "donor_id"})
    )
    sctab.corpus.build(root / "blood.yaml", files / "blood.corpus", shelf_size=20, n_threads=1)
    for name, read, judge, weight in (
        ("corpus verify", verify_corpus, judge_changed, 20),
        ("corpus info, read", read_corpus, judge_unverified, 10),
        ("train from corpus", train_from_corpus, judge_unverified, 8),
    ):
        subjects.append(Subject(f"store: {name}", "store", files, "blood.corpus", damage.STORE, read, judge, weight=weight))
    # a journal of an annotation
    files = root / "journal"
    files.mkdir()
    counts_of_blood().write_h5ad(root / "query.h5ad")
    with patch.object(Journal, "remove", lambda _: None):
        sctab.tl.annotate_files(root / "query.h5ad", _model(), output=files / "labels.csv", block_size=20)
    (files / "labels.csv").unlink()
    next((files / "labels.csv.parts").glob("part-*-000000000020-*")).unlink()
    read = partial(resume_annotation, root / "query.h5ad")
    subjects.append(
        Subject(
            "journal: resume",
            "store",
            files,
            "labels.csv.parts",
            (*damage.DIRECTORY, *[damage.edit_json] * 4),
            read,
            judge_changed,
            may_leave=("labels.csv.parts",),
            weight=14,
        )
    )
    # the state of a training
    files = root / "state"
    files.mkdir()
    with suppress(InterruptedError):
        _model_in_training(files / "run", resume=False)
    state = next((files / "run").rglob("state.safetensors")).relative_to(files)
    kinds = (*damage.BYTES, damage.special_file, *[damage.edit_header] * 3, *[damage.edit_tensor] * 3)
    subjects.append(
        Subject(
            "state: resume training",
            "store",
            files,
            str(state),
            kinds,
            resume_training,
            judge_changed,
            may_leave=("run",),
            weight=7,
        )
    )
    # a published checkpoint
    files = root / "published"
    files.mkdir()
    write_tables(files)
    torch.save(lightning_checkpoint(*published_linear()), files / "best.ckpt")
    subjects.append(
        Subject(
            "checkpoint: import",
            "store",
            files,
            "best.ckpt",
            (*damage.BYTES, damage.special_file),
            import_published,
            judge_imported,
            weight=6,
        )
    )
    for table in ("var.parquet", "cell_type.parquet"):
        subjects.append(
            Subject(
                f"{table}: import",
                "store",
                files,
                table,
                (*damage.BYTES, damage.special_file),
                import_published,
                judge_rehashed,
                weight=2,
            )
        )
    return subjects
