"""Models that come with the package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path

from sctab import inference
from sctab.errors import Either, ModelNotFoundError, SettingError, did_you_mean, listing
from sctab.io import as_path, strict_json
from sctab.keys import CARD_FILE, ENSEMBLE_FILE, SPEC_FILE


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
        If there is none of that name.
    """
    path = _root() / name
    if not (path / SPEC_FILE).is_file() or path.parent != _root():
        names = [directory.name for directory in sorted(_root().iterdir()) if (directory / SPEC_FILE).is_file()]
        raise ModelNotFoundError(
            f"There is no model `{name}`: no directory of that path, and no packaged model of that name."
            f"{did_you_mean(name, _nearby(name))} Packaged models: {listing(names)}."
        )
    return path


def model_path(model: str | PathLike[str]) -> Path:
    """Directory of a model: a path, which takes precedence, or the name of a packaged model.

    Raises
    ------
    ModelNotFoundError
        If it is neither.
    """
    path = as_path(model)
    return packaged_path(model) if isinstance(model, str) and not path.exists() else path


def load_predictor(model: str | PathLike[str] | inference.HasPredictor, *, accelerator: str = "auto") -> inference.Predictor:
    """A trained model to predict with, from whatever names it; what only training needs is not loaded.

    Parameters
    ----------
    model
        A model or an ensemble, a directory of one, or the name of a packaged model. A directory takes precedence over a packaged model of
        the same name.
    accelerator
        Where one that is loaded computes: `"auto"`, a GPU where there is one, `"cpu"`, `"gpu"` or `"mps"`.

    Raises
    ------
    ModelNotFoundError
        If it is none of these.
    ModelFormatError
        If the directory cannot be read or trusted.
    SettingError
        If the accelerator is not known or not there, or if the model holds clusters and not cell types.
    NotTrainedError
        If it is a model that is not trained.
    """
    if isinstance(model, str | PathLike):
        predictor, name = inference.load_predictor(model_path(model), accelerator=accelerator), f" `{model}`"
    else:
        predictor, name = model.predictor, ""
    if predictor.spec.is_clustering:
        raise SettingError(
            f"The model{name} holds clusters, which have no names of cell types. ",
            Either(
                "Assign cells to them with `sctab.tl.cluster(adata, model)`", "Assign cells to them with `sctab cluster --model`"
            ),
            ", and annotate the cells with a model of cell types.",
        )
    return predictor


def _nearby(name: str) -> list[str]:
    """Directories of models beside a missing path, written like it, and packaged models."""
    parent = as_path(name).parent
    try:
        found = [str(path) for path in sorted(parent.iterdir()) if (path / SPEC_FILE).is_file() or (path / ENSEMBLE_FILE).is_file()]
    except OSError:
        found = []
    return found + [model.name for model in list_models()]


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
