"""The page of a report: one HTML file that loads nothing."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from sctab import pl
from sctab.data import shown_fraction
from sctab.get import NO_LABEL
from sctab.report import _sentences
from sctab.report._content import Content
from sctab.report._drawings import as_svg
from sctab.report._sentences import percent, plural

_MOST_ROWS = 1500
"""Rows of a table: more make a page slow."""
_SOURCES = {
    "explanation": "the attention of the model in these cells",
    "coefficients": "the coefficients of the model and the expression of these cells",
    "reference": "differences between the types in the reference of the model",
}


def page_of(content: Content, *, command: str | None = None) -> str:
    """Write the page.

    Parameters
    ----------
    content
        What it shows.
    command
        The command that the page repeats; by default one that follows from the results.
    """
    drawings = _drawings(content)
    types, run = content.types, content.run
    has = {
        "has_terms": bool((types["term"] != "").any()),
        "has_unseen": bool(types["unseen"].notna().any()),
        "has_genes": len(content.genes) > 0,
    }
    script, css = (_text(name) for name in ("page.js", "page.css"))
    rows, left_out = _composition_rows(content)
    sections = [
        ("summary", "Summary", True),
        ("types", "Cell types", True),
        ("map", "Map", bool(drawings["maps"])),
        ("evidence", "Genes", drawings["evidence"] is not None),
        ("ontology", "Ontology", True),
        ("samples", "Samples", drawings["composition"] is not None),
        ("agreement", "Agreement", drawings["comparison"] is not None),
        ("review", "Review", content.review is not None),
        ("data", "Data and model", True),
        ("limits", "Limits", True),
        ("provenance", "How to repeat it", True),
    ]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_text("page.html.jinja")).render(
        c=content,
        version=version("sctab"),
        css=Markup(css),  # noqa: S704 - of this package
        script=Markup(script),  # noqa: S704 - of this package
        script_hash=f"sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        sections=[(anchor, name) for anchor, name, is_shown in sections if is_shown],
        summary=list(_sentences.summary(content)),
        numbers=list(_numbers(content)),
        notes=_notes(content),
        types=list(types.itertuples()),
        genes={name: list(own.itertuples()) for name, own in content.genes.groupby("type")} if has["has_genes"] else {},
        evidence_source=_SOURCES[content.genes["source"].iloc[0]] if has["has_genes"] else "",
        percent=percent,
        drawings=drawings,
        map_caption=_sentences.map_caption(content),
        nodes=_nodes(content.tree),
        composition=rows,
        n_left_out=left_out,
        agreement=_agreement(content),
        scores=None if content.scores is None else list(content.scores.itertuples()),
        review=_sentences.review(content),
        queue=None if content.queue is None or content.queue.empty else _any_table(content.queue),
        groups=None if content.groups is None else _any_table(content.groups),
        facts=list(_sentences.facts(content)),
        limits=list(_sentences.limits(content)),
        command=command or _sentences.command_of(content),
        command_note="The command that was run."
        if command
        else "The results do not keep their command. This one has their model and settings; names of files may differ.",
        versions=sorted((str(name), str(value)) for name, value in dict(run.get("versions", {})).items()),
        **has,
    )


def _text(name: str) -> str:
    return files("sctab.report").joinpath(name).read_text(encoding="utf-8")


def _numbers(content: Content) -> list[tuple[str, str]]:
    n_types = int((content.types["type"] != NO_LABEL).sum())
    found = [("Cells", f"{content.n_obs:,}"), ("Types", f"{n_types:,}")]
    if content.confidence:
        found.append(("Median confidence", f"{content.confidence['median']:.2f}"))
    if (unseen := content.run.get("unseen")) is not None:
        found.append(("Reported as unseen", f"{int(unseen['n_reported']):,}"))
    if (genes := content.run.get("genes")) is not None:
        found.append(("Genes, by importance", shown_fraction(float(genes["coverage"]))))
    if content.composition is not None:
        found.append(("Samples", f"{content.composition['sample'].nunique():,}"))
    return found


def _notes(content: Content) -> Sequence[str]:
    notes = content.run.get("warnings", [])
    return [str(note) for note in ([notes] if isinstance(notes, str) else notes)]


def _drawings(content: Content) -> Mapping[str, Any]:
    maps = []
    if content.embedding is not None and len(content.cells):
        panels = [("label", "Label"), ("confidence", "Confidence"), ("unseen", "Unseen types")]
        panels += [(content.sample_key, "Sample")] if content.sample_key else []
        for number, (panel, what) in enumerate(panels):
            if (panel == "unseen" and "is_unseen" not in content.cells) or (panel == "confidence" and panel not in content.cells):
                continue
            draw = partial(_map, content, panel)
            maps.append(as_svg(draw, f"map{number}", f"Map of the cells, coloured by {what.lower()}"))
    evidence = composition = comparison = None
    if len(content.expression):
        evidence = as_svg(lambda: pl.evidence(content.expression), "evidence", "Dot plot of the genes that speak for each type")
    if content.composition is not None and len(content.composition):
        composition = as_svg(
            lambda: pl.composition(content.composition, palette=content.palette), "composition", "Bars of the types in each sample"
        )
    if content.comparison is not None and len(content.comparison):
        comparison = as_svg(
            lambda: pl.comparison(content.comparison), "comparison", "Heat map of given labels against labels of the annotation"
        )
    return {"maps": maps, "evidence": evidence, "composition": composition, "comparison": comparison}


def _map(content: Content, panel: str) -> Figure:
    is_sample = panel == content.sample_key
    palette = content.sample_palette if is_sample else content.palette
    return pl.annotation(content.cells, [panel], palette=palette, numbers=not is_sample)


def _nodes(tree: pd.DataFrame) -> list[dict[str, Any]]:
    """The tree as nested values."""
    top: list[dict[str, Any]] = []
    line: list[dict[str, Any]] = []
    for row in tree.itertuples():
        node = {
            "name": row.name,
            "id": row.term if str(row.term).startswith("CL:") and str(row.term)[3:].isdigit() else "",
            "depth": row.depth,
            "cells": row.cells,
            "below": row.cells_below,
            "fraction": row.fraction,
            "children": [],
        }
        del line[row.depth :]
        (line[-1]["children"] if line else top).append(node)
        line.append(node)
    return top


def _composition_rows(content: Content) -> tuple[list[Any], str]:
    if content.composition is None:
        return [], ""
    rows = content.composition[content.composition["cells"] > 0]
    left_out = len(rows) - _MOST_ROWS
    text = f"{plural(left_out, 'more row')} not shown." if left_out > 0 else ""
    return list(rows.head(_MOST_ROWS).itertuples()), text


def _agreement(content: Content) -> str:
    table = content.comparison
    if table is None or table.empty:
        return ""
    total = int(table["cells"].sum())
    sums = table.groupby("agreement")["cells"].sum()
    parts = [
        (sums.get("same", 0), "have the same label"),
        (sums.get("narrower", 0), "a narrower one"),
        (sums.get("broader", 0), "a broader one"),
        (sums.get("different", 0), "a different one"),
        (sums.get("unknown", 0), "one that the ontology cannot compare"),
    ]
    said = [f"{percent(n / total)} {what}" for n, what in parts if n]
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"Of {plural(total, 'cell')}, {listed}."


def _any_table(table: pd.DataFrame) -> Mapping[str, Any]:
    """Columns and cells of a table of any columns."""
    numbers = {name: pd.api.types.is_numeric_dtype(table[name]) for name in table}
    columns = [{"name": str(name).replace("_", " "), "is_number": is_number} for name, is_number in numbers.items()]
    rows = [
        [
            {"value": value, "shown": _shown(value), "is_number": is_number}
            for value, is_number in zip(row, numbers.values(), strict=True)
        ]
        for row in table.head(_MOST_ROWS).itertuples(index=False)
    ]
    more = len(table) - len(rows)
    return {"columns": columns, "rows": rows, "more": f"{plural(more, 'more row')} not shown." if more > 0 else ""}


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
