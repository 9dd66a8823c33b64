"""What a matrix holds, and bringing it to the input of a model; scanpy made what is detected and undone here."""

from functools import partial

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from tests.scanpy_values import BASES, logarithmised, normalised

from sctab import InputValueError
from sctab.data import Content, MatrixContent, _inspection as counts_module, inspect_matrix
from sctab.io._rows import row_ranges

count_matrices = hnp.arrays(
    np.int64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 5000)
)
"""Counts of any shape, empty cells among them."""


def most_variable(values, n_genes):
    """The columns of largest variance, in their order."""
    return values[:, np.sort(np.argsort(values.var(axis=0))[-n_genes:])]


class TestCounts:
    @pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float64"])
    @pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_array])
    def test_of_every_type(self, counts, kind, dtype):
        assert inspect_matrix(kind(np.minimum(counts, 100).astype(dtype))) == MatrixContent(Content.COUNTS)

    @given(matrix=count_matrices)
    def test_whole_numbers_are_counts(self, matrix):
        assert inspect_matrix(matrix) == MatrixContent(Content.COUNTS)
        assert inspect_matrix(sparse.csc_matrix(matrix).astype(np.float32)) == MatrixContent(Content.COUNTS)

    def test_of_equal_library_sizes(self, rng):
        downsampled = rng.multinomial(500, np.full(50, 1 / 50), size=100)
        assert inspect_matrix(downsampled).content is Content.COUNTS

    @pytest.mark.parametrize("dtype", [bool, np.float32])
    def test_of_zeros_and_ones_are_in_doubt(self, counts, dtype):
        found = inspect_matrix((counts > 0).astype(dtype))
        assert found.content is Content.COUNTS
        assert "integers that are unlikely to be counts of molecules: all of them are 0 or 1" in found.note

    def test_ranks_are_in_doubt(self, counts):
        shown = counts * (counts > np.median(counts))
        ranks = np.where(shown > 0, np.argsort(np.argsort(shown, axis=1), axis=1) + 1 - (shown == 0).sum(axis=1, keepdims=True), 0)
        assert "1 to their number of genes, as ranks do" in inspect_matrix(ranks).note
        assert "as ranks do" in inspect_matrix(np.argsort(np.argsort(counts, axis=1), axis=1) + 1).note

    @pytest.mark.parametrize("n_bins", [5, 51])
    def test_bins_are_in_doubt(self, counts, n_bins):
        """Cells in `n_bins` of equal numbers of genes, as foundation models see them."""
        bins = np.array(
            [np.where(row > 0, np.digitize(row, np.quantile(row[row > 0], np.linspace(0, 1, n_bins - 1))), 0) for row in counts]
        )
        assert f"the same largest value, {n_bins - 1}, as bins have" in inspect_matrix(bins).note

    def test_shallow_counts_of_a_panel_are_counts(self, rng):
        panel = rng.poisson(rng.dirichlet(np.full(60, 0.3)) * rng.lognormal(2.7, 0.5, size=(400, 1)))
        assert np.bincount(panel.max(axis=1)).max() < 0.6 * 400  # most cells have 2 to 7 of their main gene
        assert inspect_matrix(panel) == MatrixContent(Content.COUNTS)

    def test_very_shallow_counts_are_counts(self, rng):
        """A few transcripts in each cell, most of them one of a kind."""
        assert inspect_matrix(rng.poisson(0.02, size=(500, 200))) == MatrixContent(Content.COUNTS)

    def test_a_few_cells_tell_nothing(self):
        assert inspect_matrix(np.ones((3, 50))) == MatrixContent(Content.COUNTS)

    def test_with_noise_of_a_float_computation(self, counts):
        assert inspect_matrix(counts / 3 * 3 * np.float32(1 + 1e-6)).content is Content.COUNTS

    def test_without_a_single_one(self):
        assert inspect_matrix(np.zeros((3, 4))).content is Content.COUNTS

    @pytest.mark.parametrize(("factor", "is_empty"), [(0, True), (1, False)])
    def test_without_any_value(self, counts, factor, is_empty):
        assert inspect_matrix(factor * counts).is_empty is is_empty

    def test_that_are_stored_in_parts(self):
        """SciPy allows two entries for one value, which is their sum."""
        parts = sparse.csr_matrix(([0.5, 0.5, 2.0, 1.0, 3.0], [0, 0, 1, 0, 1], [0, 3, 5]), shape=(2, 2))
        np.testing.assert_array_equal(parts.toarray(), [[1, 2], [1, 3]])
        found = inspect_matrix(parts)
        assert found.content is Content.COUNTS
        assert found.note == ""
        assert found.remark == "`X` has duplicate entries for some cells and genes (1 too many); they were summed."

    def test_stored_zeros_that_follow_each_other_are_told(self, counts):
        lost = sparse.csr_matrix(counts)
        lost.data[5000:5200] = 0
        remark = inspect_matrix(lost).remark
        assert remark.startswith(f"`X` stores 200 zeros among {lost.nnz:,} values, 200 of them without a break.")
        scattered = sparse.csr_matrix(counts)
        scattered.data[::50] = 0  # as a filter leaves them
        assert inspect_matrix(scattered).remark == ""

    def test_with_ambient_rna_taken_out(self, counts, rng):
        found = inspect_matrix(counts * rng.uniform(0.6, 1, size=counts.shape) * 3, name="layers['soupx']")
        assert found.content is Content.COUNTS
        assert "`layers['soupx']` was taken as fractional counts" in found.note
        assert "select the counts with `layer=`" in found.note

    @pytest.mark.parametrize("size", [1, 50, 4096])
    def test_the_largest_value_is_that_of_all_cells(self, counts, rng, size, monkeypatch):
        """Were the last block alone looked at, these would pass for logarithms."""
        corrected = (counts * rng.uniform(0.6, 1, size=counts.shape))[np.argsort(-counts.max(axis=1))]
        corrected[-50:] = np.minimum(corrected[-50:], 12)
        monkeypatch.setattr(counts_module, "row_ranges", partial(row_ranges, size=size))
        found = inspect_matrix(corrected)
        assert found.content is Content.COUNTS
        assert f"its values go up to {corrected.max():.4g}" in found.note


class TestNormalised:
    @pytest.mark.parametrize("target_sum", [1, 100, 1e4, 1e6, None])
    def test_to_every_sum(self, counts, target_sum):
        assert inspect_matrix(normalised(counts, target_sum)) == MatrixContent(Content.NORMALISED)

    def test_sums_that_are_a_little_off(self, counts, rng):
        """Rounding gave a user sums between 9,999.99 and 10,000.007."""
        sums = rng.uniform(9_999.99, 10_000.007, size=(len(counts), 1))
        matrix = counts / counts.sum(axis=1, keepdims=True) * sums
        assert matrix.sum(axis=1).min() < 9_999.995 < 10_000.005 < matrix.sum(axis=1).max()
        assert inspect_matrix(matrix) == MatrixContent(Content.NORMALISED)
        assert inspect_matrix(np.log1p(matrix)) == MatrixContent(Content.LOG1P, log_base=np.e)

    def test_a_first_cell_that_is_off(self, counts):
        matrix = normalised(counts)
        matrix[0] *= 1.7
        assert inspect_matrix(matrix).content is Content.NORMALISED
        logs = np.log1p(matrix)
        assert inspect_matrix(logs) == MatrixContent(Content.LOG1P, log_base=np.e)

    def test_first_cells_that_look_like_counts(self, counts):
        """A cell with one expressed gene holds 10,000 after normalisation: an integer."""
        counts = counts.copy()
        counts[:20, 1:] = 0
        counts[:20, 0] = 1
        assert inspect_matrix(normalised(counts)) == MatrixContent(Content.NORMALISED)

    @pytest.mark.parametrize("n_empty", [0, 1, 100])
    def test_transcripts_per_million(self, counts, rng, n_empty):
        """Divided by the lengths of the genes, values are not multiples of each other: equal sums are all there is to see."""
        per_length = counts / rng.uniform(300, 9000, size=counts.shape[1])
        tpm = per_length / per_length.sum(axis=1, keepdims=True) * 1e6
        tpm[:n_empty] = 0
        tpm[n_empty] *= 1.7  # one cell of another size is none of two kinds
        assert inspect_matrix(tpm) == MatrixContent(Content.NORMALISED)
        assert inspect_matrix(np.log1p(tpm)) == MatrixContent(Content.LOG1P, log_base=np.e)

    def test_without_highly_expressed_genes(self, counts):
        counts = counts.copy()
        counts[::3, 7] += 3000
        matrix = normalised(counts, exclude_highly_expressed=True, max_fraction=0.3)
        assert np.ptp(matrix.sum(axis=1)) > 1000
        assert inspect_matrix(matrix) == MatrixContent(Content.NORMALISED)

    @pytest.mark.parametrize("step", [2, 5, 10])
    @pytest.mark.parametrize("target_sum", [1e4, None])
    def test_and_cut_to_some_genes(self, counts, step, target_sum):
        assert inspect_matrix(normalised(counts, target_sum)[:, ::step]) == MatrixContent(Content.NORMALISED)

    def test_shallow_cells_at_the_median_are_no_mixture(self, rng):
        """Normalised to the median, the many cells of just that size keep their counts."""
        counts = rng.poisson(rng.dirichlet(np.ones(200)) * 100, size=(500, 200))
        cut = normalised(counts, None)[:, ::2]
        sizes = counts.sum(axis=1)
        assert np.mean(sizes == np.median(sizes)) > 0.01
        assert inspect_matrix(cut) == MatrixContent(Content.NORMALISED)

    def test_small_proportions_are_no_counts(self, rng):
        counts = rng.poisson(5, size=(200, 50))
        shares = counts / 100_000  # the rest of each cell is in genes that were cut off
        assert shares.max() < 1e-3
        assert inspect_matrix(shares).content is not Content.COUNTS


class TestLogarithm:
    @pytest.mark.parametrize("base", BASES)
    @pytest.mark.parametrize("target_sum", [100, 1e4, 1e6, None])
    def test_of_every_base_and_sum(self, counts, base, target_sum):
        found = inspect_matrix(logarithmised(counts, target_sum, base=base))
        assert found == MatrixContent(Content.LOG1P, log_base=BASES[base])

    def test_of_raw_counts(self, counts):
        found = inspect_matrix(np.log1p(counts))
        assert found == MatrixContent(Content.LOG1P, log_base=np.e)
        np.testing.assert_allclose(found.to_linear(sparse.csr_matrix(np.log1p(counts))).toarray(), counts, rtol=1e-5)

    @pytest.mark.parametrize("n_genes", [20, 50, 100, 200])
    def test_cut_to_the_most_variable_genes(self, counts, n_genes):
        cut = most_variable(logarithmised(counts), n_genes)
        assert inspect_matrix(cut) == MatrixContent(Content.LOG1P, log_base=np.e)

    @pytest.mark.parametrize("n_genes", [50, 200, 500, 1000, 2000])
    @pytest.mark.parametrize("name", ["pbmc3k_10x.h5ad", "celllines_scmixology_5runs.h5ad"])
    def test_of_real_cells_cut_to_the_most_variable_genes(self, real_logs, name, n_genes):
        cut = real_logs(name)[:, -n_genes:]
        assert inspect_matrix(cut) == MatrixContent(Content.LOG1P, log_base=np.e)

    def test_cut_to_genes_of_which_no_cell_has_a_single_count(self, rng):
        """The smallest value of a cell then represents two counts or three."""
        counts = rng.poisson(6, size=(500, 30))
        smallest = np.where(counts > 0, counts, 99).min(axis=1)
        counts = counts[np.isin(smallest, [2, 3])]
        assert len(counts) > 100
        cut = np.log1p(counts / rng.uniform(2000, 6000, size=(len(counts), 1)) * 1e4)
        assert inspect_matrix(cut) == MatrixContent(Content.LOG1P, log_base=np.e)

    @pytest.mark.parametrize("base", ["2", "10"])
    def test_of_another_base_cut_to_some_genes_is_in_doubt(self, counts, base):
        found = inspect_matrix(logarithmised(counts, base=base)[:, ::3], name="raw.X")
        assert found.content is Content.LOG1P
        assert "`raw.X` was taken as log1p of normalised expression" in found.note

    def test_in_the_scanpy_wheel(self):
        adata = sc.datasets.pbmc68k_reduced()
        assert inspect_matrix(adata.raw.X) == MatrixContent(Content.LOG1P, log_base=np.e)
        with pytest.raises(InputValueError, match="holds negative values .* so it was scaled"):
            inspect_matrix(adata.X)


@pytest.fixture(scope="module")
def real_logs(shared_data):
    """Log-normalised real cells, their genes in the order of rising variance."""
    read = {}

    def logs(name):
        if name not in read:
            values = sc.read_h5ad(shared_data(name)).X[::3]
            values = sparse.csr_matrix(values.multiply(1e4 / values.sum(axis=1))).log1p()
            variances = values.power(2).mean(axis=0) - np.square(values.mean(axis=0))
            read[name] = values[:, np.argsort(np.asarray(variances).ravel())[-2000:]]
        return read[name]

    return logs


class TestToLinear:
    @given(
        values=hnp.arrays(np.float64, (4, 6), elements=st.floats(0, 1e6, allow_subnormal=False)),
        base=st.sampled_from([np.e, 2.0, 10.0]),
    )
    def test_undoes_the_logarithm(self, values, base):
        logs = sparse.csr_matrix(np.log1p(values) / np.log(base))
        linear = MatrixContent(Content.LOG1P, log_base=base).to_linear(logs)
        np.testing.assert_allclose(linear.toarray(), values, rtol=1e-13)

    @pytest.mark.parametrize("base", BASES)
    def test_single_precision_gives_whole_counts_back(self, rng, base):
        counts = rng.integers(0, 20_000, size=(50, 50)).astype(np.float32)
        logs = AnnData(counts.copy())
        sc.pp.log1p(logs, base=None if base == "e" else BASES[base])
        linear = MatrixContent(Content.LOG1P, log_base=BASES[base]).to_linear(sparse.csr_matrix(logs.X))
        np.testing.assert_array_equal(np.rint(linear.toarray()), counts)

    @pytest.mark.parametrize("content", [Content.COUNTS, Content.NORMALISED])
    def test_without_a_logarithm_nothing_changes(self, counts, content):
        np.testing.assert_array_equal(MatrixContent(content).to_linear(sparse.csr_matrix(counts)).toarray(), counts)

    def test_block_is_left_alone(self, counts):
        block = sparse.csr_matrix(np.log1p(counts))
        before = block.toarray()
        linear = MatrixContent(Content.LOG1P, log_base=np.e).to_linear(block)
        linear.data[:] = 0
        linear.eliminate_zeros()
        np.testing.assert_array_equal(block.toarray(), before)
