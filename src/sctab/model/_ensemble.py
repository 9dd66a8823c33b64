"""DeepEnsemble: several models of one class that differ by chance, and what they agree on."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, final

import numpy as np
from anndata import AnnData

from sctab._deprecation import FRACTION_OF_CORPUS, renamed_arguments
from sctab.corpus import Corpus
from sctab.data import require_anndata
from sctab.errors import Parameter, SctabError, SettingError, warn
from sctab.inference import (
    NO_ARRAYS,
    Arrays,
    Calibration,
    EnsembleFile,
    HeldOutCells,
    check_alike,
    check_stored,
    free_path,
    member_path,
    member_paths,
    read_ensemble,
    require_replaceable,
    write_ensemble,
)
from sctab.io import as_path, written_beside
from sctab.model._base import CellTypeClassifier
from sctab.model._calibrating import evaluate_unseen, warn_of_changes
from sctab.model._classes import class_of
from sctab.model._ensemble_prediction import PredictingEnsemble
from sctab.model._hub import HubModel
from sctab.model._learned_cells import kept_arrays, require_sketch, sketched_cells
from sctab.model._members import MemberTraining
from sctab.model._sctab import SCTAB
from sctab.train import CorpusReference, MemoryReference, Reference, run_directory

if TYPE_CHECKING:
    from mudata import MuData


@final
class DeepEnsemble(PredictingEnsemble, HubModel):
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
    calibration
        Temperature of the mean probabilities, learned from held-out cells; `None` where it was not learned.

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
        self.calibration: Calibration | None = None
        self._arrays: Arrays = NO_ARRAYS
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
        require_anndata(adata, fix="Use `setup_mudata` for a MuData.")
        self._reference = MemoryReference.of(adata, labels_key, **kwargs)

    def setup_mudata(self, mdata: MuData, labels_key: str, **kwargs: Any) -> None:
        """Set up a reference of gene expression and surface proteins; see :meth:`CellTypeClassifier.setup_mudata`.

        Parameters
        ----------
        mdata, labels_key, **kwargs
            As in :class:`CellTypeClassifier`.
        """
        reference = MemoryReference.of(mdata, labels_key, **kwargs)
        reference.require_proteins()
        self._reference = reference

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
        calibrate: bool = True,
        fingerprints: bool = True,
        sketch: int = 0,
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
        calibrate
            Learn from held-out cells how far to trust the members together; see :meth:`CellTypeClassifier.train`.
        fingerprints, sketch
            As in :meth:`CellTypeClassifier.train`.

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
        require_sketch(sketch)
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
        data = self._reference.data(self.spec)
        self.calibration, self._arrays = None, sketched_cells(data, sketch, seed=seed)
        if calibrate:
            self._arrays = {**self._arrays, **kept_arrays(self._reference, data, self.spec, fingerprints=fingerprints, seed=seed)}
            self._calibrate(training, jobs, n_jobs)

    def _calibrate(self, training: MemberTraining, jobs: Sequence[Mapping[str, Any]], n_jobs: int) -> None:
        """Learn from held-out cells how far to trust the members; what cannot be held out is said, and they are kept."""
        try:
            cells = training.evaluate_held_out(self.predictor, jobs, n_jobs)
            unlike = training.cross_fit(self.predictor, jobs, n_jobs).evaluate_unlike(cells)
        except SctabError as error:
            warn("The ensemble is trained but not calibrated: ", error.message)
        else:
            self._take_held_out(cells, unlike)

    def _take_held_out(self, cells: HeldOutCells, unlike: HeldOutCells) -> None:
        """Learn from cells that ensembles of other parts of the reference evaluated; from `unlike` the temperature."""
        self.calibration = unlike.calibrate(self.spec)
        self._arrays = {**self._arrays, **cells.to_arrays(np.random.default_rng(0))}

    def calibrate(
        self,
        adata: AnnData | MuData,
        labels_key: str,
        *,
        donor_key: str | None = None,
        dataset_key: str | None = None,
        layer: str | None = None,
    ) -> None:
        """Learn from labelled cells that the ensemble has not seen how far to trust it, see :doc:`/trust`.

        Training does this by itself. Use it for a model that was imported or trained before, or to calibrate for a tissue or a protocol
        of your own. Warns of cells that do not count, and if promises now hold for other units than before.

        Parameters
        ----------
        adata
            Cells that were not used for training, with labels of the model, or finer ones: these count as the closest label above them in
            the Cell Ontology, `(n_obs, n_vars)`.
        labels_key, donor_key, dataset_key, layer
            As in :meth:`CellTypeClassifier.setup_anndata`. Promises hold for new datasets where there are two or more, else for new donors,
            else for cells of the same donors.

        Raises
        ------
        NotTrainedError
            If it is not trained.
        KeyNotFoundError, LabelError, InputValueError, GeneOverlapError
            If the cells cannot be used.
        """
        before = self.calibration
        cells = evaluate_unseen(self.predictor, adata, labels_key, donor_key, dataset_key, layer)
        self._take_held_out(cells, cells)
        warn_of_changes(before, self.calibration, cells, self.spec.labels)

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
            write_ensemble(directory, EnsembleFile(hashes, self.calibration, self._arrays))

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
        stored = read_ensemble(path)
        directories = member_paths(path, len(stored.hashes))
        member_class = class_of(directories[0])
        loaded = [member_class._load(each, adata, accelerator=accelerator, device=device) for each in directories]
        members = [member for member, _ in loaded]
        check_stored(path, [member.spec for member in members], [member.sha256 for member in members], stored.hashes)
        ensemble = cls.from_members(members)
        ensemble.calibration, ensemble._arrays = stored.calibration, stored.arrays
        for note in dict.fromkeys(note for _, note in loaded if note):
            warn(note)
        ensemble._reference = members[0]._reference
        ensemble.name = path.resolve().name
        return ensemble
