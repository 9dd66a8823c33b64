"""Genes of a dataset in those of a model."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy import sparse
from tests.genes import IDS, N_GENES, NUMBERS, SYMBOLS, counts_for, frame

from sctab import GeneOverlapError
from sctab.data import FeatureSpace, shown_fraction


@pytest.mark.parametrize(
    ("fraction", "decimals", "minimum", "shown"),
    [
        (0.259, 0, None, "26%"),
        (0.25, 0, None, "25%"),
        (0.0, 0, None, "0%"),
        (1.0, 0, None, "100%"),
        (1 - 1e-9, 0, None, "100%"),  # a sum of float32
        (0.9951, 0, None, ">99%"),
        (0.994, 0, None, "99%"),
        (0.0049, 0, None, "<1%"),
        (0.006, 0, None, "1%"),
        (0.00001, 1, None, "<0.1%"),
        (0.9999, 1, None, ">99.9%"),
        (0.09999, 1, 0.1, "9.9%"),
        (0.1, 1, 0.1, "10.0%"),
        (0.2, 1, 0.1, "20.0%"),
    ],
)
def test_fractions_are_rounded_but_not_to_all_or_nothing(fraction, decimals, minimum, shown):
    assert shown_fraction(fraction, decimals, minimum=minimum) == shown


class TestOneGeneTwice:
    def test_duplicated_symbols_are_summed_as_pandas_does(self, human, rng):
        names = rng.choice([*SYMBOLS[:10], "LOC1", "LOC2"], size=60)
        block = counts_for(names)
        match = human.match(frame(names))
        expected = pd.DataFrame(block.toarray().T, index=names).groupby(level=0).sum().reindex(SYMBOLS, fill_value=0).T
        np.testing.assert_array_equal(match.align(block).toarray(), expected)
        n_of_model = int(np.isin(names, SYMBOLS).sum())
        assert match.n_summed == n_of_model - match.n_matched > 0
        is_later = pd.Series(names).duplicated() & pd.Series(names).isin(SYMBOLS)
        np.testing.assert_array_equal(match.summed, np.flatnonzero(is_later))

    def test_suffixes_of_unique_names(self, human):
        match = human.match(frame(["TBCE", "TBCE-1", "TBCE-2"]))
        assert (match.n_matched, match.n_summed) == (1, 2)
        assert match.align(sparse.csr_matrix([[1.0, 2.0, 4.0]]))[0, SYMBOLS.index("TBCE")] == 7

    def test_a_suffix_of_a_name_that_is_not_there_is_none(self, human):
        assert human.match(frame(["TBCE-1", "ACTB"])).n_matched == 1

    def test_a_number_behind_a_hyphen_may_belong_to_the_name(self, human):
        match = human.match(frame(["NKX2-1", "NKX2"]))
        assert match.found[SYMBOLS.index("NKX2-1")]
        assert match.n_summed == 0

    def test_two_versions_of_one_id(self, human):
        match = human.match(frame([f"{IDS[3]}.1", f"{IDS[3]}.2"]))
        assert (match.n_matched, match.n_summed) == (1, 1)

    def test_a_name_that_case_makes_ambiguous_stands_for_neither(self):
        space = FeatureSpace(ids=("", "", ""), symbols=("ABC1", "abc1", "XYZ"))
        assert space.match(frame(["ABC1", "XYZ"])).found.tolist() == [True, False, True]
        assert space.match(frame(["Abc1", "XYZ", "DEF"])).found.tolist() == [False, False, True]

    @given(data=st.data())
    def test_order_does_not_matter(self, data):
        human = FeatureSpace(ids=tuple(IDS), symbols=tuple(SYMBOLS))
        names = ["CD4", "CD4-1", "cd3d", "CD3D", "HLA.A", "HLA-A", IDS[4], f"{IDS[4]}.7", "GRCh38_LYZ", "LOC9", "", "NKX2-1"]
        var = frame(names, gene_ids=[*[np.nan] * 9, IDS[12], IDS[13], np.nan])
        block = counts_for(var)
        order = data.draw(st.permutations(range(len(names))))
        ours, theirs = human.match(var), human.match(var.iloc[order])
        np.testing.assert_array_equal(theirs.align(block[:, order]).toarray(), ours.align(block).toarray())
        assert (theirs.coverage, theirs.n_summed, theirs.sources) == (ours.coverage, ours.n_summed, ours.sources)


class TestAlign:
    @pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
    @pytest.mark.parametrize(
        ("dtype", "expected"),
        [("bool", "f4"), ("uint8", "f4"), ("int16", "f4"), ("float32", "f4"), ("int32", "f8"), ("int64", "f8"), ("float64", "f8")],
    )
    def test_of_every_type(self, human, kind, dtype, expected):
        values = np.random.default_rng(0).integers(0, 2, size=(4, 3)).astype(dtype)
        aligned = human.match(frame(["LYZ", "LOC1", "CD3D"])).align(kind(values))
        assert type(aligned) is sparse.csr_matrix
        assert aligned.dtype == expected
        assert aligned.shape == (4, N_GENES)
        assert aligned.has_sorted_indices
        wanted = np.zeros((4, N_GENES))
        wanted[:, SYMBOLS.index("LYZ")], wanted[:, SYMBOLS.index("CD3D")] = values[:, 0], values[:, 2]
        np.testing.assert_array_equal(aligned.toarray(), wanted)

    def test_sums_of_small_integers_do_not_overflow(self, human):
        block = sparse.csr_matrix(np.array([[200, 200]], dtype=np.uint8))
        assert human.match(frame(["LYZ", "LYZ"])).align(block).sum() == 400

    def test_blocks_are_aligned_alike(self, human, rng):
        var = frame(rng.permutation(SYMBOLS))
        match, block = human.match(var), counts_for(var)
        parts = [match.align(block[i : i + 2]) for i in range(0, 5, 2)]
        whole = match.align(block)
        assert whole.has_sorted_indices
        np.testing.assert_array_equal(sparse.vstack(parts).toarray(), whole.toarray())


class TestCoverage:
    def test_is_the_share_of_importance(self, human):
        importance = np.zeros(N_GENES)
        importance[:4] = 0.5, 0.25, 0.125, 0.125
        assert human.match(frame(["MS4A1", "NKG7", "ACTB"]), importance=importance).coverage == 0.375
        assert human.match(frame(["CD3D"]), importance=importance * 8).coverage == 0.5
        assert human.match(frame(["ACTB"]), importance=importance).coverage == 0

    def test_without_importance_it_is_the_share_of_genes(self, human):
        assert human.match(frame(SYMBOLS[:6])).coverage == pytest.approx(0.25)

    def test_a_gene_counts_once(self, human):
        assert human.match(frame(["LYZ"] * 5)).coverage == pytest.approx(1 / N_GENES)

    @given(
        importance=st.lists(st.floats(0, 1, width=32), min_size=N_GENES, max_size=N_GENES),
        names=st.lists(st.sampled_from([*SYMBOLS, "LOC1"]), min_size=1, max_size=40),
    )
    def test_lies_between_nothing_and_all(self, importance, names):
        human = FeatureSpace(ids=tuple(IDS), symbols=tuple(SYMBOLS))
        coverage = human.match(frame(names), importance=np.array(importance)).coverage
        assert 0 <= coverage <= 1 + 1e-12
        fewer = human.match(frame(names[:-1] or ["LOC1"]), importance=np.array(importance)).coverage
        assert fewer <= coverage + 1e-12

    def test_below_the_minimum_is_refused(self, human):
        match = human.match(frame([*SYMBOLS[:6], "LOC1"]))
        match.require(0.25)
        with pytest.raises(
            GeneOverlapError,
            match=r"^6 of 24 model genes were found among the 7 features of the data \(25\.0% of total importance\) "
            r"\(best source: the index of `var`, which holds symbols\); at least 30% is required\. ",
        ):
            match.require(0.3)

    def test_the_source_is_named(self, human):
        match = human.match(frame(["a", "b"], ensembl=IDS[:2]))
        with pytest.raises(GeneOverlapError, match=re.escape("(best source: `var['ensembl']`, which holds Ensembl ids)")):
            match.require(0.5)


class TestNoGenes:
    @pytest.mark.parametrize("names", [[f"gene_{i}" for i in range(50)], NUMBERS, ["ENST00000367770"] * 3, []])
    def test_names_that_are_no_genes(self, human, names):
        match = human.match(frame(names))
        assert (match.n_matched, match.coverage, match.sources) == (0, 0, ())
        with pytest.raises(GeneOverlapError, match="^None of the model's 24 genes is in the data.*ut symbols or Ensembl ids"):
            match.require(0.0)

    def test_what_names_are_does_not_contradict_what_they_should_be(self):
        """Each kind is named either as that of the data, which no gene has, or as what the model has and the data lacks."""
        both, symbols, ids = (
            FeatureSpace(ids=tuple(IDS if has_ids else [""] * N_GENES), symbols=tuple(SYMBOLS if has_symbols else [""] * N_GENES))
            for has_ids, has_symbols in ((True, True), (False, True), (True, False))
        )
        of_symbols, of_ids = frame([f"XYZQ{i}" for i in range(20)]), frame([f"ENSG{i:011d}" for i in range(900, 920)])

        def said(space, var):
            with pytest.raises(GeneOverlapError) as error:
                space.match(var).require(0)
            return str(error.value)

        for space, var in ((both, of_symbols), (symbols, of_symbols), (both, of_ids), (ids, of_ids)):
            assert re.search(r"look like (symbols|Ensembl ids), and no gene of the model, .*, has one of them\.", said(space, var))
        assert f"look like symbols, and the model knows genes by Ensembl ids (`{IDS[0]}`, …). Names: " in said(ids, of_symbols)
        assert said(ids, of_symbols).endswith("Put Ensembl ids into a column of `var`.")
        assert f"look like Ensembl ids, and the model knows genes by symbols (`{SYMBOLS[0]}`, …). Names: " in said(symbols, of_ids)
        assert said(symbols, of_ids).endswith("Put symbols into a column of `var`.")

    def test_nothing_is_aligned_to_zeros(self, human):
        aligned = human.match(frame(["a", "b"])).align(sparse.csr_matrix(np.ones((3, 2), dtype=np.float32)))
        assert aligned.shape == (3, N_GENES)
        assert aligned.nnz == 0
