"""`sctab evaluate`: score an annotation against known labels."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import sctab
import sctab.io
from sctab.cli._files import check_suffix, read_data, write_data
from sctab.cli._options import Debug, LabelMap, LabelsKey, Modality, Overwrite
from sctab.cli._reporting import ends_on_signals, out, reports_errors
from sctab.keys import DEFAULT_KEY_ADDED, UNS_EVALUATION

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


@reports_errors
@ends_on_signals
def evaluate(
    annotated: Annotated[Path, typer.Argument(help="Output of `sctab annotate`, `.h5ad` or `.zarr`.")],
    labels_key: LabelsKey,
    key_added: Annotated[str, typer.Option(help="Prefix of the columns that `sctab annotate` wrote.")] = DEFAULT_KEY_ADDED,
    group_key: Annotated[
        list[str] | None, typer.Option(help="Column of `obs` whose groups are scored separately; can be repeated.")
    ] = None,
    donor_key: Annotated[str | None, typer.Option(help="Column of `obs` with donors; intervals are then over donors.")] = None,
    label_map: LabelMap = None,
    modality: Modality = None,
    only_known: Annotated[bool, typer.Option("--only-known", help="Exclude cells of types unknown to the model.")] = False,
    n_bootstrap: Annotated[int, typer.Option(min=0, help="Bootstrap draws for the intervals; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed of these draws.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Output data with the scores, `.h5ad` or `.zarr`.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Output table of all scores, one per row, with accuracy by confidence.")] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Score an annotation against known labels.

    Every score is given at the level of detail that both sides share, as labelled, and corrected along the Cell Ontology, where a subtype
    of the known label is right. Promised terms are scored beside the accepted error, and
    reports of unseen types by true type.

    **Examples**

    `sctab evaluate annotated.h5ad --labels-key cell_type`

    `sctab evaluate annotated.h5ad --labels-key cell_type --donor-key donor_id --group-key tissue --group-key assay --csv scores.csv`
    """
    if output is not None:
        check_suffix(output)
    sctab.io.check_apart(
        [path for path in (output, csv) if path is not None], [path for path in (annotated, label_map) if path is not None]
    )
    adata = read_data(annotated, modality)
    with ExitStack() as outputs:
        data_path = outputs.enter_context(sctab.io.written_beside(output, overwrite=overwrite)) if output else None
        table_path = outputs.enter_context(sctab.io.written_beside(csv, overwrite=overwrite, kind="file")) if csv else None
        sctab.tl.evaluate(
            adata,
            labels_key,
            key_added=key_added,
            group_keys=group_key or (),
            donor_key=donor_key,
            label_ids=label_map,
            only_known=only_known,
            n_bootstrap=n_bootstrap,
            seed=seed,
        )
        if data_path is not None and output is not None:
            write_data(adata, data_path, target=output)
        if table_path is not None:
            sctab.io.write_csv(_all_scores(adata, key_added, group_key or []), table_path)
    for path in (output, csv):
        if path is not None:
            out.print(f"Wrote `{path}`.", soft_wrap=True)


def _all_scores(adata: AnnData, key_added: str, group_keys: list[str]) -> pd.DataFrame:
    """One score per row: of all cells, of every type, and of every group."""
    import pandas as pd

    about = ["key", "group", "type", "id", "cells", "level", "corrected"]
    tables = [sctab.get.evaluation(adata, key_added=key_added)]
    for name in ("types", "groups") if group_keys else ("types",):
        table = sctab.get.evaluation(adata, name, key_added=key_added)
        tables.append(table.melt([column for column in about if column in table], var_name="metric"))
    if "promise" in adata.uns[f"{key_added}_{UNS_EVALUATION}"]:
        tables.append(_term_scores(sctab.get.evaluation(adata, "promise", key_added=key_added)))
    if "unseen" in adata.uns[f"{key_added}_{UNS_EVALUATION}"]:
        tables.append(_unseen_scores(sctab.get.evaluation(adata, "unseen", key_added=key_added)))
    tables.append(_reliability(sctab.get.evaluation(adata, "reliability", key_added=key_added)))
    tables.append(_abstention(sctab.get.evaluation(adata, "abstention", key_added=key_added)))
    scores = pd.concat(tables, ignore_index=True)
    scores["value"] = scores["value"].astype(float)
    return scores.reindex(columns=[column for column in [*about, "metric", "value", "low", "high"] if column in scores])


def _term_scores(promise: pd.DataFrame) -> pd.DataFrame:
    """Scores of promised terms, one per row; donors are groups."""
    numbers = ["error", "accepted_error", "kept", "leaf", "open", "n_labels_below"]
    rows = promise.assign(
        type=promise["name"].where(promise["over"] == "type"),
        id=promise["id"].where(promise["over"] == "type"),
        key=promise["over"].where(promise["over"].isin(["donor", "mean over donors"])),
        group=promise["name"].where(promise["over"] == "donor"),
        kept=promise["kept"].astype(float),
    )
    long = rows.melt(["key", "group", "type", "id", "cells", "low", "high"], numbers, var_name="metric")
    long = long[(long["metric"] != "kept") | long["value"].notna()]
    is_error = long["metric"] == "error"
    return long.assign(metric="term_" + long["metric"], low=long["low"].where(is_error), high=long["high"].where(is_error))


def _unseen_scores(unseen: pd.DataFrame) -> pd.DataFrame:
    """Scores of reports of unseen types, one per row; all known and all unknown types are groups."""
    rows = unseen.assign(
        type=unseen["name"].where(unseen["over"] == "type"),
        id=unseen["id"].where(unseen["over"] == "type"),
        key=unseen["over"].where(unseen["over"] != "type"),
    )
    long = rows.melt(["key", "type", "id", "cells"], ["reported", "median", "auroc"], var_name="metric").dropna(subset="value")
    return long.assign(metric="unseen_" + long["metric"].replace("median", "median_p_value"))


def _reliability(reliability: pd.DataFrame) -> pd.DataFrame:
    """Mean confidence and accuracy in bins of confidence, one per row; bins with cells are groups."""
    rows = reliability[reliability["cells"] > 0]
    groups = [f"{low:.3f} to {high:.3f}" for low, high in zip(rows["low"], rows["high"], strict=True)]
    long = rows.assign(key="confidence", group=groups).melt(
        ["key", "group", "cells", "level", "corrected"], ["confidence", "accuracy"], var_name="metric"
    )
    return long.assign(metric="reliability_" + long["metric"])


def _abstention(abstention: pd.DataFrame) -> pd.DataFrame:
    """Error of the most confident half to nine tenths of the cells, one fraction and level per row."""
    import pandas as pd

    rows = [
        own[own["answered"] >= tenths / 10 - 1e-9].head(1).assign(metric=f"abstention_error_{tenths / 10:g}")
        for _, own in abstention.groupby("level", sort=False)
        for tenths in range(5, 10)
    ]
    found = pd.concat(rows, ignore_index=True)
    return found[["level", "corrected", "cells", "metric"]].assign(value=found["error"])
