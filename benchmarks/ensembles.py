"""Effect of augmentation and ensembles on SCTAB on held-out donors: macro F1, loss, calibration and AUROC of uncertainty.

    uv run python benchmarks/ensembles.py --data FOLDER [--seeds 3] [--members 5] [--jobs 2]

`FOLDER` holds the data sets that are listed in docs/benchmarks.md. For each seed two ensembles learn five donors of the Kang set, one
without and one with augmentation, and annotate the cells of the other three; the single models are the first members. Prints Markdown
tables, mean ± standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from _common import Data, markdown
from anndata import AnnData
from scipy.stats import entropy

from sctab.inference import predict_cells
from sctab.metrics import auroc, calibration_error, cross_entropy, macro_f1
from sctab.model import SCTAB, CellTypeClassifier, DeepEnsemble

LABELS_KEY, DONOR_KEY = "cell_type", "donor_id"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()

    warnings.simplefilter("ignore")
    data = Data(arguments.data)
    reference, query = data.kang(test=False), data.kang(test=True)
    rows: list[dict[str, object]] = []
    for seed in range(arguments.seeds):
        for augment in (False, True):
            ensemble = DeepEnsemble(SCTAB, arguments.members)
            ensemble.setup_anndata(reference, LABELS_KEY, donor_key=DONOR_KEY)
            ensemble.train(
                calibrate=False,
                seed=seed,
                augment=augment,
                n_jobs=arguments.jobs,
                accelerator="cpu",
                enable_progress_bar=False,
            )
            for what, model in (("one model", ensemble.members[0]), (f"ensemble of {arguments.members}", ensemble)):
                name = f"{what}, augmentation" if augment else what
                rows.append({"model": name, "seed": seed} | scores(model, query))
                print(rows[-1], flush=True)
            ensemble.deregister_manager(reference)
    results = pd.DataFrame(rows).set_index(["model", "seed"])
    for title, columns in (
        ("Names", ["macro F1", "loss", "ECE"]),
        ("AUROC of uncertainty against error", ["1 - largest probability", "entropy", "expected entropy", "mutual information"]),
    ):
        groups = results[columns].groupby("model", sort=False)
        mean, spread = groups.mean(), groups.std(ddof=1)
        table = pd.DataFrame(
            {c: [f"{m:.3f} ± {s:.3f}" for m, s in zip(mean[c], spread[c], strict=True)] for c in columns}, index=mean.index
        )
        table.index.name = title
        print(markdown(table.replace("nan ± nan", "")), end="\n\n")


def scores(model: CellTypeClassifier | DeepEnsemble, query: AnnData) -> dict[str, float]:
    """Everything that the tables show, of one model on the held-out donors."""
    truth = query.obs[LABELS_KEY].astype(str).to_numpy()
    predictor = model.predictor
    decision = predict_cells(predictor, query, predictor.open_query(query, layer="X"))
    probabilities = pd.DataFrame(decision.probabilities, columns=list(model.spec.labels.names))
    predicted = decision.labels(model.spec.labels.names)
    wrong = predicted != truth
    uncertainty = {
        "1 - largest probability": 1 - decision.probabilities.max(axis=1),
        "entropy": entropy(decision.probabilities, axis=1),
        "expected entropy": decision.expected_entropy,
        "mutual information": decision.mutual_information,
    }
    return {
        "macro F1": macro_f1(truth, predicted),
        "loss": cross_entropy(truth, probabilities),
        "ECE": calibration_error(truth, predicted, probabilities),
    } | {name: np.nan if values is None else auroc(wrong, values) for name, values in uncertainty.items()}


if __name__ == "__main__":
    main()
