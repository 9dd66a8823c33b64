"""Facts on a model that nothing can measure, as its authors declare them: licence, sources of the cells, limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any, Literal, Self, get_args

from sctab.errors import SettingError, listing
from sctab.io import as_path, declared

Use = Literal["training", "calibration", "test"]
"""Use of the cells of a source."""
_DOI = re.compile(r"10\.\d{4,9}/\S+")
_URL = re.compile(r"(https?|s3|gs|ftp)://\S+")


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A dataset whose cells a model learned, was calibrated on, or was tested on."""

    name: str
    """Name of the dataset, or of the study."""
    license: str
    """Licence of the data, such as `CC-BY-4.0`."""
    n_cells: int
    """Cells that were used."""
    used_for: Use = "training"
    """Use of the cells."""
    url: str = ""
    """Address of the data; this or :attr:`doi` is needed."""
    doi: str = ""
    """DOI of the study, such as `10.1038/ncomms14049`."""
    description: str = ""
    """Origin of the labels, number of donors, protocol."""


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """Declared facts of a model card. Everything else on a card is measured, see :class:`ModelCard`."""

    license: str = ""
    """Licence of the model, such as `CC-BY-4.0`."""
    organism: str = ""
    """Species, such as `Homo sapiens`."""
    tissues: tuple[str, ...] = ()
    """Tissues that the cells are from."""
    sources: tuple[DataSource, ...] = ()
    """Datasets."""
    limits: tuple[str, ...] = ()
    """Sentences on what the model was not made for."""
    notes: str = ""
    """Markdown that is printed after everything that was measured."""
    citation: str = ""
    """Work to cite."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_declaration(cls, values: Any, where: str) -> Self:
        """Read declared values.

        Parameters
        ----------
        values
            A mapping with names of the fields.
        where
            Name of the declaration in messages.

        Raises
        ------
        SettingError
            If a name is unknown, or a value is missing or has another type.
        """
        readers = {"tissues": declared.each(_text), "sources": declared.each(_source), "limits": declared.each(_text)}
        found: Self = declared.instance_of(cls, values, where, readers)
        if repeated := {source.name for source in found.sources if [each.name for each in found.sources].count(source.name) > 1}:
            raise SettingError(f"{where}: {listing(sorted(repeated))} is listed twice in `sources`. State each source once.")
        return found

    def n_cells(self, use: Use) -> int:
        """Cells of all sources with one use."""
        return sum(source.n_cells for source in self.sources if source.used_for == use)


def read_facts(facts: CardFacts | Mapping[str, Any] | str | PathLike[str]) -> CardFacts:
    """Declared facts, from a YAML file or a mapping.

    Parameters
    ----------
    facts
        The facts, a mapping with the names of their fields, or a YAML file with such a mapping.

    Raises
    ------
    DataFileError
        If the file is missing or not valid YAML.
    SettingError
        If a name is unknown, or a value is missing or has another type.

    Examples
    --------
    >>> source = {"name": "mine", "license": "CC-BY-4.0", "n_cells": 240, "doi": "10.1000/182"}
    >>> read_facts({"license": "CC-BY-4.0", "sources": [source]}).n_cells("training")
    240
    """
    if isinstance(facts, CardFacts):
        return facts
    if isinstance(facts, Mapping):
        return CardFacts.from_declaration(dict(facts), "The facts of the card")
    return CardFacts.from_declaration(declared.read_yaml(path := as_path(facts)), f"`{path}`")


def _source(value: Any, where: str) -> DataSource:
    readers = {"n_cells": declared.integer, "used_for": _use, "url": _matching(_URL, "a URL"), "doi": _matching(_DOI, "a DOI")}
    source: DataSource = declared.instance_of(
        DataSource, value, where, readers | {"name": _text, "license": _text, "description": declared.string}
    )
    if not source.url and not source.doi:
        raise SettingError(
            f"{where}: the source `{source.name}` has neither `url` nor `doi`. State one, so that others find the data."
        )
    return source


def _use(value: Any, where: str) -> Use:
    if value not in get_args(Use):
        raise SettingError(f"{where}: {value!r} is not one of {listing(get_args(Use))}. Choose one of these.")
    use: Use = value
    return use


def _text(value: Any, where: str) -> str:
    text = declared.string(value, where)
    if not text.strip() or not text.isprintable():
        raise SettingError(f"{where}: one line of text was expected, found {value!r}. State it in a line.")
    return text


def _matching(pattern: re.Pattern[str], kind: str) -> Any:
    def read(value: Any, where: str) -> str:
        text = declared.string(value, where)
        if text and not pattern.fullmatch(text):
            raise SettingError(
                f"{where}: {text!r} is not {kind}. Write it as in `https://example.org/data` or `10.1038/ncomms14049`."
            )
        return text

    return read
