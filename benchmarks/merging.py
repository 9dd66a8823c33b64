"""Genes of a corpus whose studies measured different ones: all of them, those in common, or all with a note on what was not measured.

    uv run python benchmarks/merging.py --data FOLDER --output DIR [--targets pbmc3k FACS] [--models mlp linear] [--seeds 0 1 2]
    uv run python benchmarks/merging.py --table FILE [FILE ...]

A target study, with all of its 16,600 or 16,800 genes, is annotated by a model of a corpus of two other studies: Kang, which has 1,287
genes, and one that has 16,600 or 16,800. 3,000 cells of Kang are drawn.

| genes | what a gene is in a study that did not measure it |
| --- | --- |
| larger study alone | Kang is left out |
| intersection | left out in both studies |
| union | zero |
| union, told | zero; the study of a cell, and so which genes were measured, is a covariate of the model, unknown for the target |
| union, mean | Poisson counts with the mean that is expected: its share in the larger study, times the counts of the cell in shared genes |

Scores are macro F1 over the types that the corpus and the target share, and expected calibration error. Rows are appended to
`merging.jsonl` as each is finished; finished rows are skipped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from _measure import head, machine, row
from adapting import read_rows
from anndata import AnnData
from scipy import sparse

import sctab
from sctab.metrics import calibration_error_of, macro_f1
from sctab.model import model_by_name

FILES = {"Kang": "pbmc_kang_ctrl_8donors", "pbmc3k": "pbmc3k_10x", "FACS": "pbmc_zheng_facs"}
WAYS = ("larger study alone", "intersection", "union", "union, told", "union, mean")
LABEL, MOST_CELLS = "label", 3_000
ROWS = "merging.jsonl"
KEY = ("target", "genes", "model", "seed")


def study(folder: Path, name: str, seed: int) -> AnnData:
    """Counts and coarse types of a study, and its split."""
    adata = ad.read_h5ad(folder / f"{FILES[name]}.h5ad")
    rng = np.random.default_rng(seed)
    adata = adata[np.sort(rng.permutation(adata.n_obs)[:MOST_CELLS])] if name == "Kang" else adata
    splits = rng.choice(["train", "val", "test"], adata.n_obs, p=[0.84, 0.15, 0.01])  # a corpus has cells in each, of other donors
    obs = pd.DataFrame(
        {
            LABEL: adata.obs["cell_type_coarse"].astype(str).to_numpy(),
            "study": name,
            "donor": splits,
            "split": splits,
        },
        index=[f"{name}-{each}" for each in adata.obs_names],
    )
    return AnnData(sparse.csr_matrix(adata.X, dtype=np.float32), obs=obs, var=pd.DataFrame(index=adata.var_names))


def with_expected_counts(smaller: AnnData, larger: AnnData, seed: int) -> AnnData:
    """The smaller study over the genes of both; in genes that it did not measure, counts are drawn around those that are expected."""
    missing = larger.var_names.difference(smaller.var_names)
    shared = larger.var_names.intersection(smaller.var_names)
    share = np.asarray(larger[:, missing].X.sum(axis=0)).ravel() / float(larger[:, shared].X.sum())
    rng = np.random.default_rng(seed)
    drawn = [
        sparse.csr_matrix(rng.poisson(total * share), dtype=np.float32)
        for total in np.asarray(smaller[:, shared].X.sum(axis=1)).ravel()
    ]
    filled = sparse.hstack([smaller.X, sparse.vstack(drawn)], format="csr")
    return AnnData(filled, obs=smaller.obs, var=pd.DataFrame(index=[*smaller.var_names, *missing]))


def train(name: str, way: str, smaller: AnnData, larger: AnnData, seed: int, folder: Path) -> Any:
    """A model of a corpus of two studies."""
    sources = {"larger": larger}
    if way != WAYS[0]:
        sources["smaller"] = with_expected_counts(smaller, larger, seed) if way == "union, mean" else smaller
    for source, adata in sources.items():
        adata.write_h5ad(folder / f"{source}.h5ad")
    declaration = folder / "corpus.yaml"
    declaration.write_text(
        f"sources: [{', '.join(f'{source}.h5ad' for source in sources)}]\n"
        f"features: {'intersection' if way == 'intersection' else 'union'}\n"
        f"labels_key: {LABEL}\ndonor_key: donor\ndataset_key: study\nsplit_key: split\nsplit: {{by: declared}}\n",
        encoding="utf-8",
    )
    corpus = sctab.corpus.build(declaration, folder / "corpus")
    keys = {"categorical_covariate_keys": ["dataset"]} if way == "union, told" else {}
    model = model_by_name(name).from_corpus(corpus, **keys)
    model.train(seed=seed, accelerator="cpu", enable_progress_bar=False)
    return model


def scores(model: Any, target: AnnData, types: set[str]) -> dict[str, float]:
    """Scores of the labels of a target."""
    query = AnnData(target.X, obs=pd.DataFrame(index=target.obs_names), var=target.var)
    sctab.tl.annotate(query, model, adapt=False)
    truth, labels = target.obs[LABEL].to_numpy(), query.obs["sctab_label"].astype(str).to_numpy()
    known = np.isin(truth, list(types))
    confidence = query.obs["sctab_confidence"].to_numpy()[known]
    return {
        "macro_f1": macro_f1(truth[known], labels[known]),
        "calibration_error": float(calibration_error_of(confidence, (labels == truth)[known])),
    }


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Print a table of each score: mean ± standard deviation over seeds."""
    table = pd.DataFrame(rows)
    for value, title in (("macro_f1", "Macro F1"), ("calibration_error", "Expected calibration error")):
        head(title, "target", "model", *WAYS)
        for (target, model), own in table.groupby(["target", "model"], sort=False):
            cells = []
            for way in WAYS:
                found = own.loc[own["genes"] == way, value]
                cells.append(f"{found.mean():.3f} ± {found.std(ddof=1):.3f}" if len(found) > 1 else "–")
            row(target, model, *cells)
    print("\n" + "\n".join(f"- {each}" for each in dict.fromkeys(table["machine"])))


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--output", type=Path, help="folder of the rows")
    parser.add_argument("--table", type=Path, nargs="+", help="files of rows")
    parser.add_argument("--targets", nargs="+", default=["pbmc3k", "FACS"])
    parser.add_argument("--models", nargs="+", default=["mlp", "linear"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    if options.table:
        print_tables(read_rows(*options.table))
        return
    if options.data is None or options.output is None:
        parser.error("--data and --output are required, unless --table is given")
    options.output.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    file = options.output / ROWS
    done = {tuple(each[key] for key in KEY) for each in read_rows(file)}
    for seed in options.seeds:
        for target in options.targets:
            smaller, larger = (study(options.data, each, seed) for each in ("Kang", "FACS" if target == "pbmc3k" else "pbmc3k"))
            query = study(options.data, target, seed)
            types = (set(smaller.obs[LABEL]) | set(larger.obs[LABEL])) & set(query.obs[LABEL])
            for name in options.models:
                for way in WAYS:
                    if (target, way, name, seed) in done:
                        continue
                    start = time.perf_counter()
                    with tempfile.TemporaryDirectory() as folder:
                        model = train(name, way, smaller, larger, seed, Path(folder))
                    found = scores(model, query, types) | {"seconds": time.perf_counter() - start}
                    full = {"target": target, "genes": way, "model": name, "seed": seed, **found, "machine": machine()}
                    with file.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps(full) + "\n")
                    print(*(full[key] for key in KEY), round(full["macro_f1"], 3), flush=True)
    print_tables(read_rows(file))


if __name__ == "__main__":
    main()
