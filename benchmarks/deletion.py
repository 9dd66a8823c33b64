"""Deletion test of explanations: accuracy lost when the top genes of a type are set to zero.

    uv run python benchmarks/deletion.py --data FOLDER [--seeds 3] [--draws 3] [--output FILE.csv]

`FOLDER` holds the data sets that are listed in docs/benchmarks.md. `SCTAB` learns four fifths of the FACS-sorted blood cells, once with its
defaults and once without a dense decision. The top genes of each type are those of the cells that it has learned from. They are set to zero
in the counts of the other fifth and of pbmc3k, cells of that type only, and so are as many genes that are drawn at random: among all, and
such that each has about the mean expression in that type of the gene that it represents. For the model with a dense decision, the attention
alone is measured beside its whole explanation. Prints what is lost of the type's probability and of its recall, mean over types ± standard
deviation over seeds, beside what there was before; the loss of probability type by type; and how much of the decisions and of the masks can
be explained and removed at all.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _common import Data, markdown
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from sctab.data import normalise
from sctab.model import SCTAB

LABELS = "cell_type_coarse"
SIZES = (10, 20, 50)
MODELS = {"default": {}, "no dense decision": {"dense_decision": False}}
REMOVED = ("top of the explanation", "top of the attention alone", "random, matched", "random")
MOST_CELLS = 100
"""Cells of a type that are looked at."""
NEIGHBOURS = 20
"""A matched gene is drawn among this many with the closest mean expression."""


def counts_by_type(model: SCTAB, adata: AnnData, rng: np.random.Generator) -> dict[str, sparse.csr_matrix]:
    """Counts over the genes of the model, `(n_obs, n_vars)`, of up to 100 cells of each type that it knows."""
    counts = sparse.vstack(list(model.predictor.open_query(adata).counts(2000)), format="csr")
    labels = adata.obs[LABELS].astype(str).to_numpy()
    cells = {name: np.flatnonzero(labels == name) for name in model.spec.labels.names}
    return {
        name: counts[np.sort(rng.choice(of_type, size=min(len(of_type), MOST_CELLS), replace=False))]
        for name, of_type in cells.items()
        if len(of_type)
    }


def evaluate(model: SCTAB, counts: sparse.csr_matrix, name: str) -> NDArray[np.float64]:
    """Mean probability of a type, and the fraction of cells with that prediction."""
    values = torch.from_numpy(normalise(counts, model.spec.normalization).toarray())
    with torch.inference_mode():
        probabilities = model.module(values).logits.softmax(dim=1)
    position = model.spec.labels.names.index(name)
    called = probabilities.argmax(dim=1) == position
    return np.array([float(probabilities[:, position].mean()), float(called.float().mean())])


def rank_genes(model: SCTAB, counts: sparse.csr_matrix) -> dict[str, NDArray[np.intp]]:
    """Genes in the order of their mean share over some cells: of the whole explanation, and of the attention alone."""
    values = torch.from_numpy(normalise(counts, model.spec.normalization).toarray())
    with torch.inference_mode():
        output = model.module(values)
    steps = zip(output.masks, output.decisions, strict=True)
    attention = torch.stack([mask * decision.sum(dim=1, keepdim=True) for mask, decision in steps]).sum(dim=0)
    weights = {REMOVED[0]: model.module.explain(values)[0], REMOVED[1]: attention}
    return {
        kind: np.argsort(-normalize(of_cells.numpy(), norm="l1").mean(axis=0), kind="stable") for kind, of_cells in weights.items()
    }


def describe(model: SCTAB, counts: sparse.csr_matrix) -> dict[str, float]:
    """Mean fraction of the decision without a mask, and of the masks on expressed genes."""
    values = torch.from_numpy(normalise(counts, model.spec.normalization).toarray())
    with torch.inference_mode():
        output = model.module(values)
    masked = torch.stack([decision.sum(dim=1) for decision in output.decisions]).sum(dim=0)
    return {
        "decided without a mask": float((1 - masked / output.embedding.sum(dim=1)).mean()),
        "masks on expressed genes": float((torch.stack(output.masks).mean(dim=0) * (values > 0)).sum(dim=1).mean()),
    }


def draw_matched(genes: NDArray[np.intp], expression: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.intp]:
    """For each gene another one of about its mean expression; none of `genes`, and none twice."""
    chosen: list[int] = []
    for gene in genes:
        free = np.setdiff1d(np.arange(len(expression)), [*genes, *chosen])
        closest = free[np.argsort(np.abs(expression[free] - expression[gene]), kind="stable")[:NEIGHBOURS]]
        chosen.append(int(rng.choice(closest)))
    return np.asarray(chosen)


def without(counts: sparse.csr_matrix, genes: NDArray[np.intp]) -> sparse.csr_matrix:
    """The same cells with the counts of some genes set to zero."""
    kept = np.ones(counts.shape[1], dtype=np.float32)
    kept[genes] = 0
    return sparse.csr_matrix(counts @ sparse.diags(kept))


def losses(data: Data, name: str, seed: int, n_draws: int) -> Iterator[dict[str, object]]:
    """Losses, one row per query, type, number of genes and way to choose them."""
    rng = np.random.default_rng(seed)
    cells = data["pbmc_zheng_facs"]
    learned, held_out = train_test_split(np.arange(cells.n_obs), test_size=0.2, stratify=cells.obs[LABELS], random_state=seed)
    reference = cells[learned].copy()
    SCTAB.setup_anndata(reference, LABELS)
    model = SCTAB(reference, **MODELS[name])
    model.train(calibrate=False, seed=seed, accelerator="cpu", enable_progress_bar=False)

    of_reference = counts_by_type(model, reference, rng)
    queries = {"held-out FACS": cells[held_out].copy(), "pbmc3k": data["pbmc3k_10x"]}
    for query, adata in queries.items():
        for type_name, counts in counts_by_type(model, adata, rng).items():
            before, parts = evaluate(model, counts, type_name), describe(model, counts)
            ranked = rank_genes(model, of_reference[type_name])
            expression = np.asarray(normalise(of_reference[type_name], model.spec.normalization).mean(axis=0)).ravel()
            for n in SIZES:
                top = ranked[REMOVED[0]][:n]
                removals = {kind: [genes[:n]] for kind, genes in ranked.items()}
                removals[REMOVED[2]] = [draw_matched(top, expression, rng) for _ in range(n_draws)]
                removals[REMOVED[3]] = [rng.choice(len(expression), size=n, replace=False) for _ in range(n_draws)]
                for kind, draws in removals.items():
                    probability, recall = before - np.mean(
                        [evaluate(model, without(counts, genes), type_name) for genes in draws], axis=0
                    )
                    yield {
                        "query": query,
                        "model": name,
                        "seed": seed,
                        "type": type_name,
                        "n": n,
                        "removed": kind,
                        "probability before": before[0],
                        "recall before": before[1],
                        "probability": probability,
                        "recall": recall,
                        **parts,
                    }


def summary(rows: pd.DataFrame, of: str) -> pd.DataFrame:
    """Mean over types ± standard deviation over seeds, a column per number of genes."""
    rows = rows[(rows["model"] == "default") | (rows["removed"] != REMOVED[1])]  # the same as the explanation
    table = pd.concat(
        [
            _over_seeds(rows[rows["n"] == SIZES[0]], f"{of} before").rename("before"),
            *(_over_seeds(rows[rows["n"] == n], of).rename(str(n)) for n in SIZES),
        ],
        axis=1,
    )
    table.index = [" · ".join(names) for names in table.index]
    table.index.name = f"loss of {of}, genes removed"
    return table


def _over_seeds(rows: pd.DataFrame, of: str) -> pd.Series:
    keys = ["query", "model", "removed"]
    over_types = rows.groupby([*keys, "seed"], sort=False)[of].mean()
    return over_types.groupby(level=keys, sort=False).agg(["mean", "std"]).apply(_mean_and_spread, axis=1)


def parts(rows: pd.DataFrame) -> pd.DataFrame:
    """Composition of decisions and masks, a column each."""
    rows = rows[(rows["n"] == SIZES[0]) & (rows["removed"] == REMOVED[0])]
    table = pd.DataFrame({name: _over_seeds(rows, name) for name in ("decided without a mask", "masks on expressed genes")})
    table.index = [" · ".join(names[:2]) for names in table.index]
    table.index.name = "share"
    return table


def by_type(rows: pd.DataFrame, n: int) -> pd.DataFrame:
    """Loss of probability of each type when `n` genes are removed, a column per way to choose them."""
    of_size = rows[rows["n"] == n]
    columns = {}
    for removed in (REMOVED[0], REMOVED[2]):
        losses_of = of_size[of_size["removed"] == removed].groupby(["query", "model", "type"], sort=False)["probability"]
        columns[removed] = losses_of.agg(["mean", "std"]).apply(_mean_and_spread, axis=1)
    table = pd.DataFrame(columns)
    table.index = [" · ".join(names) for names in table.index]
    table.index.name = f"loss of probability, {n} genes removed"
    return table


def _mean_and_spread(values: pd.Series) -> str:
    return f"{values['mean']:.3f}" if np.isnan(values["std"]) else f"{values['mean']:.3f} ± {values['std']:.3f}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=3, help="how often random genes are drawn")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    data = Data(arguments.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = pd.DataFrame(
            row for name in MODELS for seed in range(arguments.seeds) for row in losses(data, name, seed, arguments.draws)
        )
    if arguments.output:
        rows.to_csv(arguments.output, index=False)
    for table in (summary(rows, "probability"), summary(rows, "recall"), by_type(rows, 20), parts(rows)):
        print(markdown(table), end="\n\n")


if __name__ == "__main__":
    main()
