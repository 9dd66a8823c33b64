"""Species of genes, from their ids and names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sctab.data.genes._names import common_case, genome_in, parts_of

FEW = 5
"""Fewer names than this are not evidence: data of one species may hold a few transgenes of another."""
SHARE = 0.05
"""Nor is a smaller fraction of ids."""
_SHARE_OF_MARKERS = 0.01
MIXED = 3
"""Minimum ratio between names of two species; below it the data is a mixture of both."""
_TITLE_CASE_SPECIES = {"mouse", "rat", "golden hamster", "Chinese hamster"}
_OTHER_CASE_SPECIES = {"zebrafish", "worm", "fly", "Xenopus"}
_ENSEMBL_SPECIES = {
    "": "human", "MUS": "mouse", "RNO": "rat", "MMU": "rhesus macaque", "MFA": "crab-eating macaque", "MNE": "pig-tailed macaque",
    "PAN": "baboon", "CSA": "green monkey", "CAT": "sooty mangabey", "PTR": "chimpanzee", "PPA": "bonobo", "GGO": "gorilla",
    "PPY": "orangutan", "NLE": "gibbon", "CJA": "marmoset", "SBO": "squirrel monkey", "CCA": "capuchin", "MIC": "mouse lemur",
    "PCO": "sifaka", "OGA": "bushbaby", "TSY": "tarsier", "TBE": "tree shrew", "SSC": "pig", "BTA": "cow", "OAR": "sheep",
    "CHI": "goat", "ECA": "horse", "VPA": "alpaca", "CAF": "dog", "FCA": "cat", "MPU": "ferret", "AME": "giant panda",
    "OCU": "rabbit", "CPO": "guinea pig", "MAU": "golden hamster", "CGR": "Chinese hamster", "HGL": "naked mole-rat",
    "STO": "squirrel", "MUG": "Mongolian gerbil", "EEU": "hedgehog", "SAR": "shrew", "MLU": "little brown bat", "PVA": "megabat",
    "RFE": "greater horseshoe bat", "TTR": "dolphin", "LAF": "elephant", "DNO": "armadillo", "MDO": "opossum",
    "SHA": "Tasmanian devil", "OAN": "platypus", "GAL": "chicken", "MGA": "turkey", "APL": "duck", "TGU": "zebra finch",
    "ACA": "anole lizard", "PSI": "softshell turtle", "XET": "Xenopus", "LAC": "coelacanth", "DAR": "zebrafish", "ORL": "medaka",
    "AMX": "cavefish", "GAC": "stickleback", "TNI": "tetraodon", "TRU": "fugu", "GMO": "cod", "ONI": "tilapia", "SSA": "salmon",
    "OMY": "rainbow trout", "NFU": "killifish", "PMA": "lamprey", "CIN": "sea squirt", "CSAV": "sea squirt",
}  # fmt: skip
"""Code between `ENS` and the `G` of an id: https://www.ensembl.org/info/genome/stable_ids/prefixes.html"""
_ENSEMBL_CODE = re.compile(r"ENS([A-Z]*)G\d+")
_FEATURE_OF_ENSEMBL = re.compile(r"ENS([A-Z]{3,})[TPE]\d{6,}(?:\.\d+)?", re.IGNORECASE)
_IDS_OF_DATABASES = {
    "mouse": r"MGI:\d+",
    "rat": r"RGD:?\d{4,}|AABR\d+\.\d+|Rn[56]0_\w+\.\d+",
    "human": r"HGNC:\d+",
    "zebrafish": r"ZDB-[A-Z]+-\d+-\d+",
    "Xenopus": r"XB-GENE-\d+|Xetrov\w+",
    "chicken": r"CGNC:\d+",
    "yeast": r"Y[A-P][LR]\d{3}[WC](?:-[A-H])?|SGD:S\d+",
    "fission yeast": r"SP[ABC][CP][\w.]+\.\d+c?",
    "Arabidopsis": r"AT[1-5MC]G\d{5}(?:\.\d+)?",
    "rice": r"(?:LOC_)?Os\d\d[gt]\d{5,7}",
    "maize": r"Zm\d{5}\w+|GRMZM\w+",
    "Plasmodium": r"PF3D7_\d+|PBANKA_\d+",
    "Dictyostelium": r"DDB_G\d+",
    "fly": r"CG\d{3,}|FBtr\d+|lncRNA:[A-Z]\w*",
    "worm": r"(?:[A-Z]\d{1,3}[A-Z]\d{1,2}[A-Z]?|ZK\d+|CELE_\w+)\.\d+[a-z]?",
}
_LIKE_AN_ID = re.compile(r"\d{3}|\d\.\d|:\w|_")
_DATABASE_ID = re.compile("|".join(f"(?P<s{i}>{pattern})" for i, pattern in enumerate(_IDS_OF_DATABASES.values())))
_MHC = {
    "human": r"HLA-",
    "mouse": r"(?i:H2-)",
    "rat": r"(?i:RT1-)",
    "rhesus macaque": r"(?i:MAMU-)",
    "crab-eating macaque": r"(?i:MAFA-)",
    "marmoset": r"(?i:CAJA-)",
    "chimpanzee": r"(?i:PATR-)",
    "gorilla": r"(?i:GOGO-)",
    "baboon": r"(?i:PAAN-)",
    "pig": r"(?i:SLA-)",
    "cow": r"(?i:BOLA-)",
    "dog": r"(?i:DLA-)",
    "cat": r"(?i:FLA-)",
    "horse": r"(?i:EQCA-|ELA-)",
    "sheep": r"(?i:OVAR-|OLA-)",
    "rabbit": r"(?i:RLA-)",
}
"""Genes of the major histocompatibility complex have the species in their name. Those of human are not matched in other case: a table
of another species whose names were capitalised, or the reverse, keeps its own."""
_MHC_GENE = re.compile("|".join(f"(?P<s{i}>(?:{prefix})[A-Za-z0-9])" for i, prefix in enumerate(_MHC.values())))
_FEWEST_MHC = 3
_MARKERS = {
    "human": r"LINC\d{5}|RP\d{1,2}-\d+[A-Z]\d+\.\d+",
    "mouse": r"(?i:GM\d{4,}|\d[0-9A-Z]{6,}RIK\d?|LY6C[12]|LYZ[12]|HBB-B[STH]\d?|HBA-A[12]|KLRA\d+|IFI27L2A|MS4A4[BC]|GZMD)",
    "zebrafish": r"(?i:(?:SI|ZGC|WU|ZMP):\w.*|CABZ\d{8}\.\d+)",
    "Xenopus": r"(?i:[A-Z][\w-]*\.[LS])",
}
_MARKER = re.compile("|".join(f"(?P<s{i}>{pattern})" for i, pattern in enumerate(_MARKERS.values())))
_TAXA = {
    "9606": "human", "10090": "mouse", "10116": "rat", "9544": "rhesus macaque", "9541": "crab-eating macaque", "9598": "chimpanzee",
    "9593": "gorilla", "9483": "marmoset", "30608": "mouse lemur", "9823": "pig", "9913": "cow", "9940": "sheep", "9986": "rabbit",
    "9615": "dog", "9685": "cat", "9796": "horse", "10141": "guinea pig", "9031": "chicken", "8364": "Xenopus", "8355": "Xenopus",
    "9545": "pig-tailed macaque", "9555": "baboon", "60711": "green monkey", "9531": "sooty mangabey", "9597": "bonobo", "9595": "gorilla",
    "9600": "orangutan", "9601": "orangutan", "9925": "goat", "9669": "ferret", "10036": "golden hamster", "10029": "Chinese hamster",
    "10181": "naked mole-rat", "10047": "Mongolian gerbil", "13616": "opossum", "9258": "platypus", "8090": "medaka",
    "10091": "mouse", "10092": "mouse", "39442": "mouse", "57486": "mouse", "7955": "zebrafish", "7227": "fly",
    "6239": "worm", "4932": "yeast", "559292": "yeast", "3702": "Arabidopsis",
}  # fmt: skip
_LATIN = {
    "homo sapiens": "human", "mus musculus": "mouse", "rattus norvegicus": "rat", "macaca mulatta": "rhesus macaque",
    "macaca fascicularis": "crab-eating macaque", "pan troglodytes": "chimpanzee", "gorilla gorilla": "gorilla",
    "callithrix jacchus": "marmoset", "microcebus murinus": "mouse lemur", "sus scrofa": "pig", "bos taurus": "cow",
    "ovis aries": "sheep", "oryctolagus cuniculus": "rabbit", "canis lupus familiaris": "dog", "canis familiaris": "dog",
    "felis catus": "cat", "equus caballus": "horse", "cavia porcellus": "guinea pig", "gallus gallus": "chicken",
    "xenopus tropicalis": "Xenopus", "xenopus laevis": "Xenopus", "danio rerio": "zebrafish", "drosophila melanogaster": "fly",
    "macaca nemestrina": "pig-tailed macaque", "papio anubis": "baboon", "chlorocebus sabaeus": "green monkey", "pan paniscus": "bonobo",
    "cercocebus atys": "sooty mangabey", "pongo abelii": "orangutan", "pongo pygmaeus": "orangutan", "capra hircus": "goat",
    "mustela putorius": "ferret", "mesocricetus auratus": "golden hamster", "cricetulus griseus": "Chinese hamster",
    "heterocephalus glaber": "naked mole-rat", "meriones unguiculatus": "Mongolian gerbil", "monodelphis domestica": "opossum",
    "ornithorhynchus anatinus": "platypus", "oryzias latipes": "medaka", "canis lupus": "dog",
    "caenorhabditis elegans": "worm", "saccharomyces cerevisiae": "yeast", "arabidopsis thaliana": "Arabidopsis",
}  # fmt: skip
_COMMON = (
    {name.lower(): name for name in _LATIN.values()}
    | {f"{latin[0]}{dot}{latin.split()[1]}": name for latin, name in _LATIN.items() for dot in ("", ". ", ".")}
    | {"macaque": "rhesus macaque", "rhesus": "rhesus macaque", "cynomolgus macaque": "crab-eating macaque"}
)


@dataclass(frozen=True)
class Species:
    """A likely species, and how well that is known."""

    name: str
    is_certain: bool
    """True if ids say so, or names that no other species has. Otherwise only the case of the symbols does, which related species share."""

    @property
    def case(self) -> str:
        """Case of its symbols: `upper`, `title` or `other`."""
        if self.name in _OTHER_CASE_SPECIES:
            return "other"
        return "title" if self.name in _TITLE_CASE_SPECIES else "upper"

    def contradicts(self, other: Species) -> bool:
        """Return whether the two cannot be the same species."""
        return self.name != other.name if self.is_certain and other.is_certain else self.case != other.case


@lru_cache(maxsize=2**10)
def _named_by_code(code: str) -> str:
    return _ENSEMBL_SPECIES.get(code, f"another species (its Ensembl ids begin with `ENS{code}`)")


@lru_cache(maxsize=2**18)
def species_of(name: str) -> str | None:
    """The species that the id in a name, or the genome before it, belongs to; `None` for symbols.

    Examples
    --------
    >>> species_of("ENSOCUG00000012345.2"), species_of("MGI:88331"), species_of("mm10___Cd3d"), species_of("CD3D")
    ('rabbit', 'mouse', 'mouse', None)
    """
    symbol, gene_id, genome = parts_of(name)
    if genome is not None:
        return genome
    if gene_id:
        if code := _ENSEMBL_CODE.fullmatch(gene_id):
            return _named_by_code(code[1])
        return {"W": "worm", "F": "fly", "M": "mouse"}[gene_id[0]]
    if not _LIKE_AN_ID.search(symbol):
        return None
    if code := _FEATURE_OF_ENSEMBL.fullmatch(symbol):
        return _named_by_code(code[1].upper())
    found = _DATABASE_ID.fullmatch(symbol)
    return list(_IDS_OF_DATABASES)[int(str(found.lastgroup)[1:])] if found else None


def organism(text: str) -> str | None:
    """The species that a text names: in Latin or English, by its number in NCBI's taxonomy, or by a genome.

    Examples
    --------
    >>> organism("Macaca mulatta"), organism("NCBITaxon:10090"), organism("GRCh38-2020-A"), organism("blood")
    ('rhesus macaque', 'mouse', 'human', None)
    """
    words = re.sub(r"[\s_]+", " ", text.strip().lower())
    taxon = re.fullmatch(r"(?:ncbitaxon|taxid|txid)?[:_ ]?(\d{4,6})", words)
    latin = " ".join(words.split()[:2])  # `Gorilla gorilla gorilla` is a subspecies
    return _TAXA.get(taxon[1]) if taxon else _LATIN.get(latin) or _COMMON.get(words) or genome_in(text)


def guess_species(names: Iterable[str]) -> Species | None:
    """The likely species of gene names: from ids, else from names that only one species has, else from the case of symbols, else `None`.

    Parameters
    ----------
    names
        Ensembl ids or symbols; empty ones do not count.

    Examples
    --------
    >>> guess_species(["ENSMUSG00000032094"] * 20).name, guess_species(["Cd3d", "Ms4a1", "Nkg7", "Lyz2", "Cst3"] * 4).name
    ('mouse', 'mouse')
    """
    names = [name for name in names if name]
    of_ids = Counter(species for name in names if (species := species_of(name)) is not None)
    if is_enough(of_ids.total(), len(names)):
        species, count = of_ids.most_common(1)[0]
        return Species(species, is_certain=True) if count > 0.6 * of_ids.total() else None
    parts = map(parts_of, names)
    symbols = [part.symbol for part in parts if not part.gene_id and len(part.symbol) > 1 and not part.symbol.isdigit()]
    return guess_from_symbols(symbols)


def is_enough(n_names: int, n_all: int) -> bool:
    """Return whether the number of ids is evidence: a fraction of all names, and more than a few of many."""
    return n_names > 0 and n_names >= max(SHARE * n_all, min(FEW, n_all / 2))


def guess_from_symbols(symbols: Sequence[str]) -> Species | None:
    """The likely species of symbols: from names that only one species has, else from their case."""
    for pattern, table, fewest in (
        (_MHC_GENE, _MHC, _FEWEST_MHC),
        (_MARKER, _MARKERS, max(FEW, _SHARE_OF_MARKERS * len(symbols))),
    ):
        match = pattern.match if pattern is _MHC_GENE else pattern.fullmatch
        counts = Counter(found.lastgroup for symbol in symbols if (found := match(symbol)) is not None)
        for group, count in counts.most_common(1):
            if count >= fewest and count > MIXED * (counts.total() - count):
                return Species(list(table)[int(str(group)[1:])], is_certain=True)
    if len(symbols) < 20:
        return None
    match common_case(symbols):
        case "title":
            return Species("mouse", is_certain=False)
        case "upper":
            return Species("human", is_certain=False)
        case _:
            return None
