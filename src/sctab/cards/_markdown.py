"""Model cards as Markdown, with the YAML header of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from sctab.cards._content import CardContent
from sctab.cards._scores import UNSEEN_FDR, HeldOutScores

_LICENCES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "agpl-3.0", "lgpl-3.0", "mpl-2.0", "unlicense"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "cc-by-3.0"),
}
"""Licences that the hub knows by these names; others are `other`, with a name of their own."""
_SPECIAL = re.compile(r"[\\`*<>|~]|\](?=[(\[:])|&(?=[#\w]+;)|(?<![^\W_])_|_(?![^\W_])")
"""Characters that make text bold, code, a link, a table or HTML."""
_BEGINNING = re.compile(r"^(?P<number>\d*)(?P<sign>(?<!\d)[#+=>-]|(?<=\d)[.)])(?=\s|[#=-]|$)")
"""Beginnings of lines that are headings, lists or quotes."""
_CODE = re.compile(r"(`[^`]*`)")
_IN_ADDRESS = str.maketrans({character: f"%{ord(character):02X}" for character in "()<>[]|\\`\"'"})


class _Markdown(str):
    """Text with syntax of Markdown."""

    __slots__ = ()


def card_as_markdown(card: CardContent) -> str:
    """Write a card.

    Parameters
    ----------
    card
        The card.
    """
    header = yaml.safe_dump(_header(card), sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{header}---\n\n" + "\n\n".join(section for section in _sections(card) if section) + "\n"


def _header(card: CardContent) -> dict[str, Any]:
    licence = card.facts.license.lower()
    known: dict[str, Any] = {"license": licence} if licence in _LICENCES else {}
    if licence and not known:
        known = {"license": "other", "license_name": card.facts.license}
    tags = ["sctab", "single-cell", "scRNA-seq", "cell type annotation", card.spec.model_class, card.organism, *card.facts.tissues]
    scored = [scores for scores in (card.held_out, *card.tests) if scores is not None]
    return known | {
        "library_name": "sctab",
        "tags": list(dict.fromkeys(tag for tag in tags if tag)),
        "datasets": [source.name for source in card.facts.sources],
        "metrics": ["f1", "accuracy"] if scored else [],
        "model-index": [{"name": card.name, "results": [_result(scores) for scores in scored]}] if scored else [],
    }


def _result(scores: HeldOutScores) -> dict[str, Any]:
    values = (("f1", scores.macro_f1, "macro F1"), ("accuracy", scores.accuracy, "accuracy"))
    return {
        "task": {"type": "tabular-classification", "name": "cell type annotation"},
        "dataset": {"type": "AnnData", "name": scores.name},
        "metrics": [{"type": kind, "value": round(value, 4), "name": name} for kind, value, name in values],
    }


def _sections(card: CardContent) -> Iterator[str]:
    yield f"# Model card: {_code(card.name)}"
    if card.spec.description:
        yield f"{_sentence(card.spec.description).rstrip('.')}."
    if card.missing:
        yield "**Draft.** The card lacks:\n\n" + "\n".join(f"- {part}" for part in card.missing)
    yield from _data(card)
    yield from _labels(card)
    yield from _training(card)
    if card.held_out is not None:
        yield "## Scores on held-out cells"
        yield from _scores(card.held_out)
    for test in card.tests:
        yield f"## Scores on {_plain(test.name)}"
        yield from _scores(test, is_test=True)
    yield from _trust(card)
    if card.facts.limits:
        yield "## Limits\n\n" + "\n".join(f"- {_sentence(limit)}" for limit in card.facts.limits)
    if card.facts.notes:
        yield f"## Notes of the authors\n\n{card.facts.notes.strip()}"
    yield from _identity(card)


def _data(card: CardContent) -> Iterator[str]:
    yield "## Data"
    if card.facts.sources:
        rows = [
            (
                _Markdown(f"[{_plain(source.name)}]({source.url.translate(_IN_ADDRESS)})") if source.url else source.name,
                f"{source.n_cells:,}",
                source.used_for if source.used_for == "training" else f"{source.used_for} only",
                source.license,
                _Markdown(
                    ", ".join(
                        part for part in (_sentence(source.description), f"doi:{_plain(source.doi)}" if source.doi else "") if part
                    ).replace("|", "\\|")
                ),
            )
            for source in card.facts.sources
        ]
        yield _table(("data set", "cells", "used for", "licence", "from"), rows)
    spec = card.spec
    facts = [
        ("training cells", _number(card.n_cells)),
        ("donors", _number(card.n_donors)),
        ("organism", card.organism or "not stated"),
        ("tissues", ", ".join(card.facts.tissues) or "not stated"),
        ("genes", f"{len(spec.features):,}"),
        *([("antibodies", f"{len(spec.proteins):,}")] if spec.proteins is not None else []),
        ("licence of the model", card.facts.license or "not stated"),
    ]
    yield _table(("", ""), facts)
    if "corpus" in spec.training:
        yield f"The training cells are the corpus with the SHA-256 {_code(spec.training['corpus']['sha256'])}."


def _labels(card: CardContent) -> Iterator[str]:
    if card.spec.is_clustering:
        yield f"## Labels\n\n{len(card.spec.labels)} clusters, which have no names of cell types."
        return
    yield "## Labels"
    yield _table(("label", "Cell Ontology", "cells"), [(name, term or "", _number(cells)) for name, term, cells in card.labels])
    if card.spec.labels.ontology_version:
        yield f"Ids are those of the Cell Ontology {_plain(card.spec.labels.ontology_version)}."


def _training(card: CardContent) -> Iterator[str]:
    yield "## Training"
    if card.command:
        yield f"The model is trained again, on the same cells, with these settings and seeds:\n\n```python\n{card.command}\n```"
    elif card.spec.training.get("published"):
        source, sha256 = (_code(str(card.spec.training.get(name, ""))) for name in ("source", "sha256"))
        yield f"The weights are published ones: {source}, SHA-256 {sha256}."
    else:
        yield "Settings and seeds of the training are not known."
    if card.spec.versions:
        yield "Versions: " + ", ".join(_plain(f"{name} {version}") for name, version in card.spec.versions.items()) + "."


def _scores(scores: HeldOutScores, *, is_test: bool = False) -> Iterator[str]:
    held = f"{scores.n_units:,} {scores.unit}s" if scores.is_of_new_units else "single cells"
    if not is_test:
        held += ", held out whole" if scores.is_of_new_units else ", whose donors were learned"
    yield f"Cells: {scores.n_cells:,}, {_plain(scores.name)}; {held}. A subtype of the true label counts as right."
    rows = [
        ("macro F1", f"{scores.macro_f1:.3f}"),
        ("accuracy", f"{scores.accuracy:.3f}"),
        ("expected calibration error", f"{scores.calibration_error:.3f}"),
        ("Brier score", f"{scores.brier_score:.3f}"),
    ]
    if units := scores.macro_f1_of_units:
        rows.insert(1, (f"macro F1 of a {scores.unit}, lowest to highest", f"{units[0]:.3f} to {units[-1]:.3f}"))
    if scores.flagged_unseen is not None:
        rows.append((f"cells reported as unseen (false discovery rate {UNSEEN_FDR:g})", _percent(scores.flagged_unseen)))
    yield _table(("score", ""), rows)
    yield _table(
        ("label", "cells", "recall", "precision"),
        [
            (each.label, f"{each.n_cells:,}", f"{each.recall:.3f}", "" if each.precision is None else f"{each.precision:.3f}")
            for each in scores.labels
        ],
    )
    if scores.confusions:
        yield "Most frequent confusions:"
        yield _table(
            ("label", "predicted", "cells", "of the label"),
            [(each.label, each.predicted, f"{each.n_cells:,}", _percent(each.fraction)) for each in scores.confusions],
        )


def _trust(card: CardContent) -> Iterator[str]:
    yield "## Confidence"
    calibration, scores = card.calibration, card.held_out
    if calibration is None:
        yield "The model was not calibrated: its probabilities may be far from the fraction of right labels, and no term can be promised."
    else:
        yield (
            f"Temperature {calibration.temperature:.3f}, learned from {calibration.n_obs:,} held-out cells"
            + (f" of {calibration.n_units:,} {calibration.unit}s." if calibration.unit != "cell" else ".")
        )
    if scores is not None:
        yield (
            "Terms that are promised with an accepted error, on held-out cells; each part is scored with a promise that the others give. "
            f"The promise holds on average over {scores.unit}s, not for each of them."
            + (
                f" With {scores.n_units} {scores.unit}s, the smallest error that can be promised for a new {scores.unit} is "
                f"{1 / (scores.n_units + 1):.3f}; below it, the promise covers other cells of the same {scores.unit}s."
                if scores.is_of_new_units
                else ""
            )
        )
        yield _table(
            ("accepted error", "error", "answered with the label", "answered"),
            [
                (f"{each.accepted_error:g}", f"{each.error:.3f}", _percent(each.at_label), _percent(each.answered))
                for each in scores.promises
            ],
        )
    if card.reported_unseen is None:
        yield "The model keeps no types of its reference: cells of unseen types are found without a guaranteed rate."
    else:
        part = "held-out part" if calibration is not None and calibration.unit == "cell" else "donor or dataset"
        yield (
            f"Cells reported as unseen at a false discovery rate of {UNSEEN_FDR:g}: {_percent(card.reported_unseen)} of the cells of a "
            f"{part} of the reference, on average, with types that the others have. Cells of a type that no other one has are rightly "
            "reported."
        )
    if card.fingerprints is None:
        yield "The model keeps no fingerprints: training cells among a query are not recognised."
    else:
        yield (
            f"Fingerprints of {card.fingerprints.n_cells:,} training cells, {card.fingerprints.n_bytes:,} bytes, recognise these cells in "
            f"a query; another cell is recognised by chance with a probability of {card.fingerprints.false_positive_rate():.2g}."
        )
    if card.sketch is not None:
        yield (
            f"**Counts of {len(card.sketch.codes):,} cells of the reference are stored with the model**, {card.sketch.n_bytes:,} bytes, "
            "without names of cells and donors; it can be refitted to the genes and cells of a query (`adapt`)."
        )


def _identity(card: CardContent) -> Iterator[str]:
    yield "## Identity"
    members = f" with {card.n_members} members" if card.n_members > 1 else ""
    yield f"{_plain(card.spec.summary)}{members}. {card.n_bytes:,} bytes; SHA-256 of the weights `{card.sha256}`."
    if card.facts.citation:
        yield f"Cite: {_sentence(card.facts.citation)}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, [_Markdown("---")] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(each if isinstance(each, _Markdown) else _plain(each) for each in line)} |" for line in lines)


def _plain(text: str) -> str:
    """Write a name as Markdown that shows it as it is, in one line."""
    return _begun(_SPECIAL.sub(r"\\\g<0>", " ".join(text.split())))


def _sentence(text: str) -> str:
    """Write a sentence of the authors in one line, which may have code and links, and no HTML."""
    parts = _CODE.split(" ".join(text.split()))
    return _begun("".join(part if _CODE.fullmatch(part) else part.replace("<", r"\<") for part in parts))


def _begun(line: str) -> str:
    """Write a line that neither begins a heading nor a list."""
    return _BEGINNING.sub(r"\g<number>\\\g<sign>", line)


def _code(text: str) -> str:
    """Write a name as code, which has no escapes."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def _number(value: int | None) -> str:
    return "not stated" if value is None else f"{value:,}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
