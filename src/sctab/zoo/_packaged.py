"""Models that come with the package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sctab.errors import ModelNotFoundError, did_you_mean, listing
from sctab.io import strict_json
from sctab.keys import CARD_FILE, SPEC_FILE


@dataclass(frozen=True)
class ModelListing:
    """A pretrained model."""

    name: str
    path: Path
    description: str
    n_labels: int
    n_genes: int
    n_cells: int
    """Cells that it was trained on."""
    sources: tuple[str, ...]
    """Datasets that these are from, as its card has them."""


def list_models() -> tuple[ModelListing, ...]:
    """List available pretrained models, with a one-line description of each.

    Examples
    --------
    >>> [model.name for model in list_models()]
    ['pbmc']
    """
    return tuple(_listing(_root() / name) for name in packaged_names())


def packaged_path(name: str) -> Path:
    """Directory of a packaged model.

    Parameters
    ----------
    name
        As :func:`list_models` lists it.

    Raises
    ------
    ModelNotFoundError
        If there is none of that name.
    """
    if name not in packaged_names():
        raise ModelNotFoundError(
            f"There is no packaged model `{name}`.{did_you_mean(name, packaged_names())} Packaged models: {listing(packaged_names())}."
        )
    return _root() / name


def packaged_names() -> tuple[str, ...]:
    """Names of the packaged models."""
    return tuple(directory.name for directory in sorted(_root().iterdir()) if (directory / SPEC_FILE).is_file())


def _root() -> Path:
    return Path(str(files("sctab.zoo"))) / "packaged"


def _listing(directory: Path) -> ModelListing:
    spec = strict_json.read(directory / SPEC_FILE)  # a `ModelSpec` would load pandas and SciPy
    return ModelListing(
        name=directory.name,
        path=directory,
        description=spec["description"],
        n_labels=len(spec["labels"]["names"]),
        n_genes=len(spec["features"]["ids"]),
        n_cells=spec["training"]["n_labeled"],
        sources=sources_of_card((directory / CARD_FILE).read_text(encoding="utf-8")),
    )


def sources_of_card(card: str) -> tuple[str, ...]:
    r"""Return where the data of a model is from: the last column of the table under `## Data` of its card, without DOIs.

    Examples
    --------
    >>> sources_of_card("## Data\n\n| data set | from |\n| --- | --- |\n| a | Lee et al. 2020, doi:10.1/2 |\n")
    ('Lee et al. 2020',)
    """
    section = card.partition("\n## Data\n" if not card.startswith("## Data\n") else "## Data\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]  # after the names of the columns
    learned = [row for row in rows if "calibration only" not in row]
    return tuple(re.sub(r",? *doi:\S+", "", row.strip("| ").split("|")[-1]).strip() for row in learned)
