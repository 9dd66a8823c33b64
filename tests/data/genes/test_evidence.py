"""Which species a dataset is of, with the names of real tables: what is refused, and a table as long of what is not."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from sctab import GeneOverlapError
from sctab.data import FeatureSpace
from sctab.zoo._packaged import packaged_path

PACKAGED = json.loads((packaged_path("pbmc") / "model.json").read_text(encoding="utf-8"))["features"]
HUMAN = FeatureSpace.from_json(PACKAGED)
IDS, SYMBOLS = PACKAGED["ids"][:1500], PACKAGED["symbols"][:1500]
N = len(IDS)
HUMAN_BY_SYMBOL = FeatureSpace(ids=("",) * len(PACKAGED["ids"]), symbols=tuple(PACKAGED["symbols"]))
SHARED = [
    symbol
    for symbol in SYMBOLS
    if symbol.isalnum() and symbol.isupper() and symbol != symbol.capitalize() and not symbol.startswith("LINC")
]
MOUSE = FeatureSpace(
    ids=tuple(f"ENSMUSG{i:011d}" for i in range(len(SHARED))), symbols=tuple(symbol.capitalize() for symbol in SHARED)
)
MOUSE_NAMES = ["Gm12345", "Gm4523", "Gm28438", "0610007P14Rik", "2310009B15Rik", "H2-Aa", "H2-K1", "H2-Eb1", "Ly6c2", "Lyz2"]
ERCC = [f"ERCC-{i:05d}" for i in range(92)]
VIRUSES = ["SARS-CoV-2", "ORF1ab", "HIV-gag", "EBER1", "LMP-1", "MERSN"]


def ids_of(code, n=N):
    return [f"{code}{i:011d}" for i in range(n)]


def fish(symbols, seed=0):
    """Symbols as in zebrafish: small letters, and for some genes two paralogs."""
    endings = np.random.default_rng(seed).choice(["", "a", "b"], p=[0.7, 0.18, 0.12], size=len(symbols))
    return [symbol.lower() + ending for symbol, ending in zip(symbols, endings, strict=True)]


def some(names, others, share):
    """Every so many of the names replaced."""
    step = round(1 / share)
    return [others[i % len(others)] if i % step == 0 else name for i, name in enumerate(names)]


def frame(index, /, **columns):
    return pd.DataFrame(columns, index=pd.Index(list(index), dtype=object))


OTHERS = {
    "macaque ids in the index, symbols beside": (frame(ids_of("ENSMMUG"), feature_name=SYMBOLS), "rhesus macaque"),
    "symbols in the index, marmoset ids beside": (frame(SYMBOLS, gene_ids=ids_of("ENSCJAG")), "marmoset"),
    "ids with versions": (frame([f"{name}.3" for name in ids_of("ENSPTRG")], symbol=SYMBOLS), "chimpanzee"),
    "rabbit ids in a column of any name": (frame(SYMBOLS, x=ids_of("ENSOCUG")), "rabbit"),
    "pig": (frame(SYMBOLS, ensembl_id=ids_of("ENSSSCG")), "pig"),
    "cow": (frame(ids_of("ENSBTAG"), gene_name=SYMBOLS), "cow"),
    "dog": (frame(SYMBOLS, gene_ids=pd.Categorical(ids_of("ENSCAFG"))), "dog"),
    "chicken": (frame(SYMBOLS, **{"gene_ids-0": ids_of("ENSGALG")}), "chicken"),
    "a code of a species that the table lacks": (frame(ids_of("ENSZZZG"), gene_name=SYMBOLS), "another species"),
    "no id beside a third of the symbols": (frame(SYMBOLS, gene_ids=some(ids_of("ENSMMUG"), [""], 0.33)), "rhesus macaque"),
    "ids where a symbol is missing": (frame(some(SYMBOLS, ids_of("ENSMMUG"), 0.1)), "rhesus macaque"),
    "human ids of orthologs in the index": (frame(IDS, gene_ids=ids_of("ENSMMUG")), "rhesus macaque"),
    "macaque with a column of human orthologs": (
        frame(ids_of("ENSMMUG"), human_ortholog=SYMBOLS, human_ortholog_id=IDS),
        "rhesus macaque",
    ),
    "symbols joined with ids": (frame([f"{s}_{i}" for s, i in zip(SYMBOLS, ids_of("ENSMFAG"), strict=True)]), "crab-eating macaque"),
    "transcripts": (frame(ids_of("ENSMMUT"), gene=SYMBOLS), "rhesus macaque"),
    "bytes": (frame(SYMBOLS, gene_ids=[name.encode() for name in ids_of("ENSOCUG")]), "rabbit"),
    "mouse ids beside symbols in capitals": (frame(ids_of("ENSMUSG"), gene=SYMBOLS), "mouse"),
    "mouse symbols beside human orthologs": (frame([s.capitalize() for s in SYMBOLS], human_symbol=SYMBOLS), "mouse"),
    "symbols in capitals beside those of mouse": (frame(SYMBOLS, feature_name=[s.capitalize() for s in SYMBOLS]), "mouse"),
    "mouse symbols in capitals": (frame([*SYMBOLS, *(name.upper() for name in MOUSE_NAMES * 3)]), "mouse"),
    "ids of MGI": (frame(SYMBOLS, mgi_id=[f"MGI:{i + 80000}" for i in range(N)]), "mouse"),
    "ids of RGD": (frame(SYMBOLS, gene_id=[f"RGD:{i + 600000}" for i in range(N)]), "rat"),
    "a strain of mouse": (frame([f"MGP_BALBcJ_G{i:07d}" for i in range(N)], gene=SYMBOLS), "mouse"),
    "genes of the MHC of macaque": (frame([*SYMBOLS[:900], "MAMU-A", "MAMU-DRA", "MAMU-E", "MAMU-DRB5"]), "rhesus macaque"),
    "genes of the MHC of pig": (frame([*SYMBOLS[:900], "SLA-1", "SLA-DRA", "SLA-DQA1", "SLA-8"]), "pig"),
    "genes of the MHC of rat, in capitals": (frame([*SYMBOLS[:900], "RT1-A1", "RT1-BA", "RT1-DA", "RT1-CE5"]), "rat"),
    "zebrafish": (frame(some(fish(SYMBOLS), ["si:ch211-202h22.7", "zgc:154093", "si:dkey-4p15.5", "wu:fb55g09"], 0.2)), "zebrafish"),
    "zebrafish without names of clones": (frame(fish(SYMBOLS)), "zebrafish"),
    "zebrafish in capitals": (frame(map(str.upper, fish(SYMBOLS))), "zebrafish"),
    "zebrafish by id": (frame(fish(SYMBOLS), id=[f"ZDB-GENE-{i:06d}-{i % 9}" for i in range(N)]), "zebrafish"),
    "two genomes of Xenopus laevis": (frame([f"{s.lower()}.{'LS'[i % 2]}" for i, s in enumerate(SYMBOLS)]), "Xenopus"),
    "worm": (frame([f"WBGene{i:08d}" for i in range(N)], gene_name=SYMBOLS), "worm"),
    "fly": (frame(SYMBOLS, gene_ids=[f"FBgn{i:07d}" for i in range(N)]), "fly"),
    "yeast": (frame([f"Y{'ABCDEFGH'[i % 8]}L{i % 400:03d}{'WC'[i % 2]}" for i in range(N)], gene=SYMBOLS), "yeast"),
    "Arabidopsis": (frame([f"AT{i % 5 + 1}G{i:05d}" for i in range(N)], gene=SYMBOLS), "Arabidopsis"),
    "the genome of a reader": (frame(SYMBOLS, genome="Mmul_10"), "rhesus macaque"),
    "the genome of mouse": (frame(SYMBOLS, genome=pd.Categorical(["mm10"] * N)), "mouse"),
    "the taxon of CELLxGENE": (frame(SYMBOLS, feature_reference="NCBITaxon:9483"), "marmoset"),
    "a species in Latin": (frame(SYMBOLS, species="Pan troglodytes"), "chimpanzee"),
    "behind a genome": (frame([f"mm10___{symbol}" for symbol in SYMBOLS]), "mouse"),
}  # fmt: skip
OWN = {
    "10x": frame(SYMBOLS, gene_ids=IDS, feature_types="Gene Expression", genome="GRCh38"),
    "10x with another name of the genome": frame(SYMBOLS, gene_ids=IDS, genome="refdata-gex-GRCh38-2020-A"),
    "ids in the index": frame(IDS, feature_name=SYMBOLS),
    "versions of GENCODE": frame([f"{name}.{i % 20}" for i, name in enumerate(IDS)], gene_name=SYMBOLS),
    "CELLxGENE": frame(
        IDS, feature_name=SYMBOLS, feature_reference="NCBITaxon:9606", feature_biotype="gene", feature_is_filtered=False
    ),
    "symbols": frame(SYMBOLS),
    "symbols in small letters": frame(map(str.lower, SYMBOLS)),
    "symbols in capitals": frame(map(str.upper, SYMBOLS)),
    "with spike-ins and viruses": frame(
        [*SYMBOLS, *ERCC, *VIRUSES], gene_ids=[*IDS, *ERCC, *VIRUSES],
        feature_reference=["NCBITaxon:9606"] * N + ["NCBITaxon:32630"] * 92 + ["NCBITaxon:2697049"] * 6,
    ),
    "with loci of RefSeq": frame([*SYMBOLS, *(f"LOC{i + 100127890}" for i in range(900))]),
    "with names of clones": frame([*SYMBOLS, *(f"RP11-{i}A{i % 9}.{i % 5}" for i in range(900)), *(f"AC{i:06d}.1" for i in range(900))]),
    "with orthologs of mouse": frame(IDS, feature_name=SYMBOLS, mouse_ortholog_id=ids_of("ENSMUSG")),
    "with symbols of mouse": frame(SYMBOLS, ensembl=IDS, mouse_symbol=[s.capitalize() for s in SYMBOLS]),
    "with a column of biomaRt": frame(SYMBOLS, mmusculus_homolog_ensembl_gene=ids_of("ENSMUSG")),
    "symbols with homologs in macaque": frame(SYMBOLS, macaque_homolog=ids_of("ENSMMUG")),
    "with ids of another species in a column of any name": frame(SYMBOLS, gene_ids=IDS, x=ids_of("ENSMUSG")),
    "with ids of MGI beside those of its own": frame(IDS, feature_name=SYMBOLS, mgi_id=[f"MGI:{i + 80000}" for i in range(N)]),
    "with both columns of biomaRt": frame(IDS, **{"HGNC.symbol": SYMBOLS, "MGI.symbol": [s.capitalize() for s in SYMBOLS]}),
    "with the table of HGNC": frame(
        SYMBOLS, hgnc_id=[f"HGNC:{i}" for i in range(N)], locus_type="gene with protein product",
        mgd_id=[f"MGI:{i}" for i in range(N)], rgd_id=[f"RGD:{i + 600000}" for i in range(N)],
    ),
    "with ids of HGNC": frame(SYMBOLS, hgnc_id=[f"HGNC:{i}" for i in range(N)]),
    "a few transgenes of mouse": frame(
        [*SYMBOLS, *MOUSE_NAMES[:4], "Cre", "EGFP"], gene_ids=[*IDS, *ids_of("ENSMUSG", 4), "Cre", "EGFP"]
    ),
    "a few ids of mouse": frame([*SYMBOLS, *ids_of("ENSMUSG", 20)]),
    "half a barnyard by id": frame([*IDS, *ids_of("ENSMUSG")]),
    "a barnyard by id and symbol": frame([*SYMBOLS, *MOUSE.symbols], gene_ids=[*IDS, *MOUSE.ids]),
    "a barnyard by symbol": frame([*SYMBOLS, *MOUSE.symbols, *MOUSE_NAMES]),
    "a barnyard by genome": frame(
        [f"GRCh38_{s}" for s in SYMBOLS] + [f"mm10_{s}" for s in MOUSE.symbols], genome=["GRCh38"] * N + ["mm10"] * len(MOUSE)
    ),
    "a barnyard of CITE-seq": frame([f"HUMAN_{s}" for s in SYMBOLS] + [f"MOUSE_{s}" for s in MOUSE.symbols] + ERCC),
    "numbers in the index": frame(range(N), symbol=SYMBOLS),
    "names with numbers in the index": frame([f"Gene{i}" for i in range(N)], symbol=SYMBOLS),
    "descriptions": frame(
        SYMBOLS, description=[f"Protein {i} of the mouse" for i in range(N)], location=["Nucleus", "Membrane", "Cytosol"] * (N // 3)
    ),
    "many other columns": frame(
        SYMBOLS, uniprot=[f"P{i:05d}" for i in range(N)], refseq=[f"NM_{i:06d}" for i in range(N)], chromosome="chr1",
        transcript=ids_of("ENST"), family=["SLC25", "ZNF", "TMEM"] * (N // 3), go=[f"GO:{i:07d}" for i in range(N)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_species_is_refused_by_name(name):
    var, species = OTHERS[name]
    match = HUMAN.match(var)
    with pytest.raises(GeneOverlapError, match=f"^The data looks like {species}.* and the model is human: .*orthologs") as refusal:
        match.require(0)
    for names in (var.index, *(var[column] for column in var if var[column].nunique() > 100)):
        example = next(name for name in names if name)
        assert f"`{example.decode() if isinstance(example, bytes) else example}`" in str(refusal.value)


@pytest.mark.parametrize("name", OWN)
def test_human_data_is_accepted(name):
    match = HUMAN.match(OWN[name])
    match.require(0.1)
    assert match.n_matched >= 0.99 * N
    assert match.n_summed == 0


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_without_ids_refuses_them_too(name):
    """`HLA-` tells that it is of human."""
    var, species = OTHERS[name]
    with pytest.raises(GeneOverlapError, match=f"^The data looks like {species}"):
        HUMAN_BY_SYMBOL.match(var).require(0)


@pytest.mark.parametrize(
    ("var", "told"),
    [
        (OWN["with orthologs of mouse"], r"`var\['mouse_ortholog_id'\]` holds ids of mouse, such as `ENSMUSG00000000000`"),
        (OWN["symbols with homologs in macaque"], r"`var\['macaque_homolog'\]` holds ids of rhesus macaque"),
        (OWN["with ids of another species in a column of any name"], r"`var\['x'\]` holds ids of mouse"),
        (OWN["half a barnyard by id"], "Ignored features from mouse: 1500"),
        (OWN["symbols in small letters"], "The symbols are in lower case, like those of fish and frogs"),
    ],
)  # fmt: skip
def test_what_is_accepted_and_not_certain_is_told(var, told):
    (note,) = HUMAN.match(var).notes
    assert re.search(told, note)


@pytest.mark.parametrize(
    "name", ["10x", "ids in the index", "CELLxGENE", "with names of clones", "with ids of HGNC", "many other columns"]
)
def test_what_is_certain_needs_no_word(name):
    assert HUMAN.match(OWN[name]).notes == ()


LOCI = [f"LOC{i + 106990000}" for i in range(700)]
WITHOUT_MHC = [symbol for symbol in PACKAGED["symbols"] if not symbol.startswith("HLA-")]


def test_a_genome_with_loci_and_without_the_mhc_of_human_is_told():
    match = HUMAN.match(frame([*WITHOUT_MHC, *LOCI]))
    match.require(0.1)
    (note,) = match.notes
    assert note == (
        "700 features are loci without a name (`LOC…`), and none is called `HLA-…`: NCBI annotates genomes of other mammals in this way. "
        "Check that the data is from human."
    )


@pytest.mark.parametrize(
    "var",
    [
        frame([*PACKAGED["symbols"], *LOCI]),
        frame([*WITHOUT_MHC, *LOCI, "HLA.A"]),
        frame([*WITHOUT_MHC, *LOCI[:100]]),
        frame([*WITHOUT_MHC[:2000], *LOCI]),
        frame(WITHOUT_MHC),
    ],
)
def test_less_than_that_needs_no_word(var):
    assert HUMAN.match(var).notes == ()


@pytest.mark.parametrize(
    "var",
    [
        frame(MOUSE.symbols),
        frame(MOUSE.ids, gene_name=MOUSE.symbols),
        frame([s.upper() for s in MOUSE.symbols], gene_ids=MOUSE.ids),
        frame(MOUSE.symbols, gene_ids=MOUSE.ids, human_ortholog=SHARED),
        frame(MOUSE.symbols, mgi_id=[f"MGI:{i + 80000}" for i in range(len(MOUSE))]),
        frame([*MOUSE.symbols, *MOUSE_NAMES], genome="mm10"),
        frame([f"mm10___{name}" for name in MOUSE.symbols] + [f"GRCh38_{name}" for name in SYMBOLS]),
    ],
)
def test_mouse_data_is_accepted_by_a_mouse_model(var):
    match = MOUSE.match(var)
    match.require(0.9)
    assert match.found.all()


@pytest.mark.parametrize("name", ["10x", "symbols", "ids in the index", "CELLxGENE"])
def test_human_data_is_refused_by_a_mouse_model(name):
    with pytest.raises(GeneOverlapError, match=r"^The data looks like human and the model is mouse"):
        MOUSE.match(OWN[name]).require(0)


def test_the_fix_that_is_named_works():
    var = frame(ids_of("ENSMMUG"), human_ortholog=SYMBOLS)
    orthologs = var["human_ortholog"].to_numpy()
    match = HUMAN.match(pd.DataFrame(index=orthologs))
    match.require(0.1)
    assert match.n_matched == N


def test_ids_of_another_species_keep_a_symbol_from_being_matched():
    """Human and mouse cells in one experiment: the mouse gene `CD3D`, in capitals, is not added to that of human."""
    symbols = SYMBOLS[:100]
    match = HUMAN.match(frame([*symbols, *symbols], gene_ids=[*IDS[:100], *ids_of("ENSMUSG", 100)]))
    assert match.selection[100:].nnz == 0
    assert match.n_matched == 100
