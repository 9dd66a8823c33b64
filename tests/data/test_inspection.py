"""Statistics of matrices in every storage, order and block size, and refusals."""

from functools import partial

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse
from tests.scanpy_values import logarithmised, normalised

from sctab import InputValueError
from sctab.data import Content, MatrixContent, Normalization, _inspection as counts_module, inspect_matrix, normalise
from sctab.io._rows import row_ranges


def scaled(values, **settings):
    """What `scanpy.pp.scale` makes of it."""
    adata = AnnData(np.array(values))
    sc.pp.scale(adata, **settings)
    return adata.X


KINDS = {
    "counts": (lambda counts: counts, Content.COUNTS, None),
    "CP10K": (normalised, Content.NORMALISED, None),
    "CP10K of some genes": (lambda counts: normalised(counts)[:, ::3], Content.NORMALISED, None),
    "log1p": (logarithmised, Content.LOG1P, np.e),
    "log1p, base 2": (partial(logarithmised, base="2"), Content.LOG1P, 2),
    "log1p, base 10": (partial(logarithmised, base="10"), Content.LOG1P, 10),
    "log1p of every third gene": (lambda counts: logarithmised(counts)[:, ::3], Content.LOG1P, np.e),
}


@pytest.fixture(params=KINDS)
def kind(request, counts):
    """A matrix, what it holds, and the base of its logarithm."""
    make, content, base = KINDS[request.param]
    return make(counts), content, base


class TestEveryKind:
    def test_is_recognised_without_doubt(self, kind):
        matrix, content, base = kind
        assert inspect_matrix(matrix) == MatrixContent(content, log_base=base)

    def test_in_every_storage(self, kind, stored):
        matrix, content, base = kind
        assert inspect_matrix(stored(matrix)) == MatrixContent(content, log_base=base)

    @pytest.mark.parametrize("size", [1, 7, 299])
    def test_with_every_block_size(self, kind, size, monkeypatch):
        matrix, content, base = kind
        monkeypatch.setattr(counts_module, "row_ranges", partial(row_ranges, size=size))
        assert inspect_matrix(matrix) == MatrixContent(content, log_base=base)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_in_both_precisions(self, kind, dtype):
        matrix, content, base = kind
        assert inspect_matrix(matrix.astype(dtype)) == MatrixContent(content, log_base=base)

    def test_order_of_cells_and_genes_does_not_matter(self, kind, rng):
        matrix, content, base = kind
        shuffled = matrix[rng.permutation(matrix.shape[0])][:, rng.permutation(matrix.shape[1])]
        assert inspect_matrix(shuffled) == MatrixContent(content, log_base=base)

    def test_with_empty_cells_first(self, kind):
        matrix, content, base = kind
        empty = np.zeros((5000, matrix.shape[1]), dtype=matrix.dtype)
        padded = sparse.vstack([sparse.csr_matrix(empty), sparse.csr_matrix(matrix)], format="csr")
        assert inspect_matrix(padded) == MatrixContent(content, log_base=base)

    def test_stored_zeros_are_zeros(self, kind):
        matrix, content, base = kind
        with_zeros = sparse.csr_matrix(np.ones_like(matrix))
        with_zeros.data[:] = matrix.ravel()
        assert inspect_matrix(with_zeros) == MatrixContent(content, log_base=base)

    def test_matrix_is_left_alone(self, kind):
        matrix = sparse.csr_matrix(kind[0], dtype=np.float64)
        matrix.data[::50] = 0
        before = matrix.copy()
        inspect_matrix(matrix)
        np.testing.assert_array_equal(matrix.data, before.data)
        np.testing.assert_array_equal(matrix.indices, before.indices)
        np.testing.assert_array_equal(matrix.indptr, before.indptr)

    def test_comes_back_to_the_scale_of_counts(self, kind, counts):
        matrix = kind[0]
        genes = slice(None, None, 3) if matrix.shape != counts.shape else slice(None)
        linear = inspect_matrix(matrix).to_linear(sparse.csr_matrix(matrix))
        expected = sparse.csr_matrix(counts[:, genes])
        ours, theirs = normalise(linear, Normalization()), normalise(expected, Normalization())
        np.testing.assert_allclose(ours.toarray(), theirs.toarray(), rtol=2e-5, atol=1e-6)


class TestRefusals:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values_that_are_no_numbers(self, stored, counts, value):
        matrix = counts.copy()
        matrix[250, 3] = value
        with pytest.raises(InputValueError, match=r"`layers\['x'\]` holds NaN or infinite values \(1 of them\).*`layer=`"):
            inspect_matrix(stored(matrix), name="layers['x']")

    @pytest.mark.parametrize("factor", [1e30, 1e36, 1e300])
    def test_values_beyond_single_precision(self, counts, factor):
        with pytest.raises(InputValueError, match=r"`X` holds values up to .*e\+\d+, which exceed any count.*`layer=`"):
            inspect_matrix(counts.astype(np.float64) * factor)

    def test_negative_values(self, stored, counts):
        matrix = counts.copy()
        matrix[299, :2] = -2.5
        with pytest.raises(InputValueError, match=r"`X` holds negative values \(2 of them, down to -2\.5\).*`layer='counts'`"):
            inspect_matrix(stored(matrix))

    def test_negative_integers(self):
        with pytest.raises(InputValueError, match="holds negative values"):
            inspect_matrix(np.array([[1, 2], [3, -1]], dtype=np.int8))

    @pytest.mark.parametrize("max_value", [None, 10])
    def test_scaled_and_centred(self, counts, max_value):
        with pytest.raises(InputValueError, match="holds negative values .* counts cannot be recovered"):
            inspect_matrix(scaled(logarithmised(counts), max_value=max_value))

    @pytest.mark.parametrize("max_value", [None, 10, 4])
    @pytest.mark.parametrize("n_obs", [8, 30, 300])
    def test_scaled_and_not_centred(self, counts, max_value, n_obs):
        matrix = scaled(logarithmised(counts[:n_obs]), zero_center=False, max_value=max_value)
        with pytest.raises(InputValueError, match=r"`X` is scaled: its genes have unit variance.*`scanpy\.pp\.scale`"):
            inspect_matrix(matrix)

    @pytest.mark.parametrize("genes", [slice(None), slice(None, 40)])
    def test_scaled_counts_that_were_not_centred(self, counts, genes):
        with pytest.raises(InputValueError, match="is scaled"):
            inspect_matrix(scaled(normalised(counts), zero_center=False)[:, genes])

    @pytest.mark.parametrize("cells", [[0], [299], [5, 120, 211], range(100)])
    def test_counts_with_cells_of_fractional_size(self, stored, counts, cells):
        matrix = counts.copy()
        matrix[list(cells)] *= 0.37
        with pytest.raises(
            InputValueError, match=f"mixes two kinds of cells: {300 - len(cells)} hold integer counts and {len(cells)} "
        ):
            inspect_matrix(stored(matrix))

    @pytest.mark.parametrize("size", [1, 100])
    def test_counts_and_others_in_different_blocks(self, counts, size, monkeypatch):
        matrix = np.vstack([counts[:150], normalised(counts[150:])])
        monkeypatch.setattr(counts_module, "row_ranges", partial(row_ranges, size=size))
        with pytest.raises(InputValueError, match="mixes two kinds of cells: 150 hold integer counts and 150 have fractional"):
            inspect_matrix(matrix)

    @pytest.mark.parametrize("n_cells", [1, 2, 10, 100])
    def test_logarithms_with_cells_of_counts(self, counts, n_cells):
        """Taken as counts, the logarithms of all other cells would be wrong."""
        matrix = logarithmised(counts)
        matrix[:n_cells] = counts[:n_cells]
        with pytest.raises(InputValueError, match="mixes two kinds of cells"):
            inspect_matrix(matrix)

    @pytest.mark.parametrize(("shape", "found"), [((0, 5), "0 cells and 5 genes"), ((5, 0), "5 cells and 0 genes")])
    def test_nothing_to_work_on(self, shape, found):
        with pytest.raises(InputValueError, match=f"`X` has {found}: there is nothing to work on"):
            inspect_matrix(np.zeros(shape))

    def test_no_column_is_a_gene(self, counts):
        with pytest.raises(InputValueError, match="`X` has 300 cells and 0 genes"):
            inspect_matrix(counts, columns=np.zeros(400, dtype=bool))


class TestColumns:
    @pytest.mark.parametrize("antibodies", [-1.3, 0.5, np.nan, 1e9 + 0.5])
    def test_those_of_antibodies_do_not_count(self, stored, counts, antibodies):
        matrix = np.hstack([np.full((300, 10), antibodies, dtype=np.float32), counts])
        columns = np.arange(410) >= 10
        assert inspect_matrix(stored(matrix), columns=columns) == MatrixContent(Content.COUNTS)

    def test_sums_are_over_genes_only(self, counts, rng):
        matrix = np.hstack([logarithmised(counts), rng.normal(size=(300, 10))])
        assert inspect_matrix(matrix, columns=np.arange(410) < 400) == MatrixContent(Content.LOG1P, log_base=np.e)


class TestTinyMatrices:
    def test_one_cell(self, counts):
        assert inspect_matrix(counts[:1]) == MatrixContent(Content.COUNTS)
        assert inspect_matrix(normalised(counts)[:1]) == MatrixContent(Content.NORMALISED)
        assert inspect_matrix(logarithmised(counts)[:1]) == MatrixContent(Content.LOG1P, log_base=np.e)

    def test_one_gene(self, counts):
        assert inspect_matrix(counts[:, :1]) == MatrixContent(Content.COUNTS)
        assert inspect_matrix(logarithmised(counts)[:, :1]).content is Content.LOG1P

    @pytest.mark.parametrize("n_genes", [2, 3, 4, 5])
    @pytest.mark.parametrize("first", [0, 50, 100, 150, 200, 250, 300, 350])
    def test_a_few_genes_of_a_logarithm_are_not_called_scaled(self, counts, first, n_genes):
        assert inspect_matrix(logarithmised(counts)[:, first : first + n_genes]).content is Content.LOG1P

    def test_one_value(self):
        assert inspect_matrix(np.array([[3.0]])) == MatrixContent(Content.COUNTS)
        found = inspect_matrix(np.array([[2.7]]))
        assert found.content is Content.LOG1P
        assert "it holds no value above 2.7" in found.note


class TestAllBarcodes:
    def matrix(self, n_cells, n_empty, n_genes=300):
        rng = np.random.default_rng(0)
        return sparse.vstack(
            [sparse.csr_matrix(rng.poisson(1.0, (n_cells, n_genes))), sparse.csr_matrix(rng.poisson(0.005, (n_empty, n_genes)))]
        ).tocsr()

    def test_noticed(self):
        remark = inspect_matrix(self.matrix(100, 1900)).remark
        assert "`X` seems to hold all barcodes and not only cells: 1,900 of 2,000 have at most 10 genes" in remark
        assert "scanpy.pp.filter_cells" in remark

    @pytest.mark.parametrize(
        ("n_cells", "n_empty", "n_genes"),
        [(1100, 900, 300), (100, 500, 300), (100, 1900, 100)],
        ids=["mostly cells", "too few to tell", "a small panel"],
    )
    def test_not_noticed(self, n_cells, n_empty, n_genes):
        assert inspect_matrix(self.matrix(n_cells, n_empty, n_genes)).remark == ""
