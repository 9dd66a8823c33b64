"""Dropped genes and differences between donors: against distributions, the steps written out, and scikit-learn."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import sparse, stats
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from sctab import augmentation
from sctab.augmentation import (
    SparseRows,
    _in_large_clusters,
    _random_pairs,
    _sampled_evenly,
    add_donor_differences,
    donor_differences,
    drop_genes,
    explained_variance,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("max_fraction", [0.1, 0.5, 1.0])
def test_share_of_a_cell_is_uniform(max_fraction):
    """With 5,000 genes the share that is lost is the share that was drawn, to within a percent."""
    kept = drop_genes(torch.ones(1000, 5000), max_fraction, generator=generator())
    lost = 1 - kept.mean(dim=1).double().numpy()
    assert stats.kstest(lost, stats.uniform(0, max_fraction).cdf).pvalue > 0.01


def test_each_gene_is_lost_as_often():
    kept = drop_genes(torch.ones(4000, 200), 0.6, generator=generator()).mean(dim=0)
    assert (kept - 0.7).abs().max() < 0.05


def test_cells_lose_different_genes():
    kept = drop_genes(torch.ones(50, 400), 0.5, generator=generator())
    assert len({tuple(row) for row in kept.tolist()}) == 50


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_kept_values_are_unchanged(dtype):
    values = torch.rand(30, 100, generator=generator(1)).to(dtype) + 1
    before = values.clone()
    result = drop_genes(values, 0.5, generator=generator())
    assert (result.shape, result.dtype) == (values.shape, dtype)
    assert torch.equal(result[result != 0], values[result != 0])
    assert 0 < (result == 0).sum() < values.numel() / 2
    assert torch.equal(values, before)


def test_zeros_stay_zero():
    assert not drop_genes(torch.zeros(5, 10), 0.5, generator=generator()).any()


def test_a_share_of_nothing_changes_nothing():
    values = torch.rand(5, 10, generator=generator())
    assert torch.equal(drop_genes(values, 0), values)


def test_generator_decides():
    values = torch.ones(20, 50)
    assert torch.equal(drop_genes(values, 0.5, generator=generator(3)), drop_genes(values, 0.5, generator=generator(3)))
    assert not torch.equal(drop_genes(values, 0.5, generator=generator(3)), drop_genes(values, 0.5, generator=generator(4)))


def test_with_a_generator_the_global_state_is_left_alone():
    before = torch.get_rng_state()
    drop_genes(torch.ones(20, 50), 0.5, generator=generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_without_one_the_global_state_decides():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        one = drop_genes(torch.ones(20, 50), 0.5)
        torch.manual_seed(5)
        assert torch.equal(drop_genes(torch.ones(20, 50), 0.5), one)


def test_gradients_pass_through_what_is_kept():
    values = torch.ones(10, 20, requires_grad=True)
    result = drop_genes(values, 0.5, generator=generator())
    result.sum().backward()
    assert torch.equal(values.grad, (result != 0).float())


def test_no_cells():
    assert drop_genes(torch.ones(0, 5), 0.5).shape == (0, 5)


class TestDonorDifferences:
    """Against the steps written out, on a case that can be worked by hand."""

    values = sparse.csr_matrix(
        np.array(
            [
                [1.0, 0.0, 2.0, 0.0],  # type 0, donor 0
                [3.0, 0.0, 2.0, 0.0],  # type 0, donor 0: their mean is 2, 0, 2, 0
                [5.0, 0.2, 1.5, 0.0],  # type 0, donor 1
                [0.0, 4.0, 0.0, 1.0],  # type 1, donor 0
                [0.0, 5.0, 0.0, 0.0],  # type 1, donor 2
                [9.0, 9.0, 9.0, 9.0],  # type 2, donor 2: no other donor has it
            ]
        )
    )
    labels = np.array([0, 0, 0, 1, 1, 2])
    donors = np.array([0, 0, 1, 0, 2, 2])

    def test_are_clamped_differences_of_means_between_donors_of_a_type(self):
        found = donor_differences(self.values, self.labels, self.donors, rng=np.random.default_rng(0)).toarray()
        expected = [[-1.5, 0.0, 0.5, 0.0], [0.0, -1.0, 0.0, 1.0]]  # -3 is cut, -0.2 is too small
        np.testing.assert_allclose(found[np.argsort(found[:, 0])], expected, atol=1e-6)
        assert found.dtype == np.float32

    @pytest.mark.parametrize("rows_at_a_time", [7, 4096])
    def test_are_those_of_all_pairs_written_out_with_pandas(self, monkeypatch, rng, rows_at_a_time):
        monkeypatch.setattr(augmentation, "_ROWS_AT_A_TIME", rows_at_a_time)
        values = rng.gamma(1, 1, (120, 15)) * (rng.random((120, 15)) < 0.6)
        labels, donors = rng.integers(3, size=120), rng.integers(5, size=120)
        means = pd.DataFrame(values).groupby([labels, donors]).mean()
        pairs = [pair for _, of_type in means.groupby(level=0) for pair in combinations(of_type.index, 2)]
        expected = [means.loc[one] - means.loc[two] for one, two in pairs]
        expected = np.where(np.abs(expected) <= 0.25, 0, np.clip(expected, -1.5, 1.5))
        found = donor_differences(sparse.csr_matrix(values), labels, donors, rng=rng).toarray()
        assert found.shape == (30, 15)
        assert_same_rows(found, expected)

    def test_rows_may_be_given_by_a_function(self, monkeypatch):
        monkeypatch.setattr(augmentation, "_ROWS_AT_A_TIME", 2)
        asked = []

        def rows(cells):
            asked.append(cells.tolist())
            return self.values[cells]

        found = donor_differences(rows, self.labels, self.donors, rng=np.random.default_rng(0))
        expected = donor_differences(self.values, self.labels, self.donors, rng=np.random.default_rng(0))
        assert (found != expected).nnz == 0
        assert [cells for cells in asked if cells] == [[0, 1], [2], [3, 4]]  # nobody needs the sixth

    def test_a_type_gives_so_many_pairs_at_most(self, rng):
        """Type 0 has 30 donors and gene 0, type 1 has 3 donors and gene 1."""
        labels, donors = np.repeat([0, 1], [30, 3]), np.append(np.arange(30), np.arange(3))
        values = np.zeros((33, 2))
        values[np.arange(33), labels] = 1.0 + np.arange(33)
        found = donor_differences(sparse.csr_matrix(values), labels, donors, pairs_per_type=5, rng=rng).toarray()
        assert (found != 0).sum(axis=0).tolist() == [5, 3]

    def test_there_are_none_without_two_donors_of_a_type(self):
        assert donor_differences(self.values, self.labels, np.arange(6) * 0, rng=np.random.default_rng(0)).shape == (0, 4)

    def test_there_are_none_without_cells(self):
        assert donor_differences(self.values[:0], self.labels[:0], self.donors[:0], rng=np.random.default_rng(0)).shape == (0, 4)

    def test_donors_that_do_not_differ(self):
        found = donor_differences(
            sparse.csr_matrix((200, 4)), np.zeros(200, dtype=int), np.arange(200), rng=np.random.default_rng(0)
        )
        assert (found.shape, found.nnz) == ((300, 4), 0)

    def test_the_seed_decides(self, rng):
        values, labels, donors = sparse.csr_matrix(rng.random((300, 20)) * 3), rng.integers(4, size=300), rng.integers(40, size=300)
        one, same, other = (
            donor_differences(values, labels, donors, n_cells=200, n_differences=20, rng=np.random.default_rng(seed)).toarray()
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, same)
        assert one.shape == other.shape == (20, 20)
        assert not np.array_equal(one, other)

    def test_rare_vectors_are_left_out(self):
        """150 donors differ in one gene, one of them in others too: the pairs with that one are too few to form a large cluster."""
        n = 150
        values = np.zeros((n, 50))
        values[:, 0] = np.random.default_rng(0).choice([0.0, 1.0], size=n)
        values[0, 1:] = 1.4
        sizes = {"n_clusters": 4, "pairs_per_type": 20_000, "rng": np.random.default_rng(0)}
        found = donor_differences(sparse.csr_matrix(values), np.zeros(n, dtype=int), np.arange(n), **sizes)
        outliers = (np.abs(found[:, 1:].toarray()).sum(axis=1) > 1).mean()
        assert found.shape[0] == 5000
        assert outliers < 1 / n

    @pytest.mark.parametrize(
        ("sizes", "min_cluster_size", "kept"),
        [
            ([250, 30, 20, 20], 2000, [250, 0, 0, 0]),  # more than twice the average of 80
            ([250, 30, 20, 20], 25, [250, 30, 0, 0]),
            ([250, 30, 20, 20], 30, [250, 0, 0, 0]),
            ([100, 90, 70, 60], 2000, [100, 90, 0, 0]),  # none is large: at least the average of 80
            ([80, 80, 80, 80], 2000, [80, 80, 80, 80]),
            ([30, 20, 20, 9], 2000, [30, 20, 20, 9]),  # 79 vectors are one cluster
        ],
    )
    def test_which_clusters_are_large(self, sizes, min_cluster_size, kept):
        of = np.repeat(range(4), sizes)
        vectors = sparse.csr_matrix(np.eye(4)[of] + np.random.default_rng(0).normal(0, 1e-3, (len(of), 4)))
        found = _in_large_clusters(vectors, 4, min_cluster_size, np.random.default_rng(0))
        assert np.bincount(of[found], minlength=4).tolist() == kept

    def test_there_are_at_most_so_many_clusters_and_one_per_forty_vectors(self, monkeypatch):
        asked = []

        class Watched(augmentation.MiniBatchKMeans):
            def fit_predict(self, vectors):
                asked.append(self.n_clusters)
                return super().fit_predict(vectors)

        monkeypatch.setattr(augmentation, "MiniBatchKMeans", Watched)
        for n in (79, 80, 400, 2400):
            _in_large_clusters(sparse.csr_matrix(np.random.default_rng(0).random((n, 3))), 50, 2000, np.random.default_rng(0))
        assert asked == [2, 10, 50]

    def test_cells_are_sampled_evenly_over_types(self):
        labels = np.repeat([0, 1, 2], [1000, 100, 10])
        chosen = _sampled_evenly(labels, 60, np.random.default_rng(0))
        assert np.bincount(labels[chosen]).tolist() == [25, 25, 10]
        assert len(set(chosen)) == 60

    def test_where_there_are_no_more_all_cells_are_taken(self):
        assert _sampled_evenly(np.array([0, 0, 1]), 3, np.random.default_rng(0)).tolist() == [0, 1, 2]

    @given(n=st.integers(0, 40), most=st.integers(0, 1000), seed=st.integers(0, 100))
    def test_pairs_are_different(self, n, most, seed):
        pairs = [tuple(pair) for pair in _random_pairs(n, most, np.random.default_rng(seed)).tolist()]
        every = set(combinations(range(n), 2))
        assert len(pairs) == len(set(pairs)) == min(most, len(every))
        assert set(pairs) <= every


def assert_same_rows(found, expected):
    """Up to order and sign: the first value that is not zero is made positive."""

    def canonical(rows):
        first = rows[np.arange(len(rows)), (rows != 0).argmax(axis=1)]
        rows = rows * np.where(first < 0, -1, 1)[:, None]
        return rows[np.lexsort(rows.round(4).T)]

    np.testing.assert_allclose(canonical(np.asarray(found)), canonical(np.asarray(expected)), atol=1e-5)


class TestAddDonorDifferences:
    @given(seed=st.integers(0, 1000), density=st.sampled_from([0.0, 0.1, 1.0]), n_obs=st.integers(0, 20))
    def test_is_the_formula_on_dense_vectors(self, seed, density, n_obs):
        vectors = sparse.random(6, 8, density, format="csr", rng=seed)
        values = torch.rand(n_obs, 8, generator=generator(seed)) * 10
        found = add_donor_differences(values, SparseRows(vectors), generator=generator(seed))
        same = generator(seed)
        chosen, signs = torch.randint(6, (n_obs,), generator=same), 2 * torch.randint(2, (n_obs, 1), generator=same) - 1
        expected = (values + signs * torch.from_numpy(vectors.toarray()).float()[chosen]).clamp(0, 9)
        torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
    def test_values_keep_their_type_and_are_not_changed(self, dtype):
        values = torch.ones(50, 2, dtype=dtype)
        found = add_donor_differences(values, SparseRows(sparse.csr_matrix([[0.5, 0.0]])), generator=generator())
        assert (found.dtype, set(found[:, 0].tolist())) == (dtype, {0.5, 1.5})
        assert (found[:, 1] == 1).all()
        assert (values == 1).all()

    def test_values_may_lie_in_any_order(self):
        values = torch.arange(6.0).reshape(2, 3).T
        moved = SparseRows(sparse.csr_matrix([[1.0, 0.0]])).added_to(
            values, chosen=torch.zeros(3, dtype=int), weights=torch.ones(3)
        )
        torch.testing.assert_close(moved, values + torch.tensor([1.0, 0.0]))

    def test_each_cell_is_moved_by_one_of_them_to_either_side(self):
        differences = SparseRows(sparse.csr_matrix([[1.0, 0.0], [0.0, 2.0]]))
        moved = add_donor_differences(torch.full((2000, 2), 5.0), differences, generator=generator())
        kinds, counts = np.unique((moved - 5).numpy(), axis=0, return_counts=True)
        assert kinds.tolist() == [[-1, 0], [0, -2], [0, 2], [1, 0]]
        assert stats.chisquare(counts).pvalue > 0.01

    def test_results_are_cut_to_zero_and_nine(self):
        differences = SparseRows(sparse.csr_matrix([[1.5, 1.5]]))
        moved = add_donor_differences(torch.tensor([[0.5, 8.5]] * 100), differences, generator=generator())
        assert (moved.min(), moved.max()) == (0, 9)

    def test_vectors_stay_sparse_and_move_with_the_module_that_has_them(self):
        plan = torch.nn.Module()
        plan.differences = SparseRows(sparse.random(50, 1000, 0.01, format="csr", rng=0))
        assert sum(tensor.numel() for tensor in plan.state_dict().values()) == 2 * 500 + 51
        assert {tensor.device.type for tensor in plan.to("meta").state_dict().values()} == {"meta"}
        assert not list(plan.parameters())


class TestExplainedVariance:
    """Against scikit-learn on dense matrices."""

    @pytest.fixture
    def data(self, rng):
        """Counts of 300 cells and 25 genes, of which one is never seen; donor 4 has cells of one type only, and no type else is theirs."""
        labels, donors = rng.integers(4, size=300), rng.integers(4, size=300)
        donors[labels == 3] = 4
        rates = 0.2 + rng.gamma(1, 1, (4, 25))[labels] + rng.gamma(0.3, 1, (5, 25))[donors]
        values = np.log1p(rng.poisson(rates)).astype(np.float32)
        values[:, 7] = 0
        return values, labels, donors

    def expected(self, values, labels, donors):
        design = np.hstack([np.eye(4)[labels], np.eye(5)[donors]])
        predicted = LinearRegression().fit(design, values.astype(float)).predict(design)
        varies = values.std(axis=0) > 0
        return [
            r2_score(values[:, varies], predicted[:, varies], multioutput=how) for how in ("uniform_average", "variance_weighted")
        ]

    @pytest.mark.parametrize("rows_at_a_time", [1, 64, 4096])
    def test_is_that_of_scikit_learn(self, monkeypatch, data, rows_at_a_time):
        monkeypatch.setattr(augmentation, "_ROWS_AT_A_TIME", rows_at_a_time)
        values, labels, donors = data
        differences = sparse.random(9, 25, 0.4, format="csr", rng=0)
        found = explained_variance(sparse.csr_matrix(values), labels, donors, differences, rng=np.random.default_rng(3))
        rng = np.random.default_rng(3)
        chosen, signs = rng.integers(9, size=300), rng.choice([-1.0, 1.0], size=(300))
        augmented = np.clip(values + signs[:, None] * differences.toarray()[chosen], 0, 9)
        np.testing.assert_allclose(found.loc["original"], self.expected(values, labels, donors), rtol=1e-5)
        np.testing.assert_allclose(found.loc["augmented"], self.expected(augmented, labels, donors), rtol=1e-5)
        assert list(found.columns) == ["uniform_average", "variance_weighted"]

    def test_without_differences_nothing_changes(self, data, rng):
        values, labels, donors = data
        found = explained_variance(sparse.csr_matrix(values), labels, donors, sparse.csr_matrix((3, 25)), rng=rng)
        np.testing.assert_allclose(found.loc["original"], found.loc["augmented"], rtol=1e-12)

    def test_what_types_decide_is_explained(self):
        labels = np.array([0, 0, 1, 1, 2])
        rows = sparse.csr_matrix(np.eye(3)[labels])
        found = explained_variance(rows, labels, np.zeros(5, dtype=int), sparse.csr_matrix((1, 3)), rng=np.random.default_rng(0))
        np.testing.assert_allclose(found, 1, rtol=1e-9)
