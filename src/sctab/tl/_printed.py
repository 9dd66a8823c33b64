"""An evaluation as text on a terminal of 80 characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from sctab.tl._comparison import CORRECTED, LABELLED, SHARED
from sctab.tl._term_scores import ALL, DONOR, OF_DONORS, TYPE
from sctab.tl._unseen_scores import KNOWN, UNKNOWN

_PRINTED: dict[str, tuple[list[str], list[str], list[str]]] = {
    "types": (["type"], ["predicted", "f1"], ["precision", "recall", "f1"]),
    "groups": (["key", "group"], ["accuracy", "macro_f1"], ["accuracy", "macro_f1"]),
}
"""Index and columns of tables that fit into 80 characters."""


_TITLES = {SHARED: "shared level"}
_TERMS = (
    "Fractions of the cells: error, with a wrong term; leaf, with a term that is a single label; open, without a term. Labels below: the "
    "mean number of labels that a term leaves open."
)


def print_scores(result: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Print an evaluation: scores, types and groups, and what became of the promise.

    Parameters
    ----------
    result
        The evaluation, as it is stored in `uns`.
    run
        The record of the annotation.
    """
    console = Console(highlight=False, markup=False)
    console.print(_table_of_scores(result["overall"]))
    if result["overall"]["low"].notna().any():
        console.print("In brackets: 95% intervals.")
    if "abstention" in result:
        console.print(f"\n{_most_confident(result['abstention'])}")
    if (result["levels"]["level"] == "finer").any():
        console.print("\nAt the level that both sides share:")
        console.print(_table_at(result["types"], SHARED, ["type"], ["predicted", "precision", "recall", "f1"]))
        console.print("\nAs labelled, and corrected:")
    for name, (about, as_labelled, corrected) in _PRINTED.items():
        if name in result:
            console.print()
            rows, columns = result[name], [*(name for name in as_labelled if name not in corrected), *corrected]
            if _is_alike(rows, [*about, "cells", *columns]):
                console.print(_table_at(rows, LABELLED, about, columns))
            else:
                console.print(_table_of(rows, about, as_labelled, corrected))
    if "promise" in result:
        console.print(f"\n{_outcome(result['promise'], run['promise'])}")
        console.print(_table_of_terms(result["promise"]))
        console.print(_TERMS)
    if "unseen" in result:
        console.print(f"\n{_reported(result['unseen'])}")


def _table_of_scores(overall: pd.DataFrame) -> Table:
    """The scores of all cells; levels with the same ones share a column."""
    texts = {
        level: {str(row.metric): _with_interval(row) for row in rows.itertuples()}
        for level, rows in overall.groupby("level", sort=False)
    }
    columns: list[tuple[list[str], dict[str, str]]] = []
    for level in (SHARED, LABELLED, CORRECTED):
        same = next((titles for titles, scores in columns if scores == texts[level]), None)
        if same is None:
            columns.append(([level], texts[level]))
        else:
            same.append(level)
    titles = [" and ".join([_TITLES.get(level, level) for level in levels]) for levels, _ in columns]
    table = Table("score", *(titles if len(columns) > 1 else ["at every level"]), box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for metric in dict.fromkeys(overall["metric"]):
        table.add_row(str(metric), *(scores[str(metric)] for _, scores in columns))
    return table


def _is_alike(rows: pd.DataFrame, columns: list[str]) -> bool:
    """Return whether the numbers as labelled are the corrected ones."""
    plain, other = (rows.loc[rows["level"] == level, columns].reset_index(drop=True) for level in (LABELLED, CORRECTED))
    return plain.equals(other)


def _table_at(rows: pd.DataFrame, level: str, about: list[str], columns: list[str]) -> Table:
    """The numbers at one level, the largest types first."""
    table = Table(
        *about,
        "cells",
        *(column.replace("_", " ").replace("f1", "F1") for column in columns),
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for row in rows[rows["level"] == level].sort_values("cells", ascending=False, kind="stable").to_dict("records"):
        table.add_row(*(_text(row[column]) for column in (*about, "cells", *columns)))
    return table


def _with_interval(row: Any) -> str:
    return f"{row.value:.3f}" + ("" if np.isnan(row.low) else f" ({row.low:.3f} to {row.high:.3f})")


def _table_of(rows: pd.DataFrame, about: list[str], as_labelled: list[str], corrected: list[str]) -> Table:
    """The numbers as labelled and the corrected ones side by side, the largest types or groups first."""
    table = Table(*about, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("cells", justify="right", no_wrap=True)
    for title, columns in (("as labelled", as_labelled), ("corrected", corrected)):
        for i, column in enumerate(columns):
            heading = column.replace("_", " ").replace("f1", "F1")
            table.add_column(f"{'' if i else title}\n{heading}", justify="right", no_wrap=True)
    plain, other = (rows[rows["level"] == level].set_index([*about, "cells"]) for level in (LABELLED, CORRECTED))
    both = plain[as_labelled].add_suffix(" as labelled").join(other[corrected]).reset_index()
    for row in both.sort_values("cells", ascending=False, kind="stable").itertuples(index=False):
        table.add_row(*map(_text, row))
    return table


def _text(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if np.isnan(value) else f"{value:.3f}"


def _table_of_terms(promise: pd.DataFrame) -> Table:
    """The numbers of all cells, donors and types, the largest first."""
    table = Table("terms", "", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("cells", "error", "leaf", "open", "labels below"):
        table.add_column(title, justify="right", no_wrap=True)
    order = promise["over"].map({ALL: 0, OF_DONORS: 1, DONOR: 2, TYPE: 3})
    rows = promise.assign(order=order).sort_values(["order", "cells"], ascending=[True, False], kind="stable")
    for row in rows.itertuples():
        shares = (f"{value:.3f}" for value in (row.error, row.leaf, row.open))
        table.add_row(str(row.over), str(row.name), str(row.cells), *shares, f"{row.n_labels_below:.2f}")
    return table


def _most_confident(abstention: pd.DataFrame) -> str:
    """A sentence on the error of the most confident cells, at the shared level."""
    rows = abstention[abstention["level"] == SHARED].sort_values("answered", kind="stable")
    told = {}
    for share in (0.5, 0.8, 0.9):
        row = rows[rows["answered"] >= share].iloc[0]
        told[f"{row['answered']:.0%}"] = f"{row['error']:.3f}"
    most = ", ".join(f"{error} of the most confident {share}" for share, error in told.items())
    return f"Error at the shared level: {most}, {rows['error'].iloc[-1]:.3f} of all cells."


def _reported(unseen: pd.DataFrame) -> str:
    """A sentence on the cells that were reported."""
    rows = unseen.set_index("over")
    told = [
        f"{row['reported']:.3f} of {int(row['cells'])} cells of {kind}"
        + ("" if np.isnan(row["auroc"]) else f" (AUROC {row['auroc']:.3f})")
        for kind in (KNOWN, UNKNOWN)
        if kind in rows.index
        for row in [rows.loc[kind]]
    ]
    return f"Reported as unseen: {', '.join(told)}."


def _outcome(promise: pd.DataFrame, run: Mapping[str, Any]) -> str:
    """A sentence on the promise: the error, what was accepted, and whether it was kept, or withdrawn when the cells were annotated."""
    unit = str(run["unit"])
    rows = promise.set_index("over")
    over = OF_DONORS if unit != "cell" and OF_DONORS in rows.index else ALL
    row = rows.loc[over]
    became = "kept" if row["kept"] else "not kept"
    if unit != "cell" and (promise["over"] == DONOR).sum() == 1:
        withdrawn = "" if run.get("is_kept", True) else " The promise was withdrawn."
        return (
            f"Promised terms: error {row['error']:.3f} in one donor; {row['accepted_error']:g} was accepted on average over new donors, of "
            f"whom one says little.{withdrawn}"
        )
    interval = "" if np.isnan(row["low"]) else f" ({row['low']:.3f} to {row['high']:.3f})"
    return (
        f"Promised terms: {'mean error over donors' if over == OF_DONORS else 'error'} {row['error']:.3f}{interval}, accepted "
        f"{row['accepted_error']:g} for {'cells like those of the calibration' if unit == 'cell' else f'new {unit}s'}. The promise was "
        f"{became if run.get('is_kept', True) else 'withdrawn'}."
    )
