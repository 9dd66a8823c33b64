"""Which columns of a reference are its symbols and its ids."""

import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from sctab.data import FeatureSpace
from sctab.data.genes._columns import normalised

SYMBOLS = [str(name) for name in sc.datasets.pbmc68k_reduced().raw.var_names]
N = len(SYMBOLS)
IDS = [f"ENSG{i + 10**10:011d}" for i in range(N)]
MOUSE_IDS = [f"ENSMUSG{i:011d}" for i in range(N)]
rng = np.random.default_rng(0)
OTHERS = {
    "description": [f"protein {i} [Source:HGNC Symbol;Acc:{i}]" for i in range(N)],
    "gene_description": [f"zinc finger {i}" for i in range(N)],
    "interval": [f"chr1:{i}-{i + 9}" for i in range(N)],
    "location": [f"{i % 22 + 1}q{i}.{i % 4}" for i in range(N)],
    "refseq": [f"NM_{i:06d}" for i in range(N)],
    "refseq_protein": [f"NP_{i:06d}.2" for i in range(N)],
    "uniprot": [f"P{i:05d}" for i in range(N)],
    "entry_name": [f"{symbol}_HUMAN" for symbol in SYMBOLS],
    "entrez": [str(i + 1000) for i in range(N)],
    "hgnc_id": [f"HGNC:{i}" for i in range(N)],
    "go": [f"GO:{i:07d}" for i in range(N)],
    "go_term": [f"regulation of process {i}" for i in range(N)],
    "sequence": ["".join(rng.choice(list("ACGT"), 20)) for _ in range(N)],
    "transcript": [f"ENST{i:011d}" for i in range(N)],
    "transcript_name": [f"{symbol}-201" for symbol in SYMBOLS],
    "probe": [f"{i}_s_at" for i in range(N)],
    "family": [f"SLC{i % 60}" for i in range(N)],
    "chromosome": [f"chr{i % 24}" for i in range(N)],
    "gene_biotype": ["protein_coding", "lncRNA", "IG_C_gene"] * (N // 3),
    "mouse_ortholog": [symbol.capitalize() for symbol in SYMBOLS],
    "alias_symbol": [f"{symbol[::-1]}X" for symbol in SYMBOLS],
    "previous_symbol": [f"KIAA{i:04d}" for i in range(N)],
    "gene_number": [f"gene_{i}" for i in range(N)],
    "mirbase": [f"MI{i:07d}" for i in range(N)],
    "mim": [f"MIM:{i + 100000}" for i in range(N)],
}


def frame(index, /, **columns):
    return pd.DataFrame(columns, index=pd.Index(list(index), dtype=object))


@pytest.mark.parametrize(
    "name", ["external_gene_name", "SYMBOL", "hgnc_symbol", "gene_short_name", "feature_name", "Gene Name", "x"]
)
@pytest.mark.parametrize("other", OTHERS)
def test_symbols_win_over_anything_else(other, name):
    var = frame(IDS, **{other: OTHERS[other], name: SYMBOLS})
    if other == "alias_symbol" and name == "x":
        var = var.rename(columns={"x": "gene"})  # both are symbols, and only names of columns tell them apart
    space = FeatureSpace.from_var(var)
    assert space.symbols == tuple(SYMBOLS)
    assert space.ids == tuple(IDS)


def test_symbols_win_over_all_of_them():
    assert FeatureSpace.from_var(frame(IDS, **OTHERS, SYMBOL=SYMBOLS)).symbols == tuple(SYMBOLS)


@pytest.mark.parametrize(
    "other", [other for other in OTHERS if other not in {"mouse_ortholog", "alias_symbol", "previous_symbol", "mirbase"}]
)
def test_nothing_else_is_taken_for_symbols(other):
    assert FeatureSpace.from_var(frame(IDS, **{other: OTHERS[other]})).symbols == ("",) * N


@pytest.mark.parametrize("name", ["gene_name", "symbol"])
def test_a_telling_name_does_not_make_symbols_of_descriptions(name):
    assert FeatureSpace.from_var(frame(IDS, **{name: OTHERS["description"], "label": SYMBOLS})).symbols == tuple(SYMBOLS)


def test_the_index_is_preferred():
    space = FeatureSpace.from_var(frame(SYMBOLS, gene_ids=IDS, alias_symbol=OTHERS["alias_symbol"], gene_name=SYMBOLS))
    assert (space.symbols, space.ids) == (tuple(SYMBOLS), tuple(IDS))


@pytest.mark.parametrize("index", [range(N), OTHERS["gene_number"], OTHERS["refseq"], OTHERS["interval"]])
def test_an_index_of_something_else_is_not(index):
    var = frame(index, names=SYMBOLS, feature_types="Gene Expression")
    assert FeatureSpace.from_var(var).symbols == tuple(SYMBOLS)


def test_symbols_with_gaps():
    gaps = ["" if i % 3 == 0 else symbol for i, symbol in enumerate(SYMBOLS)]
    assert FeatureSpace.from_var(frame(IDS, description=OTHERS["description"], symbol=gaps)).symbols == tuple(gaps)


@pytest.mark.parametrize("column", ["mouse_ortholog_id", "mmusculus_homolog_ensembl_gene"])
def test_ids_of_orthologs_are_not_those_of_the_genes(column):
    sparse_ids = ["" if i % 10 == 0 else gene_id for i, gene_id in enumerate(IDS)]
    space = FeatureSpace.from_var(frame(SYMBOLS, **{column: MOUSE_IDS, "gene_ids": sparse_ids}))
    assert space.ids == tuple(sparse_ids)
    assert space.other_ids == {}


def test_further_ids_are_kept():
    later = [f"ENSG{i + 2 * 10**10:011d}" for i in range(N)]
    space = FeatureSpace.from_var(frame(SYMBOLS, gene_ids=IDS, gene_id_104=later))
    assert space.other_ids[0] == (later[0],)


@pytest.mark.parametrize(
    "name", ["gene_symbols", "Gene Symbols", "gene_symbols-0", "gene_symbols-1-0", "geneSymbols", "gene.symbols_x"]
)
def test_names_of_columns(name):
    assert normalised(name) == "genesymbols"
