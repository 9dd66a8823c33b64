"""`sctab demo`: annotation of a real dataset with a packaged model."""

from __future__ import annotations

import warnings
from itertools import count
from pathlib import Path

import pandas as pd
import scanpy as sc
from anndata import AnnData
from rich.table import Table

import sctab
import sctab.io
import sctab.metrics
import sctab.ontology
from sctab.cli._files import check_suffix, write_data
from sctab.cli._reporting import out
from sctab.keys import DEFAULT_MODEL

TERMS = {
    "CD14+ Monocyte": "CL:0001054",
    "CD19+ B": "CL:0000236",
    "CD34+": "CL:0008001",
    "CD4+/CD25 T Reg": "CL:0000792",
    "CD4+/CD45RA+/CD25- Naive T": "CL:0000895",
    "CD4+/CD45RO+ Memory": "CL:0000897",
    "CD56+ NK": "CL:0000623",
    "CD8+ Cytotoxic T": "CL:0000794",
    "CD8+/CD45RA+ Naive Cytotoxic": "CL:0000900",
    "Dendritic": "CL:0000451",
}
"""Cell Ontology terms of the authors' labels in `scanpy.datasets.pbmc68k_reduced`."""
ACCEPTED_ERROR = 0.2
"""Fraction of wrong terms that the demo accepts."""


def run_demo(output: Path | None, *, overwrite: bool) -> None:
    """Annotate, compare, print, write."""
    output = _free_name(Path("sctab-demo.h5ad")) if output is None else output
    check_suffix(output)
    with sctab.io.written_beside(output, overwrite=overwrite) as path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            adata = sc.datasets.pbmc68k_reduced()
        model = sctab.zoo.load(DEFAULT_MODEL)
        out.print(f"Annotating {adata.n_obs} blood cells × {adata.raw.n_vars} genes with the packaged model `{DEFAULT_MODEL}`.")
        sctab.tl.annotate(adata, model, accepted_error=ACCEPTED_ERROR)

        adata.obs["author_label"] = author_labels(adata, model.spec.labels, sctab.ontology.CellOntology.embedded())
        sctab.tl.evaluate(adata, "author_label", show=False)
        write_data(adata, path, target=output)
    scores = sctab.metrics.scores_per_type(adata.obs["author_label"], adata.obs["sctab_label"].astype(str))
    table = Table("type", "cells", "precision", "recall", "F1", box=None)
    for label, row in scores.iterrows():
        table.add_row(str(label), f"{row['cells']:.0f}", *(f"{row[column]:.2f}" for column in ("precision", "recall", "f1")))
    out.print(table)
    right = (adata.obs["author_label"] == adata.obs["sctab_label"].astype(str)).mean()
    out.print(f"Macro F1 {scores['f1'].mean():.3f}, accuracy {right:.3f} against the authors' labels.")
    terms = sctab.get.evaluation(adata, "promise").iloc[0]
    out.print(
        f"With an accepted error of {ACCEPTED_ERROR:g}, {terms['leaf']:.0%} of the cells keep a label without subtypes, "
        f"{1 - terms['leaf'] - terms['open']:.0%} get a broader term and {terms['open']:.0%} are left open; {terms['error']:.1%} of "
        "the terms are wrong by the authors' labels.",
        soft_wrap=True,
    )
    columns = "`obs['sctab_label']`, `obs['sctab_confidence']`, `obs['sctab_term']`"
    out.print(f"Wrote `{output}`: see {columns} and `uns['sctab']`.", soft_wrap=True)


def author_labels(adata: AnnData, labels: sctab.ontology.LabelSpace, ontology: sctab.ontology.CellOntology) -> pd.Series:
    """The authors' labels, which are finer than the model's: each is mapped to the type of the model that it is a kind of."""
    types = {term: name for name, term in zip(labels.names, labels.ids, strict=True) if term}
    coarse = {label: types.get(ontology.coarsen(term, list(types)) or "") for label, term in TERMS.items()}
    return adata.obs["bulk_labels"].astype(str).map(coarse)


def _free_name(path: Path) -> Path:
    if not path.exists():
        return path
    return next(name for i in count(1) if not (name := path.with_stem(f"{path.stem}-{i}")).exists())
