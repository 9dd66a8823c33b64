"""Fields of a dataset that only the laboratory knows: what each format asks for, and which values it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sctab.errors import listing
from sctab.ontology import find_metadata_term

Format = Literal["cap", "cellxgene", "table"]
TARGETS: tuple[Format, ...] = ("cap", "cellxgene")
"""Formats of portals."""
SUFFIX = "_ontology_term_id"
TAXA = {"human": ("NCBITaxon:9606", "Homo sapiens"), "mouse": ("NCBITaxon:10090", "Mus musculus")}
"""Id and name of each species whose genes are known."""
CELL_LINE = "cell line"
_SEVERAL = " || "


@dataclass(frozen=True)
class Field:
    """A field, and the values that it takes."""

    name: str
    example: str
    meaning: str = ""
    """Name of the example."""
    ontologies: tuple[str, ...] = ()
    """Prefixes of its terms; empty for text."""
    above: tuple[str, ...] = ()
    """Terms of which one must be above the value, or the value itself."""
    words: tuple[str, ...] = ()
    """Other values."""
    may_be_several: bool = False
    is_true_or_false: bool = False
    is_for_all: bool = False
    """True if it describes the dataset, not a cell."""

    @property
    def in_words(self) -> str:
        """Column with the names of its terms."""
        return self.name.removesuffix(SUFFIX)

    @property
    def line(self) -> str:
        """Example as a line of YAML."""
        return f"{self.name}: {self.example}" + (f"  # {self.meaning}" if self.meaning else "")

    def read(self, value: object) -> tuple[str | bool, str, str]:
        """Value as the format has it, its name, and what is wrong with it; `""` where nothing is."""
        if self.is_true_or_false:
            known = {"true": True, "false": False}.get(str(value).strip().lower())
            return (False, "", "is neither true nor false") if known is None else (known, str(known), "")
        text = " ".join(str(value).split())
        if not text or text.lower() == "nan":
            return "", "", "is empty"
        if text in self.words:
            return text, text, ""
        if not self.ontologies:
            return text, text, f"is none of {listing(self.words)}" if self.words else ""
        parts = text.split(_SEVERAL) if self.may_be_several else [text]
        found = [self._term(part) for part in parts]
        if problem := next((problem for _, _, problem in found if problem), ""):
            return text, "", problem
        found.sort()
        return _SEVERAL.join(term for term, _, _ in found), _SEVERAL.join(name for _, name, _ in found), ""

    def _term(self, text: str) -> tuple[str, str, str]:
        term = find_metadata_term(text, self.ontologies)
        if term is None:
            return text, "", f"is neither an id nor a name of a term of {listing(self.ontologies)}"
        if term.is_obsolete:
            fix = f": use `{term.replaced_by}`" if term.replaced_by else ""
            return term.id, term.name, f"is the obsolete term `{term.id}`{fix}"
        if not term.id.replace("_", ":").lower().startswith(tuple(f"{prefix.lower()}:" for prefix in self.ontologies)):
            return term.id, term.name, f"is not a term of {listing(self.ontologies)}"
        if self.above and not term.is_kind_of(self.above):
            above = (found.name if (found := find_metadata_term(each, ())) else each for each in self.above)
            return term.id, term.name, f"(`{term.name}`) is not a kind of {listing(above)}"
        return term.id, term.name, ""


_ASSAY = Field(f"assay{SUFFIX}", "EFO:0009922", "10x 3' v3", ontologies=("EFO",), above=("EFO:0002772", "EFO:0010183"))
_DISEASE = Field(
    f"disease{SUFFIX}",
    "PATO:0000461",
    "normal, or a disease of MONDO",
    ontologies=("PATO", "MONDO"),
    above=("PATO:0000461", "MONDO:0000001", "MONDO:0021178"),
    may_be_several=True,
)
_TISSUE = Field(f"tissue{SUFFIX}", "UBERON:0000178", "blood", ontologies=("UBERON",), above=("UBERON:0001062",))
_TISSUE_TYPE = Field("tissue_type", "tissue", words=("tissue", "organoid", "primary cell culture", CELL_LINE))
_TISSUES = {
    "primary cell culture": Field(f"tissue{SUFFIX}", "CL:0000057", "fibroblast", ontologies=("CL",), above=("CL:0000000",)),
    CELL_LINE: Field(f"tissue{SUFFIX}", "CVCL_0004", "K-562", ontologies=("CVCL",)),
}
_SEX = Field(
    f"sex{SUFFIX}",
    "PATO:0000383",
    "female; male is PATO:0000384",
    ontologies=("PATO",),
    above=("PATO:0000383", "PATO:0000384", "PATO:0001340"),
    words=("unknown",),
)
_AGE = {
    "human": Field(
        f"development_stage{SUFFIX}",
        "HsapDv:0000258",
        "adult stage",
        ontologies=("HsapDv",),
        above=("HsapDv:0000001",),
        words=("unknown",),
    ),
    "mouse": Field(
        f"development_stage{SUFFIX}",
        "MmusDv:0000110",
        "mature stage",
        ontologies=("MmusDv",),
        above=("MmusDv:0000001",),
        words=("unknown",),
    ),
}
_ETHNICITY = Field(
    f"self_reported_ethnicity{SUFFIX}",
    "unknown",
    "or a term of HANCESTRO",
    ontologies=("HANCESTRO", "AfPO"),
    above=("HANCESTRO:0601", "HANCESTRO:0602"),
    words=("unknown",),
    may_be_several=True,
)
_DONOR = Field("donor_id", "donor_1", "or {column: donor}, a column of obs")
_SUSPENSION = Field("suspension_type", "cell", "or nucleus, or na", words=("cell", "nucleus", "na"))
_PRIMARY = Field("is_primary_data", "true", "false where the cells were published before", is_true_or_false=True)
_TITLE = Field("title", "Blood of eight donors", is_for_all=True)
ORGANISM = f"organism{SUFFIX}"

_OF_CAP = tuple(
    Field(name, example, is_for_all=True)
    for name, example in (
        ("title", "Blood of eight donors"),
        ("description", "Blood cells of eight healthy donors, 10x 3' v3"),
        ("cap_publication_title", "A study of blood"),
        ("cap_publication_description", "What was studied, and how"),
        ("author_name", "Jane Smith"),
        ("author_contact", "jane.smith@example.org"),
        ("author_orcid", "0000-0002-1825-0097"),
    )
)


def fields_of(target: Format, species: str, tissue_type: str | None) -> tuple[list[Field], list[Field]]:
    """Fields that a format requires, and those that it may have besides.

    Parameters
    ----------
    target
        The format.
    species
        `"human"` or `"mouse"`.
    tissue_type
        Type of the tissue of all cells, where it is known and the same: other terms describe a cell line.
    """
    tissue = _TISSUES.get(tissue_type or "", _TISSUE)
    of_donors = [_SEX, _AGE[species], *([_ETHNICITY] if species == "human" else []), _DONOR]
    if target == "cap":
        return [_ASSAY, _DISEASE, tissue], [_TISSUE_TYPE, *of_donors, _SUSPENSION, _PRIMARY, *_OF_CAP]
    if tissue_type == CELL_LINE:
        of_donors = []
    return [_TITLE, _ASSAY, tissue, _TISSUE_TYPE, _DISEASE, *of_donors, _SUSPENSION, _PRIMARY], []


def is_known(name: str) -> bool:
    """Return whether a format has a field of this name: one file of metadata serves all of them."""
    fields = (each for target in TARGETS for species in TAXA for part in fields_of(target, species, None) for each in part)
    return name == ORGANISM or any(each.name == name for each in fields)


def given_by_schema(target: Format, species: str, tissue_type: str | None) -> Mapping[str, str]:
    """Values that a format prescribes: nobody has to be asked for the ancestry of a mouse, or the sex of a cell line."""
    if target != "cellxgene":
        return {}
    fixed = {} if species == "human" else {_ETHNICITY.name: "na"}
    if tissue_type == CELL_LINE:
        fixed |= dict.fromkeys((_SEX.name, _AGE[species].name, _ETHNICITY.name, _DONOR.name), "na")
    return fixed
