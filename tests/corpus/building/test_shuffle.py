"""Random places of cells in a store."""

import anndata as ad
import numpy as np


def test_cells_are_shuffled(corpus):
    source = corpus.obs("train")["source"].to_numpy()
    assert (np.diff(source) != 0).mean() > 0.4


def test_parts_are_of_even_size(corpus):
    sizes = [len(ad.io.read_elem(group["obs"])) for group in corpus.collection("train")]
    assert max(sizes) <= 50
    assert max(sizes) - min(sizes) <= 1
