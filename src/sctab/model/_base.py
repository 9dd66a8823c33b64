"""Base class of all classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self

from anndata import AnnData

from sctab._deprecation import FRACTION_OF_CORPUS, renamed_arguments
from sctab.corpus import Corpus
from sctab.errors import ModelFormatError, SettingError, did_you_mean, listing, require, warn
from sctab.inference import (
    ModelSpec,
)
from sctab.model._calibrating import evaluate_unseen, warn_of_changes
from sctab.model._training import TrainableModel
from sctab.model._transfer import copy_weights, in_model_genes, query_reference, reference_of
from sctab.train import (
    CorpusReference,
    Reference,
)

if TYPE_CHECKING:
    from mudata import MuData


class CellTypeClassifier(TrainableModel):
    """Base class of cell type classifiers.

    Abstract. A subclass is final; it has `__init__`, which calls `_initialise`, and the abstract methods below. Everything else
    (setup, training data, gene matching, normalisation, prediction, files) is here and is not overridden.

    Attributes
    ----------
    spec
        `ModelSpec`: genes, labels, normalisation, architecture and how the model was trained.
    module
        The network.
    gene_importance
        Fraction of the model's decisions that each gene carries, `(n_vars,)`, summing to one; uniform before training.
    name
        Name of the directory that the model was loaded from; empty before.
    sha256
        Hash of the stored weights; `None` when they were not saved since they last changed.
    """

    @classmethod
    @renamed_arguments(FRACTION_OF_CORPUS, since="0.1", removed_in="0.3")
    def from_corpus(
        cls,
        corpus: Corpus | str | PathLike[str],
        *,
        fraction: float = 1.0,
        fraction_by: Literal["donor", "cell"] = "donor",
        categorical_covariate_keys: Sequence[str] = (),
        **model_settings: Any,
    ) -> Self:
        """Create a model on a corpus, which :meth:`train` streams from disk in constant memory.

        It learns the training cells and is validated on the validation cells, as the corpus has them; the test cells are not touched.

        Parameters
        ----------
        corpus
            A corpus, or its directory.
        fraction
            Fraction of the training data to use; smaller fractions are nested in larger ones.
        fraction_by
            Unit of the fraction: `"donor"` for whole donors, `"cell"` for cells.
        categorical_covariate_keys
            What the model may look at besides the genes: `"tissue"`, `"assay"` or `"dataset"`; see :meth:`setup_anndata`.
        **model_settings
            Settings of the constructor. What is left out follows from the number of training cells, see :ref:`defaults`.

        Raises
        ------
        DataFileError
            If there is no corpus, or if it is damaged.
        KeyNotFoundError, LabelError, SettingError
            If it cannot be learned from in this way.
        MissingDependencyError
            If `annbatch` is not installed.

        Examples
        --------
        >>> model = SCTAB.from_corpus("blood.corpus")  # doctest: +SKIP
        >>> model.train(run_dir="blood.run")  # doctest: +SKIP
        """
        require("annbatch", extra="corpus")
        return cls._of(CorpusReference.of(corpus, fraction, fraction_by, categorical_covariate_keys), **model_settings)

    @classmethod
    def _of(cls, reference: Reference, *, register: bool = False, **model_settings: Any) -> Self:
        """See :func:`new_model`; `register` tells scvi-tools of an AnnData, as `setup_anndata` does."""
        known = set(signature(cls).parameters) - {"adata", "spec"}
        if unknown := sorted(set(model_settings) - known):
            near = "".join(did_you_mean(name, known) for name in unknown)
            raise SettingError(f"`{cls.__name__}` has no {listing(unknown)}.{near} Available: {listing(sorted(known), most=20)}.")
        n_top_genes = model_settings.pop("n_top_genes", None)
        return cls._with(reference, cls._describe(reference, n_top_genes, model_settings), register=register)

    @classmethod
    def _with(cls, reference: Reference, spec: ModelSpec, *, register: bool) -> Self:
        """An untrained model with a description and a reference."""
        adata = reference.adata if register else None
        if adata is not None:
            cls._register(adata, reference.setup)
        model = cls(adata, spec=spec)  # type: ignore[call-arg]
        model._reference = reference
        return model

    @classmethod
    def load(
        cls,
        dir_path: str | PathLike[str],
        adata: AnnData | MuData | Corpus | None = None,
        *,
        accelerator: str = "auto",
        device: int | str = "auto",
    ) -> Self:
        """Load a model from disk.

        Parameters
        ----------
        dir_path
            Its directory.
        adata
            A reference, also a MuData, or a corpus to attach, for example to train on; prediction needs none. Its labels must be among
            those of the model.
        accelerator, device
            Device, as in scvi-tools.

        Raises
        ------
        ModelNotFoundError
            If there is no such directory.
        ModelFormatError
            If it is damaged, of an unknown version, or of another class.
        LabelError
            If `adata` has labels that the model does not know.
        GeneOverlapError
            If a corpus has no gene of the model, or belongs to another species.
        SettingError
            If the model learned from proteins, which a corpus does not have.
        """
        model, note = cls._load(dir_path, adata, accelerator=accelerator, device=device)
        if note:
            warn(note)
        return model

    @classmethod
    def _load(
        cls, dir_path: str | PathLike[str], adata: AnnData | MuData | Corpus | None, *, accelerator: str, device: int | str
    ) -> tuple[Self, str]:
        """See :meth:`load`; and a note on how the model is stored, which may be empty."""
        stored = cls._read(dir_path)
        reference = None if adata is None else reference_of(adata, stored.spec)
        if reference is None:
            model = cls(spec=stored.spec)  # type: ignore[call-arg]
        else:
            model = cls._with(reference, reference.continue_from(stored.spec, new_labels=False), register=True)
        model._take_stored(stored, dir_path, accelerator, device)
        return model, stored.note

    def calibrate(
        self,
        adata: AnnData | MuData,
        labels_key: str,
        *,
        donor_key: str | None = None,
        dataset_key: str | None = None,
        layer: str | None = None,
    ) -> None:
        """Learn from labelled cells that the model has not seen how far to trust it, see :doc:`/trust`.

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
        before = self.spec.calibration
        cells = evaluate_unseen(self.predictor, adata, labels_key, donor_key, dataset_key, layer)
        self._take_held_out(cells, cells)
        warn_of_changes(before, self.spec.calibration, cells, self.spec.labels)

    # ---------------------------------------------------------------------------------- continuing from a reference

    @classmethod
    def prepare_query_anndata(
        cls, adata: AnnData | MuData, reference_model: str | PathLike[str] | CellTypeClassifier, *, layer: str | None = None
    ) -> AnnData:
        """Map a query onto the ordered genes of a model, on the scale of counts, in a new AnnData.

        Prediction does not need it: :meth:`predict` matches genes by itself. It is for training on a query and for other tools.

        Parameters
        ----------
        adata
            Query, `(n_obs, n_query_vars)`.
        reference_model
            A model or its directory.
        layer
            Layer to use; by default counts are detected.

        Returns
        -------
        AnnData `(n_obs, n_vars)` with a CSR matrix of float32, genes that the query lacks being zero; `obs`, `obsm` and `uns` are
        copies of those of the query, and `var` has the columns `gene_id`, `gene_symbol` and `in_query`.

        Raises
        ------
        GeneOverlapError
            If no gene of the model is in the query.
        """
        model = reference_model if isinstance(reference_model, CellTypeClassifier) else cls.load(reference_model)
        cells = model.predictor.cells_of(adata)
        return in_model_genes(cells, model.predictor.open_query(cells, layer=layer), model.spec.features)

    @classmethod
    def load_query_data(
        cls,
        adata: AnnData | MuData | Corpus,
        reference_model: str | PathLike[str] | Self,
        *,
        labels_key: str | None = None,
        label_ids: Mapping[str, str | None] | str | PathLike[str] | None = None,
        unfrozen: bool = False,
    ) -> Self:
        """Create a model for an annotated query from the weights of a reference model; call :meth:`train` next.

        Its genes are those of the reference model; those of the query are matched by name. New types of the query are appended to the known
        ones.

        Parameters
        ----------
        adata
            Query with labels, also a MuData, or a corpus; it is not changed.
        reference_model
            A model or its directory.
        labels_key
            Column of `adata.obs`; by default that of the reference model. A corpus knows its labels.
        label_ids
            Cell Ontology ids of labels, as in :meth:`setup_anndata`; those of the reference model stay as they are.
        unfrozen
            Train all weights. By default only the output layer is trained, which keeps what the reference model knows. Types that it does
            not know are often not apart in what the other layers give: then train all weights, see :doc:`/pretraining`.

        Raises
        ------
        KeyNotFoundError, LabelError, InputValueError, GeneOverlapError
            If the query cannot be learned from.
        SettingError
            If the model learned from proteins, which a corpus does not have.
        """
        reference = reference_model if isinstance(reference_model, CellTypeClassifier) else cls.load(reference_model)
        if type(reference) is not cls:
            raise ModelFormatError(f"The reference is a {type(reference).__name__}, not a {cls.__name__}.")
        reference._require_trained()
        query = query_reference(adata, reference.predictor, labels_key, label_ids)
        model = cls._with(query, query.continue_from(reference.spec, new_labels=True), register=True)
        copy_weights(reference.module, model.module)
        model.gene_importance = reference.gene_importance
        model._has_pretrained_weights = True
        model._n_new_labels = len(model.spec.labels) - len(reference.spec.labels)
        if not unfrozen:
            model._freeze_for_query()
        return model


def new_model[M](reference: Reference, model_class: type[M], model_settings: Mapping[str, Any]) -> M:
    """An untrained model of a reference, wherever that is; nothing is written into an AnnData.

    Parameters
    ----------
    reference
        What it is to learn.
    model_class
        A classifier, or `AutoClassifier`.
    model_settings
        Settings of the constructor.

    Raises
    ------
    SettingError
        If the class does not have a setting.
    LabelError, KeyNotFoundError
        If the reference cannot be learned from.
    """
    return model_class._of(reference, **model_settings)  # type: ignore[attr-defined]
