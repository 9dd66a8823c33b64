"""DeepEnsemble: several models of one class that differ by chance, and what they agree on."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, final

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from numpy.typing import NDArray

from sctab._deprecation import FRACTION_OF_CORPUS, renamed_arguments
from sctab.corpus import Corpus
from sctab.errors import NotTrainedError, Parameter, SettingError, warn
from sctab.inference import (
    BATCH_SIZE,
    ModelSpec,
    Predictor,
    check_alike,
    check_stored,
    free_path,
    hash_of_members,
    member_path,
    member_paths,
    read_hashes,
    require_replaceable,
    write_hashes,
)
from sctab.io import as_path, written_beside
from sctab.model._base import CellTypeClassifier
from sctab.model._classes import class_of
from sctab.model._members import MemberTraining
from sctab.model._prediction import latent_of, predict
from sctab.model._sctab import SCTAB
from sctab.train import CorpusReference, MemoryReference, Reference, run_directory


@final
class DeepEnsemble:
    """Ensemble of models of one class trained from different seeds; better calibrated, and less confident when the members disagree.

    The probability of a type is the mean of the members' probabilities, and the uncertainty of a cell is one minus the largest of
    them (Lakshminarayanan et al. 2017; Fischer et al. 2023). `Evaluation` tells what that uncertainty is made of: what each
    member is unsure of, and what they disagree on. It holds classifiers and is none, but is used in the same way.

    Parameters
    ----------
    model_class
        Class of the members.
    n_members
        How many of them, at least 2; five as published.
    **model_settings
        Settings for the constructor of each member.

    Attributes
    ----------
    name
        Name of the directory that it was loaded from; empty before.

    Raises
    ------
    SettingError
        If it is not a model class, or if there are fewer than two members.

    References
    ----------
    Lakshminarayanan et al., Simple and scalable predictive uncertainty estimation using deep ensembles, NeurIPS 2017,
    :doi:`10.48550/arXiv.1612.01474`; Fischer et al., Scaling cross-tissue single-cell annotation models, bioRxiv 2023,
    :doi:`10.1101/2023.10.07.561331`.

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> reference = sc.datasets.pbmc68k_reduced().raw.to_adata()
    >>> ensemble = sctab.model.DeepEnsemble(sctab.model.SCTAB, n_members=5)
    >>> ensemble.setup_anndata(reference, labels_key="bulk_labels")  # doctest: +SKIP
    >>> ensemble.train()  # doctest: +SKIP
    >>> sctab.tl.annotate(query, ensemble)  # doctest: +SKIP
    """

    def __init__(self, model_class: type[CellTypeClassifier] = SCTAB, n_members: int = 5, **model_settings: Any) -> None:
        if not (isinstance(model_class, type) and issubclass(model_class, CellTypeClassifier)):
            raise SettingError(Parameter("model_class", model_class), " must be a model class, such as `SCTAB`.")
        if n_members < 2:
            raise SettingError(Parameter("n_members", n_members), " must be at least 2.")
        self.model_class = model_class
        self.n_members = n_members
        self._reference: Reference | None = None
        self.name = ""
        self._model_settings = model_settings
        self._members: tuple[CellTypeClassifier, ...] = ()

    @classmethod
    def from_members(cls, members: Sequence[CellTypeClassifier]) -> Self:
        """Create an ensemble of existing models.

        Parameters
        ----------
        members
            Trained models of one class, with the same genes, labels, scale and covariates.

        Raises
        ------
        SettingError
            If there are fewer than two of them, or if they do not go together.
        """
        if len(members) < 2:
            raise SettingError(f"An ensemble has at least 2 members, and {len(members)} was given.")
        for member in members:
            member._require_trained()
        check_alike([member.spec for member in members])
        first = members[0].spec
        known = signature(type(members[0])).parameters  # the network of a published model may have settings that the class has not
        architecture = {name: value for name, value in first.architecture.items() if name in known}
        ensemble = cls(type(members[0]), len(members), n_top_genes=len(first.features), **architecture)
        ensemble._members = tuple(members)
        return ensemble

    @classmethod
    @renamed_arguments(FRACTION_OF_CORPUS, since="0.1", removed_in="0.3")
    def from_corpus(
        cls,
        corpus: Corpus | str | PathLike[str],
        model_class: type[CellTypeClassifier] = SCTAB,
        n_members: int = 5,
        *,
        fraction: float = 1.0,
        fraction_by: Literal["donor", "cell"] = "donor",
        categorical_covariate_keys: Sequence[str] = (),
        **model_settings: Any,
    ) -> Self:
        """An ensemble of models of a corpus; see :meth:`CellTypeClassifier.from_corpus`.

        Parameters
        ----------
        corpus, fraction, fraction_by, categorical_covariate_keys
            As in :class:`CellTypeClassifier`.
        model_class, n_members, **model_settings
            As in the constructor; errors are those of both.
        """
        ensemble = cls(model_class, n_members, **model_settings)
        ensemble._reference = CorpusReference.of(corpus, fraction, fraction_by, categorical_covariate_keys)
        return ensemble

    def setup_anndata(self, adata: AnnData, labels_key: str, **kwargs: Any) -> None:
        """Set up an annotated reference; see :meth:`CellTypeClassifier.setup_anndata`.

        Parameters
        ----------
        adata, labels_key, **kwargs
            As in :class:`CellTypeClassifier`.
        """
        self._reference = MemoryReference.of(adata, labels_key, **kwargs)

    @property
    def adata(self) -> AnnData | None:
        """The reference, where it is in an AnnData."""
        return None if self._reference is None else self._reference.adata

    def train(
        self,
        max_epochs: int | None = None,
        *,
        seed: int = 0,
        split_seed: int | None = None,
        n_jobs: int = 1,
        run_dir: str | PathLike[str] | None = None,
        **train_settings: Any,
    ) -> None:
        """Train the members, sequentially or in parallel.

        They differ in their initial weights, in the order of the cells and in everything else that is random but the split: all are
        validated on the same cells. Calling it again trains new members.

        Parameters
        ----------
        max_epochs, **train_settings
            As in :meth:`CellTypeClassifier.train`.
        seed
            The seeds of the members follow from it.
        split_seed
            Decides which cells validate; by default `seed`.
        n_jobs
            Members to train at a time, each in a process of its own, which share the reference's large arrays.
        run_dir
            Directory for what the trainings leave behind: for each member its curves and checkpoints, as in
            :meth:`CellTypeClassifier.train`, and the member when it is finished. When it is there from a training that was interrupted,
            of the same reference with the same settings, the members that are finished are taken from it, with or without
            `resume=True`.

        Raises
        ------
        SettingError
            If there is no reference, if a setting is invalid, or if `run_dir` belongs to another training.
        OutputExistsError
            If there is something else in `run_dir`.
        """
        if self._reference is None:
            raise SettingError("There is no reference. Call `ensemble.setup_anndata(adata, labels_key=…)` first.")
        if n_jobs < 1:
            raise SettingError(Parameter("n_jobs", n_jobs), " must be at least 1.")
        if train_settings.pop("resume", False) and run_dir is None:
            raise SettingError(
                Parameter("resume", value=True), " needs the `run_dir` of the training to resume. Provide it, or omit `resume`."
            )
        settings = {"max_epochs": max_epochs, "split_seed": seed if split_seed is None else split_seed, **train_settings}
        jobs = [{"seed": int(state), **settings} for state in np.random.SeedSequence(seed).generate_state(self.n_members)]
        training = MemberTraining(self.model_class, self._reference, self._model_settings)
        if run_dir is not None:
            with run_directory(run_dir):
                training.begin_or_resume(as_path(run_dir), jobs)
                jobs = [job | {"run_dir": free_path(as_path(run_dir) / f"curves_{i}")} for i, job in enumerate(jobs)]
                members = training.run_in(as_path(run_dir), jobs, n_jobs)
        elif n_jobs > 1:
            with tempfile.TemporaryDirectory(prefix="sctab-") as directory:
                members = training.run_in(Path(directory), jobs, n_jobs)
        else:
            members = training.run_all(jobs)
        self._members = tuple(members)

    # ------------------------------------------------------------------------------------------------- prediction

    @property
    def members(self) -> tuple[CellTypeClassifier, ...]:
        """The trained models.

        Raises
        ------
        NotTrainedError
            Before :meth:`train`.
        """
        if not self._members:
            raise NotTrainedError("The ensemble is not trained. Call `ensemble.train()` first, or `load` a trained one.")
        return self._members

    @property
    def is_trained(self) -> bool:
        """Return whether there is something to predict with."""
        return bool(self._members)

    @property
    def spec(self) -> ModelSpec:
        """Description of the first member; genes, labels and scale are those of all."""
        return self.members[0].spec

    @property
    def history(self) -> dict[str, pd.DataFrame]:
        """Training history, one column per member."""
        histories = [member.history for member in self.members]
        return {
            name: pd.concat([history[name].iloc[:, 0].rename(f"member_{i}") for i, history in enumerate(histories)], axis=1)
            for name in histories[0]
        }

    @property
    def sha256(self) -> str | None:
        """Hash of the members' hashes; `None` when one of them was not saved since it last changed."""
        hashes = [member.sha256 for member in self.members]
        return None if None in hashes else hash_of_members([str(each) for each in hashes])

    @property
    def gene_importance(self) -> NDArray[np.float32]:
        """Mean of the members' importance of each gene, `(n_vars,)`, summing to one."""
        return np.mean([member.gene_importance for member in self.members], axis=0)

    @property
    def predictor(self) -> Predictor:
        """The members as they are now, to predict with.

        Raises
        ------
        NotTrainedError
            Before :meth:`train`.
        """
        networks = [member.module for member in self.members]
        return Predictor(self.spec, networks, self.gene_importance, name=self.name, sha256=self.sha256)

    def predict(
        self, adata: AnnData | None = None, *, soft: bool = False, layer: str | None = None, batch_size: int = BATCH_SIZE
    ) -> NDArray[np.object_] | pd.DataFrame:
        """Predict the cell type of every cell from the mean of the members' probabilities; see :meth:`CellTypeClassifier.predict`.

        Parameters
        ----------
        adata, soft, layer, batch_size
            As in :class:`CellTypeClassifier`.
        """
        return predict(self, adata, layer, soft=soft, batch_size=batch_size)

    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float32]:
        """Concatenate the embeddings of the members, `(n_obs, n_members * n_latent)`.

        Each member has axes of its own, so that there is no mean of them; distances in all of them together are as good as in one.

        Parameters
        ----------
        adata, layer, batch_size
            As in :meth:`predict`.

        Raises
        ------
        SettingError
            If the members have no latent space.
        """
        return latent_of(self, adata, layer, batch_size=batch_size)

    def to_device(self, device: str | int | torch.device) -> None:
        """Move all members; see :meth:`scvi.model.base.BaseModelClass.to_device`."""
        for member in self.members:
            member.to_device(device)

    def deregister_manager(self, adata: AnnData | None = None) -> None:
        """Release a reference, so that its memory can be used again; see :meth:`scvi.model.base.BaseModelClass.deregister_manager`.

        Parameters
        ----------
        adata
            The reference.
        """
        for member in self.members:
            if member.adata is not None:
                self.model_class.register_manager(member.adata_manager)  # the one of the class goes with the first member
                member.deregister_manager(adata)

    # ------------------------------------------------------------------------------------------------------ files

    def save(self, dir_path: str | PathLike[str], *, overwrite: bool = False, description: str | None = None) -> None:
        """Write a directory with a model directory for each member, whole or not at all.

        Parameters
        ----------
        dir_path
            Output directory.
        overwrite
            Replace an existing model or ensemble. Anything else is never replaced.
        description
            One-line description of the ensemble; `None` keeps the current one.

        Raises
        ------
        NotTrainedError
            If the ensemble is not trained.
        OutputExistsError, OutputError
            If the output already exists, or if it cannot be written.
        """
        members = self.members
        require_replaceable(dir_path, overwrite=overwrite)
        with written_beside(dir_path, overwrite=overwrite, kind="model") as directory:
            directory.mkdir()
            hashes = []
            for i, member in enumerate(members):  # one model may be several members
                member.save(member_path(directory, i), description=description)
                hashes.append(str(member.sha256))
            write_hashes(directory, hashes)

    @classmethod
    def load(
        cls,
        dir_path: str | PathLike[str],
        adata: AnnData | None = None,
        *,
        accelerator: str = "auto",
        device: int | str = "auto",
    ) -> Self:
        """Load an ensemble from disk.

        Parameters
        ----------
        dir_path, adata, accelerator, device
            As in :meth:`CellTypeClassifier.load`.

        Raises
        ------
        ModelNotFoundError
            If there is no such directory.
        ModelFormatError
            If it is damaged, of an unknown version, or holds one model.
        """
        path = as_path(dir_path)
        hashes = read_hashes(path)
        directories = member_paths(path, len(hashes))
        member_class = class_of(directories[0])
        loaded = [member_class._load(each, adata, accelerator=accelerator, device=device) for each in directories]
        members = [member for member, _ in loaded]
        check_stored(path, [member.spec for member in members], [member.sha256 for member in members], hashes)
        ensemble = cls.from_members(members)
        for note in dict.fromkeys(note for _, note in loaded if note):
            warn(note)
        ensemble._reference = members[0]._reference
        ensemble.name = path.resolve().name
        return ensemble
