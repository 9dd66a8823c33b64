"""The difference vectors of an augmented training."""

from __future__ import annotations

from os import PathLike

import pandas as pd
from anndata import AnnData

from sctab.train import read_augmentation


def augmentation(run_dir: str | PathLike[str]) -> AnnData:
    """Get the difference vectors that a training with `augment=True` added to its cells.

    Parameters
    ----------
    run_dir
        The `run_dir` of the training.

    Returns
    -------
    AnnData `(n_differences, n_vars)`, a row per vector. `X` is a CSR matrix on the scale of the model's input, log1p of 10,000 counts per
    cell; `var` has the columns `gene_id` and `gene_symbol`; `uns['augmentation']` has the parameters of
    :func:`sctab.augmentation.donor_differences`.

    Raises
    ------
    DataFileError
        If there are none in the directory, or if they cannot be read.

    Examples
    --------
    >>> import tempfile, warnings, scanpy as sc, sctab
    >>> adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
    >>> adata.obs["donor"] = [f"donor {i % 4}" for i in range(adata.n_obs)]
    >>> with warnings.catch_warnings(action="ignore"), tempfile.TemporaryDirectory() as run_dir:  # the labels have no ontology ids
    ...     sctab.model.LinearClassifier.setup_anndata(adata, "bulk_labels", donor_key="donor")
    ...     model = sctab.model.LinearClassifier(adata)
    ...     model.train(max_epochs=1, augment=True, refit=False, run_dir=run_dir, enable_progress_bar=False)
    ...     vectors = sctab.get.augmentation(run_dir)
    >>> vectors.n_vars, float(abs(vectors.X).max())
    (765, 1.5)
    """
    differences, genes, settings = read_augmentation(run_dir)
    var = pd.DataFrame({"gene_id": genes.ids, "gene_symbol": genes.symbols}, index=list(genes.names))
    obs = pd.DataFrame(index=[f"difference_{i}" for i in range(differences.shape[0])])
    return AnnData(differences, obs=obs, var=var, uns={"augmentation": settings})
