"""Matching genes by name; pandas is the judge of what is summed where."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy import sparse

from sctab import GeneOverlapError, InputValueError, KeyNotFoundError
from sctab.data import FeatureSpace, Species, gene_expression, guess_species

HUMAN = {
    "CD3D": "ENSG00000167286",
    "MS4A1": "ENSG00000156738",
    "NKG7": "ENSG00000105374",
    "LYZ": "ENSG00000090382",
    "CST3": "ENSG00000101439",
    "GNLY": "ENSG00000115523",
    "PPBP": "ENSG00000163736",
    "CD8A": "ENSG00000153563",
    "CD4": "ENSG00000010610",
    "HLA-A": "ENSG00000206503",
    "HLA-DRA": "ENSG00000204287",
    "MT-ND1": "ENSG00000198888",
    "ACTB": "ENSG00000075624",
    "B2M": "ENSG00000166710",
    "TBCE": "ENSG00000284770",
    "CD79A": "ENSG00000105369",
    "FCGR3A": "ENSG00000203747",
    "IL7R": "ENSG00000168685",
    "CCR7": "ENSG00000126353",
    "S100A8": "ENSG00000143546",
    "S100A9": "ENSG00000163220",
    "FCER1A": "ENSG00000179639",
    "NKX2-1": "ENSG00000136352",
    "C1orf112": "ENSG00000000460",
}
SYMBOLS, IDS = list(HUMAN), list(HUMAN.values())
N_GENES = len(SYMBOLS)
NUMBERS = [str(i) for i in range(N_GENES)]
MOUSE_SYMBOLS = [symbol.capitalize() for symbol in SYMBOLS]
MOUSE_IDS = [f"ENSMUSG{i:011d}" for i in range(N_GENES)]
RAT_IDS = [f"ENSRNOG{i:011d}" for i in range(N_GENES)]
MACAQUE_IDS = [f"ENSMMUG{i:011d}" for i in range(N_GENES)]


def frame(index, /, **columns):
    return pd.DataFrame(columns, index=pd.Index(list(index)))


def counts_for(var, seed=0):
    """Small whole numbers, which float32 adds up exactly, `(5, n_vars)`."""
    return sparse.csr_matrix(np.random.default_rng(seed).integers(0, 9, size=(5, len(var))).astype(np.float32))


@pytest.fixture(scope="module")
def human():
    return FeatureSpace(ids=tuple(IDS), symbols=tuple(SYMBOLS))


@pytest.fixture(scope="module")
def mouse():
    return FeatureSpace(ids=tuple(MOUSE_IDS), symbols=tuple(MOUSE_SYMBOLS))


SOURCES = {
    "symbols in the index": (frame(SYMBOLS), "index", "symbols"),
    "ids in the index": (frame(IDS), "index", "Ensembl ids"),
    "ids with version in the index": (frame([f"{gene}.{i}" for i, gene in enumerate(IDS)]), "index", "Ensembl ids"),
    "ids in `gene_ids`": (frame([f"feature {i}" for i in NUMBERS], gene_ids=IDS), "gene_ids", "Ensembl ids"),
    "ids with version in any column": (frame(NUMBERS, anything=[f"{gene}.3" for gene in IDS]), "anything", "Ensembl ids"),
    "symbols in a column, numbers in the index": (frame(range(N_GENES), feature_name=SYMBOLS), "feature_name", "symbols"),
    "symbols in a categorical column": (frame(NUMBERS, symbol=pd.Categorical(SYMBOLS)), "symbol", "symbols"),
    "symbols in a column of pandas strings": (frame(NUMBERS, symbol=pd.array(SYMBOLS, dtype="string")), "symbol", "symbols"),
    "symbols in a column that is named by a number": (pd.DataFrame({0: SYMBOLS}, index=NUMBERS), "0", "symbols"),
    "symbols in lower case": (frame(map(str.lower, SYMBOLS)), "index", "symbols"),
    "symbols in upper case": (frame(map(str.upper, SYMBOLS)), "index", "symbols"),
    "symbols behind a genome": (frame([f"GRCh38_{symbol}" for symbol in SYMBOLS]), "index", "symbols"),
    "ids behind a genome": (frame([f"GRCh38______{gene}" for gene in IDS]), "index", "Ensembl ids"),
    "symbols of R, with a dot for a hyphen": (frame([symbol.replace("-", ".") for symbol in SYMBOLS]), "index", "symbols"),
    "symbols with spaces around them, in a column": (
        frame(NUMBERS, symbol=[f" {symbol} " for symbol in SYMBOLS]),
        "symbol",
        "symbols",
    ),
}


class TestWhereNamesAre:
    @pytest.mark.parametrize("source", SOURCES)
    def test_every_gene_is_found(self, human, source):
        var, key, id_type = SOURCES[source]
        match = human.match(var)
        assert (match.n_matched, match.n_summed, match.n_ignored, match.coverage) == (N_GENES, 0, 0, 1)
        assert (match.sources, match.id_type) == ((key,), id_type)
        block = counts_for(var)
        np.testing.assert_array_equal(match.align(block).toarray(), block.toarray())
        match.require(1.0)

    @pytest.mark.parametrize("source", SOURCES)
    @given(data=st.data())
    def test_order_does_not_matter(self, source, data):
        human = FeatureSpace(ids=tuple(IDS), symbols=tuple(SYMBOLS))
        var = SOURCES[source][0]
        order = data.draw(st.permutations(range(N_GENES)))
        block = counts_for(var)
        np.testing.assert_array_equal(human.match(var.iloc[order]).align(block[:, order]).toarray(), block.toarray())

    def test_ids_and_symbols_in_one_index(self, human):
        mixed = [IDS[i] if i % 2 else SYMBOLS[i] for i in range(N_GENES)]
        match = human.match(frame(mixed))
        assert match.n_matched == N_GENES
        assert match.n_summed == 0

    def test_a_second_source_adds_what_the_first_lacks(self, human):
        var = frame([*SYMBOLS[:-2], "unknown", "LOC1"], gene_ids=[*[""] * (N_GENES - 2), *IDS[-2:]])
        match = human.match(var)
        assert match.n_matched == N_GENES
        assert match.sources == ("index", "gene_ids")

    def test_a_second_source_contradicts_nothing(self, human):
        """One id is in the wrong row: the symbols, which name more genes, win."""
        var = frame([*SYMBOLS, "extra"], gene_ids=[*[""] * N_GENES, IDS[0]])
        match = human.match(var)
        assert match.n_summed == 0
        assert match.selection[N_GENES].nnz == 0

    @pytest.mark.parametrize("missing", [np.nan, None, pd.NA, ""])
    def test_features_without_a_name(self, human, missing):
        match = human.match(frame(NUMBERS, symbol=pd.Series([missing, *SYMBOLS[1:]], index=NUMBERS, dtype=object)))
        assert match.n_matched == N_GENES - 1
        assert not match.found[0]

    def test_an_index_with_missing_names(self, human):
        match = human.match(frame([np.nan, *SYMBOLS[1:]]))
        assert match.found.tolist() == [False, *[True] * (N_GENES - 1)]

    def test_columns_of_other_things(self, human):
        """What a reader may have put into `var` beside the names."""
        var = frame(
            SYMBOLS,
            highly_variable=True,
            mean=np.linspace(0, 1, N_GENES),
            chromosome="chr1",
            interval=[f"chr1:{i}-{i + 100}" for i in range(N_GENES)],
            score=np.array([np.nan] * N_GENES, dtype=object),
        )
        match = human.match(var)
        assert (match.n_matched, match.sources) == (N_GENES, ("index",))

    def test_a_column_of_few_values_names_no_genes(self, human):
        names = [symbol for symbol in SYMBOLS if symbol != "CD4"]
        match = human.match(frame([*names, "LOC1"], target="CD4"))
        assert (match.n_matched, match.n_summed) == (N_GENES - 1, 0)

    def test_a_column_of_lists(self, human):
        var = frame(SYMBOLS)
        var["synonyms"] = [[symbol, symbol.lower()] for symbol in SYMBOLS]
        assert human.match(var).n_matched == N_GENES

    @pytest.mark.parametrize("other", [[f"old_{i}" for i in NUMBERS], NUMBERS])
    def test_a_column_called_index_does_not_hide_the_index(self, human, other):
        assert human.match(frame(SYMBOLS, index=other)).n_matched == N_GENES

    def test_named_columns_are_the_only_ones(self, human):
        var = frame(SYMBOLS, ids=[*IDS[:5], *[""] * (N_GENES - 5)], names=[*[""] * 20, *SYMBOLS[20:]])
        assert human.match(var, gene_id_key="ids").sources == ("ids",)
        assert human.match(var, gene_id_key="ids").n_matched == 5
        both = human.match(var, gene_id_key="ids", gene_symbol_key="names")
        assert (both.sources, both.n_matched) == (("ids", "names"), 9)

    @pytest.mark.parametrize("key", ["gene_id_key", "gene_symbol_key"])
    def test_a_column_that_is_not_there(self, human, key):
        with pytest.raises(
            KeyNotFoundError, match=r"^`ensembl` is not a column of `adata\.var`\. Columns: `gene_ids`, `symbol`\.$"
        ):
            human.match(frame(SYMBOLS, gene_ids=IDS, symbol=SYMBOLS), **{key: "ensembl"})


class TestOneGeneTwice:
    def test_duplicated_symbols_are_summed_as_pandas_does(self, human, rng):
        names = rng.choice([*SYMBOLS[:10], "LOC1", "LOC2"], size=60)
        block = counts_for(names)
        match = human.match(frame(names))
        expected = pd.DataFrame(block.toarray().T, index=names).groupby(level=0).sum().reindex(SYMBOLS, fill_value=0).T
        np.testing.assert_array_equal(match.align(block).toarray(), expected)
        n_of_model = int(np.isin(names, SYMBOLS).sum())
        assert match.n_summed == n_of_model - match.n_matched > 0

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


class TestFeatureTypes:
    @pytest.mark.parametrize("column", ["feature_types", "feature_type"])
    def test_antibodies_are_ignored(self, human, column):
        names = [*SYMBOLS, "CD3D", "CD4-1", "CD19_TotalSeqB"]
        var = frame(names, **{column: ["Gene Expression"] * N_GENES + ["Antibody Capture"] * 3})
        match = human.match(var)
        assert (match.n_matched, match.n_summed, match.n_ignored) == (N_GENES, 0, 3)
        block = sparse.csr_matrix(np.ones((1, len(names)), dtype=np.float32))
        assert match.align(block).toarray().max() == 1

    def test_an_antibody_before_its_gene(self, human):
        var = frame(["CD4", "CD4-1"], feature_types=["Antibody Capture", "Gene Expression"])
        match = human.match(var)
        assert match.selection[0].nnz == 0
        assert match.found[SYMBOLS.index("CD4")]

    @pytest.mark.parametrize(
        ("types", "expected"),
        [
            (["Gene Expression", "Antibody Capture", "Peaks"], [True, False, False]),
            (["gene expression", "GENE EXPRESSION", "CRISPR Guide Capture"], [True, True, False]),
            (["Gene Expression", np.nan, "Gene Expression"], [True, False, True]),
            (["protein_coding", "lncRNA", "protein_coding"], [True, True, True]),
            (["Gene", "Gene", "Gene"], [True, True, True]),
        ],
    )
    @pytest.mark.parametrize("kind", [list, pd.Categorical])
    def test_which_features_are_genes(self, types, expected, kind):
        assert gene_expression(frame("abc", feature_types=kind(types))).tolist() == expected

    def test_without_types_all_are_genes(self):
        assert gene_expression(frame("abc", other=["Antibody Capture"] * 3)).tolist() == [True] * 3

    @pytest.mark.parametrize(
        "types",
        [
            ["Antibody Capture"] * 3,
            ["Peaks", "Antibody Capture", "Peaks"],
            ["Antibody Capture", "Multiplexing Capture", "Antibody Capture"],
        ],
    )
    def test_without_genes_it_is_refused(self, human, types):
        with pytest.raises(
            InputValueError, match=r"No feature is gene expression: `var\['feature_types'\]` holds `Antibody Capture`"
        ):
            human.match(frame(["CD3D", "CD4", "CD8A"], feature_types=types))


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
            match=r"^6 of the model's 24 genes were found among the 7 features of the data, and they carry 25\.0% of what the model "
            r"looks at \(best source: the index of `var`, which holds symbols\); at least 30% is needed\. ",
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
        with pytest.raises(GeneOverlapError, match="^None of the model's 24 genes is in the data.*Put gene symbols or Ensembl ids"):
            match.require(0.0)

    def test_nothing_is_aligned_to_zeros(self, human):
        aligned = human.match(frame(["a", "b"])).align(sparse.csr_matrix(np.ones((3, 2), dtype=np.float32)))
        assert aligned.shape == (3, N_GENES)
        assert aligned.nnz == 0


class TestSpecies:
    @pytest.mark.parametrize(
        "var",
        [
            frame(MOUSE_SYMBOLS),
            frame(MOUSE_IDS),
            frame(MOUSE_IDS, gene_symbol=MOUSE_SYMBOLS),
            frame(NUMBERS, feature_name=MOUSE_SYMBOLS),
            frame([f"mm10___{symbol}" for symbol in MOUSE_SYMBOLS]),
            frame([*MOUSE_SYMBOLS, *SYMBOLS[:9]]),  # the nine genes that made every cell a thymocyte
        ],
    )
    @pytest.mark.parametrize("ids", [IDS, [""] * N_GENES])
    def test_mouse_is_refused_by_a_human_model(self, var, ids):
        match = FeatureSpace(ids=tuple(ids), symbols=tuple(SYMBOLS)).match(var)
        assert match.query_species.name == "mouse"
        with pytest.raises(
            GeneOverlapError,
            match=r"^The data looks like mouse and the model is human: \d+ of the model's 24 genes were found .* carry [\d.]+% .*orthologs",
        ):
            match.require(0.0)

    @pytest.mark.parametrize("var", [frame(SYMBOLS), frame(IDS), frame(IDS, gene_symbol=SYMBOLS)])
    def test_human_is_refused_by_a_mouse_model(self, mouse, var):
        with pytest.raises(GeneOverlapError, match="^The data looks like human and the model is mouse: "):
            mouse.match(var).require(0.0)

    @pytest.mark.parametrize(
        ("ids", "name"),
        [
            (RAT_IDS, "rat"),
            (MACAQUE_IDS, "rhesus macaque"),
            ([f"ENSDARG{i:011d}" for i in range(30)], "zebrafish"),
            ([f"WBGene{i:08d}" for i in range(30)], "worm"),
            ([f"FBgn{i:07d}" for i in range(30)], "fly"),
        ],
    )
    def test_ids_of_others_are_refused_by_name(self, human, ids, name):
        with pytest.raises(
            GeneOverlapError, match=f"^The data looks like {name} and the model is human: 0 of the model's 24 genes"
        ):
            human.match(frame(ids)).require(0.0)

    @pytest.mark.parametrize("var", [frame(SYMBOLS), frame(SYMBOLS, gene_ids=IDS)])
    def test_symbols_alone_do_not_tell_macaque_from_human(self, human, var):
        match = human.match(var)
        assert match.n_matched == N_GENES
        match.require(0.9)

    def test_mouse_symbols_are_not_human_ones_in_another_case(self, human):
        assert human.match(frame(MOUSE_SYMBOLS)).n_matched <= 1  # `C1orf112` is written alike

    def test_two_genomes_in_one_experiment(self, human):
        """The human genes are used, and those of the mouse cells are not added to them."""
        names = [f"GRCh38_{symbol}" for symbol in SYMBOLS] + [f"mm10___{symbol}" for symbol in MOUSE_SYMBOLS]
        match = human.match(frame(names))
        assert match.n_matched == N_GENES
        assert match.selection[N_GENES:].nnz == 0

    @pytest.mark.parametrize("write", ["{}", "mm10___{}", "GRCm39_{}"])
    def test_mouse_symbols_behind_a_genome_match_a_mouse_model(self, mouse, write):
        assert mouse.match(frame([write.format(symbol) for symbol in MOUSE_SYMBOLS])).n_matched == N_GENES

    def test_mouse_symbols_in_lower_case_match_a_mouse_model(self, mouse):
        assert mouse.match(frame(map(str.lower, MOUSE_SYMBOLS))).n_matched == N_GENES

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (SYMBOLS, Species("human", is_certain=False)),
            (MOUSE_SYMBOLS, Species("mouse", is_certain=False)),
            (IDS, Species("human", is_certain=True)),
            ([f"{gene}.12" for gene in MOUSE_IDS], Species("mouse", is_certain=True)),
            ([f"hg19_{gene}" for gene in IDS], Species("human", is_certain=True)),
            ([*IDS, *MOUSE_IDS], None),
            (SYMBOLS[:10], None),
            (NUMBERS, None),
            ([""] * 30, None),
            ([], None),
        ],
    )
    def test_guess(self, names, expected):
        assert guess_species(names) == expected

    @pytest.mark.parametrize(
        ("one", "other", "contradiction"),
        [
            (("mouse", True), ("rat", True), True),
            (("mouse", False), ("rat", True), False),
            (("human", False), ("rhesus macaque", True), False),
            (("human", True), ("rhesus macaque", True), True),
            (("human", False), ("mouse", False), True),
            (("human", False), ("zebrafish", True), True),
            (("mouse", False), ("fly", True), True),
            (("human", True), ("human", False), False),
        ],
    )
    def test_contradiction_goes_both_ways(self, one, other, contradiction):
        one, other = (Species(name, is_certain=is_certain) for name, is_certain in (one, other))
        assert one.contradicts(other) is contradiction
        assert other.contradicts(one) is contradiction


class TestFeatureSpace:
    @pytest.mark.parametrize(
        ("var", "ids", "symbols"),
        [
            (frame(SYMBOLS), [""] * N_GENES, SYMBOLS),
            (frame(IDS), IDS, [""] * N_GENES),
            (frame([f"{gene}.4" for gene in IDS], gene_name=SYMBOLS), IDS, SYMBOLS),
            (frame(SYMBOLS, ensembl_id=IDS), IDS, SYMBOLS),
            (frame(range(N_GENES), whatever=SYMBOLS, another=IDS), IDS, SYMBOLS),
            (frame(IDS, interval=[f"chr1:{i}-{i + 9}" for i in range(N_GENES)], feature_name=SYMBOLS), IDS, SYMBOLS),
        ],
    )
    def test_of_a_reference(self, var, ids, symbols):
        assert FeatureSpace.from_var(var) == FeatureSpace(ids=tuple(ids), symbols=tuple(symbols))

    def test_of_named_columns(self):
        var = frame(SYMBOLS, a=IDS, b=[f"x{symbol}" for symbol in SYMBOLS])
        space = FeatureSpace.from_var(var, gene_id_key="a", gene_symbol_key="b")
        assert (space.ids, space.symbols) == (tuple(IDS), tuple(var["b"]))

    @pytest.mark.parametrize("key", ["gene_id_key", "gene_symbol_key"])
    def test_a_column_that_is_not_there(self, key):
        with pytest.raises(KeyNotFoundError, match=r"`missing` is not a column of `adata\.var`\. Columns: `gene_ids`\."):
            FeatureSpace.from_var(frame(SYMBOLS, gene_ids=IDS), **{key: "missing"})

    def test_each_gene_once(self):
        var = frame(["A", "B", "A-1", "C"], gene_ids=["ENSG00000000001", "", "ENSG00000000001.2", ""])
        assert FeatureSpace.from_var(var) == FeatureSpace(ids=("ENSG00000000001", "", ""), symbols=("A", "B", "C"))

    def test_without_antibodies(self):
        var = frame(["CD3D", "CD4", "CD19"], feature_types=["Gene Expression", "Gene Expression", "Antibody Capture"])
        assert FeatureSpace.from_var(var).symbols == ("CD3D", "CD4")

    @pytest.mark.parametrize("missing", [np.nan, None, pd.NA, ""])
    def test_without_what_has_no_name(self, missing):
        names = pd.Series(["CD3D", missing, "CD4"], dtype=object).to_numpy()
        assert FeatureSpace.from_var(frame(["0", "1", "2"], symbol=names)).symbols == ("CD3D", "CD4")

    @pytest.mark.parametrize("missing", [np.nan, None])
    def test_a_missing_name_in_the_index_is_no_gene(self, missing):
        var = pd.DataFrame(index=pd.Index(["CD3D", missing, "CD4"], dtype=object))
        assert FeatureSpace.from_var(var).symbols == ("CD3D", "CD4")

    @pytest.mark.parametrize("var", [frame(NUMBERS), frame(["", ""]), frame(NUMBERS, mean=1.0)])
    def test_a_reference_without_names_is_refused(self, var):
        with pytest.raises(InputValueError, match="^No gene of the reference has a name in `var`"):
            FeatureSpace.from_var(var)

    def test_a_reference_without_genes_is_refused(self):
        with pytest.raises(InputValueError, match="^No feature is gene expression"):
            FeatureSpace.from_var(frame(["CD3"], feature_types=["Antibody Capture"]))

    def test_as_many_ids_as_symbols(self):
        with pytest.raises(InputValueError, match="1 ids and 2 symbols: there must be as many"):
            FeatureSpace(ids=("a",), symbols=("a", "b"))

    def test_names_are_unique(self):
        space = FeatureSpace(
            ids=("ENSG00000000001", "ENSG00000000002", "ENSG00000000003", "", "ENSG00000000004"), symbols=("A", "A", "B", "C", "")
        )
        assert space.names == ("ENSG00000000001", "ENSG00000000002", "B", "C", "ENSG00000000004")

    @given(
        symbols=st.lists(st.text("ABCabc12-._ ", min_size=1, max_size=6), min_size=1, max_size=25, unique=True),
        with_ids=st.booleans(),
    )
    def test_a_reference_finds_all_of_itself(self, symbols, with_ids):
        symbols = [f"G{symbol.strip()}" for symbol in symbols]
        symbols = list(dict.fromkeys(symbols))
        var = frame(symbols, **({"id": IDS[: len(symbols)] + [""] * (len(symbols) - N_GENES)} if with_ids else {}))
        space = FeatureSpace.from_var(var)
        assert len(set(space.names)) == len(space) == len(symbols)
        match = space.match(var)
        assert match.found.all()
        assert match.n_summed == 0
        block = counts_for(var)
        np.testing.assert_array_equal(match.align(block).toarray(), block.toarray())
        match.require(1.0)


class TestRealData:
    @pytest.mark.parametrize("name", ["pbmc3k_10x.h5ad", "pbmc_kang_ctrl_8donors.h5ad"])
    def test_symbols_and_ids_of_blood_agree(self, shared_data, name):
        """In these files every gene has a symbol and most have an id: both ways must lead to the same genes."""
        var = _read_var(shared_data(name))
        space = FeatureSpace.from_var(var)
        assert space.species == Species("human", is_certain=True)
        has_id = (var["ensembl_id"].astype(str) != "").to_numpy()
        by_symbol, by_id = space.match(frame(var.index)), space.match(frame(var["ensembl_id"][has_id]))
        assert by_symbol.coverage > 0.99
        assert by_id.n_matched == var["ensembl_id"][has_id].nunique()
        assert (by_symbol.query_species.name, by_id.query_species.name) == ("human", "human")


def _read_var(path):
    from anndata import read_h5ad

    return read_h5ad(path, backed="r").var
