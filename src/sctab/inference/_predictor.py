"""A trained model in use, whatever it was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sctab.data import CellData, Query, learned_matrix, open_query
from sctab.errors import warn
from sctab.inference._block_predictor import BlockPredictor
from sctab.inference._device import device_of
from sctab.inference._ensemble_files import check_stored, hash_of_members, member_paths, read_hashes
from sctab.inference._networks import EARLIER_WEIGHTS, build_network, network_with
from sctab.inference._spec import ModelSpec
from sctab.inference._storage import is_ensemble, read_model
from sctab.io import as_path
from sctab.nn import Precision


class Predictor:
    """A trained model in use: all that is needed to say what cells are.

    Classifiers and ensembles have one; :func:`load_predictor` reads one from a directory.

    Parameters
    ----------
    spec
        Genes, labels, normalisation; of an ensemble those of its first member.
    networks
        Trained networks on one device, one per member.
    gene_importance
        Fraction of the decisions that each gene carries, `(n_vars,)`, summing to one.
    name
        Name of the directory that the model was loaded from.
    sha256
        Hash of the stored weights; `None` when they were not saved since they last changed.
    """

    def __init__(
        self,
        spec: ModelSpec,
        networks: Sequence[nn.Module],
        gene_importance: NDArray[np.float32],
        *,
        name: str = "",
        sha256: str | None = None,
    ) -> None:
        self.spec = spec
        self.networks = tuple(networks)
        self.gene_importance = gene_importance
        self.name = name
        self.sha256 = sha256

    @property
    def predictor(self) -> Self:
        """Itself: whatever has a predictor can be used in its place."""
        return self

    def open_query(self, adata: CellData, *, layer: str | None = None, min_gene_coverage: float = 0.0, **kwargs: Any) -> Query:
        """Match any AnnData or file to the genes of the model.

        Parameters
        ----------
        adata, layer, min_gene_coverage, **kwargs
            As in `sctab.data.open_query`; errors are those of it.
        """
        return open_query(
            adata,
            self.spec.features,
            self.spec.normalization,
            covariates=self.spec.covariates,
            layer=layer,
            importance=self.gene_importance,
            min_gene_coverage=min_gene_coverage,
            learned=learned_matrix(self.spec.setup, self.spec.training),
            **kwargs,
        )

    def block_predictor(self, *, precision: Precision = "float32", device: str | None = None) -> BlockPredictor:
        """The networks as they are now, in their fast form.

        Parameters
        ----------
        precision, device
            As in `sctab.inference.BlockPredictor`; errors are those of it.
        """
        return BlockPredictor(self.networks, precision=precision, device=device)


class HasPredictor(Protocol):
    """A trained classifier or ensemble."""

    @property
    def predictor(self) -> Predictor:
        """The model as it is now, to predict with."""


def load_predictor(path: str | PathLike[str], *, accelerator: str = "auto") -> Predictor:
    """Read a model or an ensemble from its directory, without what training needs.

    Parameters
    ----------
    path
        Its directory.
    accelerator
        Where to compute: `"auto"`, a GPU where there is one, `"cpu"`, `"gpu"` or `"mps"`.

    Parameters
    ----------
    path
        Directory that a model's or an ensemble's `save` wrote.

    Raises
    ------
    SettingError
        If the accelerator is not known or not there.
    ModelNotFoundError
        If there is no such directory.
    ModelFormatError
        If it is damaged, of an unknown version or class, or if the members of an ensemble differ in more than their weights.
    """
    device, path = device_of(accelerator), as_path(path)
    hashes = read_hashes(path) if is_ensemble(path) else None
    directories = [path] if hashes is None else member_paths(path, len(hashes))
    stored = [read_model(directory, build_network, earlier=EARLIER_WEIGHTS) for directory in directories]
    if hashes is not None:
        check_stored(path, [model.spec for model in stored], [model.sha256 for model in stored], hashes)
    for note in dict.fromkeys(model.note for model in stored if model.note):
        warn(note)
    return Predictor(
        stored[0].spec,
        [
            network_with(model.weights, model.spec, where=directory).to(device)
            for model, directory in zip(stored, directories, strict=True)
        ],
        np.mean([model.importance for model in stored], axis=0),
        name=path.resolve().name,
        sha256=stored[0].sha256 if hashes is None else hash_of_members(hashes),
    )
