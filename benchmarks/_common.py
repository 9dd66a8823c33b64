"""Data, tasks and the baseline that the benchmarks share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MaxAbsScaler

from sctab.data import Normalization, normalise
from sctab.metrics import macro_f1
from sctab.model import model_by_name

KANG_TEST_DONORS = ("lupus_1015", "lupus_1016", "lupus_101")


@dataclass(frozen=True)
class Task:
    """Train on `reference`, annotate `query`, score against `labels_key`."""

    name: str
    reference: AnnData
    query: AnnData
    labels_key: str
    donor_key: str | None = None


class Data:
    """The data sets of a folder, read once each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, AnnData] = {}

    def __getitem__(self, name: str) -> AnnData:
        if name not in self._read:
            self._read[name] = ad.read_h5ad(self.folder / f"{name}.h5ad")
        return self._read[name]

    def kang(self, *, test: bool) -> AnnData:
        """Five donors to learn from, or the three that are kept for the final test."""
        adata = self["pbmc_kang_ctrl_8donors"]
        return adata[adata.obs["donor_id"].isin(KANG_TEST_DONORS) == test].copy()


def fold_tasks(data: Data) -> Iterator[Task]:
    """Tasks on which settings may be chosen: none of them touches what benchmarks/blood.yaml is scored on."""
    kang = data.kang(test=False)
    for donor in kang.obs["donor_id"].unique():
        held_out = (kang.obs["donor_id"] == donor).to_numpy()
        yield Task(f"kang/{donor}", kang[~held_out].copy(), kang[held_out].copy(), "cell_type", "donor_id")
    lines = data["celllines_scmixology_5runs"]
    dropseq = (lines.obs["batch"] == "sc_dropseq").to_numpy()
    yield Task("cell lines/Drop-seq run", lines[~dropseq].copy(), lines[dropseq].copy(), "cell_type", "batch")
    first = (lines.obs["batch"] == "sc_celseq2").to_numpy()
    yield Task("cell lines/one run of 240 cells", lines[first].copy(), lines[~first].copy(), "cell_type")
    for name, reference in (("pbmc3k", "pbmc3k_10x"), ("FACS", "pbmc_zheng_facs")):
        yield Task(f"{name} to kang", data[reference].copy(), kang.copy(), "cell_type_coarse")


def score(task: Task, predicted: NDArray[np.object_]) -> float:
    """Macro F1 over the types that the reference has, on the query cells that are of one of them."""
    truth = task.query.obs[task.labels_key].astype(str).to_numpy()
    known = np.isin(truth, task.reference.obs[task.labels_key].astype(str).unique())
    return macro_f1(truth[known], predicted[known].astype(str))


def logistic_regression(task: Task, *, balanced: bool = False) -> float:
    """Macro F1 of scikit-learn's logistic regression (C = 1) on the shared genes, 10,000 per cell, log1p, max-abs scaled."""
    genes = task.reference.var_names.intersection(task.query.var_names)
    return score(task, fit_logistic_regression(task.reference, task.query, list(genes), task.labels_key, balanced=balanced))


def fit_logistic_regression(
    reference: AnnData, query: AnnData, genes: list[str], labels_key: str, *, balanced: bool = False
) -> NDArray[np.object_]:
    """Labels of the query by logistic regression on some genes, which both have; `query.X` may be proportional to counts."""
    model, values = fit_logistic_regression_to(reference, query, genes, labels_key, balanced=balanced)
    return model.predict(values).astype(object)


def fit_logistic_regression_to(
    reference: AnnData, query: AnnData, genes: list[str], labels_key: str, *, balanced: bool = False
) -> tuple[LogisticRegression, sparse.csr_matrix]:
    """Logistic regression on some genes of the reference, and the input of it that the query gives."""
    values = [normalise(sparse.csr_matrix(adata[:, genes].X), Normalization()) for adata in (reference, query)]
    scaler = MaxAbsScaler().fit(values[0])
    model = LogisticRegression(C=1.0, max_iter=2000, class_weight="balanced" if balanced else None)
    model.fit(scaler.transform(values[0]), reference.obs[labels_key].astype(str))
    return model, scaler.transform(values[1])


def train_and_score(task: Task, model: str, seed: int, *, architecture: dict[str, object], training: dict[str, object]) -> float:
    """Macro F1 of a model that has learned all genes of the reference."""
    model_class = model_by_name(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model_class.setup_anndata(task.reference, task.labels_key, donor_key=task.donor_key)
        classifier = model_class(task.reference, **architecture)
        classifier.train(calibrate=False, seed=seed, accelerator="cpu", enable_progress_bar=False, **training)
        predicted = classifier.predict(task.query)
        classifier.deregister_manager(task.reference)
    return score(task, predicted)


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table with the index as first column."""
    head = [str(table.index.name or ""), *map(str, table.columns)]
    rows = [[str(name), *map(str, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
