"""What every subject of a fuzz run is, and what several of them are made of and judged by."""

import hashlib
import importlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scanpy as sc
import torch
from anndata import AnnData
from scipy import sparse

import sctab
import sctab.cli
from sctab.model import DeepEnsemble

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


@cache
def packaged_model() -> Any:
    return sctab.zoo.load("pbmc", accelerator="cpu")


def warm_up() -> None:
    """Load and compile once what every case needs."""
    for name in ("annbatch", "lightning", "scvi", "xgboost", "sctab.model", "sctab.corpus", "sctab.cli"):
        importlib.import_module(name)
    sctab.tl.annotate(counts_of_blood(), packaged_model())


def run_command(*arguments: Any) -> None:
    """A command as typed in a shell; a refusal is what ends it with exit code 2."""
    try:
        sctab.cli.app([str(argument) for argument in arguments], standalone_mode=True)
    except SystemExit as ended:
        if ended.code not in (0, None):
            raise


def annotation_of(table: pd.DataFrame, names: Any) -> dict[str, Any]:
    return {
        "cells": [str(name) for name in names],
        "predicted": [str(label) for label in table["sctab_label"]],
        "confidence": [round(float(value), 4) for value in table["sctab_confidence"]],
    }


def is_same_annotation(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (
        one["cells"] == other["cells"]
        and one["predicted"] == other["predicted"]
        and np.allclose(one["confidence"], other["confidence"], atol=2e-3, equal_nan=True)
    )


def hash_by_gene(names: Any, values: Any) -> str:
    order = np.argsort(np.asarray(names, dtype=str), kind="stable")
    return hashlib.sha256("\n".join(np.asarray(names, dtype=str)[order]).encode() + np.asarray(values)[order].tobytes()).hexdigest()


def content_of_model(model: Any) -> dict[str, Any]:
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


def content_of_corpus(corpus: Any) -> dict[str, Any]:
    cells = {}
    for split in ("train", "validation", "test"):
        adata = corpus.to_anndata(split)
        X, obs = adata.X.toarray().astype(np.float32), adata.obs
        for i in range(adata.n_obs):
            cells[str(obs["row"].iloc[i])] = [
                str(obs["label"].iloc[i]),
                str(obs["donor"].iloc[i]).rsplit("/", 1)[-1],
                hash_by_gene(corpus.features.symbols, X[i]),
            ]
    return {"cells": cells, "labels": list(corpus.labels.names), "ids": [str(each) for each in corpus.labels.ids]}


def judge_changed(folder: Path, answer: Any, expected: Any) -> str:
    """Nothing that is accepted may have other content than what was saved."""
    return f"accepted with other {', '.join(sorted(name for name in expected if expected[name] != answer.get(name)))}"


def judge_rehashed(folder: Path, answer: Any, expected: Any) -> str:
    """Where hashes were put right, other content is not a damage; what it says must make sense all the same."""
    if "finite" in answer and not answer["finite"]:
        return "weights are not finite"
    if "labels" in answer and any(label == "" for label in answer["labels"]):
        return "empty labels"
    return "valid"
