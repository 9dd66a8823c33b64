"""Fields that only the laboratory knows."""

import pytest

from sctab.export._fields import fields_of, given_by_schema


def field(name, target="cellxgene", species="human", tissue_type=None):
    required, optional = fields_of(target, species, tissue_type)
    return next(each for each in [*required, *optional] if each.name.startswith(name))


@pytest.mark.parametrize("species", ["human", "mouse"])
@pytest.mark.parametrize("target", ["cap", "cellxgene"])
@pytest.mark.parametrize("tissue_type", [None, "primary cell culture", "cell line"])
def test_examples_are_valid(target, species, tissue_type):
    required, optional = fields_of(target, species, tissue_type)
    for each in [*required, *optional]:
        if not each.is_for_all:
            assert each.read(each.example)[2] == ""
        assert each.line.startswith(f"{each.name}: {each.example}")


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("assay", "10x 3' v3", "EFO:0009922"),
        ("assay", " EFO:0009922 ", "EFO:0009922"),
        ("tissue_ont", "blood", "UBERON:0000178"),
        ("disease", "MONDO:0005147 || MONDO:0004979", "MONDO:0004979 || MONDO:0005147"),
        ("sex", "female", "PATO:0000383"),
        ("sex", "unknown", "unknown"),
        ("is_primary", "False", False),
        ("is_primary", True, True),
        ("suspension", "nucleus", "nucleus"),
        ("donor", 7, "7"),
    ],
)
def test_values(name, value, found):
    assert field(name).read(value)[::2] == (found, "")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("assay", "10x", "is neither an id nor a name of a term of `EFO`"),
        ("assay", "EFO:0009310", "is the obsolete term `EFO:0009310`: use `EFO:0009899`"),
        ("assay", "UBERON:0000178", "is not a term of `EFO`"),
        ("assay", "EFO:0000001", "is not a kind of"),
        ("tissue_ont", "MONDO:0004979", "is not a term of `UBERON`"),
        ("sex", "normal", "is not a kind of `female`"),
        ("suspension", "cells", "is none of `cell`, `nucleus`, `na`"),
        ("is_primary", "perhaps", "is neither true nor false"),
        ("donor", " ", "is empty"),
        ("donor", float("nan"), "is empty"),
    ],
)
def test_what_is_wrong(name, value, problem):
    assert problem in field(name).read(value)[2]


def test_what_the_schema_prescribes():
    assert given_by_schema("cellxgene", "mouse", None) == {"self_reported_ethnicity_ontology_term_id": "na"}
    assert given_by_schema("cellxgene", "human", "cell line")["donor_id"] == "na"
    assert given_by_schema("cap", "mouse", "cell line") == {}
    assert field("tissue_ont", tissue_type="cell line").read("CVCL_0004")[0] == "CVCL_0004"
