"""Values of the laboratory, for all cells or from columns."""

import pandas as pd
import pytest
from tests.blood import LAB

from sctab.errors import DataFileError, SettingError
from sctab.export._lab import lab_values, read_metadata

OBS = pd.DataFrame(
    {
        "patient": pd.Categorical(["p1", "p2", "p1"]),
        "sex": ["f", "m", "f"],
        "half": ["f", None, "f"],
        "tissue": ["blood"] * 3,
        "primary": [True, False, True],
    },
    index=["a", "b", "c"],
)


def values(obs=OBS, species="human", **given):
    return lab_values(obs, LAB | given, target="cellxgene", species=species)


def test_columns_and_their_values():
    found = values(
        donor_id={"column": "patient"},
        sex_ontology_term_id={"column": "sex", "values": {"f": "female", "m": "male"}},
        is_primary_data={"column": "primary"},
    )
    assert list(found.columns["donor_id"]) == ["p1", "p2", "p1"]
    assert list(found.columns["sex_ontology_term_id"]) == ["PATO:0000383", "PATO:0000384", "PATO:0000383"]
    assert list(found.names["sex"]) == ["female", "male", "female"]
    assert found.columns["is_primary_data"].dtype == bool
    assert found.dataset == {"title": LAB["title"]}


def test_a_column_of_the_same_name_is_taken():
    given = {name: value for name, value in LAB.items() if name != "donor_id"}
    found = lab_values(OBS.assign(donor_id=["x", "y", "x"]), given, target="cellxgene", species="human")
    assert list(found.columns["donor_id"]) == ["x", "y", "x"]
    assert found.notes == ["Taken from `obs`: `donor_id`."]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"donor_id": {"column": "patients"}}, "`patients` is not a column of `obs`. Did you mean `patient`?"),
        ({"donor_id": {"colour": "patient"}}, "has `colour`; `column` and `values` are known"),
        ({"donor_id": ["a", "b"]}, "must be one value or"),
        ({"donor_id": {"column": "patient", "values": 3}}, "`values` must be a mapping"),
        ({"sex_ontology_term_id": {"column": "sex"}}, "from the column `sex`: `f` is neither an id nor a name"),
        (
            {"sex_ontology_term_id": {"column": "half", "values": {"f": "female"}}},
            "the column `half` has no value for 1 of 3 cells. Fill them, for example with `unknown`.",
        ),
        ({"title": 3}, "`title` must be text"),
        ({"organism_ontology_term_id": "NCBITaxon:10090"}, "the genes are those of human, `NCBITaxon:9606`"),
        ({"self_reported_ethnicity_ontology_term_id": "na"}, "`na` is neither an id nor a name"),
    ],
)
def test_what_is_wrong(given, message):
    with pytest.raises(SettingError) as caught:
        values(**given)
    assert message in str(caught.value)


def test_a_column_with_names_of_terms_is_proposed():
    with pytest.raises(SettingError, match=r"tissue_ontology_term_id: \{column: tissue\}"):
        lab_values(OBS, {}, target="cap", species="human")


def test_cell_lines_have_no_donor():
    given = {
        name: LAB[name]
        for name in ("title", "assay_ontology_term_id", "disease_ontology_term_id", "suspension_type", "is_primary_data")
    }
    found = lab_values(
        OBS, given | {"tissue_type": "cell line", "tissue_ontology_term_id": "K-562"}, target="cellxgene", species="human"
    )
    assert set(found.columns["donor_id"]) == {"na"}
    assert set(found.columns["tissue_ontology_term_id"]) == {"CVCL_0004"}


def test_one_file_serves_all_formats():
    given = LAB | {"author_name": "Jane Smith", "description": "Blood"}
    assert lab_values(OBS, given, target="cellxgene", species="human").dataset == {"title": LAB["title"]}
    found = lab_values(OBS, given, target="cap", species="human")
    assert set(found.dataset) == {"title", "author_name", "description"}
    assert found.columns["is_primary_data"].dtype == bool
    of_mouse = given | {"development_stage_ontology_term_id": "mature stage"}
    assert "self_reported_ethnicity_ontology_term_id" not in lab_values(OBS, of_mouse, target="cap", species="mouse").columns


def test_files(tmp_path):
    assert read_metadata(None) == {}
    (tmp_path / "lab.yaml").write_text("donor_id: {column: patient}\nis_primary_data: true\n", encoding="utf-8")
    assert read_metadata(tmp_path / "lab.yaml") == {"donor_id": {"column": "patient"}, "is_primary_data": True}
    (tmp_path / "list.yaml").write_text("- a\n", encoding="utf-8")
    with pytest.raises(SettingError, match="a mapping of names to values was expected"):
        read_metadata(tmp_path / "list.yaml")
    with pytest.raises(DataFileError):
        read_metadata(tmp_path / "gone.yaml")
