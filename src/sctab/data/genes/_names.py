"""The parts of a gene's name: Ensembl id, symbol, genome, and how it is written.

Each name is asked about often, so the answers are remembered.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

_QUOTED = re.compile(r"b?(['\"])(.*)\1", re.DOTALL)
_LABEL = re.compile(r"^(?:gene[:-]|(?:rna|gex)[:_])(?=[A-Za-z])", re.IGNORECASE)
"""`gene:` of GTF, `gene-` of NCBI, `rna:` of MuData, `rna_` of Seurat."""
_GENOMES = {
    "human": r"GRCh3[78](?:[._]?p\d+)?|hg(?:18|19|38)|human(?=_)|homo_sapiens",
    "mouse": r"GRCm3[89](?:[._]?p\d+)?|mm(?:9|10|39)|mouse(?=_)|mus_musculus",
    "rat": r"mRatBN7(?:\.\d)?|GRCr8|Rnor_[56]\.0|rn[5-8]",
    "rhesus macaque": r"Mmul_(?:8\.0\.1|10)|rheMac\d+",
    "crab-eating macaque": r"Macaca_fascicularis_[56]\.0|macFas\d",
    "marmoset": r"mCalJac1|calJac\d",
    "chimpanzee": r"Pan_tro_3\.0|panTro\d",
    "pig": r"Sscrofa1[01](?:\.\d)?|susScr\d+",
    "cow": r"ARS-UCD1\.\d|UMD_?3\.1|bosTau\d+",
    "dog": r"CanFam[34](?:\.\d)?|ROS_Cfam_1\.0",
    "rabbit": r"OryCun2(?:\.0)?",
    "chicken": r"GRCg[567]\w?|bGalGal1|galGal\d",
    "zebrafish": r"GRCz1[0-2]|danRer\d+",
    "fly": r"BDGP[56](?:\.\d+)?|dm[36]",
    "worm": r"WBcel235|ce1[01]",
    "yeast": r"R64-1-1|sacCer3",
}
_GROUPS = "|".join(f"(?P<{species.replace(' ', '_').replace('-', '__')}>{genome})" for species, genome in _GENOMES.items())
_GENOME_PREFIX = re.compile(rf"^(?:{_GROUPS})(?:_+|-)", re.IGNORECASE)
_GENOME = re.compile(rf"(?:^|[^a-z0-9])(?:{_GROUPS})(?![a-z0-9])", re.IGNORECASE)
_ID = re.compile(
    r"(?:^|(?<=[^A-Za-z0-9]))"
    r"(?P<id>ENSGR\d{10}|(?:ENS[A-Z]*|MGP_[A-Z0-9]+_)G\d{6,}|WBGene\d+|FBgn\d+)"
    r"(?:\.\d+)?(?:[_.]PAR_Y)?(?:[_-]\d{1,3})?(?=$|[^A-Za-z0-9])",  # a version, a copy on Y, a lift-over or a number that makes it unique
    re.IGNORECASE,
)
_PLAIN_ID = re.compile(r"(ENS(?:[A-Z]{3,})?G\d{6,}|WBGene\d+|FBgn\d+)(?:\.\d+)?")
_SHORTEST_ID_WITH_SYMBOL = 13
_ID_STARTS = ("ens", "mgp", "wbg", "fbg")
_BEHIND = re.compile(r"(?:_+chr\w+|\|\d+)$")
"""`CD3D__chr11` of CEL-Seq, `CD3D|915` of TCGA."""
_JOINTS = " \t_|:;/,-.()[]"
_remembered = lru_cache(maxsize=2**18)
"""For what is asked of one name: datasets have their names in common, and each is asked several times."""


class Parts(NamedTuple):
    """The parts of a name."""

    symbol: str
    """Without quotes, labels, genome and id; may be empty."""
    gene_id: str
    """Ensembl id without version; may be empty."""
    genome: str | None
    """Species whose genome is the prefix."""


@_remembered
def parts_of(name: str) -> Parts:
    """The parts of a name as tools and tables write it.

    Examples
    --------
    >>> parts_of("CD3D_ENSG00000167286.12")
    Parts(symbol='CD3D', gene_id='ENSG00000167286', genome=None)
    >>> parts_of("GRCh38_____CD3D")
    Parts(symbol='CD3D', gene_id='', genome='human')
    """
    text = name.strip()
    if text.replace(".", "").isalnum():  # most names: nothing is added to them
        if len(text) < _SHORTEST_ID_WITH_SYMBOL and text[:3].lower() not in _ID_STARTS:
            return Parts(text, "", None)
        if plain := _PLAIN_ID.fullmatch(text):
            return Parts("", plain[1], None)
    if quoted := _QUOTED.fullmatch(text):
        text = quoted[2].strip()
    text = _LABEL.sub("", text)
    genome = None
    if prefix := _GENOME_PREFIX.match(text):
        genome, text = _species_of_group(prefix), text[prefix.end() :]
    lower = text.lower()
    found = _ID.search(text) if any(start in lower for start in _ID_STARTS) else None
    if found is None:
        return Parts(_BEHIND.sub("", text), "", genome)
    rest = (text[: found.start()].rstrip(_JOINTS) + " " + text[found.end() :].lstrip(_JOINTS)).strip(_JOINTS)
    return Parts("" if re.search(r"[\s|;,]", rest) else rest, _canonical_id(found["id"]), genome)


def _canonical_id(gene_id: str) -> str:
    upper = gene_id.upper()
    if upper.startswith("ENSGR"):
        return f"ENSG0{upper[5:]}"  # how GENCODE wrote the copies on Y of pseudoautosomal genes
    if upper.startswith("WBG"):
        return f"WBGene{upper[6:]}"
    return f"FBgn{upper[4:]}" if upper.startswith("FBGN") else upper


def _species_of_group(match: re.Match[str]) -> str:
    return str(match.lastgroup).replace("__", "-").replace("_", " ")


def genome_in(text: str) -> str | None:
    """The species of the genome that a string names, such as `refdata-gex-GRCh38-2020-A`; `None` where it names none or several."""
    found = {_species_of_group(match) for match in _GENOME.finditer(text)}
    return found.pop() if len(found) == 1 else None


def common_case(names: Sequence[str]) -> Literal["upper", "title", "other"]:
    """Case of most symbols: as in human (`CD3D`), as in mouse and rat (`Cd3d`), or other."""
    counts = Counter(map(case_of, names))
    n_symbols = counts["upper"] + counts["title"] + counts["other"]
    if counts["title"] > 0.5 * n_symbols:
        return "title"
    return "upper" if counts["upper"] > 0.8 * n_symbols else "other"


@_remembered
def case_of(name: str) -> Literal["upper", "title", "other"] | None:
    """Case of a symbol, or `None` where the name is too short for one, begins with no letter, or is an Ensembl id."""
    symbol = parts_of(name).symbol
    if len(symbol) <= 2 or not symbol[0].isalpha():
        return None
    if symbol.upper() == symbol:
        return "upper"
    return "title" if symbol[0].isupper() and any(map(str.islower, symbol)) and not any(map(str.isupper, symbol[1:])) else "other"


@_remembered
def canonical(name: str) -> str:
    """The symbol in capitals and with `-` for `.`."""
    return parts_of(name).symbol.upper().replace(".", "-")


def strip_version(name: str) -> str | None:
    """The Ensembl id without version and genome prefix, or `None` where the name has none."""
    return parts_of(name).gene_id or None


def is_mostly_ensembl(names: Sequence[str]) -> bool:
    """Return whether more than half of the names that are not empty are Ensembl ids."""
    n_ids = sum(bool(parts_of(name).gene_id) for name in names)
    return n_ids > 0.5 * (len(names) - names.count(""))


DATE = r"\d{1,2}-(?:Mar|Sept?|Dec|Oct|Feb|Apr)|(?:Mar|Sept?|Dec|Oct|Feb|Apr)-\d{1,2}|(?:19|20)\d\d[-/]\d\d[-/]\d\d.*"
"""Dates into which spreadsheets turn `MARCH1`, `SEPT2`, `DEC1`, `OCT4`, `FEB1` and `APR1`."""
_OTHER_NAMES = {
    "transcript ids": r"(?:ENS[A-Z]*T|FBtr)\d{6,}(?:\.\d+)?|(?:NM|NR|XM|XR)_\d+(?:\.\d+)?|uc\d{3}[a-z]{3}\.\d+|.+-20\d",
    "protein ids": (
        r"ENS[A-Z]*P\d{6,}(?:\.\d+)?|[NXY]P_\d+(?:\.\d+)?|[OPQ]\d[A-Z0-9]{3}\d(?:-\d+)?"
        r"|[A-NR-Z]\d(?:[A-Z][A-Z0-9]{2}\d){1,2}|\w+_HUMAN"
    ),
    "numbers, such as Entrez ids": r"\d+(?:\.0)?|(?:entrez|geneid|ncbigene)[:_ ]?\d+",
    "probes": r"\w+_[a-z]*_?at|ILMN_\d+|A_\d\d_P\d+|cg\d{8}|rs\d+",
    "positions": (
        r"(?:chr)?(?:\d{1,2}|[XYM]|MT|[A-Z]{2}\d{6}\.\d):\d.*|chr\w+(?:[:_-]\d+)*|\d+[pq]\d+(?:\.\d+)?(?:-[pq]?\d.*)?|[XY][pq]\d+(?:\.\d+)?"
    ),
    "sequences": r"[ACGTNacgtn]{8,}(?:-\d+)?",
    "ids of other databases": (
        r"(?:GO|HGNC|MGI|RGD|OMIM|MIM|UMLS|KEGG|hsa|mmu|EC|R-HSA|VGNC|CL|UBERON|SO|HP|MONDO|Reactome|Pfam|InterPro)[:-]?\d[\d.-]*"
        r"|OTT[A-Z]+\d+(?:\.\d+)?|CCDS\d+(?:\.\d+)?|PF\d{5}|IPR\d{6}|MI(?:MAT)?\d{7}|ENS[A-Z]*[EFR]M?\d{6,}|ENSGT\d+|LRG_\d+|K\d{5}|\d+\.\d+\.\d+\.[\d-]+"
    ),
    "numbered names": r"(?:gene|feature|var|probe|peak|region|transcript|protein|id|g)[-_ .]?\d+",
    "dates": DATE,
}
_OTHER_NAME = re.compile("|".join(f"(?P<k{i}>{pattern})" for i, pattern in enumerate(_OTHER_NAMES.values())), re.IGNORECASE)
_SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[.\-_/@:][A-Za-z0-9]+)*|\d{1,3}[A-Za-z][A-Za-z0-9-]*")


@_remembered
def kind_of(name: str) -> str:
    """Kind of a name: `symbols`, `Ensembl ids`, or another kind of gene id.

    Examples
    --------
    >>> kind_of("CD3D"), kind_of("NM_000732.6"), kind_of("CD3 delta subunit [Source:HGNC]")
    ('symbols', 'transcript ids', 'descriptions')
    """
    symbol, gene_id, _ = parts_of(name)
    if not symbol:
        return "Ensembl ids" if gene_id else "descriptions"
    if (other := _OTHER_NAME.fullmatch(symbol)) and (other.lastgroup != "k1" or symbol[0].isupper()):
        return list(_OTHER_NAMES)[int(str(other.lastgroup)[1:])]
    return "symbols" if len(symbol) <= 30 and _SYMBOL.fullmatch(symbol) else "descriptions"


def common_kind(names: Sequence[str]) -> str | None:
    """Kind of more than half of the names, from at most a thousand of them; `None` where they are of many kinds."""
    known = [name for name in names if name]
    sample = known[:: max(1, len(known) // 1000)]
    if not sample:
        return None
    kind, count = Counter(map(kind_of, sample)).most_common(1)[0]
    return kind if count > 0.5 * len(sample) else None


_FAMILIES = re.compile(
    "|".join(
        f"(?P<f{i}>{pattern})"
        for i, pattern in enumerate(
            (
                r"HLA-[A-G]\w*|H2-\w+",
                r"MT-(?:ND|CO|ATP|CYB|RN)\w*",
                r"RP[LS]P?\d+\w*",
                r"CD\d+[A-Z]?",
                r"IL\d+\w*",
                r"(?:CC|CXC)[LR]\d+",
                r"KRT\d+",
                r"COL\d+A\d",
                r"SLC\d+A\d+",
                r"(?:ZNF|ZFP)\d+",
                r"TMEM\d+",
                r"S100A\d+",
                r"FOX[A-R]\d",
                r"SOX\d+",
                r"HOX[A-D]\d+",
                r"NDUF[A-S]\d+",
                r"PSM[A-G]\d+",
                r"GZM[A-M]",
                r"LINC\d+",
            )
        )
    ),
    re.IGNORECASE,
)
"""Symbols of large families of genes, which many species have."""
_FEWEST_NAMES, _FEWEST_FAMILIES = 5, 3
"""Number of names, and of families, that identify genes: patients may be called `CD1` to `CD9`."""


def are_genes(names: Sequence[str]) -> bool:
    """Return whether names are surely those of genes, whatever the species: mostly Ensembl ids, or many symbols of well-known families.

    Examples
    --------
    >>> are_genes(["RPL3", "RPS6", "CD3D", "CD4", "HLA-A"]), are_genes(["CD1", "CD2", "CD3", "CD4", "CD5"])
    (True, False)
    """
    found = [match.lastgroup for name in names if (match := _FAMILIES.fullmatch(parts_of(name).symbol))]
    return (len(found) >= _FEWEST_NAMES and len(set(found)) >= _FEWEST_FAMILIES) or common_kind(names) == "Ensembl ids"
