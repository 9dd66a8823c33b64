"""Train the packaged model `pbmc`, score it beside logistic regression, and write it with its model card.

    uv run python scripts/train_pbmc.py --data FOLDER [--output DIR] [--overwrite]

`FOLDER` holds `pbmc_zheng_facs.h5ad`, `pbmc3k_10x.h5ad` and `pbmc_kang_ctrl_8donors.h5ad`, which are described in the model card. The
model learns the first two, and is calibrated on the third. Everything that is random is seeded.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

import sctab
from sctab.cli._demo import author_labels
from sctab.io._atomic import written_beside
from sctab.keys import CARD_FILE
from sctab.metrics import scores_per_type
from sctab.ontology import CellOntology
from sctab.train._genes import FEWEST_CELLS

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from _common import fit_logistic_regression, markdown

PACKAGED = Path(__file__).parents[1] / "src" / "sctab" / "zoo" / "packaged" / "pbmc"
DESCRIPTION = "Human blood mononuclear cells: B, CD4 T, CD8 T, NK, monocytes, dendritic, platelets, precursors"
WIDTHS = {"n_d": 32, "n_a": 16}
"""Narrower than the default, so that the model is small enough to come with the package; see docs/benchmarks.md on what that costs."""
LABELS = {
    "B": "B cell",
    "CD4 T": "CD4-positive, alpha-beta T cell",
    "CD8 T": "CD8-positive, alpha-beta T cell",
    "DC": "dendritic cell",
    "HSPC": "hematopoietic precursor cell",
    "NK": "natural killer cell",
    "megakaryocyte/platelet": "platelet",
    "monocyte": "monocyte",
}
"""Cell Ontology names of the coarse labels that both data sets share."""
CARD = """# Model card: `pbmc`

{description}.

## Data

| data set | cells | labels | from |
| --- | --- | --- | --- |
| `pbmc_zheng_facs` | {n_facs} | sorted by antibody, so independent of expression | Zheng et al. 2017, doi:10.1038/ncomms14049 |
| `pbmc3k_10x` | {n_pbmc3k} | from marker genes of clusters | 10x Genomics, PBMC 3k (one healthy donor) |
| `pbmc_kang_ctrl_8donors` | {n_kang}, for calibration only | from marker genes | Kang et al. 2018, doi:10.1038/nbt.4042, eight donors |

The first two are 10x Genomics 3' v1 data of adult human blood. The copies that were used carry the licences BSD-2-Clause, MIT and GPL-3.
Genes: the
{n_genes} that vary most among those that both measure and at least {fewest} cells show.
Regulatory, helper, naive and memory CD4 T cells are one type, and so are naive and cytotoxic CD8 T cells, and CD14 and CD16 monocytes:
the two data sets share no finer labels.

## Labels

{labels}

## Training

`sctab.model.SCTAB` with the defaults for {n_obs} cells but for `n_d` {n_d} and `n_a` {n_a},
which keep it small; seed {seed}, {epochs} epochs; a stratified tenth of the cells validated.
Reproduce it, and this card, with `python scripts/train_pbmc.py --data FOLDER --overwrite`.

## Scores

Macro F1 of the held-out tenth: {validation:.3f}. It is of the same samples, so that it says little about yours.

On the 700 cells of `scanpy.datasets.pbmc68k_reduced()` (another experiment, of which 765 genes are left; author labels brought to the
types of the model through the Cell Ontology):

{scores}

The authors' labels come from correlation with sorted cells; they are not a truth that is independent of expression.

## Calibration

On the cells of eight donors of a study that the model did not learn, with 1,287 of whose genes it shares some: temperature
{calibration.temperature:.2f}; expected calibration error {calibration.calibration_error:.3f}, and {calibration.uncalibrated_error:.3f}
before. With eight donors the smallest error that can be promised for a new donor is 1/9 (`accepted_error=0.12`).

## Limits

- Healthy adult human blood, 10x 3' v1. Other tissues, species, diseases and protocols were not tested.
- Every cell gets one of {n_labels} types. A type that is not among them (neutrophils, erythrocytes, plasma cells, mast cells, …) is
  given the most similar one; look at `sctab_uncertainty`.
- CD4 and CD8 T cells are hard to tell apart from expression: expect most errors there.
- Platelets (14 cells) and dendritic cells (32 cells) were learned from few cells.
"""


def main() -> None:
    """Train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=PACKAGED)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overwrite", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)

    parts = [ad.read_h5ad(arguments.data / f"{name}.h5ad") for name in ("pbmc_zheng_facs", "pbmc3k_10x")]
    reference = join(parts)
    sctab.model.SCTAB.setup_anndata(reference, "cell_type", gene_id_key="ensembl_id")
    model = sctab.model.SCTAB(reference, **WIDTHS)
    model.train(seed=arguments.seed, accelerator="cpu", enable_progress_bar=sys.stderr.isatty())
    # Where its reference kept the counts says nothing about queries of others.
    model.spec = replace(model.spec, training={name: value for name, value in model.spec.training.items() if name != "matrix"})
    others = ad.read_h5ad(arguments.data / "pbmc_kang_ctrl_8donors.h5ad")
    others.obs["cell_type"] = pd.Categorical(others.obs["cell_type_coarse"].astype(str).map(LABELS))
    model.calibrate(others, "cell_type", donor_key="donor_id")

    table = compare(model, reference)
    print(markdown(table))
    spec = model.spec
    card = CARD.format(
        description=DESCRIPTION,
        n_facs=parts[0].n_obs,
        n_pbmc3k=parts[1].n_obs,
        n_genes=len(spec.features),
        fewest=FEWEST_CELLS,
        labels=markdown(describe_labels(reference, spec)),
        n_obs=reference.n_obs,
        **WIDTHS,
        seed=arguments.seed,
        epochs=spec.training["epochs"],
        validation=spec.training["validation"]["macro_f1"],
        scores=markdown(table),
        n_labels=len(spec.labels),
        n_kang=others.n_obs,
        calibration=spec.calibration,
    )
    with written_beside(arguments.output, overwrite=arguments.overwrite) as directory:
        model.save(directory, description=DESCRIPTION)
        (directory / CARD_FILE).write_text(card, encoding="utf-8")
    print(f"Wrote {arguments.output}.")


def join(parts: list[AnnData]) -> AnnData:
    """Both data sets on the genes that both measure, with shared labels under their Cell Ontology names."""
    # An Ensembl id that stands for two symbols, within a release or between the two, decides nothing: such genes are left out.
    pairs = {(gene_id, gene) for part in parts for gene, gene_id in part.var["ensembl_id"].astype(str).items() if gene_id}
    symbols_of_id = pd.Series(dict.fromkeys(pairs)).reset_index().groupby("level_0")["level_1"].nunique()
    ambiguous = {gene for gene_id, gene in pairs if symbols_of_id[gene_id] > 1}
    genes = [gene for gene in parts[0].var_names if gene in set(parts[1].var_names) - ambiguous]
    reference = ad.concat([part[:, genes] for part in parts], index_unique="-", keys=["facs", "pbmc3k"])
    # The two were mapped to different releases of Ensembl: the model knows the ids of both.
    reference.var["ensembl_id"] = parts[0].var.loc[genes, "ensembl_id"].astype(str)
    reference.var["other_ensembl_id"] = parts[1].var.loc[genes, "ensembl_id"].astype(str)
    reference.obs["cell_type"] = pd.Categorical(reference.obs["cell_type_coarse"].astype(str).map(LABELS))
    return reference


def compare(model: sctab.model.SCTAB, reference: AnnData) -> pd.DataFrame:
    """F1 per type and macro F1 on the demo's data, beside logistic regression trained on the same cells."""
    query = sc.datasets.pbmc68k_reduced()
    truth = author_labels(query, model.spec.labels, CellOntology.embedded())
    counts = query.raw.to_adata()
    counts.X.data = np.expm1(counts.X.data)
    genes = [gene for gene in counts.var_names if gene in set(reference.var_names)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sctab.SctabWarning)  # on the matrix and the genes of this query
        labels = {"SCTAB": model.predict(query)}
    for name, balanced in (("logistic regression", False), ("balanced logistic regression", True)):
        labels[name] = fit_logistic_regression(reference, counts, genes, "cell_type", balanced=balanced)
    scores = {name: scores_per_type(truth, predicted.astype(str)) for name, predicted in labels.items()}
    rows = {
        label: [int((truth == label).sum()), *(f"{of_model.loc[label, 'f1']:.3f}" for of_model in scores.values())]
        for label in sorted(truth.unique())
    }
    rows["macro F1"] = [len(truth), *(f"{of_model['f1'].mean():.3f}" for of_model in scores.values())]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["cells", *scores]).rename_axis("F1")


def describe_labels(reference: AnnData, spec: sctab.inference.ModelSpec) -> pd.DataFrame:
    """Every label with its Cell Ontology id and number of cells."""
    cells = reference.obs["cell_type"].value_counts()
    table = pd.DataFrame(
        {"Cell Ontology": spec.labels.ids, "cells": [cells[name] for name in spec.labels.names]}, index=spec.labels.names
    )
    table.index.name = "label"
    return table


if __name__ == "__main__":
    main()
