"""References in memory: which cells are learned from, which are held out, and what tells one reference from another."""

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad
from scipy import sparse
from scvi.data import _constants
from tests.reference import make_reference

from sctab import SettingError
from sctab.keys import SCVI_KEYS
from sctab.model import LinearClassifier
from sctab.train import MemoryReference


def reference_of(adata, **changes):
    return MemoryReference.of(adata, **{"labels_key": "cell_type", "donor_key": "donor_id"} | changes)


def unlabeled(adata):
    """Without a label in every fourth cell."""
    adata.obs["cell_type"] = np.where(np.arange(adata.n_obs) % 4 == 0, "unknown", adata.obs["cell_type"].astype(str))
    return adata


def change_a_count(adata):
    adata.X.data[7] += 1


def change_a_label(adata):
    adata.obs["cell_type"] = ["monocyte", "monocyte", *adata.obs["cell_type"].astype(str)[2:]]


def change_a_donor(adata):
    adata.obs["donor_id"] = ["another", *adata.obs["donor_id"].astype(str)[1:]]


def change_a_gene(adata):
    adata.var_names = [*adata.var_names[1:], adata.var_names[0]]


class TestIdentity:
    def test_is_that_of_the_content(self, tmp_path):
        adata = make_reference()
        adata.write_h5ad(tmp_path / "reference.h5ad")
        expected = reference_of(adata).identity
        for same in (adata.copy(), read_h5ad(tmp_path / "reference.h5ad"), read_h5ad(tmp_path / "reference.h5ad", backed="r")):
            assert reference_of(same).identity == expected

    def test_does_not_depend_on_how_the_matrix_is_stored(self):
        adata = make_reference()
        expected = reference_of(adata).identity
        dense, zeros, unsorted = adata.copy(), adata.copy(), adata.copy()
        dense.X = adata.X.toarray().astype(np.float64)
        shape, counts = adata.X.shape, adata.X.tocoo()
        absent = np.argwhere(adata.X.toarray() == 0)[:5].T
        rows, columns = np.append(counts.row, absent[0]), np.append(counts.col, absent[1])
        zeros.X = sparse.csr_matrix((np.append(counts.data, np.zeros(5, dtype=np.float32)), (rows, columns)), shape=shape)
        assert zeros.X.nnz == adata.X.nnz + 5
        starts = adata.X.indptr
        order = np.concatenate([np.arange(start, stop)[::-1] for start, stop in pairwise(starts)])
        unsorted.X = sparse.csr_matrix((adata.X.data[order], adata.X.indices[order], starts), shape=shape)
        for same in (dense, zeros, unsorted):
            assert reference_of(same).identity == expected

    @pytest.mark.parametrize("change", [change_a_count, change_a_label, change_a_donor, change_a_gene])
    def test_is_another_when_one_value_is(self, change):
        adata = make_reference()
        before = reference_of(adata).identity
        change(adata)
        after = reference_of(adata).identity
        assert {name for name in before if before[name] != after[name]} == {"data"}

    def test_names_the_columns(self):
        adata = make_reference()
        assert reference_of(adata).identity["donor_key"] == "donor_id"
        assert reference_of(adata, donor_key=None).identity["donor_key"] == "None"


def test_cells_without_a_label_are_not_learned_from():
    adata = unlabeled(make_reference())
    reference = reference_of(adata, unlabeled_category="unknown")
    assert reference.n_obs == len(reference.obs) == 180
    assert reference.label_names == ["B cell", "T cell", "monocyte"]
    assert list(reference.to_anndata().obs_names) == list(reference.obs.index)
    data = reference.data(reference.describe("LinearClassifier", n_top_genes=None, architecture={}))
    np.testing.assert_array_equal(np.flatnonzero(data.labels < 0), np.arange(0, 240, 4))


@pytest.mark.parametrize("n_folds", [2, 4])
def test_each_labelled_cell_is_held_out_once_and_by_donor(n_folds):
    adata = unlabeled(make_reference())
    reference = reference_of(adata, unlabeled_category="unknown")
    names = []
    for fold in reference.folds(n_folds, by="donor", seed=0):
        (cells,) = fold.parts()
        names += list(cells.obs_names)
        assert fold.by == "donor"
        assert set(fold.units) == set(cells.obs["donor_id"])
        assert not set(fold.units) & set(fold.reference.obs["donor_id"])
        np.testing.assert_array_equal(fold.truth, cells.obs["cell_type"].astype(str))
    assert sorted(names) == sorted(reference.obs.index)


def test_clusters_of_each_type_are_held_out():
    """Half of the cells of each type have a gene that the other half lacks."""
    adata = unlabeled(make_reference())
    differs = np.arange(240) // 3 % 2 == 0
    counts = adata.X.toarray()
    counts[differs, 50:56] += 40
    counts[~differs, 40:46] += 40
    adata.X = sparse.csr_matrix(counts)
    reference, names = reference_of(adata, unlabeled_category="unknown"), []
    for fold in reference.folds(2, by="cluster", seed=0):
        (cells,) = fold.parts()
        names += list(cells.obs_names)
        assert (fold.unit, fold.units) == ("cell", None)
        assert not set(cells.obs_names) & set(fold.reference.adata.obs_names)
        of_half = pd.Series(differs, index=adata.obs_names)[cells.obs_names].to_numpy()
        for label in reference.label_names:
            assert len(np.unique(of_half[fold.truth == label])) == 1
    assert sorted(names) == sorted(reference.obs.index)


def test_too_few_cells_cannot_be_cut():
    with pytest.raises(SettingError, match="No type has 3 cells, one for each part"):
        next(reference_of(make_reference(6)).folds(None, by="stratified", seed=0))


def test_differences_between_donors_need_two_of_a_type():
    adata = make_reference()
    for donors, expected in ((["a", "b"], True), (["a"], False)):
        adata.obs["donor_id"] = np.resize(donors, adata.n_obs)
        reference = reference_of(adata)
        settings = replace(LinearClassifier._default_training(240), validation_split="stratified")
        data = reference.data(reference.describe("LinearClassifier", n_top_genes=None, architecture={}))
        assert data.has_donor_differences(settings) is expected


def test_a_backed_one_can_be_sent_to_another_process(tmp_path):
    make_reference().write_h5ad(tmp_path / "reference.h5ad")
    reference = reference_of(read_h5ad(tmp_path / "reference.h5ad", backed="r"))
    sent = pickle.loads(pickle.dumps(reference.to_send()))
    assert sent.identity == reference.identity


def test_keys_of_scvi_tools_are_known():
    assert SCVI_KEYS == (_constants._SCVI_UUID_KEY, _constants._MANAGER_UUID_KEY)
