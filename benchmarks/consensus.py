"""Agreement of CellTypist and sctab on the same cells, along the Cell Ontology.

    uv run python benchmarks/consensus.py --data FOLDER [--labels-key cell_type]

CellTypist learns sorted blood cells (`pbmc_zheng_facs`); `sctab` uses its packaged model `pbmc`. Both annotate another study (Kang et al.
2018, control cells), which neither has learned, although it calibrated the confidence of `pbmc`. Its authors' labels are the third source.
CellTypist has an environment of its own, which uv makes the first time; its published models are downloaded from the network, and are not
used. It prints the kinds of agreement of each pair and of all three, and for each kind how many of
the answers are right for the authors' label: it, a kind of it, or a broader term.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
from _common import Data
from _measure import head, machine, row
from anndata import AnnData

import sctab
from sctab.benchmark._peers import PEERS, default_environments, make_environment, run_peer
from sctab.ontology import CellOntology


def celltypist_labels(reference: AnnData, query: AnnData, labels_key: str) -> np.ndarray:
    """Labels of the query by CellTypist."""
    python = make_environment(PEERS["celltypist"], default_environments())
    genes = reference.var_names.intersection(query.var_names)
    learned, asked = reference[:, genes].copy(), query[:, genes].copy()
    learned.obs = learned.obs[[labels_key]].rename(columns={labels_key: "label"}).astype(str).assign(batch="reference")
    asked.obs = asked.obs[[]].assign(batch="query")
    with tempfile.TemporaryDirectory() as folder:
        found = run_peer("celltypist", python, Path(folder), reference=learned, query=asked, seed=0, settings={})
    return found.predicted.astype(str).to_numpy()


def main() -> None:
    """Annotate by both, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels-key", default="cell_type", help="labels of the reference that CellTypist learns")
    arguments = parser.parse_args()
    data = Data(arguments.data)
    reference, query = data["pbmc_zheng_facs"].copy(), data["pbmc_kang_ctrl_8donors"].copy()
    print(machine())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        query.obs["CellTypist"] = celltypist_labels(reference, query, arguments.labels_key)
        sctab.tl.annotate(query, "pbmc", key_added="pbmc")
        query.obs["sctab"] = query.obs["pbmc_label"].astype(object)
        query.obs["authors"] = query.obs["cell_type_original"].astype(str)
        ontology, truth = CellOntology.embedded(), query.obs["cell_type_ontology_term_id"].astype(str)
        for keys in (["CellTypist", "sctab"], ["CellTypist", "authors"], ["sctab", "authors"], ["CellTypist", "sctab", "authors"]):
            sctab.tl.consensus(query, keys)
            answers = query.obs["sctab_consensus_id"].astype(object)
            right = {
                pair: ontology.is_kind_of(pair[0], pair[1]) or ontology.is_kind_of(pair[1], pair[0])
                for pair in set(zip(answers.dropna(), truth[answers.notna()], strict=True))
            }
            is_right = np.array([answer == answer and right[answer, label] for answer, label in zip(answers, truth, strict=True)])
            head(", ".join(keys), "agreement", "cells", "fraction", "with an answer", "of these right")
            for each in sctab.get.consensus(query).itertuples():
                cells = (query.obs["sctab_agreement"] == each.agreement).to_numpy()
                answered = cells & answers.notna().to_numpy()
                share = f"{is_right[answered].mean():.3f}" if answered.any() else ""
                row(each.agreement, f"{each.cells:,}", f"{each.fraction:.3f}", f"{answered.sum():,}", share)
        print("\nLabels that were not mapped:\n")
        labels = sctab.get.consensus(query, "labels")
        for each in labels[labels["id"] == ""].itertuples():
            print(f"- {each.source}: {each.label} ({each.cells:,} cells)")


if __name__ == "__main__":
    main()
