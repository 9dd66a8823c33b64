"""Does pretraining help? Models that were trained on other studies, and models from scratch, on a few labelled cells of a target study.

    uv run python benchmarks/pretraining.py --data FOLDER --output DIR [--targets NAME ...] [--models mlp linear sctab scarches]
        [--seeds 0 1 2]
    uv run python benchmarks/pretraining.py --table FILE [FILE ...] [--figure docs/_static/pretraining.svg]

`pretraining.yaml` declares targets, pretraining data, and both axes. Pretraining data are merged over the genes of the target, so that
`all` is a target that measures every gene that the model has learned; other panels are cut from those genes. Half of the cells of the
target are tested, or all cells of a third of its donors; labelled cells are drawn from the others.

| method | what it is |
| --- | --- |
| from scratch | trained on the labelled cells of the target, on the genes that it measures |
| as it is | pretrained; a gene that is not measured is zero |
| mean | pretrained; a gene that is not measured has its mean in the reference, so that it is left out of every comparison |
| mask | pretrained (SCTAB alone); the attention can select measured genes only |
| retrained | trained on the pretraining data, on the genes that the target measures |
| refitted | pretrained, with a sketch of 2,000 cells that is refitted to the target, `annotate(..., adapt="query")` |
| last layer | fine-tuned: `load_query_data`, then `train` on the labelled cells |
| all layers | fine-tuned with `unfrozen=True` |
| scArches | scANVI on the pretraining data, on the genes that the target measures; surgery on the target, with its labelled cells |

Models are trained with their defaults: in all of them, genes are hidden at random from training cells (`gene_dropout`). Scores are macro F1
over the types of the target and expected calibration error. Rows are appended to `pretraining.jsonl` as each is finished; finished rows are
skipped.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import torch
import yaml
from _measure import head, machine, row
from adapting import read_rows
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

import sctab
from sctab.benchmark._peers import PEERS, default_environments, make_environment, run_peer
from sctab.data import Normalization, normalise
from sctab.inference import Predictor
from sctab.metrics import calibration_error_of, macro_f1
from sctab.model import CellTypeClassifier, model_by_name
from sctab.nn import LinearNetwork, MultilayerPerceptron, TabNet

CONFIGURATION = Path(__file__).with_suffix(".yaml")
ROWS = "pretraining.jsonl"
LABEL = "label"
SKETCH = 2_000
CLOSED = -1e4
"""Attention to a gene that is not measured, before entmax."""
DRAWN: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("as it is", 0, {"color": "#7f7f7f"}),
    ("refitted", 0, {"color": "#0072b2"}),
    ("retrained", 0, {"color": "#56b4e9"}),
    ("from scratch", 25, {"color": "#d55e00"}),
    ("all layers", 25, {"color": "#009e73"}),
    ("last layer", 25, {"color": "#e69f00"}),
)
"""Methods of the picture, and for its first row the labelled cells of each type."""
KEY = ("target", "panel", "model", "method", "labelled", "seed")


@dataclass(frozen=True)
class Study:
    """A target study, cut into cells whose labels may be known and cells to test, and other studies to learn from before."""

    name: str
    pretraining: AnnData
    pool: AnnData
    test: AnnData

    @classmethod
    def of(cls, target: dict[str, Any], folder: Path, *, most_cells: int, seed: int) -> Study:
        """Read a target and its pretraining data, at most `most_cells` of each study."""

        def read(name: str, labels_key: str) -> AnnData:
            adata = ad.read_h5ad(folder / f"{name}.h5ad")
            adata.obs[LABEL] = adata.obs[labels_key].astype(str)
            return adata

        own = read(target["file"], target["labels_key"])
        others = {name: drawn(read(name, "cell_type_coarse"), most_cells, seed) for name in target["pretraining"]}
        merged = sctab.pp.merge({name: each[:, each.var_names.isin(own.var_names)].copy() for name, each in others.items()})
        types = set(own.obs[LABEL]) & set(merged.obs[LABEL])
        if types:
            own, merged = (each[each.obs[LABEL].isin(types)].copy() for each in (own, merged))
        rng = np.random.default_rng(seed)
        if "donor_key" in target:
            donors = own.obs[target["donor_key"]].astype(str)
            is_tested = donors.isin(rng.permutation(sorted(donors.unique()))[: donors.nunique() // 3]).to_numpy()
        else:
            is_tested = rng.random(own.n_obs) < 0.5
        return cls(target["name"], merged, own[~is_tested].copy(), own[is_tested].copy())

    def genes_of(self, panel: str, seed: int) -> list[str]:
        """Genes of a panel, in the order of the pretraining data."""
        genes = np.array(self.pretraining.var_names)
        if panel == "all":
            return list(genes)
        kind, size = panel.removesuffix(" %").split()
        if kind == "random":
            order, n = np.random.default_rng(seed).permutation(len(genes)), round(len(genes) * int(size) / 100)
        else:
            values = normalise(sparse.csr_matrix(self.pretraining.X, dtype=np.float32), Normalization())
            mean = np.asarray(values.mean(axis=0)).ravel()
            order, n = np.argsort(mean**2 - np.asarray(values.multiply(values).mean(axis=0)).ravel(), kind="stable"), int(size)
        return list(genes[np.sort(order[:n])])

    def labelled(self, n: int, seed: int) -> AnnData:
        """At most `n` cells of each type of the target; those of a smaller `n` are among them."""
        rng = np.random.default_rng(seed)
        labels = self.pool.obs[LABEL].to_numpy()
        cells = [rng.permutation(np.flatnonzero(labels == each))[:n] for each in np.unique(labels)]
        return self.pool[np.sort(np.concatenate(cells))].copy()

    def scores(self, labels: NDArray[np.object_], confidence: NDArray[np.floating], seconds: float) -> dict[str, float]:
        """Scores of labels of the tested cells."""
        truth = self.test.obs[LABEL].to_numpy()
        is_answered = np.isfinite(confidence)
        return {
            "macro_f1": macro_f1(truth, labels.astype(str)),
            "calibration_error": float(calibration_error_of(confidence[is_answered], (labels == truth)[is_answered])),
            "seconds": seconds,
        }


def drawn(adata: AnnData, most_cells: int, seed: int) -> AnnData:
    """At most `most_cells` cells, at random."""
    return adata[np.sort(np.random.default_rng(seed).permutation(adata.n_obs)[:most_cells])].copy()


def trained(name: str, reference: AnnData, seed: int, **settings: Any) -> CellTypeClassifier:
    """A model of a reference."""
    model_class = model_by_name(name)
    model_class.setup_anndata(reference, LABEL)
    model = model_class(reference)
    model.train(seed=seed, accelerator="cpu", enable_progress_bar=False, **settings)
    return model


def annotated(study: Study, query: AnnData, model: Any, start: float, *, adapt: Any = False) -> dict[str, float]:
    """Scores of the labels that a model gives to the tested cells."""
    sctab.tl.annotate(query, model, adapt=adapt, min_gene_coverage=0.0)
    labels = query.obs["sctab_label"].astype(str).to_numpy().astype(object)
    return study.scores(labels, query.obs["sctab_confidence"].to_numpy(), time.perf_counter() - start)


def told_what_is_missing(predictor: Predictor, reference: AnnData, genes: list[str], *, closed: bool) -> Predictor:
    """The same model for data in which only some genes are measured: others have their mean, or the attention is closed to them too.

    The weights absorb it, so that a gene that is not measured is zero in the input as before.
    """
    names = list(predictor.spec.features.names)
    missing = torch.from_numpy(~np.isin(names, genes))
    values = normalise(sparse.csr_matrix(reference[:, names].X, dtype=np.float32), Normalization())
    means = torch.from_numpy(np.asarray(values.mean(axis=0)).ravel() * missing.numpy()).float()
    network = copy.deepcopy(predictor.networks[0])
    with torch.no_grad():
        match network:
            case TabNet():
                network.input_norm.running_mean[missing] = 0.0
                for each in network.attentive_transformers if closed else ():
                    each.norm.bn.weight[missing] = 0.0
                    each.norm.bn.bias[missing] = CLOSED
            case LinearNetwork() | MultilayerPerceptron():
                first = network.classifier if isinstance(network, LinearNetwork) else network.layers[0][0]
                first.bias += first.weight @ means
    return Predictor(predictor.spec, [network.eval()], predictor.gene_importance)


def of_model(name: str, study: Study, panels: dict[str, list[str]], labelled: list[int], seed: int, done: Done) -> Iterator[Row]:
    """Rows of a model class."""
    types_are_known = bool(set(study.pretraining.obs[LABEL]) & set(study.test.obs[LABEL]))
    pretrained = trained(name, study.pretraining.copy(), seed, sketch=SKETCH)
    for panel, genes in panels.items():
        query = study.test[:, genes].copy()

        def row_of(
            method: str, n: int, score: Callable[[float], dict[str, float]], panel: str = panel, n_genes: int = len(genes)
        ) -> Iterator[Row]:
            if (study.name, panel, name, method, n, seed) not in done:
                found = score(time.perf_counter())
                yield {"panel": panel, "model": name, "method": method, "labelled": n, "n_genes": n_genes, **found}

        if types_are_known:
            yield from row_of("as it is", 0, lambda start, query=query: annotated(study, query, pretrained, start))
            yield from row_of("refitted", 0, lambda start, query=query: annotated(study, query, pretrained, start, adapt="query"))
            for method in ("mean", "mask") if name == "sctab" else ("mean",):
                told = told_what_is_missing(pretrained.predictor, study.pretraining, genes, closed=method == "mask")
                yield from row_of(method, 0, lambda start, query=query, told=told: annotated(study, query, told, start))
            if panel != "all":  # where it is the model as it is
                yield from row_of(
                    "retrained",
                    0,
                    lambda start, query=query, genes=genes: annotated(
                        study, query, trained(name, study.pretraining[:, genes].copy(), seed), start
                    ),
                )
        for n in labelled:
            known = study.labelled(n, seed)[:, genes].copy()
            yield from row_of(
                "from scratch",
                n,
                lambda start, query=query, known=known: annotated(study, query, trained(name, known.copy(), seed), start),
            )
            for method in ("last layer", "all layers")[1 if name == "linear" else 0 :]:

                def tuned(start: float, query: AnnData = query, known: AnnData = known, method: str = method) -> dict[str, float]:
                    model = type(pretrained).load_query_data(known, pretrained, labels_key=LABEL, unfrozen=method == "all layers")
                    model.train(seed=seed, accelerator="cpu", enable_progress_bar=False)
                    return annotated(study, query, model, start)

                yield from row_of(method, n, tuned)


def of_scarches(
    study: Study, panels: dict[str, list[str]], labelled: list[int], seed: int, done: Done, settings: dict[str, Any]
) -> Iterator[Row]:
    """Rows of scANVI with scArches surgery, in an environment of its own."""
    for panel, genes in panels.items():
        for n in labelled:
            if (study.name, panel, "scarches", "scArches", n, seed) in done:
                continue
            reference = AnnData(study.pretraining[:, genes].X, var=pd.DataFrame(index=genes))
            reference.obs["label"] = study.pretraining.obs[LABEL].to_numpy()
            reference.obs["batch"] = study.pretraining.obs["sctab_source"].astype(str).to_numpy()
            known = study.labelled(n, seed)
            query = AnnData(
                sparse.vstack([sparse.csr_matrix(each[:, genes].X) for each in (known, study.test)], format="csr"),
                var=pd.DataFrame(index=genes),
            )
            query.obs["batch"] = "target"
            query.obs["known_label"] = [*known.obs[LABEL], *[""] * study.test.n_obs]
            with tempfile.TemporaryDirectory() as folder:
                python = make_environment(PEERS["scarches"], default_environments())
                found = run_peer("scarches", python, Path(folder), reference=reference, query=query, seed=seed, settings=settings)
            labels = found.predicted.astype(str).to_numpy().astype(object)[known.n_obs :]
            confidence = found.probabilities.to_numpy().max(axis=1)[known.n_obs :]
            scores = study.scores(labels, confidence, found.seconds)
            yield {"panel": panel, "model": "scarches", "method": "scArches", "labelled": n, "n_genes": len(genes), **scores}


def run(configuration: dict[str, Any], options: argparse.Namespace, file: Path) -> None:
    """Append the missing rows."""
    done = {tuple(each[key] for key in KEY) for each in read_rows(file)}
    for seed in options.seeds or configuration["seeds"]:
        for target in configuration["targets"]:
            if options.targets and target["name"] not in options.targets:
                continue
            study = Study.of(target, options.data, most_cells=configuration["most_cells"], seed=seed)
            for name in options.models:
                asked = {**configuration, "targets": [target["name"]], **configuration["subsets"].get(name, {})}
                if target["name"] not in asked["targets"]:
                    continue
                panels = {panel: study.genes_of(panel, seed) for panel in asked["panels"]}
                if name == "scarches":
                    rows = of_scarches(study, panels, asked["labelled"], seed, done, configuration["scarches"])
                else:
                    rows = of_model(name, study, panels, asked["labelled"], seed, done)
                for each in rows:
                    full = {"target": study.name, "seed": seed, **each, "machine": machine()}
                    with file.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps(full) + "\n")
                    print(*(full[key] for key in KEY), round(full["macro_f1"], 3), flush=True)


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Print a table of each score: mean ± standard deviation over seeds."""
    table = pd.DataFrame(rows)
    methods = [
        f"{method}, {n}" if n else method for method, n in table[["method", "labelled"]].drop_duplicates().itertuples(index=False)
    ]
    for value, title in (("macro_f1", "Macro F1"), ("calibration_error", "Expected calibration error")):
        for (target, model), own in table.groupby(["target", "model"], sort=False):
            panels = list(dict.fromkeys(own["panel"]))
            head(f"{title}: {target}, {model}", "method, labelled cells of each type", *panels)
            for method in methods:
                name, _, n = method.partition(", ")
                found = own[(own["method"] == name) & (own["labelled"] == int(n or 0))]
                if len(found):
                    row(method, *(_mean(found.loc[found["panel"] == panel, value]) for panel in panels))
    head("Median seconds", "model", "method", "seconds")
    for (model, method), own in table.groupby(["model", "method"], sort=False):
        row(model, method, f"{own['seconds'].median():.1f}")
    print("\n" + "\n".join(f"- {each}" for each in dict.fromkeys(table["machine"])))


def draw(rows: list[dict[str, Any]], model: str, path: Path) -> None:
    """Draw macro F1 against the genes that a target measures, and against its labelled cells; bars are standard deviations over seeds."""
    import matplotlib.pyplot as plt

    table = pd.DataFrame(rows)
    table = table[table["model"] == model]
    targets, panels = list(dict.fromkeys(table["target"])), list(dict.fromkeys(table["panel"]))
    numbers = sorted(table["labelled"].unique())
    figure, axes = plt.subplots(2, len(targets), figsize=(3.2 * len(targets), 6), sharey=True, layout="constrained", squeeze=False)
    for column, target in enumerate(targets):
        own = table[table["target"] == target]
        for method, n, style in DRAWN:
            found = (
                own[(own["method"] == method) & (own["labelled"] == n)]
                .groupby("panel")["macro_f1"]
                .agg(["mean", "std"])
                .reindex(panels)
            )
            label = f"{method}, {n} cells of each type" if n else method
            axes[0, column].errorbar(range(len(panels)), found["mean"], found["std"].fillna(0), label=label, capsize=2, **style)
        for panel, line in (("all", "-"), ("random 10 %", "--")):
            for method, n, style in DRAWN:
                of_panel = own[(own["method"] == method) & (own["panel"] == panel)]
                found = of_panel.groupby("labelled")["macro_f1"].agg(["mean", "std"])
                if n == 0 and len(found):
                    axes[1, column].axhline(found["mean"].iloc[0], color=style["color"], linestyle=line, linewidth=1)
                else:
                    at = [numbers.index(each) for each in found.index]
                    axes[1, column].errorbar(at, found["mean"], found["std"].fillna(0), capsize=2, **(style | {"linestyle": line}))
        axes[0, column].set_xticks(range(len(panels)), panels, rotation=60, ha="right")
        axes[1, column].set_xticks(range(len(numbers)), numbers)
        axes[0, column].set_title(target)
        axes[0, column].set_xlabel("genes that the target measures")
        axes[1, column].set_xlabel("labelled cells of each type\n(all genes: solid; 10 %: dashed)")
    for row_of_axes in axes:
        row_of_axes[0].set_ylabel("macro F1")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def _mean(values: pd.Series) -> str:
    """Mean, and standard deviation of several."""
    if len(values) == 0:
        return "–"
    return f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")


type Row = dict[str, Any]
type Done = set[tuple[Any, ...]]


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--output", type=Path, help="folder of the rows")
    parser.add_argument("--table", type=Path, nargs="+", help="files of rows")
    parser.add_argument("--figure", type=Path, help="with --table: picture of the first of --models")
    parser.add_argument("--targets", nargs="+")
    parser.add_argument("--models", nargs="+", default=["mlp", "linear", "sctab", "scarches"])
    parser.add_argument("--seeds", type=int, nargs="+")
    options = parser.parse_args()
    if options.table:
        rows = read_rows(*options.table)
        print_tables(rows)
        if options.figure is not None:
            draw(rows, options.models[0], options.figure)
        return
    if options.data is None or options.output is None:
        parser.error("--data and --output are required, unless --table is given")
    options.output.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    configuration = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    run(configuration, options, options.output / ROWS)
    print_tables(read_rows(options.output / ROWS))


if __name__ == "__main__":
    main()
