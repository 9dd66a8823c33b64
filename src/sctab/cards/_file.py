"""`card.json`: declared facts of a model, and its scores on test data, tied to its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sctab.cards._facts import CardFacts
from sctab.cards._scores import HeldOutScores
from sctab.errors import ModelFormatError, SettingError
from sctab.io import strict_json, written_beside
from sctab.keys import CARD_FACTS_FILE

_FORMAT, _VERSION = "sctab-card", 1
_NAMES = {"format", "format_version", "model_sha256", "facts", "tests"}


@dataclass(frozen=True)
class CardFile:
    """Content of `card.json`."""

    facts: CardFacts = field(default_factory=CardFacts)
    tests: tuple[HeldOutScores, ...] = ()


def read_card_file(directory: Path, sha256: str) -> CardFile:
    """Read `card.json` of a model directory; an empty one where there is no such file.

    Parameters
    ----------
    directory
        The directory.
    sha256
        Hash of the weights that it must belong to.

    Raises
    ------
    ModelFormatError
        If it was changed by hand, or belongs to other weights.
    """
    path = directory / CARD_FACTS_FILE
    if not path.exists():
        return CardFile()
    try:
        values = strict_json.without_digest(strict_json.read(path))
        if set(values) != _NAMES or (values["format"], values["format_version"]) != (_FORMAT, _VERSION):
            raise ValueError(f"it is not a card of version {_VERSION}")
        file = CardFile(
            facts=CardFacts.from_declaration(values["facts"], f"`{path}`"),
            tests=tuple(HeldOutScores.from_json(each) for each in values["tests"]),
        )
    except (OSError, ValueError, TypeError, LookupError, SettingError) as error:
        why = getattr(error, "strerror", None) or getattr(error, "message", None) or error
        raise ModelFormatError(
            f"`{path}` cannot be trusted: {why}. Delete it, and write it again with `sctab.zoo.write_card`."
        ) from error
    if values["model_sha256"] != sha256:
        raise ModelFormatError(
            f"`{path}` belongs to other weights: their SHA-256 is `{values['model_sha256']}`, and that of this model is `{sha256}`. "
            "Delete it, and write it again with `sctab.zoo.write_card`."
        )
    return file


def write_card_file(directory: Path, sha256: str, file: CardFile) -> None:
    """Write `card.json` into a model directory, whole or not at all; errors as for :func:`sctab.io.written_beside`."""
    values: dict[str, Any] = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "model_sha256": sha256,
        "facts": file.facts.to_json(),
        "tests": [scores.to_json() for scores in file.tests],
    }
    with written_beside(directory / CARD_FACTS_FILE, overwrite=True) as beside:
        strict_json.write(beside, strict_json.with_digest(strict_json.parse(strict_json.canonical(values))))
