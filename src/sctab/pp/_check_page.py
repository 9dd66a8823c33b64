"""One page with what was found of a query, as text and as HTML."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from sctab.data import shown_fraction
from sctab.errors import listing

_WIDTH = 100
_TITLES = 14
_LONGEST_LABEL = 36
_MOST_TYPES = 40


def page_as_text(check: Any, write: Callable[[str], str] = str) -> str:
    """Write the page as plain text of 100 columns.

    Parameters
    ----------
    check
        The `QueryCheck`.
    write
        Function that writes a message.
    """
    lines = [f"Check of {check.n_obs:,} cells with the model `{check.model}`", *textwrap.wrap(check.verdict, _WIDTH), ""]
    for title, value in _facts(check):
        wrapped = textwrap.wrap(value, _WIDTH - _TITLES, break_long_words=False)
        lines += [f"{title if number == 0 else '':<{_TITLES}}{line}" for number, line in enumerate(wrapped)]
    lines += ["", *_types_as_text(check.types)]
    for title, notes in (("Warnings", check.warnings), ("Not checked", check.not_checked)):
        if notes:
            lines += ["", title]
        for note in notes:
            lines += textwrap.wrap(
                write(note), _WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )
    return "\n".join(lines)


def page_as_html(check: Any) -> str:
    """Write the page for a notebook.

    Parameters
    ----------
    check
        The `QueryCheck`.
    """
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(title)}</th><td style='text-align:left'>{html.escape(value)}</td></tr>"
        for title, value in _facts(check)
    )
    parts = [
        f"<p><b>Check of {check.n_obs:,} cells with the model <code>{html.escape(check.model)}</code></b><br>"
        f"{html.escape(check.verdict)}</p><table>{rows}</table>",
        _shown_types(check.types).to_html(escape=True, na_rep=""),
    ]
    for title, notes in (("Warnings", check.warnings), ("Not checked", check.not_checked)):
        if notes:
            items = "".join(f"<li>{html.escape(str(note))}</li>" for note in notes)
            parts.append(f"<p><b>{title}</b></p><ul>{items}</ul>")
    return "".join(parts)


def _facts(check: Any) -> Iterator[tuple[str, str]]:
    """Titles and values of the page, in order."""
    yield "matrix", f"{check.matrix['name']} holds {check.matrix['content']}; {check.n_vars:,} features"
    query, model = (check.species[name] or "not known from its genes" for name in ("query", "model"))
    yield "species", query if query == model else f"{query}; model: {model}"
    sources = ", ".join(map(str, check.names["sources"]))
    n_found = int(check.genes["found"].sum())
    yield (
        "genes",
        f"{n_found:,} of {len(check.genes):,} model genes found by {check.names['id_type']} ({sources}), which carry "
        f"{shown_fraction(check.coverage)} of total importance",
    )
    others = check.n_ignored - check.n_antibodies
    yield (
        "antibodies",
        f"{_number(check.n_antibodies)}{f', and {others:,} other features that are not genes' if others else ''}{_panel(check.proteins)}",
    )
    yield "empty cells", f"{_number(check.n_empty)} without a count; {_number(check.n_unmeasured)} without a count in model genes"
    yield "depth", _depth(check.cells)
    if check.shift is not None:
        yield (
            "shift",
            f"{check.shift:.2f}: a cell of the query is further from all types than a cell of the reference in {check.shift:.0%} of "
            "comparisons (50% if they are alike)",
        )
    if check.fraction_unseen is not None:
        yield (
            "unseen types",
            f"{check.fraction_unseen:.1%} of {check.n_sampled:,} sampled cells fit no label, at a false discovery rate of "
            f"{check.unseen_fdr:g}",
        )
    if check.n_learned is not None:
        rate, recall = (check.leakage[name] for name in ("false_positive_rate", "expected_recall"))
        yield (
            "leakage",
            f"{_number(check.n_learned)} of {check.n_obs:,} cells are recognised as training data ({rate * check.n_obs:,.0f} expected by "
            f"chance{'' if recall > 0.999 else f'; of learned cells, {recall:.0%} with the genes of this data'})",
        )
    if check.promise is not None:
        yield "promise", _promise(check)
    if check.has_sketch:
        yield "refit", "the model keeps a sketch of its reference, from which it can be refitted to these genes and cells"
    if check.labelled is not None:
        yield "labels", _labelled(check.labelled)


def _panel(proteins: Mapping[str, Any] | None) -> str:
    """Antibodies of the model that the query has."""
    if proteins is None:
        return ""
    missing = f" (missing: {listing(proteins['missing'], most=5)})" if proteins["missing"] and proteins["n_matched"] else ""
    return f"; {proteins['n_matched']:,} of {proteins['n_model']:,} antibodies of the model{missing}"


def _promise(check: Any) -> str:
    found: Mapping[str, Any] = check.promise
    of_whom = (
        "cells like those that the model was calibrated on" if found["unit"] == "cell" else f"a new {found['unit']}, on average"
    )
    verdict = "cannot be promised" if not found["holds"] else "can be promised, but only" if found["note"] else "can be promised"
    text = f"an error of {found['accepted_error']:g} {verdict} for {of_whom}"
    if check.is_refused:
        return f"{text}: no label is right for cells of unseen types"
    among = ", if of types that the model knows" * bool(check.fraction_unseen)
    less = f"{found['distance']:.3f} below that in" if found["distance"] >= 0.0005 else "no lower than in"
    return f"{text}{among}: confidence is {less} held-out cells (mean rank of 0 to 1; limit {found['limit']:.3f})"


def _labelled(labelled: Mapping[str, Any]) -> str:
    unknown = labelled["unknown"]
    new = f"; the model does not have {listing(unknown, most=5)}" if unknown else ""
    return (
        f"{labelled['n_cells']:,} cells with {labelled['n_types']:,} labels, {labelled['n_per_type']:,.0f} of each by the median{new}; "
        f"best choice: {labelled['choice']}"
    )


def _number(n_cells: int) -> str:
    return "none" if n_cells == 0 else f"{n_cells:,}"


def _depth(cells: pd.DataFrame) -> str:
    parts = []
    for what, row in cells.iterrows():
        name = "counts" if what == "counts" else "detected genes"
        compared = "" if pd.isna(row["reference"]) else f" ({row['ratio']:.2f} times the {row['reference']:,.0f} of the reference)"
        if pd.notna(row["median"]):
            parts.append(f"{row['median']:,.0f} {name}{compared}")
    return f"median cell, in these genes: {', '.join(parts)}"


def _shown_types(types: pd.DataFrame) -> pd.DataFrame:
    """The table of types as it is printed."""
    shown = pd.DataFrame(
        {
            "cells": types["n_cells"],
            "coverage": [("" if pd.isna(value) else shown_fraction(value)) for value in types["coverage"]],
            "informative genes": [
                "" if not of else f"{found} of {of}" for found, of in zip(types["n_found"], types["n_informative"], strict=True)
            ],
            "cannot be distinguished from": types["confused_with"],
        },
        index=types.index,
    )
    return shown.iloc[:_MOST_TYPES]


def _types_as_text(types: pd.DataFrame) -> list[str]:
    shown = _shown_types(types)
    width = min(_LONGEST_LABEL, max([len("label"), *(len(str(label)) for label in shown.index)]))
    lines = [f"{'label':<{width}}  {'cells':>7}  {'coverage':>8}  {'informative genes':>17}  cannot be distinguished from"]
    for label, row in zip(shown.index, shown.itertuples(index=False), strict=True):
        name = str(label) if len(str(label)) <= width else f"{str(label)[: width - 1]}…"
        n_cells, coverage, genes, confused = row
        lines.append(f"{name:<{width}}  {n_cells:>7,}  {coverage:>8}  {genes:>17}  {confused}".rstrip())
    if len(types) > len(shown):
        lines.append(f"… and {len(types) - len(shown)} more labels: see `types`.")
    return lines
