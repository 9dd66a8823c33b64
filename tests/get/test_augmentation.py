"""Difference vectors of a training as an AnnData."""

import numpy as np
import pytest
from scipy import sparse

from sctab import DataFileError, get
from sctab.data import FeatureSpace
from sctab.train._logging import write_augmentation


def test_has_vectors_genes_and_settings(tmp_path):
    differences = sparse.random(7, 3, 0.5, format="csr", dtype=np.float32, rng=0)
    genes = FeatureSpace(ids=("ENSG00000167286", "ENSG00000156738", ""), symbols=("CD3D", "", "MS4A1"))
    write_augmentation(tmp_path, differences, genes, {"seed": 1, "smallest": 0.25})
    found = get.augmentation(tmp_path)
    np.testing.assert_array_equal(found.X.toarray(), differences.toarray())
    assert list(found.var_names) == ["CD3D", "ENSG00000156738", "MS4A1"]
    assert list(found.var["gene_id"]) == list(genes.ids)
    assert list(found.var["gene_symbol"]) == list(genes.symbols)
    assert found.uns["augmentation"] == {"seed": 1, "smallest": 0.25}
    assert found.obs_names.is_unique


def test_needs_the_directory_of_an_augmented_training(tmp_path):
    with pytest.raises(DataFileError, match="has no `augmentation.safetensors`"):
        get.augmentation(tmp_path)
