"""Models that come with the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path

from sctab.errors import ModelNotFoundError, listing
from sctab.inference import HasPredictor, Predictor, load_predictor as read_predictor, read_spec
from sctab.io import as_path
from sctab.keys import SPEC_FILE


@dataclass(frozen=True)
class ModelListing:
    """One model that can be named."""

    name: str
    path: Path
    description: str
    n_labels: int
    n_genes: int


def list_models() -> tuple[ModelListing, ...]:
    """Every model that can be named, with one line on each.

    Examples
    --------
    >>> [model.name for model in list_models()]
    ['pbmc']
    """
    return tuple(_listing(directory) for directory in sorted(_root().iterdir()) if (directory / SPEC_FILE).is_file())


def packaged_path(name: str) -> Path:
    """Directory of a packaged model.

    Parameters
    ----------
    name
        As :func:`list_models` lists it.

    Raises
    ------
    ModelNotFoundError
        When there is none of that name.
    """
    path = _root() / name
    if not (path / SPEC_FILE).is_file() or path.parent != _root():
        names = [directory.name for directory in sorted(_root().iterdir()) if (directory / SPEC_FILE).is_file()]
        raise ModelNotFoundError(
            f"There is no model `{name}`: no directory of that path, and no packaged model of that name. Packaged models: {listing(names)}."
        )
    return path


def model_path(model: str | PathLike[str]) -> Path:
    """Directory of a model: a path, which goes first, or the name of a packaged model.

    Raises
    ------
    ModelNotFoundError
        When it is neither.
    """
    path = as_path(model)
    return packaged_path(model) if isinstance(model, str) and not path.exists() else path


def load_predictor(model: str | PathLike[str] | HasPredictor) -> Predictor:
    """A trained model to predict with, from whatever names it; what only training needs is not loaded.

    Parameters
    ----------
    model
        A model or an ensemble, a directory of one, or the name of a packaged model. A directory goes before a packaged model of the same
        name.

    Raises
    ------
    ModelNotFoundError
        When it is none of these.
    ModelFormatError
        When the directory cannot be read or trusted.
    NotTrainedError
        When it is a model that is not trained.
    """
    return read_predictor(model_path(model)) if isinstance(model, str | PathLike) else model.predictor


def _root() -> Path:
    return Path(str(files("sctab.zoo"))) / "packaged"


def _listing(directory: Path) -> ModelListing:
    spec = read_spec(directory)
    return ModelListing(
        name=directory.name,
        path=directory,
        description=spec.description,
        n_labels=len(spec.labels),
        n_genes=len(spec.features),
    )
