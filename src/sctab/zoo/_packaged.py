"""Models that come with the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path

from sctab.errors import ModelNotFoundError, listing
from sctab.inference import read_spec
from sctab.io import as_path
from sctab.keys import SPEC_FILE
from sctab.model import AutoClassifier, CellTypeClassifier, DeepEnsemble, load_model


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


def load(
    model: str | PathLike[str] | CellTypeClassifier | DeepEnsemble | AutoClassifier,
    *,
    accelerator: str = "auto",
    device: int | str = "auto",
) -> CellTypeClassifier | DeepEnsemble:
    """A model from whatever names it.

    Parameters
    ----------
    model
        A model or ensemble, which is given back as it is, or of an `AutoClassifier` the one that it kept; a directory of a model or of an
        ensemble; or the name of a packaged model. A directory goes before a packaged model of the same name.
    accelerator, device
        Where to put it.

    Raises
    ------
    ModelNotFoundError
        When it is none of these.
    ModelFormatError
        When the directory cannot be read or trusted.
    """
    if isinstance(model, AutoClassifier):
        return model.best
    if isinstance(model, CellTypeClassifier | DeepEnsemble):
        return model
    path = as_path(model)
    if not path.exists() and isinstance(model, str):
        path = packaged_path(model)
    return load_model(path, accelerator=accelerator, device=device)


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
