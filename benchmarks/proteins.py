"""Annotation by gene expression, by surface proteins and by both, on cord blood (CITE-seq, Stoeckius et al. 2017).

    uv run python benchmarks/proteins.py --data FOLDER --output DIR [--models linear mlp xgboost sctab totalanvi anchors] [--seeds 0 1 2]
    uv run python benchmarks/proteins.py --table FILE [FILE ...]
    uv run python benchmarks/proteins.py --gates --data FOLDER [--models linear]

`cite_cbmc.h5mu` in FOLDER: 7,839 cells, 2,000 genes, 10 antibodies, 11 types. In each seed, 70 % of the cells of each type are learned,
and the others are annotated. Each model class of `sctab` is trained with its defaults, calibration included, once on gene expression
(`RNA`) and once on both modalities (`both`). The latter also annotates the same cells without antibodies (`proteins hidden`), with five
of the ten, those at even positions (`five antibodies`), and without genes (`genes hidden`).

`anchors` are logistic regressions of scikit-learn on standardised values of the antibodies alone, of these five of them, and on log-
normalised genes. `totalanvi` is TOTALANVI of scvi-tools, which sees the query cells, without labels, while it learns. It models counts of
proteins; the file has scaled values, so that it gets rounded 20 exp(z) in their place.

Rows are appended to `proteins.jsonl` in DIR; finished runs are skipped. `--table` prints tables of files of rows.

`--gates` learns all of cord blood and annotates `eccite_pbmc_500.h5mu` by the antibodies that both have: genes of cord blood have no
names in this file. Labels are compared with gates on the counts of CD3, CD4, CD8, CD14 and CD19, and so are those of the packaged model
`pbmc`, which looks at gene expression alone.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mudata
import numpy as np
import pandas as pd
from _measure import head, machine, row
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.mixture import GaussianMixture

from sctab.data import Normalization, normalise
from sctab.metrics import calibration_error
from sctab.model import model_by_name

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData
    from numpy.typing import NDArray

OURS = ("linear", "mlp", "xgboost", "sctab")
ROWS = "proteins.jsonl"
LABELS = "cell_type"
TEST_SIZE = 0.3
TOTALANVI_EPOCHS = 100
PSEUDO_COUNTS = 20


def split(labels: NDArray[np.object_], seed: int) -> NDArray[np.bool_]:
    """Cells to annotate, `(n_obs,)`: 30 % of each type."""
    rng, is_test = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        cells = rng.permutation(np.flatnonzero(labels == label))
        is_test[cells[: round(TEST_SIZE * len(cells))]] = True
    return is_test


def of_ours(name: str, reference: MuData, query: MuData, seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Probabilities of a model class, trained on gene expression and on both."""
    model_class = model_by_name(name)
    for what, modalities in (("RNA", {"rna": "rna"}), ("both", {"rna": "rna", "protein": "prot"})):
        model_class.setup_mudata(reference, LABELS, modalities=modalities)
        model = model_class(reference)
        model.train(seed=seed, accelerator="cpu", enable_progress_bar=False)
        yield what, probabilities(model, query)
        if what == "both":
            yield "both, proteins hidden", probabilities(model, query["rna"].copy())
            yield "both, five antibodies", probabilities(model, with_proteins(query, query["prot"][:, ::2].copy()))
            yield "both, genes hidden", probabilities(model, mudata.MuData({"prot": query["prot"].copy()}))


def with_proteins(query: MuData, proteins: AnnData) -> MuData:
    """The same gene expression with other proteins."""
    return mudata.MuData({"rna": query["rna"].copy(), "prot": proteins})


def probabilities(model: Any, query: Any) -> pd.DataFrame:
    """Calibrated probabilities for the proteins that the query has."""
    import sctab

    sctab.tl.annotate(query, model)
    found: pd.DataFrame = query.obsm["sctab_probabilities"]
    return found


def of_anchors(reference: MuData, query: MuData, seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Logistic regressions."""
    kinds = {
        "proteins": lambda mdata: mdata["prot"].X,
        "five antibodies": lambda mdata: mdata["prot"].X[:, ::2],
        "RNA": lambda mdata: normalise(mdata["rna"].X.tocsr(), Normalization()),
    }
    for what, values in kinds.items():
        model = LogisticRegression(max_iter=1000, random_state=seed).fit(values(reference), reference.obs[LABELS].astype(str))
        yield what, pd.DataFrame(model.predict_proba(values(query)), columns=model.classes_)


def of_totalanvi(reference: MuData, query: MuData, seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """TOTALANVI, which learns reference and query together."""
    import anndata as ad
    import scvi
    from scvi.external import TOTALANVI

    scvi.settings.seed = seed
    parts = []
    for part, labels in ((reference, reference.obs[LABELS].astype(str).to_numpy()), (query, "unknown")):
        adata = ad.AnnData(part["rna"].X.copy(), obs=pd.DataFrame({"label": labels}, index=part.obs_names))
        adata.obsm["proteins"] = np.rint(PSEUDO_COUNTS * np.exp(np.asarray(part["prot"].X))).astype(np.float32)
        parts.append(adata)
    cells = ad.concat(parts)
    TOTALANVI.setup_anndata(cells, protein_expression_obsm_key="proteins", labels_key="label", unlabeled_category="unknown")
    model = TOTALANVI(cells)
    model.train(max_epochs=TOTALANVI_EPOCHS, accelerator="cpu", enable_progress_bar=False)
    found = model.predict(soft=True)
    yield "both", found.iloc[reference.n_obs :]


def do(name: str, mdata: MuData, seed: int) -> list[dict[str, Any]]:
    """Rows of a method and a seed."""
    labels = mdata.obs[LABELS].astype(str).to_numpy()
    is_test = split(labels, seed)
    reference, query = mdata[~is_test].copy(), mdata[is_test].copy()
    truth, rows, start = labels[is_test], [], time.process_time()
    methods = {"anchors": of_anchors, "totalanvi": of_totalanvi}
    found = of_ours(name, reference, query, seed) if name in OURS else methods[name](reference, query, seed)
    for what, probability in found:
        predicted = probability.columns.to_numpy(dtype=object)[probability.to_numpy().argmax(axis=1)].astype(str)
        rows.append(
            {
                "method": name,
                "what": what,
                "seed": seed,
                "accuracy": accuracy_score(truth, predicted),
                "macro_f1": f1_score(truth, predicted, average="macro"),
                "ece": calibration_error(truth, predicted, probability),
                "processor_seconds": time.process_time() - start,
                "machine": machine(),
            }
        )
        start = time.process_time()
    return rows


GATES = {"CD3": "T", "CD4": "CD4", "CD8": "CD8", "CD14": "monocyte", "CD19": "B"}


def gate(mdata: MuData) -> pd.Series:
    """Gate of each cell: T cells with CD4 or with CD8, B cells and monocytes; missing where none or several fit.

    An antibody is high in a cell if that belongs to the upper one of two Gaussians that are fitted to its log counts.
    """

    def is_high(values: pd.Series) -> NDArray[np.bool_]:
        column = values.to_numpy()[:, None]
        mixture = GaussianMixture(2, random_state=0).fit(column)
        return np.asarray(mixture.predict(column) == mixture.means_.ravel().argmax())

    counts = pd.DataFrame(np.log1p(mdata["prot"][:, list(GATES)].X.toarray()), index=mdata.obs_names, columns=list(GATES))
    high = counts.apply(is_high)
    other = high[["CD14", "CD19"]].any(axis=1)
    gates = {
        "CD4 T": high["CD3"] & high["CD4"] & ~high["CD8"] & ~other,
        "CD8 T": high["CD3"] & high["CD8"] & ~high["CD4"] & ~other,
        "B": high["CD19"] & ~high["CD3"] & ~high["CD14"],
        "monocyte": high["CD14"] & ~high["CD3"] & ~high["CD19"],
    }
    found = pd.Series(pd.NA, index=counts.index, dtype=object)
    for name, cells in gates.items():
        found[cells] = name
    return found


def print_contradictions(reference: MuData) -> None:
    """Count T cells whose label and antibodies contradict each other."""
    values = pd.DataFrame(np.asarray(reference["prot"].X), index=reference.obs_names, columns=reference["prot"].var_names)
    head("T cells of cord blood", "label", "cells", "with more of the other antibody, in standard deviations")
    for own, other in (("CD4", "CD8"), ("CD8", "CD4")):
        cells = values[reference.obs[LABELS] == f"{own}-positive, alpha-beta T cell"]
        row(own, len(cells), f"{(cells[other] > cells[own]).mean():.1%}")


def print_gates(data: Path, names: list[str]) -> None:
    """Compare labels with gates, of cord blood with its own antibodies and of another study."""
    import sctab

    print_contradictions(mudata.read_h5mu(data / "cite_cbmc.h5mu"))
    reference, query = mudata.read_h5mu(data / "cite_cbmc.h5mu"), mudata.read_h5mu(data / "eccite_pbmc_500.h5mu")
    gates = gate(query)
    for name in names:
        model_class = model_by_name(name)
        model_class.setup_mudata(reference, LABELS, modalities={"rna": "rna", "protein": "prot"})
        model = model_class(reference)
        model.train(accelerator="cpu", enable_progress_bar=False)
        sctab.tl.annotate(query, model, key_added=name)
        if name == names[0]:
            head("Antibodies of cord blood in ECCITE-seq", "antibody", "feature", "rule")
            for antibody, feature, rule in zip(*query.uns[name]["proteins"]["antibodies"].values(), strict=True):
                row(antibody, feature, rule)
    sctab.tl.annotate(query, "pbmc", key_added="pbmc")
    for name in [*names, "pbmc"]:
        labels = query.obs[f"{name}_label"].astype(str)
        head(f"Labels of {name}", "gate", "cells", "most frequent labels")
        for each, cells in labels.groupby(gates):
            counts = cells.value_counts()
            row(each, len(cells), ", ".join(f"{label} {count / len(cells):.0%}" for label, count in counts.iloc[:3].items()))


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print one table."""
    table = pd.DataFrame(rows)
    head("Cord blood", "method", "what", "macro F1", "accuracy", "calibration error", "processor s", "seeds")
    for (method, what), own in table.groupby(["method", "what"], sort=False):
        spread = {name: f" ± {own[name].std(ddof=1):.3f}" if len(own) > 1 else "" for name in ("macro_f1", "accuracy", "ece")}
        scores = [f"{own[name].mean():.3f}{spread[name]}" for name in spread]
        row(method, what, *scores, f"{own['processor_seconds'].median():.0f}", len(own))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data")
    parser.add_argument("--output", type=Path, help="folder of the rows")
    parser.add_argument("--table", type=Path, nargs="+", help="files of rows")
    parser.add_argument("--models", nargs="+", default=["anchors", *OURS, "totalanvi"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--gates", action="store_true", help="annotate ECCITE-seq")
    options = parser.parse_args()
    if options.gates:
        warnings.simplefilter("ignore")
        print_gates(options.data, [name for name in options.models if name in OURS])
        return
    if options.table:
        print_table([json.loads(line) for file in options.table for line in file.read_text(encoding="utf-8").splitlines()])
        return
    if options.data is None or options.output is None:
        parser.error("--data and --output are required, unless --table is given")
    warnings.simplefilter("ignore")
    mdata = mudata.read_h5mu(options.data / "cite_cbmc.h5mu")
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / ROWS
    done = set()
    if file.exists():
        done = {(each["method"], each["seed"]) for each in map(json.loads, file.read_text(encoding="utf-8").splitlines())}
    for seed in options.seeds:
        for name in options.models:
            if (name, seed) not in done:
                rows = do(name, mdata, seed)
                with file.open("a", encoding="utf-8") as stream:
                    stream.writelines(json.dumps(each) + "\n" for each in rows)
                for each in rows:
                    print(*(each[key] if isinstance(each[key], str) else round(each[key], 3) for key in list(each)[:7]), flush=True)
    print_table([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()])


if __name__ == "__main__":
    main()
