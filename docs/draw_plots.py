"""Draw an example of every function of `sctab.pl` for its page.

uv run python docs/draw_plots.py FOLDER
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import scanpy as sc

import sctab
from sctab.cli._demo import TERMS


def figures() -> dict[str, Any]:
    """Return an axes or a figure for each function: 700 blood cells (Zheng et al. 2017), annotated, learned and tuned on."""
    adata = sc.datasets.pbmc68k_reduced()
    sctab.tl.annotate(adata, "pbmc")
    sctab.tl.evaluate(adata, "bulk_labels", label_ids=TERMS, show=False)
    sctab.tl.explain(adata, "pbmc", n_top=5)
    sctab.tl.review(adata, "bulk_labels", annotation_key="sctab", label_ids=TERMS)
    reference = adata.raw.to_adata()
    sctab.model.MLPClassifier.setup_anndata(reference, "bulk_labels")
    model = sctab.model.MLPClassifier(reference)
    model.train(max_epochs=15, enable_progress_bar=False, accelerator="cpu")
    learned, asked = reference[::2].copy(), reference[1::2].copy()
    sctab.model.LinearClassifier.setup_anndata(learned, "bulk_labels", label_ids=TERMS)
    linear = sctab.model.LinearClassifier(learned)
    linear.train(enable_progress_bar=False, accelerator="cpu")
    sctab.tl.annotate(asked, linear, accepted_error=0.1)
    sctab.tl.evaluate(asked, "bulk_labels", label_ids=TERMS, show=False)
    without = learned[learned.obs["bulk_labels"] != "CD19+ B"].copy()
    sctab.model.LinearClassifier.setup_anndata(without, "bulk_labels", label_ids=TERMS)
    blind = sctab.model.LinearClassifier(without)
    blind.train(enable_progress_bar=False, accelerator="cpu")
    sctab.tl.annotate(asked, blind, unseen_fdr=0.1, key_added="blind")
    sctab.tl.evaluate(asked, "bulk_labels", label_ids=TERMS, show=False, key_added="blind")
    found = sctab.tuning.tune(
        reference, "bulk_labels", model="linear", train_settings={"max_epochs": 2}, n_trials=25, accelerator="cpu"
    )
    shown = sc.datasets.pbmc68k_reduced()
    sctab.tl.annotate(shown, "pbmc", unseen_fdr=0.1, force=True)
    return {
        "annotation": sctab.pl.annotation(shown),
        "evidence": sctab.pl.evidence(shown),
        "composition": sctab.pl.composition(shown, "louvain"),
        "comparison": sctab.pl.comparison(shown, "bulk_labels"),
        "ontology": sctab.pl.ontology(shown),
        "training": sctab.pl.training(model),
        "confusion": sctab.pl.confusion(adata),
        "type_scores": sctab.pl.type_scores(adata),
        "reliability": sctab.pl.reliability(asked, level="as labelled"),
        "abstention": sctab.pl.abstention(asked, level="as labelled"),
        "promise": sctab.pl.promise(asked),
        "unseen": sctab.pl.unseen(asked, key_added="blind"),
        "review": sctab.pl.review(adata),
        "explain": sctab.pl.explain(sctab.get.explanation(adata)),
        "tuning_history": sctab.pl.tuning_history(found.trials),
        "tuning_importance": sctab.pl.tuning_importance(found.importance),
    }


def main(folder: Path) -> None:
    """Write the pictures into a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = figures()
    for name, each in drawn.items():
        figure = each if hasattr(each, "savefig") else np.ravel(each)[0].figure
        figure.savefig(folder / f"plot_{name}.png", dpi=110, bbox_inches="tight", facecolor="white")
    plt.close("all")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
