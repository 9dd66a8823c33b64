"""Plain, automatic and hierarchical loss on references whose labels are of one granularity, and of several.

    uv run python benchmarks/losses.py --data FOLDER [--tasks folds blood] [--models linear mlp sctab] [--seeds 3]

`FOLDER` holds the data sets that are listed in docs/benchmarks.md. `folds` are tasks on which settings may be chosen: labels of some of
the cells of a reference are made coarser, and cells of a donor, or of another study, that were held out are named. `blood` is what is
reported: both blood references with the labels that their authors gave, and the cells of `scanpy.datasets.pbmc68k_reduced`; and five
donors of the Kang set and the other three, whose labels look as if they were of one granularity.
Prints Markdown tables of macro F1, as it is and ontology-corrected, mean ± standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from _common import Data, Task, markdown
from anndata import AnnData

from sctab.metrics import correct_predictions, macro_f1
from sctab.model import model_by_name
from sctab.ontology import CellOntology

LABELS_KEY = "cell_type"
LOSSES = ("cross-entropy", "auto", "hierarchical")
COARSER = {
    "CD14-low, CD16-positive monocyte": "monocyte",
    "CD14-positive monocyte": "monocyte",
    "CD4-positive helper T cell": "T cell",
    "CD4-positive, alpha-beta T cell": "T cell",
    "CD4-positive, alpha-beta memory T cell": "CD4-positive, alpha-beta T cell",
    "CD8-positive, alpha-beta T cell": "T cell",
    "CD8-positive, alpha-beta cytotoxic T cell": "CD8-positive, alpha-beta T cell",
    "naive thymus-derived CD4-positive, alpha-beta T cell": "CD4-positive, alpha-beta T cell",
    "naive thymus-derived CD8-positive, alpha-beta T cell": "CD8-positive, alpha-beta T cell",
    "regulatory T cell": "T cell",
}
"""Coarser labels of these cells."""
BULK_LABELS = {
    "CD14+ Monocyte": "CD14-positive monocyte",
    "CD19+ B": "B cell",
    "CD34+": "hematopoietic precursor cell",
    "CD4+/CD25 T Reg": "regulatory T cell",
    "CD4+/CD45RA+/CD25- Naive T": "naive thymus-derived CD4-positive, alpha-beta T cell",
    "CD4+/CD45RO+ Memory": "CD4-positive, alpha-beta memory T cell",
    "CD56+ NK": "natural killer cell",
    "CD8+ Cytotoxic T": "CD8-positive, alpha-beta cytotoxic T cell",
    "CD8+/CD45RA+ Naive Cytotoxic": "naive thymus-derived CD8-positive, alpha-beta T cell",
    "Dendritic": "dendritic cell",
}
"""Names in the Cell Ontology of the labels of `pbmc68k_reduced`, those of the same populations in the FACS reference."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="*", choices=("folds", "blood"), default=["folds", "blood"])
    parser.add_argument("--models", nargs="*", default=["linear", "mlp", "sctab"])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()

    warnings.simplefilter("ignore")
    data = Data(arguments.data)
    rows = []
    for kind in arguments.tasks:
        for task in {"folds": folds, "blood": blood}[kind](data):
            for model in arguments.models:
                for loss in LOSSES:
                    for seed in range(arguments.seeds):
                        found = scores(task, model, loss, seed)
                        rows.append({"task": task.name.split("/")[0], "model": model, "loss": loss, "seed": seed} | found)
                        print(f"{task.name}: {model}, {loss}, seed {seed}: {found}", flush=True)
    results = pd.DataFrame(rows)
    for score in ("macro F1", "corrected macro F1"):
        of_seeds = results.pivot_table(index=["task", "model"], columns=["loss", "seed"], values=score, sort=False).T
        groups = of_seeds.groupby("loss", sort=False)
        table = groups.mean().map("{:.3f}".format)
        if arguments.seeds > 1:
            table = table + groups.std(ddof=1).map(" ± {:.3f}".format)
        table = table.T
        table.index = [f"{task}: `{model}`" for task, model in table.index]
        table.index.name = score
        print(markdown(table), end="\n\n")


def folds(data: Data) -> Iterator[Task]:
    """A donor of the Kang set after the other, and from one study to another; labels of half of the reference made coarser, or none."""
    kang = data.kang(test=False)
    donors = kang.obs["donor_id"].unique()
    for donor in donors:
        held_out = (kang.obs["donor_id"] == donor).to_numpy()
        reference = kang[~held_out].copy()
        yield Task(f"Kang, as labelled/{donor}", reference, kang[held_out].copy(), LABELS_KEY, "donor_id")
        careless = reference.obs["donor_id"].isin(donors[donors != donor][:2]).to_numpy()
        yield Task(
            f"Kang, two of four donors coarse/{donor}", coarser(reference, careless), kang[held_out].copy(), LABELS_KEY, "donor_id"
        )
    facs = data["pbmc_zheng_facs"]
    careless = np.random.default_rng(0).random(facs.n_obs) < 0.5
    yield Task("FACS, half of the cells coarse, to pbmc3k", coarser(facs, careless), data["pbmc3k_10x"].copy(), LABELS_KEY)


def blood(data: Data) -> Iterator[Task]:
    """FACS and pbmc3k as one reference, whose authors looked at different types; and Kang."""
    parts = [data[name].copy() for name in ("pbmc_zheng_facs", "pbmc3k_10x")]
    reference = ad.concat(parts, join="inner", merge="same", index_unique="-")
    query = sc.datasets.pbmc68k_reduced().raw.to_adata()
    query.obs[LABELS_KEY] = query.obs["bulk_labels"].astype(str).map(BULK_LABELS)
    yield Task("FACS + pbmc3k to pbmc68k", reference, query, LABELS_KEY)
    yield Task("Kang, five donors to three", data.kang(test=False), data.kang(test=True), LABELS_KEY, "donor_id")


def coarser(adata: AnnData, cells: np.ndarray) -> AnnData:
    """The same cells, some of them with labels that say less."""
    adata = adata.copy()
    labels = adata.obs[LABELS_KEY].astype(str)
    adata.obs[LABELS_KEY] = labels.where(~cells, labels.replace(COARSER))
    return adata


def scores(task: Task, model: str, loss: str, seed: int) -> dict[str, float]:
    """Macro F1 over the types of the query, and the same where a subtype of the truth is right."""
    model_class = model_by_name(model)
    model_class.setup_anndata(task.reference, task.labels_key, donor_key=task.donor_key)
    classifier = model_class(task.reference)
    classifier.train(calibrate=False, seed=seed, loss=loss, accelerator="cpu", enable_progress_bar=False)
    truth, predicted = task.query.obs[task.labels_key].astype(str).to_numpy(), classifier.predict(task.query)
    classifier.deregister_manager(task.reference)
    types = sorted({*truth, *classifier.spec.labels.names})
    children = CellOntology.embedded().child_matrix(types)
    corrected = correct_predictions(truth, predicted, types, children)
    return {"macro F1": macro_f1(truth, predicted), "corrected macro F1": macro_f1(truth, corrected)}


if __name__ == "__main__":
    main()
