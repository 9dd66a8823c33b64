"""Train the packaged model `pbmc`, score it beside logistic regression, and write it with its model card.

    uv run python scripts/train_pbmc.py --data FOLDER [--output DIR] [--overwrite] [--card-only]

`FOLDER` holds `pbmc_zheng_facs.h5ad`, `pbmc3k_10x.h5ad` and `pbmc_kang_ctrl_8donors.h5ad`, which are described in the model card. The
model learns the first two, and is calibrated on the donors of the third. Everything that is random is seeded.
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
from sctab.metrics import calibration_error_of, scores_per_type
from sctab.ontology import CellOntology
from sctab.train._genes import FEWEST_CELLS

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from _common import fit_logistic_regression, markdown

PACKAGED = Path(__file__).parents[1] / "src" / "sctab" / "zoo" / "packaged" / "pbmc"
DESCRIPTION = "Human blood mononuclear cells: B, CD4 and CD8 T with subtypes, NK, monocytes, dendritic, platelets, precursors"
WIDTHS = {"n_d": 32, "n_a": 16}
"""Narrower than the default, so that the model is small enough to come with the package; see docs/benchmarks.md on what that costs."""
SORTED = {
    "CD14+ Monocyte": "CD14-positive monocyte",
    "CD19+ B": "B cell",
    "CD34+": "hematopoietic precursor cell",
    "CD4+ T Helper2": "CD4-positive, alpha-beta T cell",
    "CD4+/CD25 T Reg": "CD4-positive, CD25-positive, alpha-beta regulatory T cell",
    "CD4+/CD45RA+/CD25- Naive T": "naive thymus-derived CD4-positive, alpha-beta T cell",
    "CD4+/CD45RO+ Memory": "CD4-positive, alpha-beta memory T cell",
    "CD56+ NK": "natural killer cell",
    "CD8+ Cytotoxic T": "CD8-positive, alpha-beta T cell",
    "CD8+/CD45RA+ Naive Cytotoxic": "naive thymus-derived CD8-positive, alpha-beta T cell",
}
"""Cell Ontology names of the sorted populations. Cells that were sorted by CD4 or CD8 alone are of any subtype."""
OTHERS = {"megakaryocyte": "platelet"}
"""Cell Ontology names of labels of the other data sets that differ: in blood, cells with transcripts of megakaryocytes are platelets."""
BROAD = ["CL:0000236", "CL:0000624", "CL:0000625", "CL:0000451", "CL:0008001", "CL:0000623", "CL:0000233", "CL:0000576"]
"""B cell, CD4 T, CD8 T, dendritic cell, precursor, NK cell, platelet and monocyte."""
LIMITS = (
    "Healthy adult human blood, 10x 3' v1. Other tissues, species, diseases and protocols were not tested.",
    "Every cell gets one of the labels. A type that is not among them (neutrophils, erythrocytes, plasma cells, mast cells, …) is given "
    "the most similar one; `unseen_fdr=0.1` finds them. Plasmacytoid dendritic cells are not labelled.",
    "CD4 and CD8 T cells, and naive, memory and regulatory ones, are hard to distinguish by expression: expect most errors there. Ask for "
    "a term that holds, with `accepted_error`, or sum over subtypes with `sctab.get.probabilities`.",
    "Platelets (14 cells) and dendritic cells (32 cells) were learned from few cells.",
    "With eight donors the smallest error that can be promised for a new donor is 1/9 (`accepted_error=0.12`).",
)
NOTES = """Train the model again, and write this card, with `python scripts/train_pbmc.py --data FOLDER --overwrite`.

Labels of `pbmc_zheng_facs` are from sorting by antibody, so independent of expression; those of the others are from marker genes. They are
of mixed granularity: cells that were sorted by CD4 or by CD8 alone carry the broad label, and the loss counts a subtype as right for them.
CD16 monocytes, dendritic cells and platelets are from `pbmc3k_10x` alone; precursors, regulatory and naive CD8 T cells from
`pbmc_zheng_facs` alone, where each sorting run counts as a donor. Genes are the {n_genes} that vary most among those that both measure and
at least {fewest} cells show. `pbmc_kang_ctrl_8donors` measures 1,287 genes and names broad T cells. It is not learned, since a study that
was not learned says more about confidence in a new one: of the eight broad types, whose probabilities are sums over their subtypes, the
expected calibration error on it is {broad_error:.3f}. The confidence of a label is lower where its subtypes share the probability.

Macro F1 of the held-out tenth of the training cells was {validation:.3f}. It is of the same samples, so that it says little about others.

On the 700 cells of `scanpy.datasets.pbmc68k_reduced()`, another experiment, of which 765 genes are left. The broad types of the authors
first, each with its subtypes:

{broad}

The finest types that the authors name:

{scores}

The authors' labels come from correlation with sorted cells; they are not a truth that is independent of expression. 96 % of the cells that
they call CD14+ monocytes express FCGR3A (CD16): most are CD16 monocytes to the model."""


def sources(n_facs: int, n_pbmc3k: int, n_kang: int) -> list[dict[str, object]]:
    """Datasets, with the licences of the repositories that the copies are from."""
    return [
        {
            "name": "pbmc_zheng_facs",
            "license": "BSD-2-Clause",
            "n_cells": n_facs,
            "doi": "10.1038/ncomms14049",
            "description": "Zheng et al. 2017",
        },
        {
            "name": "pbmc3k_10x",
            "license": "MIT",
            "n_cells": n_pbmc3k,
            "url": "https://support.10xgenomics.com/single-cell-gene-expression/datasets/1.1.0/pbmc3k",
            "description": "10x Genomics, PBMC 3k (one healthy donor)",
        },
        {
            "name": "pbmc_kang_ctrl_8donors",
            "license": "GPL-3.0",
            "n_cells": n_kang,
            "doi": "10.1038/nbt.4042",
            "used_for": "calibration",
            "description": "Kang et al. 2018, eight donors",
        },
        {
            "name": "pbmc68k_reduced",
            "license": "BSD-3-Clause",
            "n_cells": 700,
            "doi": "10.1038/ncomms14049",
            "used_for": "test",
            "description": "Zheng et al. 2017, from the scanpy wheel",
        },
    ]


def main() -> None:
    """Train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=PACKAGED)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--card-only", action="store_true", help="Keep the weights, and write the card again.")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)

    parts = [ad.read_h5ad(arguments.data / f"{name}.h5ad") for name in ("pbmc_zheng_facs", "pbmc3k_10x")]
    reference = join(parts)
    others = ad.read_h5ad(arguments.data / "pbmc_kang_ctrl_8donors.h5ad")
    others.obs["cell_type"] = pd.Categorical(others.obs["cell_type"].astype(str).replace(OTHERS))
    if not arguments.card_only:
        train(reference, others, arguments)
    model = sctab.model.SCTAB.load(arguments.output, accelerator="cpu")
    broad, table = compare(model, reference)
    print(markdown(broad), markdown(table), sep="\n\n")
    notes = NOTES.format(
        n_genes=len(model.spec.features),
        fewest=FEWEST_CELLS,
        validation=model.spec.training["validation"]["macro_f1"],
        broad=markdown(broad),
        scores=markdown(table),
        broad_error=broad_error(model, others),
    )
    facts = {
        "license": "BSD-3-Clause",
        "organism": "Homo sapiens",
        "tissues": ["blood"],
        "sources": sources(parts[0].n_obs, parts[1].n_obs, others.n_obs),
        "limits": list(LIMITS),
        "notes": notes,
    }
    sctab.zoo.write_card(arguments.output, facts=facts)
    query = sc.datasets.pbmc68k_reduced()
    query.obs["cell_type"] = author_labels(query, model.spec.labels, CellOntology.embedded())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sctab.SctabWarning)
        sctab.zoo.add_scores(arguments.output, query, "cell_type", name="pbmc68k_reduced", layer="raw")
    print(f"Wrote {arguments.output}.")


def train(reference: AnnData, others: AnnData, arguments: argparse.Namespace) -> None:
    """Learn the reference, and calibrate on the other study."""
    # A sorting run is a donor to the loss: it has cells of one label, which says nothing about the subtypes of a broad one.
    sctab.model.SCTAB.setup_anndata(reference, "cell_type", gene_id_key="ensembl_id", donor_key="batch", dataset_key="dataset")
    model = sctab.model.SCTAB(reference, **WIDTHS)
    model.train(seed=arguments.seed, accelerator="cpu", validation_split="stratified", enable_progress_bar=sys.stderr.isatty())
    # Where its reference kept the counts says nothing about queries of others.
    model.spec = replace(model.spec, training={name: value for name, value in model.spec.training.items() if name != "matrix"})
    model.calibrate(others, "cell_type", donor_key="donor_id")
    model.save(arguments.output, overwrite=arguments.overwrite, description=DESCRIPTION)


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
    original = reference.obs["cell_type_original"].astype(str)
    reference.obs["cell_type"] = pd.Categorical(original.map(SORTED).fillna(reference.obs["cell_type"].astype(str).replace(OTHERS)))
    return reference


def compare(model: sctab.model.SCTAB, reference: AnnData) -> tuple[pd.DataFrame, pd.DataFrame]:
    """F1 per broad type and per label on the demo's data, beside logistic regression trained on the same cells."""
    ontology, labels = CellOntology.embedded(), model.spec.labels
    query = sc.datasets.pbmc68k_reduced()
    counts = query.raw.to_adata()
    counts.X.data = np.expm1(counts.X.data)
    genes = [gene for gene in counts.var_names if gene in set(reference.var_names)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sctab.SctabWarning)  # on the matrix and the genes of this query
        predicted = {"SCTAB": pd.Series(model.predict(query), index=query.obs_names).astype(str)}
    for name, balanced in (("logistic regression", False), ("balanced logistic regression", True)):
        predicted[name] = pd.Series(
            fit_logistic_regression(reference, counts, genes, "cell_type", balanced=balanced), index=query.obs_names
        )
    broad = {
        label: ontology.name(ontology.coarsen(term, BROAD) or term) for label, term in zip(labels.names, labels.ids, strict=True)
    }
    truth = author_labels(query, labels, ontology)
    return table_of(truth.map(broad), {name: each.map(broad) for name, each in predicted.items()}), table_of(truth, predicted)


def broad_error(model: sctab.model.SCTAB, others: AnnData) -> float:
    """Expected calibration error of the most probable broad type of labelled cells."""
    ontology = CellOntology.embedded()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sctab.SctabWarning)
        sctab.tl.annotate(others, model)
    probabilities = sctab.get.probabilities(others, BROAD).to_numpy()
    truth = others.obs["cell_type"].map(lambda label: BROAD.index(ontology.coarsen(label, BROAD)))
    return calibration_error_of(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth.to_numpy())


def table_of(truth: pd.Series, predicted: dict[str, pd.Series]) -> pd.DataFrame:
    """F1 per type and macro F1 of each model."""
    scores = {name: scores_per_type(truth, labels) for name, labels in predicted.items()}
    rows = {
        label: [int((truth == label).sum()), *(f"{of_model.loc[label, 'f1']:.3f}" for of_model in scores.values())]
        for label in sorted(truth.unique())
    }
    rows["macro F1"] = [len(truth), *(f"{of_model['f1'].mean():.3f}" for of_model in scores.values())]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["cells", *scores]).rename_axis("F1")


if __name__ == "__main__":
    main()
