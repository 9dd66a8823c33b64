"""Draw the picture of the front page, a query before and after annotation, for light and dark pages, thumbnails of tutorials, and a UMAP.

uv run python docs/draw_front_page.py FOLDER
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from matplotlib.collections import LineCollection
from scipy import sparse

import sctab

INKS = {"light": "#1f2328", "dark": "#e6e6e6"}
"""Colour of text by theme."""


def annotated() -> AnnData:
    """Return 700 blood cells (Zheng et al. 2017) with their labels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = sc.datasets.pbmc68k_reduced()
        sctab.tl.annotate(adata, "pbmc")
    return adata


def short(label: str) -> str:
    """Name of a type as biologists say it."""
    for words in ("-positive, alpha-beta", "-positive", "thymus-derived ", "CD14-low, ", "CD25 "):
        label = label.replace(words, "")
    return label.replace(", alpha-beta", "").replace(", ", " ")


def draw(adata: AnnData, theme: str) -> plt.Figure:
    """Draw the query, its labels and their confidence on the UMAP of the dataset."""
    ink = INKS[theme]
    x, y = adata.obsm["X_umap"].T
    with mpl.rc_context({"text.color": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink, "font.size": 13}):
        figure, axes = plt.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
        figure.patch.set_alpha(0)
        for ax, title in zip(axes, ("Your cells", "Labels", "Confidence"), strict=True):
            ax.set_title(title, fontsize=17, fontweight="bold")
            ax.set(xticks=[], yticks=[])
            ax.patch.set_alpha(0)
            ax.spines[:].set_visible(False)
        axes[0].scatter(x, y, s=14, color="#9a9a9a", linewidths=0)
        labels = adata.obs["sctab_label"].astype(str)
        for label, colour in zip(labels.value_counts().index, plt.get_cmap("tab20").colors, strict=False):
            here = (labels == label).to_numpy()
            axes[1].scatter(x[here], y[here], s=14, color=colour, linewidths=0, label=short(label))
        axes[1].legend(loc="center left", bbox_to_anchor=(0.98, 0.5), frameon=False, markerscale=2.5, handletextpad=0.2)
        dots = axes[2].scatter(x, y, s=14, c=adata.obs["sctab_confidence"], cmap="viridis", vmin=0.2, vmax=1, linewidths=0)
        bar = figure.colorbar(dots, ax=axes[2], shrink=0.7)
        bar.outline.set_visible(False)
    return figure


def thumbnails(adata: AnnData) -> dict[str, plt.Figure]:
    """Draw a picture for each tutorial, by its name, and that of the quickstart."""
    figures = {}
    umap, importance = adata.obsm["X_umap"].T, sctab.get.genes(adata)["importance"].head(30)
    differs = (adata.obs["bulk_labels"] == "Dendritic") & adata.obs["sctab_label"].astype(str).str.endswith("monocyte")
    confusion = pd.crosstab(adata.obs["bulk_labels"], adata.obs["sctab_label"], normalize="index")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reviewed = sctab.tl.review(adata, "bulk_labels", annotation_key="sctab", copy=True)
    is_suspect, suggested = reviewed.obs["sctab_is_suspect"].to_numpy(), reviewed.obs["sctab_review_label"].cat.codes.to_numpy()
    for name in (
        "annotate",
        "handover",
        "transfer",
        "trust",
        "which_model",
        "wrong_label",
        "imbalanced_reference",
        "cluster",
        "scvi",
    ):
        figures[name], ax = plt.subplots(figsize=(4, 2.2), layout="constrained", facecolor="white")
        ax.spines[:].set_visible(False)
        ax.set(xticks=[], yticks=[])
        if name == "annotate":
            ax.scatter(*umap, s=5, c=adata.obs["sctab_label"].cat.codes, cmap="tab20", linewidths=0)
        elif name == "handover":
            ax.scatter(*umap, s=5, color="#D0D0D0", linewidths=0)
            ax.scatter(*umap[:, is_suspect], s=8, c=suggested[is_suspect], cmap="Set1", linewidths=0)
        elif name == "transfer":
            ax.imshow(confusion, cmap="Blues", aspect="auto")
        elif name == "trust":
            is_hidden = (adata.obs["bulk_labels"] == "CD19+ B").to_numpy()
            ax.scatter(*umap, s=5, c=adata.obs["sctab_confidence"], cmap="viridis", linewidths=0)
            ax.scatter(*umap[:, is_hidden], s=8, color="#D55E00", linewidths=0)
        elif name == "which_model":
            found = sctab.get.genes(adata)["found"].head(30)
            ax.bar(range(30), importance, color=found.map({True: "#0072B2", False: "#D0D0D0"}))
        elif name == "wrong_label":
            ax.scatter(*umap, s=5, color="#D0D0D0", linewidths=0)
            ax.scatter(*umap[:, differs.to_numpy()], s=8, color="#D55E00", linewidths=0)
        elif name == "cluster":
            ax.scatter(*umap, s=5, c=adata.obs["louvain"].cat.codes, cmap="tab10", linewidths=0)
        elif name == "scvi":
            edges = sparse.triu(adata.obsp["connectivities"], 1).tocoo()
            ax.add_collection(
                LineCollection(umap.T[np.stack([edges.row, edges.col], axis=1)], color="#D0D0D0", linewidths=0.3, zorder=0)
            )
            ax.scatter(*umap, s=5, c=adata.obs["louvain"].cat.codes, cmap="tab20", linewidths=0)
        else:
            ax.bar(*zip(*enumerate(adata.obs["bulk_labels"].value_counts()), strict=True), color="#0072B2")
    with plt.rc_context({"figure.facecolor": "white", "savefig.facecolor": "white"}):
        figures["umap"] = sc.pl.umap(adata, color=["sctab_label", "sctab_confidence"], wspace=0.5, show=False, return_fig=True)
    return figures


def main(folder: Path) -> None:
    """Write the pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    adata = annotated()
    for theme in INKS:
        figure = draw(adata, theme)
        figure.savefig(folder / f"front_page_{theme}.png", dpi=130)
    for name, figure in thumbnails(adata).items():
        figure.savefig(folder / f"thumbnail_{name}.png", dpi=130, bbox_inches="tight")
    plt.close("all")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
