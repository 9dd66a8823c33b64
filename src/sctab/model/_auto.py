"""AutoClassifier: several model classes are tried, and the one that held-out cells speak for is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self, final

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab._deprecation import FRACTION_OF_CORPUS, renamed_arguments
from sctab.corpus import Corpus
from sctab.errors import Either, Parameter, SettingError, listed, listing, warn
from sctab.io import ProgressReport, progress_titled
from sctab.model._base import CellTypeClassifier
from sctab.model._candidates import Trial, judge_all, title_of_candidate
from sctab.model._classes import CLASSES
from sctab.model._comparison import compare
from sctab.model._crossfit import join_folds, useful_jobs
from sctab.model._ensemble import DeepEnsemble
from sctab.model._kept import KeptModel
from sctab.model._learned_cells import kept_arrays, require_sketch
from sctab.model._linear import LinearClassifier
from sctab.model._loading import load_model
from sctab.model._portable import PortableModel
from sctab.train import Checkpoints, CorpusReference, LoggerChoice, MemoryReference, Reference, check_logging, run_directory

if TYPE_CHECKING:
    from mudata import MuData


@final
class AutoClassifier(KeptModel, PortableModel):
    """Train several model classes on parts of the reference, compare them on the rest, and keep the best.

    The reference is cut into parts, by whole donors where there are enough, and each part is named by candidates that have learned the
    others: no candidate has seen the cells that it is judged by, not even to choose an epoch. The candidates are compared by macro F1 over
    all these cells. The simplest one that is at most one standard error behind the best is kept and trained on the whole reference. It then
    is an ordinary model, :attr:`best`, and is used and saved as such.

    Held-out cells of the same study do not measure performance on another study. If that matters, compare the candidates on a second
    annotated dataset.

    Parameters
    ----------
    adata
        Reference prepared with :meth:`setup_anndata`.
    candidates
        Names of model classes, the simplest first. By default `"linear"`, `"mlp"`, `"xgboost"`, if XGBoost is installed, and `"sctab"`.
    settings
        Settings of candidates that differ from the defaults, by name: `{"mlp": {"model": {"n_layers": 2}, "train": {}}}`.

    Attributes
    ----------
    table
        Results of the comparison, one row per candidate: `macro_f1` on the held-out cells, `behind` (how far behind the best),
        `standard_error` of that, `seconds` of training, and `kept`. The standard error is a bootstrap over donors where whole donors are
        held out, since cells of a donor are alike, and over cells otherwise.
    best
        The model that was kept.

    Raises
    ------
    SettingError
        If a candidate is not a model class, or if there are none.

    References
    ----------
    Breiman et al., Classification and Regression Trees, 1984, section 3.4.3, for the one-standard-error rule.

    Examples
    --------
    >>> import scanpy as sc, sctab
    >>> reference = sc.datasets.pbmc68k_reduced().raw.to_adata()
    >>> sctab.model.AutoClassifier.setup_anndata(reference, labels_key="bulk_labels")  # doctest: +SKIP
    >>> model = sctab.model.AutoClassifier(reference)  # doctest: +SKIP
    >>> model.train()  # doctest: +SKIP
    >>> model.table  # doctest: +SKIP
    """

    table: pd.DataFrame

    def __init__(
        self,
        adata: AnnData,
        *,
        candidates: Sequence[str] | None = None,
        settings: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> None:
        manager = LinearClassifier._get_most_recent_anndata_manager(adata)
        if manager is None:
            raise SettingError("The reference was not set up. Call `AutoClassifier.setup_anndata(adata, labels_key=…)` first.")
        self._begin(MemoryReference.from_setup(adata, dict(manager.registry["setup_args"])), candidates, settings)

    @classmethod
    def _of(
        cls,
        reference: Reference,
        *,
        candidates: Sequence[str] | None = None,
        settings: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> Self:
        """See :func:`new_model`."""
        auto = cls.__new__(cls)
        auto._begin(reference, candidates, settings)
        return auto

    def _begin(
        self,
        reference: Reference,
        candidates: Sequence[str] | None,
        settings: Mapping[str, Mapping[str, Mapping[str, Any]]] | None,
    ) -> None:
        self._reference = reference
        self._best = None
        self._names = _available() if candidates is None else list(candidates)
        self._settings = dict(settings or {})
        if not self._names:
            raise SettingError(Parameter("candidates"), " names no model class. Omit it, or name at least one.")
        for name in [*self._names, *self._settings]:
            if name not in CLASSES:
                raise SettingError(f"`{name}` is not a model class that can be tried. Available: {listing(CLASSES)}.")
        for name, parts in self._settings.items():
            if wrong := sorted(set(parts) - {"model", "train"}):
                raise SettingError(
                    f"`settings[{name!r}]` has {listing(wrong)}. It takes `model`, for the constructor, and `train`, each with settings "
                    "by name."
                )

    @classmethod
    @renamed_arguments(FRACTION_OF_CORPUS, since="0.1", removed_in="0.3")
    def from_corpus(
        cls,
        corpus: Corpus | str | PathLike[str],
        *,
        fraction: float = 1.0,
        fraction_by: Literal["donor", "cell"] = "donor",
        categorical_covariate_keys: Sequence[str] = (),
        candidates: Sequence[str] | None = None,
        settings: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> Self:
        """Try the candidates on a corpus; see :meth:`CellTypeClassifier.from_corpus`.

        Each learns the training cells, some of whose donors validate it, and names the validation cells, by which they are compared.

        Parameters
        ----------
        corpus, fraction, fraction_by, categorical_covariate_keys
            As in :class:`CellTypeClassifier`.
        candidates, settings
            As in the constructor.

        Raises
        ------
        DataFileError, SettingError
            As in :class:`CellTypeClassifier`, and as in the constructor.
        """
        reference = CorpusReference.of(corpus, fraction, fraction_by, categorical_covariate_keys)
        return cls._of(reference, candidates=candidates, settings=settings)

    @classmethod
    def setup_anndata(cls, adata: AnnData, labels_key: str, **kwargs: Any) -> None:
        """Set up a reference; see :meth:`CellTypeClassifier.setup_anndata`.

        Parameters
        ----------
        adata, labels_key, **kwargs
            As in :class:`CellTypeClassifier`.
        """
        LinearClassifier.setup_anndata(adata, labels_key, **kwargs)

    @classmethod
    def setup_mudata(cls, mdata: MuData, labels_key: str, **kwargs: Any) -> None:
        """Set up a reference of gene expression and surface proteins; see :meth:`CellTypeClassifier.setup_mudata`.

        Parameters
        ----------
        mdata, labels_key, **kwargs
            As in :class:`CellTypeClassifier`.
        """
        LinearClassifier.setup_mudata(mdata, labels_key, **kwargs)

    def train(
        self,
        *,
        n_folds: int | None = None,
        n_jobs: int | None = None,
        seed: int = 0,
        accelerator: str = "auto",
        devices: Any = "auto",
        enable_progress_bar: bool = True,
        run_dir: str | PathLike[str] | None = None,
        logger: LoggerChoice = None,
        keep_checkpoints: Checkpoints = "best",
        calibrate: bool = True,
        fingerprints: bool = True,
        sketch: int = 0,
        **train_settings: Any,
    ) -> None:
        """Try the candidates, keep one, and train it on all cells.

        Parameters
        ----------
        n_folds
            Parts to cut the reference into, at least 2; each candidate is trained as often. By default 3 for fewer than 50,000 labelled
            cells; for more, one part of five is held out and each candidate is trained once.
        n_jobs
            Candidates to train at a time, each in a process of its own; the result is the same. By default as
            many as PyTorch uses threads, for 1,500 to 50,000 cells on a CPU, and otherwise one.
        seed
            Of everything that is random.
        accelerator, devices, enable_progress_bar
            As in :meth:`CellTypeClassifier.train`.
        run_dir, logger, keep_checkpoints
            As in :class:`CellTypeClassifier`, for the training of the model that is kept.
        calibrate
            Learn how far to trust the model from the cells that were held out to compare the candidates, at no further cost.
        fingerprints, sketch
            As in :meth:`CellTypeClassifier.train`.
        **train_settings
            Settings for all candidates, for example `validation_split`.

        Raises
        ------
        SettingError
            If a setting is invalid, or if no cell can be held out.
        """
        if n_folds is not None and n_folds < 2:
            raise SettingError(Parameter("n_folds", n_folds), " must be at least 2.")
        if n_jobs is not None and n_jobs < 1:
            raise SettingError(Parameter("n_jobs", n_jobs), " must be at least 1.")
        if not 0 <= seed < 2**32:
            raise SettingError(Parameter("seed", seed), " must be between 0 and 4294967295.")
        require_sketch(sketch)
        of_all = {"seed": seed, "accelerator": accelerator, "devices": devices, "enable_progress_bar": enable_progress_bar}
        options = train_settings | of_all
        self._check_settings(train_settings)
        check_logging(run_dir, logger, keep_checkpoints)
        if n_jobs is None:
            is_alone = self.adata is None or train_settings.get("callbacks")  # a callback of the user stays in this process
            n_jobs = 1 if is_alone else useful_jobs(self._reference.n_obs, accelerator, devices)
        n_trainings = len(self._names) * self._reference.n_folds(n_folds)
        n_jobs = min(n_jobs, n_trainings)
        is_shown = enable_progress_bar and n_jobs > 1
        with (
            run_directory(run_dir),
            ProgressReport(n_trainings, "Comparing model classes", unit="trainings", shown=is_shown) as progress,
        ):
            trial = self._try(
                n_folds, n_jobs, options | {"enable_progress_bar": enable_progress_bar and n_jobs == 1}, progress.advance
            )
        truth = np.concatenate([part.truth for part in trial.parts])
        self.table = compare(
            truth,
            {name: np.concatenate([output.labels for output in outputs]) for name, outputs in trial.outputs.items()},
            np.random.default_rng(seed),
            self._reference.label_ids,
            None if trial.parts[0].units is None else np.concatenate([part.units for part in trial.parts]),
        ).assign(seconds=pd.Series(trial.seconds))
        kept = str(self.table.index[self.table["kept"]][0])
        best = CLASSES[kept]._of(self._reference, register=True, **self._model_settings(kept))
        with progress_titled(f"training {kept}, which is kept"):
            leaves = {"run_dir": run_dir, "logger": logger, "keep_checkpoints": keep_checkpoints}
            best.train(**self._train_settings(kept) | options | leaves, calibrate=False, sketch=sketch)
        if calibrate:
            data = self._reference.data(best.spec)
            best._arrays = {**best._arrays, **kept_arrays(self._reference, data, best.spec, fingerprints=fingerprints, seed=seed)}
            cells = join_folds(trial.outputs[kept], best.spec)
            chosen, passed_on = best._settings(self._reference, self._train_settings(kept) | options, None)
            best._take_held_out(cells, best._cross_fit(self._reference, chosen, passed_on).evaluate_unlike(cells))
        selection = {"held_out_by": trial.parts[0].by, "n_folds": len(trial.parts), "n_held_out": len(truth), "kept": kept}
        candidates = {name: {"macro_f1": row["macro_f1"], "seconds": row["seconds"]} for name, row in self.table.iterrows()}
        best.spec = replace(best.spec, training=dict(best.spec.training) | {"selection": selection | {"candidates": candidates}})
        self._best = best

    def _check_settings(self, train_settings: Mapping[str, Any]) -> None:
        """Refuse what one of the candidates does not have, before any of them is trained."""
        if train_settings.get("resume"):
            raise SettingError(
                Parameter("resume", value=True), " cannot be set for `AutoClassifier`, which trains several models. Omit it."
            )
        for name in self._names:
            cls, given = CLASSES[name], {*train_settings, *self._train_settings(name)}
            if unknown := sorted(given - {*cls._setting_names(), *cls._option_names()}):
                raise SettingError(
                    *listed(unknown),
                    f" cannot be set for `{name}`, one of the candidates. ",
                    Either(
                        "Omit it, give it in `settings` to those that have it, or name other `candidates`.",
                        "Omit it, or name one model class with `--model`.",
                    ),
                )

    def _model_settings(self, name: str) -> dict[str, Any]:
        return dict(self._settings.get(name, {}).get("model", {}))

    def _train_settings(self, name: str) -> dict[str, Any]:
        return dict(self._settings.get(name, {}).get("train", {}))

    def _try(self, n_folds: int | None, n_jobs: int, options: Mapping[str, Any], advance: Callable[[], None]) -> Trial:
        """Train each candidate on parts of the reference, and let it name the others."""

        def tasks() -> Iterator[tuple[Any, ...]]:
            n_parts = self._reference.n_folds(n_folds)
            by = "stratified" if options.get("validation_split") == "stratified" else "dataset"
            for part, fold in enumerate(self._reference.folds(n_folds, by=by, seed=options["seed"])):
                for number, name in enumerate(reversed(self._names)):  # what takes longest begins first
                    settings = self._train_settings(name) | {"refit": False} | dict(options)
                    title = title_of_candidate(name, number, len(self._names), part, n_parts)
                    yield fold, name, self._model_settings(name), settings, title

        results = judge_all(tasks(), n_jobs, advance)
        of = {name: results[i :: len(self._names)] for i, name in enumerate(reversed(self._names))}
        return Trial(
            outputs={name: [output for output, _ in of[name]] for name in self._names},
            seconds={name: sum(seconds for _, seconds in of[name]) for name in self._names},
        )

    @property
    def adata(self) -> AnnData | None:
        """The reference, where it is in an AnnData."""
        return self._reference.adata

    @classmethod
    def load(cls, dir_path: str | PathLike[str], **kwargs: Any) -> CellTypeClassifier | DeepEnsemble:
        """Read the model that was kept, which has another class; the same as :func:`load_model`.

        Parameters
        ----------
        dir_path, **kwargs
            As in :class:`CellTypeClassifier`.
        """
        return load_model(dir_path, **kwargs)


def _available() -> list[str]:
    if find_spec("xgboost") is not None:
        return list(CLASSES)
    warn("XGBoost is not installed and is not tried. Install it with `pip install 'sctab[xgboost]'`, or name the `candidates`.")
    return [name for name in CLASSES if name != "xgboost"]
