"""How well matrices fit: which rows are looked at, what names say, whether two are the same counts."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, strategies as st
from scipy import sparse

from sctab.data import Content, MatrixContent, MatrixInspection
from sctab.data._fit import Candidate, are_same_counts, coverages, have_equal_sums, name_score, ranked, sampled_ranges
from sctab.data._source import choose_source
from sctab.io._rows import rows_of

VAR = pd.DataFrame(index=[f"G{i}" for i in range(400)])


def candidate(matrix, name="X", var=VAR):
    return Candidate(name, var, None, sparse.csr_matrix(matrix))


@given(st.integers(1, 10_000_000))
def test_rows_are_within_the_matrix_few_and_do_not_overlap(n_obs):
    ranges = sampled_ranges(n_obs)
    rows = np.concatenate([np.arange(*at) for at in ranges])
    assert len(rows) == min(n_obs, 512)
    assert (np.diff(rows) > 0).all()
    assert (rows[0], rows[-1]) == (0, n_obs - 1)


COUNTS = "counts raw raw_counts rawcounts X_raw UMIs umi_counts matrix RNA_counts decontXcounts total"
OTHERS = (
    "unspliced unspliced_counts ambiguous spanning X_binned binary ranks rank_genes mask Ms Mu fit_t velocity velocity_u "
    "variance_velocity MAGIC_imputed scaled_counts pearson_residuals denoised ALRA"
)
NEITHER = "spliced spliced_unspliced combined drawn muscle data X"


@pytest.mark.parametrize(("names", "score"), [(COUNTS, 1), (OTHERS, -1), (NEITHER, 0)])
def test_what_names_say(names, score):
    assert {name: name_score(name) for name in names.split()} == dict.fromkeys(names.split(), score)


class TestSameCounts:
    @pytest.mark.parametrize("factor", [1.0, 1e-4, 1e4])
    def test_whatever_was_made_of_them(self, counts, factor):
        sums = counts.sum(axis=1, keepdims=True)
        assert are_same_counts(candidate(counts), candidate(counts / sums * factor * 1e4, "layers['a']"))
        assert are_same_counts(candidate(counts), candidate(np.log1p(counts / sums * 1e4).astype(np.float32), "layers['a']"))

    def test_over_the_genes_of_both(self, counts):
        some = VAR.iloc[::-3]
        assert are_same_counts(candidate(counts), candidate(counts[:, ::-3], "raw.X", some))
        assert not are_same_counts(candidate(counts), candidate(counts, "raw.X", VAR.iloc[::-1]))
        assert not are_same_counts(candidate(counts), candidate(counts, "raw.X", VAR.rename("other_{}".format)))

    def test_parts_of_them_and_other_cells_are_not(self, counts, rng):
        part = rng.binomial(counts.astype(int), 0.75)
        assert not are_same_counts(candidate(counts), candidate(part, "layers['a']"))
        assert not are_same_counts(candidate(counts), candidate(counts[::-1], "layers['a']"))
        assert not are_same_counts(candidate(counts), candidate(np.zeros_like(counts), "layers['a']"))


def test_coverage_is_of_genes_and_cells(counts):
    x, half = counts.copy(), counts.copy()
    half[:, np.argsort(-counts.sum(axis=0))[:200]] = 0
    few = counts * (np.arange(300) < 75)[:, None]
    found = coverages([a := candidate(x), b := candidate(half, "layers['b']"), c := candidate(few, "layers['c']")])
    assert found[a] == 1
    assert found[b] == pytest.approx(0.5, abs=0.02)
    assert found[c] == pytest.approx(0.25, abs=0.01)


def test_coverage_weighs_features(counts):
    feature_weights = {id(VAR): np.arange(400) < 4, id(few := VAR.iloc[:3]): np.ones(3)}
    found = coverages(
        [candidate(counts), narrow := candidate(counts[:, :3], "raw.X", few)], lambda var: feature_weights[id(var)].astype(float)
    )
    assert found[narrow] == pytest.approx(0.75, abs=0.02)


def test_neither_order_nor_storage_matters(counts, rng):
    matrices = {"b": counts, "a": rng.binomial(counts.astype(int), 0.5), "C": np.log1p(counts), "0": counts * 0}
    first = [c.name for c in ranked([candidate(matrix, f"layers['{name}']") for name, matrix in matrices.items()])]
    again = [c.name for c in ranked([candidate(matrix, f"layers['{name}']") for name, matrix in reversed(matrices.items())])]
    assert first == again
    assert first[0] == "layers['b']"
    assert first[-1] == "layers['0']"


def test_sums_of_rounded_values(counts):
    sums = counts.sum(axis=1, keepdims=True)
    assert have_equal_sums(sparse.csr_matrix(np.rint(counts / sums * 1e4)))
    assert not have_equal_sums(sparse.csr_matrix(counts))


def test_what_all_rows_show_goes_before_what_some_show(counts):
    """A layer of counts in which a cell that is not looked at is broken is passed over."""
    many = np.tile(counts, (4, 1))
    broken = many.copy()
    row = sampled_ranges(len(many))[0][1] + 1
    broken[row, 3] = -1
    adata = AnnData(sparse.csr_matrix(np.log1p(many)), layers={"counts": sparse.csr_matrix(broken)}, var=VAR.copy())
    source, notes = choose_source(adata)
    assert (source.name, source.content.content, notes) == ("X", Content.LOG1P, [])
    adata.X = sparse.csr_matrix(many) * 0
    adata.layers["counts"] = sparse.csr_matrix(many + 0.3 * (np.arange(len(many)) == row)[:, None])
    adata.layers["more_counts"] = sparse.csr_matrix(many)
    assert choose_source(adata)[0].name == "layers['more_counts']"


def test_rows_of_a_dask_array_compute_each_chunk_once():
    computed = []

    def chunk(block, block_info=None):
        computed.append(block_info[0]["chunk-location"])
        return block

    matrix = da.from_array(np.arange(40.0).reshape(20, 2), chunks=(10, 2)).map_blocks(chunk, dtype=float, meta=np.empty((0, 0)))
    rows = rows_of(matrix, [(0, 2), (5, 6), (12, 13)])
    np.testing.assert_array_equal(rows.toarray(), np.arange(40.0).reshape(20, 2)[[0, 1, 5, 12]])
    assert len(computed) == 2


def test_inspections_of_parts_are_merged(counts):
    first, second = MatrixInspection(), MatrixInspection()
    bits = sparse.csr_matrix(counts > 0)
    first.add(bits[:100])
    second.add(bits[100:])
    first.merge(second)
    assert "all of them are 0 or 1" in first.decide(400).note
    first.merge(whole := MatrixInspection())
    whole.add(sparse.csr_matrix(counts))
    first.merge(whole)
    assert first.decide(400) == MatrixContent(Content.COUNTS)
