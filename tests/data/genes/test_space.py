"""Matching genes by name; pandas is the judge of what is summed where."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy import sparse
from tests.genes import IDS, N_GENES, NUMBERS, SYMBOLS, counts_for, frame

from sctab import InputValueError, KeyNotFoundError
from sctab.data import FeatureSpace, Species, gene_expression

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
