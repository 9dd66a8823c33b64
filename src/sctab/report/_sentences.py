"""Sentences of a report: the summary, how the data was read, and known limits."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sctab.data import shown_fraction
from sctab.get import NO_LABEL
from sctab.report._content import Content

_NAMED = 3


def plural(number: int, one: str, several: str = "") -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def percent(fraction: float) -> str:
    """A fraction in percent, with one decimal where it is small."""
    if fraction != fraction:
        return ""
    return f"{fraction:.1%}" if 0.0005 <= fraction < 0.1 else "< 0.1%" if 0 < fraction < 0.0005 else f"{fraction:.0%}"


def summary(content: Content) -> Iterator[str]:
    """The annotation in a few sentences."""
    types = content.types[content.types["type"] != NO_LABEL]
    name = str(content.run["model"].get("name") or "of an unknown name")
    n_labelled = int(types["cells"].sum())
    cells = f"all {n_labelled:,} cells" if n_labelled == content.n_obs > 1 else f"{n_labelled:,} of {plural(content.n_obs, 'cell')}"
    yield f"The model {name} labelled {cells} as {plural(len(types), 'type')}."
    if len(types):
        most = [f"{row.type} ({percent(row.fraction)})" for row in types.head(_NAMED).itertuples()]
        listed = most[0] if len(most) == 1 else f"{', '.join(most[:-1])} and {most[-1]}"
        yield f"Most frequent {'is' if len(most) == 1 else 'are'} {listed}."
    if content.confidence:
        median = content.confidence["median"]
        typical = "above 0.99" if median > 0.99 else f"of {median:.2f} or more"
        yield (
            f"Half of the cells have a confidence {typical}; it is below 0.5 in {percent(content.confidence['doubtful'])} of them."
        )
        calibration = content.run.get("calibration", {})
        if "calibration_error" in calibration:
            yield (
                f"On held-out {calibration.get('unit', 'cell')}s, confidence differed from accuracy by "
                f"{float(calibration['calibration_error']):.2f} on average."
            )
    yield from _expected(content)
    yield from _promise(content)
    yield from _unseen(content)
    without = content.types.loc[content.types["type"] == NO_LABEL, "cells"].sum() - int(
        content.run.get("expected", {}).get("n_outside", 0)
    )
    if without:
        yield f"{plural(int(without), 'cell')} without a count in the genes of the model {'has' if without == 1 else 'have'} no label."


def _expected(content: Content) -> Iterator[str]:
    expected = content.run.get("expected")
    if expected is None:
        return
    n_outside, labels = int(expected["n_outside"]), _strings(expected["labels"])
    yield (
        f"Labels were restricted to {plural(len(labels), 'expected one')}; the others had "
        f"{percent(float(expected['mean_excluded']))} of the probability on average."
    )
    if n_outside:
        yield (
            f"{plural(n_outside, 'cell')} ({percent(n_outside / max(content.n_obs, 1))}) {'is' if n_outside == 1 else 'are'} more likely "
            f"of a type that is not expected, and {'has' if n_outside == 1 else 'have'} no label."
        )


def _strings(values: Any) -> list[str]:
    """Strings as results hold them, which a file may store as a single one."""
    return [str(value) for value in ([values] if isinstance(values, str) else values)]


def review(content: Content) -> str:
    """The review of given labels in two sentences; empty where there is none."""
    found = content.review
    if found is None:
        return ""
    n_suspect = int(found["n_suspect"])
    return (
        f"Labels of {plural(int(found['n_reviewed']), 'cell')} in the column {found['labels_key']} were compared with evidence from the "
        f"{found['evidence']}: {n_suspect:,} {'is' if n_suspect == 1 else 'are'} suspect, and {float(found['n_wrong']):,.0f} labels are "
        "estimated to be wrong."
    )


def _promise(content: Content) -> Iterator[str]:
    promise = content.run.get("promise")
    if promise is None:
        return
    accepted = float(promise["accepted_error"])
    if not bool(promise["is_kept"]):
        yield f"An error of {accepted:g} was asked for and cannot be promised for these cells: their terms carry no promise."
        return
    unit = str(promise["unit"])
    whom = "cells like those that the model was calibrated on" if unit == "cell" else f"new {unit}s, on average"
    types = content.types
    left_open = float((types["left_open"].fillna(0) * types["cells"]).sum() / max(types["cells"].sum(), 1))
    yield f"At most {percent(accepted)} of the promised terms are wrong, for {whom}; {percent(left_open)} of the cells are left open."


def _unseen(content: Content) -> Iterator[str]:
    unseen = content.run.get("unseen")
    if unseen is None:
        yield "Cells of types that the model does not know were not looked for."
        return
    n_reported, fdr = int(unseen["n_reported"]), float(unseen["fdr"])
    if n_reported == 0:
        yield f"No cell was reported as unseen (false discovery rate {fdr:g})."
    else:
        yield (
            f"{plural(n_reported, 'cell')} ({percent(n_reported / max(content.n_obs, 1))}) {'was' if n_reported == 1 else 'were'} reported "
            f"as unseen: no label of the model fits (false discovery rate {fdr:g})."
        )


def _calibration(calibration: Mapping[str, Any]) -> str:
    n_units = int(calibration.get("n_units", 0))
    parts = [f"on held-out {calibration.get('unit', 'cell')}s" + f" ({n_units:,} of them)" * (n_units > 0)]
    parts.append(f"temperature {float(calibration['temperature']):.2f}")
    if "calibration_error" in calibration:
        parts.append(f"expected calibration error {float(calibration['calibration_error']):.3f}")
    return ", ".join(parts)


def facts(content: Content) -> Iterator[tuple[str, str]]:
    """Content of the file and the parts of it that were used, as titles and values."""
    run, model = content.run, content.run["model"]
    if content.source:
        yield "File", content.source
    yield "Cells and features", f"{content.n_obs:,} cells, {content.n_vars:,} features"
    if run.get("matrix"):
        yield "Matrix", f"{run['matrix']}, which holds {run.get('matrix_content', 'values of an unknown kind')}"
    if genes := run.get("genes"):
        sources = genes["sources"] if not isinstance(genes["sources"], str) else [genes["sources"]]
        yield (
            "Genes",
            f"{int(genes['n_matched']):,} of {int(genes['n_model']):,} genes of the model, found by {genes['id_type']} in "
            f"{', '.join(map(str, sources))}; they carry {shown_fraction(float(genes['coverage']))} of total importance",
        )
    members = int(model.get("n_members", 1))
    kind = f"{model.get('class', '')}{f', {members} members' if members > 1 else ''}"
    yield "Model", f"{model.get('name') or 'not named'} ({kind})" if kind else str(model.get("name"))
    if model.get("ontology_version"):
        yield "Cell Ontology", str(model["ontology_version"])
    if calibration := run.get("calibration"):
        yield "Calibration", _calibration(calibration)
    if expected := run.get("expected"):
        yield "Expected types", f"{', '.join(_strings(expected['requested']))}: {', '.join(_strings(expected['labels']))}"
    if content.sample_key:
        guess = " (chosen by its name)" if content.sample_key in content.are_guessed else ""
        yield "Samples", f"column {content.sample_key}{guess}"
    if content.labels_key:
        guess = " (chosen by its name)" if content.labels_key in content.are_guessed else ""
        yield "Given labels", f"column {content.labels_key}{guess}"


def map_caption(content: Content) -> str:
    """Origin of the map, and the cells that it shows."""
    if content.embedding is None:
        return ""
    shown, source = len(content.embedding.rows), content.embedding.source
    cells = f"{shown:,} of {content.n_obs:,} cells, spread evenly over the file" if shown < content.n_obs else "All cells"
    if not content.embedding.is_computed:
        return f"{cells}, on the UMAP that the data has."
    origin = {"X_pca": "principal components", "expression": "the expression"}.get(source, "the latent space of the model")
    return f"{cells}. The data has no UMAP: this one was computed from {origin}, with 15 neighbours."


def limits(content: Content) -> Iterator[str]:
    """Limits that a reader should know before relying on it: notes of the annotation first."""
    notes = content.run.get("warnings", [])
    yield from map(str, [notes] if isinstance(notes, str) else notes)
    yield (
        "A model knows its own types only. A cell of another type gets the label of the type that it resembles most; looking for unseen "
        "types finds those that differ from all known ones, and rarely those close to one."
    )
    if "promise" not in content.run:
        yield "Labels carry no promise: the fraction of wrong ones is not bounded. Annotate with an accepted error to get terms that do."
    yield "Genes that speak for a type show what the decision rests on. They are not a test of differential expression."
    yield "Distances and sizes on a UMAP are not quantitative; it plays no part in the annotation."


def command_of(content: Content) -> str:
    """The command that annotates in this way, from what the results say of it."""
    run = content.run
    words = ["sctab", "annotate", Path(content.source).name if content.source else "query.h5ad"]
    words += ["--model", str(run["model"].get("name") or "MODEL"), "--output", "annotated.h5ad"]
    for name in _strings(run.get("expected", {}).get("requested", [])):
        words += ["--labels", name]
    if "promise" in run:
        words += ["--accepted-error", f"{float(run['promise']['accepted_error']):g}"]
    if "unseen" in run:
        words += ["--unseen-fdr", f"{float(run['unseen']['fdr']):g}"]
    if content.key_added != "sctab":
        words += ["--key-added", content.key_added]
    if run["model"].get("precision", "float32") != "float32":
        words += ["--precision", str(run["model"]["precision"])]
    if run["model"].get("backend", "torch") != "torch":
        words += ["--backend", str(run["model"]["backend"])]
    return shlex.join(words)
