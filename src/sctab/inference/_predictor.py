"""A trained model in use, whatever it was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Protocol, Self

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from torch import nn

from sctab.data import (
    CellData,
    ProteinValues,
    Query,
    choose_known,
    choose_modality,
    choose_proteins,
    joined,
    learned_matrix,
    open_query,
)
from sctab.errors import Parameter, SettingError, warn
from sctab.inference._backends import Backend, portable_networks
from sctab.inference._backoff import BackOff, promise
from sctab.inference._block_predictor import BlockPredictor
from sctab.inference._device import device_of
from sctab.inference._ensemble_files import check_stored, hash_of_members, member_paths, read_ensemble
from sctab.inference._export import export_model
from sctab.inference._held_out import HeldOutCells, arrays_of_measured
from sctab.inference._jax_model import JaxModel
from sctab.inference._networks import EARLIER_WEIGHTS, build_network, network_with
from sctab.inference._query_test import unseen_test
from sctab.inference._reference_arrays import NO_ARRAYS, Arrays
from sctab.inference._sketch import is_sketched
from sctab.inference._spec import ModelSpec
from sctab.inference._storage import is_ensemble, read_model, require_sound
from sctab.inference._terms import Hierarchy, Terms
from sctab.inference._unseen import UnseenTest, types_of_arrays
from sctab.io import DataFile, as_path
from sctab.keys import SPECIES_KEYS
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
    arrays
        What the model keeps of its reference, see :data:`~sctab.inference._reference_arrays.Arrays`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        networks: Sequence[nn.Module],
        gene_importance: NDArray[np.float32],
        *,
        name: str = "",
        sha256: str | None = None,
        arrays: Arrays = NO_ARRAYS,
    ) -> None:
        self.spec = spec
        self.networks = tuple(networks)
        self.gene_importance = gene_importance
        self.name = name
        self.sha256 = sha256
        self.arrays = arrays

    @property
    def predictor(self) -> Self:
        """Itself: whatever has a predictor can be used in its place."""
        return self

    def cells_of(self, data: Any, *, files: str = "") -> AnnData:
        """The cells of an AnnData, as it is, or of a MuData: its gene expression, with its proteins beside it.

        Parameters
        ----------
        data
            What a user passed. Modalities of a MuData are those that the model learned from where they have the same names.
        files
            See `sctab.data.require_anndata`; errors are those of `sctab.data.joined`.
        """
        choose = choose_modality(self.spec.features, self.gene_importance)
        return joined(
            data,
            modalities=self.spec.setup.get("modalities"),
            protein_layer=self.spec.setup.get("protein_layer"),
            needs_counts=self.spec.proteins is not None and self.spec.proteins.values is ProteinValues.COUNTS,
            choose=choose,
            files=files,
        )

    def open_file(
        self,
        path: str | PathLike[str],
        obs_keys: Sequence[str] = (),
        *,
        modality: str | None = None,
        protein_modality: str | None = None,
    ) -> DataFile:
        """Open a data file; of a MuData, the modality with gene expression, and the one with antibodies where the model learned from them.

        Parameters
        ----------
        path
            Path or URL.
        obs_keys
            Columns of `obs` to read besides those that the model needs.
        modality, protein_modality
            Names of the modalities, and `"none"` for no antibodies; by default those that the model learned from where the file has them,
            and otherwise they are found by their features.

        Raises
        ------
        DataFileError
            As for `sctab.io.DataFile`.
        KeyNotFoundError
            If there is no such modality of antibodies.
        """
        known = self.spec.setup.get("modalities")
        choose = choose_modality(self.spec.features, self.gene_importance)
        return DataFile(
            path,
            [*(covariate.key for covariate in self.spec.covariates), *SPECIES_KEYS, *obs_keys],
            modality=modality,
            choose=choose if self.spec.proteins is None else choose_known(choose, known),
            beside=None if self.spec.proteins is None else choose_proteins(known, protein_modality),
        )

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
            refit=Parameter("adapt", "query") if is_sketched(self.arrays) and self.spec.proteins is None else None,
            learned=learned_matrix(self.spec.setup, self.spec.training),
            panel=self.spec.proteins,
            **kwargs,
        )

    def suited_to(self, query: Query) -> Predictor:
        """The same networks with the calibration for the proteins of a query: with all antibodies of the model, with some or with none.

        Parameters
        ----------
        query
            See :meth:`open_query`.
        """
        if query.proteins is None or self.spec.calibration is None:
            return self
        measured = query.proteins.measured
        return Predictor(
            replace(self.spec, calibration=self.spec.calibration.of_measured(measured)),
            self.networks,
            self.gene_importance,
            name=self.name,
            sha256=self.sha256,
            arrays=arrays_of_measured(self.arrays, measured),
        )

    def promise(self, accepted_error: float, hierarchy: Hierarchy | None = None) -> BackOff:
        """A rule that answers with terms which are wrong for at most a fraction of the cells.

        Parameters
        ----------
        accepted_error
            That fraction, between 0 and 1.
        hierarchy
            Terms above the labels, see ``Terms.of``; by default those of the Cell Ontology.

        Raises
        ------
        SettingError
            If the model was not calibrated on held-out cells, or if a setting is invalid.
        """
        cells = HeldOutCells.from_arrays(self.arrays, self.spec)
        if cells is None or self.spec.calibration is None:
            raise SettingError(
                Parameter("accepted_error", accepted_error),
                " needs a model that was calibrated on held-out cells, and this one was not: nothing can be promised. Train it again "
                "with this version, calibrate it with `model.calibrate`, or omit ",
                Parameter("accepted_error"),
                ".",
            )
        terms = Terms.of(self.spec.labels, hierarchy)
        backoff = promise(terms, cells.score(terms, self.spec.calibration), accepted_error)
        return replace(backoff, ranks=cells.confidence_ranks(self.spec.calibration))

    def unseen_test(self, query: Query) -> tuple[UnseenTest | None, str]:
        """The test of the cells of a query for being of types that the model has learned, and a note on it.

        Parameters
        ----------
        query
            The cells; some of them are read.

        Raises
        ------
        ModelFormatError
            If what the model keeps of its types was changed.
        """
        seen = types_of_arrays(self.arrays, n_genes=len(self.spec.features), n_labels=len(self.spec.labels))
        return unseen_test(seen, query, self.spec.normalization, self.block_predictor())

    def block_predictor(
        self, *, precision: Precision = "float32", device: str | None = None, backend: Backend = "torch"
    ) -> BlockPredictor:
        """The networks as they are now, in their fast form.

        Parameters
        ----------
        precision, device, backend
            As in `sctab.inference.BlockPredictor`; errors are those of it.
        """
        return BlockPredictor(self.networks, precision=precision, device=device, backend=backend)

    def to_jax(self, devices: Sequence[Any] | None = None) -> JaxModel:
        """The model as it is now, as pure functions for JAX and a pytree of parameters, see :doc:`/jax`.

        Parameters
        ----------
        devices
            Devices of JAX to compute on; by default all of its default platform.

        Raises
        ------
        MissingDependencyError
            If JAX is not installed.
        SettingError
            If the model is not made of layers, such as boosted trees.
        ModelFormatError
            If its weights are NaN or infinite.
        """
        self._require_portable()
        return JaxModel(self.spec, portable_networks(self.networks, why="For JAX"), devices)

    def export(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model as it is now as a file that runs without `sctab` and without PyTorch, see :doc:`/jax`.

        It takes counts over the genes of the model in its order, normalises them, and gives probabilities, those of
        ``predict(…, soft=True)``, and the latent. A description of genes, labels, inputs and outputs is written beside it, under the
        same name with `.json` appended.

        Parameters
        ----------
        path
            `model.stablehlo`, for JAX and XLA, or `model.onnx`, for ONNX runtimes.
        overwrite
            Replace existing files.

        Raises
        ------
        SettingError
            If `path` has another suffix, if the model is not made of layers, such as boosted trees, or if it is larger than 2 GB.
        ModelFormatError
            If its weights are NaN or infinite.
        OutputExistsError, OutputError
            If one of the two files already exists, or cannot be written.
        MissingDependencyError
            If JAX, for `.stablehlo`, or `onnx`, for `.onnx`, is not installed.
        """
        self._require_portable()
        export_model(self.spec, self.networks, path, name=self.name, sha256=self.sha256, overwrite=overwrite)

    def _require_portable(self) -> None:
        if self.spec.proteins is not None:
            warn(
                f"The model also looks at {len(self.spec.proteins)} surface proteins, whose values only `sctab` puts on its scale: it is "
                "taken as for cells without them. `annotate` uses them with every `backend`."
            )
        for network in self.networks:
            require_sound(network.state_dict())


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
    ensemble = read_ensemble(path) if is_ensemble(path) else None
    directories = [path] if ensemble is None else member_paths(path, len(ensemble.hashes))
    stored = [read_model(directory, build_network, earlier=EARLIER_WEIGHTS) for directory in directories]
    spec, arrays, sha256 = stored[0].spec, stored[0].arrays, stored[0].sha256
    if ensemble is not None:
        check_stored(path, [model.spec for model in stored], [model.sha256 for model in stored], ensemble.hashes)
        spec, arrays = replace(spec, calibration=ensemble.calibration), ensemble.arrays
        sha256 = hash_of_members(ensemble.hashes)
    for note in dict.fromkeys(model.note for model in stored if model.note):
        warn(note)
    return Predictor(
        spec,
        [
            network_with(model.weights, model.spec, where=directory).to(device)
            for model, directory in zip(stored, directories, strict=True)
        ],
        np.mean([model.importance for model in stored], axis=0),
        name=path.resolve().name,
        sha256=sha256,
        arrays=arrays,
    )
