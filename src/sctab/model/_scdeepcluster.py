"""SCDeepCluster: clusters of cells without labels, in the latent of an autoencoder of counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from os import PathLike
from typing import Any, Literal, Self, final

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scvi.data import AnnDataManager
from scvi.data.fields import BaseAnnDataField, CategoricalObsField, LayerField

from sctab.corpus import Corpus
from sctab.data import resolve
from sctab.errors import Parameter, SettingError, did_you_mean, listing, require, warn
from sctab.inference import BATCH_SIZE, DENSE_BATCH_SIZE, ModelSpec
from sctab.keys import REGISTRY_BATCH, REGISTRY_LABELS, REGISTRY_X
from sctab.model._cluster_arguments import CLUSTERING_SETTINGS, clustering_architecture, gene_positions
from sctab.model._cluster_training import TrainableClustering
from sctab.model._prediction import decide_cells, latent_of, open_own_or, predict
from sctab.train import (
    CorpusReference,
    UnlabeledAnnData,
    UnlabeledCorpus,
    UnlabeledReference,
    describe_clustering,
)


@final
class SCDeepCluster(TrainableClustering):
    r"""Clustering of cells without labels: an autoencoder of counts, whose latent is trained to have clusters.

    An autoencoder with a zero-inflated negative binomial decoder is trained to describe the counts. Clusters are then found in its latent,
    and both are trained together, until the clusters settle. See :doc:`/clustering`.

    Parameters
    ----------
    adata
        Cells prepared with :meth:`setup_anndata`.
    n_latent
        Size of the latent.
    encoder
        Widths of the hidden layers of the encoder; the decoder has them in reverse.
    sigma
        Standard deviation of the Gaussian noise that is added to the encoder's input, which is standardised, in training.
    gamma
        Weight of the clustering loss beside the reconstruction loss.
    n_clusters
        Number of clusters; with 0 it is estimated from the pretrained latent, see :meth:`train`.
    n_top_genes
        Number of genes to use, those that drop out more often than their expression explains; by default, all genes with a count.
    spec
        Stored description instead of cells; used by :meth:`load`.

    Attributes
    ----------
    spec
        `ModelSpec`: genes, clusters, normalisation, architecture and how the model was trained.
    module
        The network, a :class:`sctab.nn.ZINBAutoencoder`.
    history
        Losses of every epoch, see :meth:`train`.

    References
    ----------
    Tian, Wan, Song, Wei, Clustering single-cell RNA-seq data with a model-based deep learning approach, Nature Machine Intelligence 2019,
    :doi:`10.1038/s42256-019-0037-0`.

    Examples
    --------
    >>> import numpy as np, pandas as pd, sctab
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> counts = rng.poisson(rng.gamma(1, 2, (2, 50)).repeat([60, 20], axis=0)).astype("float32")  # cells of two types
    >>> adata = AnnData(counts, var=pd.DataFrame(index=[f"gene_{i}" for i in range(50)]))
    >>> sctab.model.SCDeepCluster.setup_anndata(adata)
    >>> model = sctab.model.SCDeepCluster(adata, n_clusters=2)
    >>> model.train(pretrain_epochs=50, enable_progress_bar=False)
    >>> set(model.predict()[:60].tolist()), set(model.predict()[60:].tolist())
    ({'0'}, {'1'})
    """

    def __init__(
        self,
        adata: AnnData | None = None,
        *,
        n_latent: int = 32,
        encoder: Sequence[int] = (256, 64),
        sigma: float = 2.5,
        gamma: float = 1.0,
        n_clusters: int = 0,
        n_top_genes: int | None = None,
        spec: ModelSpec | None = None,
    ) -> None:
        super().__init__(adata, registry=self._stored_registry(adata, spec))
        self._reference: UnlabeledReference | None = None
        if self.adata is not None:
            self._reference = UnlabeledAnnData(self.adata, dict(self.registry["setup_args"]))
        if spec is None:
            architecture = clustering_architecture(n_latent, encoder, sigma, gamma, n_clusters)
            spec = describe_clustering(self._reference, n_top_genes=n_top_genes, architecture=architecture)  # type: ignore[arg-type]
        self._take_spec(spec)
        self.init_params_ = self._get_init_params(locals())

    # ------------------------------------------------------------------------------------------------------- set-up

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        batch_key: str | None = None,
        labels_key: str | None = None,
        gene_id_key: str | None = None,
        gene_symbol_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Set up cells to cluster.

        Parameters
        ----------
        adata
            The cells, `(n_obs, n_vars)`.
        layer
            Layer with raw counts, or `"X"` or `"raw"`; `X` by default.
        batch_key
            Column of `adata.obs` with batches. Encoder and decoder get them, so that clusters need not tell batches apart.
        labels_key
            Column of `adata.obs` with given labels. They are not learned: clusters are compared with them while they are trained.
        gene_id_key, gene_symbol_key
            Columns of `adata.var` with Ensembl ids and gene symbols; detected by default.
        **kwargs
            Passed to :meth:`scvi.data.AnnDataManager.register_fields`.

        Raises
        ------
        InputTypeError
            If `adata` is not an AnnData.
        KeyNotFoundError
            If a column or layer does not exist.
        LabelError
            If a batch is missing (NaN), or if batches are nearly as many as cells.
        GeneOverlapError
            If the genes are in the rows.
        InputValueError
            If there are no cells, or if the matrix does not hold raw counts.
        """
        reference = UnlabeledAnnData.of(
            adata,
            layer=layer,
            batch_key=batch_key,
            labels_key=labels_key,
            gene_id_key=gene_id_key,
            gene_symbol_key=gene_symbol_key,
        )
        reference.require_counts()
        cls._register(adata, reference.setup, **kwargs)

    @classmethod
    def _register(cls, adata: AnnData, setup: Mapping[str, Any], **kwargs: Any) -> None:
        layer = setup["layer"]
        is_layer = layer is not None and resolve(adata, layer) == f"layers[{layer!r}]"
        fields: list[BaseAnnDataField] = [LayerField(REGISTRY_X, layer if is_layer else None, is_count_data=False)]
        for name, key in ((REGISTRY_BATCH, setup["batch_key"]), (REGISTRY_LABELS, setup["labels_key"])):
            if key is not None and adata.obs[key].notna().all():
                fields.append(CategoricalObsField(name, key))
        manager = AnnDataManager(fields=fields, setup_method_args=cls._get_setup_method_args(cls=cls, adata=adata, **setup))
        manager.register_fields(adata, **kwargs)
        cls.register_manager(manager)

    @classmethod
    def from_corpus(
        cls,
        corpus: Corpus | str | PathLike[str],
        *,
        fraction: float = 1.0,
        fraction_by: Literal["donor", "cell"] = "donor",
        batch_key: str | None = None,
        **model_settings: Any,
    ) -> Self:
        """Create a model on the training cells of a corpus, which :meth:`train` streams from disk.

        Memory grows with the number of cells by their latent and their assignments, and not by their counts. Clusters are compared with the
        labels of the corpus, which are not learned.

        Parameters
        ----------
        corpus
            A corpus, or its directory.
        fraction, fraction_by
            As in :meth:`CellTypeClassifier.from_corpus`.
        batch_key
            `"dataset"`, `"assay"` or `"tissue"`, see :meth:`setup_anndata`.
        **model_settings
            Settings of the constructor.

        Raises
        ------
        DataFileError
            If there is no corpus, or if it is damaged.
        KeyNotFoundError, SettingError
            If it cannot be used in this way.
        MissingDependencyError
            If `annbatch` is not installed.

        Examples
        --------
        >>> model = SCDeepCluster.from_corpus("blood.corpus", batch_key="dataset")  # doctest: +SKIP
        >>> model.train(run_dir="clusters.run")  # doctest: +SKIP
        """
        require("annbatch", extra="corpus")
        keys = () if batch_key is None else (batch_key,)
        return cls.of_cells(UnlabeledCorpus(CorpusReference.of(corpus, fraction, fraction_by, keys)), **model_settings)

    @classmethod
    def of_cells(cls, reference: UnlabeledReference, *, n_top_genes: int | None = None, **settings: Any) -> Self:
        """An untrained model of cells, wherever they are; nothing is written into an AnnData.

        Parameters
        ----------
        reference
            The cells.
        n_top_genes, **settings
            Settings of the constructor.

        Raises
        ------
        SettingError
            If the class does not have a setting, or if one is invalid.
        """
        if unknown := sorted(set(settings) - set(CLUSTERING_SETTINGS)):
            near = "".join(did_you_mean(name, CLUSTERING_SETTINGS) for name in unknown)
            known = listing([*CLUSTERING_SETTINGS, "n_top_genes"])
            raise SettingError(f"`{cls.__name__}` has no {listing(unknown)}.{near} Available: {known}.")
        architecture = clustering_architecture(**CLUSTERING_SETTINGS | settings)
        model = cls(spec=describe_clustering(reference, n_top_genes=n_top_genes, architecture=architecture))
        model._reference = reference
        return model

    # -------------------------------------------------------------------------------------------------------- use

    @classmethod
    def load(
        cls,
        dir_path: str | PathLike[str],
        adata: AnnData | None = None,
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
            Cells to attach, for example to train on; prediction needs none.
        accelerator, device
            Device, as in scvi-tools.

        Raises
        ------
        ModelNotFoundError, ModelFormatError
            If there is no such directory, or if it is damaged, of an unknown version, or of another class.
        """
        stored = cls._read(dir_path)
        model = cls(spec=stored.spec)
        model._take_stored(stored, dir_path, accelerator, device)
        model.history_ = {name: values.dropna() for name, values in model.history_.items()}
        if stored.note:
            warn(stored.note)
        if adata is not None:
            keys = ("layer", "batch_key", "labels_key", "gene_id_key", "gene_symbol_key")
            model._reference = UnlabeledAnnData.of(adata, **{key: stored.spec.setup.get(key) for key in keys})
        return model

    def predict(
        self, adata: AnnData | None = None, *, soft: bool = False, layer: str | None = None, batch_size: int = BATCH_SIZE
    ) -> NDArray[np.object_] | pd.DataFrame:
        """Cluster of every cell, also of cells that were not clustered.

        Genes are matched by name, in any order and number. Clusters are numbered by size, from `"0"`, the largest.

        Parameters
        ----------
        adata
            Cells; by default those of the training.
        soft
            Return soft assignments instead.
        layer
            Layer to use, or `"X"` or `"raw"`; by default counts are detected.
        batch_size
            Cells per batch.

        Returns
        -------
        Clusters, `(n_obs,)`, with `NaN` for cells without a count in the model's genes; or with `soft` a frame, see
        :meth:`get_soft_assignments`.

        Raises
        ------
        NotTrainedError
            If the model is not trained.
        InputValueError, KeyNotFoundError, GeneOverlapError
            If the cells cannot be used.
        """
        return predict(self, adata, layer, soft=soft, batch_size=batch_size)

    def get_soft_assignments(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int = BATCH_SIZE
    ) -> pd.DataFrame:
        """Probability of each cluster by the distance to its centroid, see :func:`sctab.nn.soft_assignments`.

        Parameters and errors are those of :meth:`predict`.

        Returns
        -------
        Frame `(n_obs, n_clusters)`, indexed by cell; rows sum to one, and are NaN for cells without a count in the model's genes.
        """
        frame: Any = predict(self, adata, layer, soft=True, batch_size=batch_size)
        return frame

    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float32]:
        """Compute the latent, `(n_obs, n_latent)`; parameters and errors as in :meth:`predict`."""
        return latent_of(self, adata, layer, batch_size=batch_size)

    def get_normalized_expression(
        self,
        adata: AnnData | None = None,
        *,
        gene_list: Sequence[str] | None = None,
        library_size: float | None = None,
        layer: str | None = None,
        batch_size: int = DENSE_BATCH_SIZE,
    ) -> pd.DataFrame:
        """Denoised expression: the mean that the decoder describes, without dropout and without the cell's size factor.

        Parameters
        ----------
        adata, layer
            As in :meth:`predict`.
        gene_list
            Names of genes of the model, as in `model.spec.features.names` or as symbols; by default all.
        library_size
            Total counts of the cell that is described; by default the median of the training cells.
        batch_size
            Cells per batch.

        Returns
        -------
        Frame `(n_obs, n_genes)`, indexed by cell; NaN for cells without a count in the model's genes.

        Raises
        ------
        NotTrainedError, InputValueError, KeyNotFoundError, GeneOverlapError
            As in :meth:`predict`.
        SettingError
            If a gene is not one of the model, or if `library_size` is not above zero.
        """
        features = self.spec.features
        shown = [symbol or name for symbol, name in zip(features.symbols, features.names, strict=True)]
        genes = range(len(features)) if gene_list is None else gene_positions(gene_list, features.names, shown)
        if library_size is not None and not (isinstance(library_size, Real) and 0 < library_size < float("inf")):
            raise SettingError(Parameter("library_size", library_size), " must be a number above 0.")
        scale = 1.0 if library_size is None else library_size / self.spec.normalization.target_sum
        cells, query = open_own_or(self, self.predictor, adata, layer)
        decision = decide_cells(self, cells, query, batch_size)
        latent: Any = decision.latent
        values = np.empty((len(latent), len(genes)), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(latent), batch_size):
                part = slice(start, start + batch_size)
                batches = torch.from_numpy(query.covariates[part].toarray()).to(self.device)
                mean = self.module.denoise(torch.from_numpy(latent[part]).to(self.device), batches, list(genes))
                values[part] = scale * mean.cpu().numpy()
        columns = list(features.names) if gene_list is None else list(gene_list)
        return pd.DataFrame(decision.column(values), index=cells.obs_names, columns=columns)
