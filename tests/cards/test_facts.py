"""Facts that authors declare."""

import pytest

from sctab import DataFileError, SettingError
from sctab.cards import CardFacts, DataSource
from sctab.cards._facts import read_facts

SOURCE = {"name": "PBMC", "license": "CC-BY-4.0", "n_cells": 240, "doi": "10.1038/ncomms14049"}
FACTS = {
    "license": "CC-BY-4.0",
    "organism": "Homo sapiens",
    "tissues": ["blood"],
    "sources": [SOURCE],
    "limits": ["Healthy adults."],
}


def test_a_file_and_a_mapping_are_the_same(tmp_path):
    (tmp_path / "facts.yaml").write_text(
        "license: CC-BY-4.0\norganism: Homo sapiens\ntissues: [blood]\nlimits: [Healthy adults.]\n"
        "sources:\n- {name: PBMC, license: CC-BY-4.0, n_cells: 240, doi: 10.1038/ncomms14049}\n"
    )
    facts = read_facts(FACTS)
    assert read_facts(tmp_path / "facts.yaml") == facts == read_facts(facts)
    assert facts.sources == (DataSource(**SOURCE),)
    assert (facts.n_cells("training"), facts.n_cells("test")) == (240, 0)
    assert CardFacts.from_declaration(facts.to_json(), "again") == facts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": "x"}, "`licence` is not known"),
        ({"license": 5}, "`license`: a string was expected"),
        ({"notes": "\ud800"}, "`notes`: a string of Unicode characters was expected"),
        ({"tissues": "blood"}, "`tissues`: a list was expected"),
        ({"limits": [" "]}, "one line of text was expected"),
        ({"sources": [SOURCE, SOURCE]}, "`PBMC` is listed twice in `sources`"),
        ({"sources": [{**SOURCE, "doi": ""}]}, "the source `PBMC` has neither `url` nor `doi`"),
        ({"sources": [{**SOURCE, "doi": "nature"}]}, "'nature' is not a DOI"),
        ({"sources": [{**SOURCE, "url": "file.h5ad"}]}, r"'file\.h5ad' is not a URL"),
        ({"sources": [{**SOURCE, "used_for": "fun"}]}, "'fun' is not one of `training`, `calibration`, `test`"),
        ({"sources": [{**SOURCE, "n_cells": -1}]}, "an integer of at least 0 and below 2\\^63 was expected"),
        ({"sources": [{"name": "PBMC"}]}, "lacks `license`, `n_cells`"),
    ],
)
def test_wrong_facts_are_refused(change, message):
    with pytest.raises(SettingError, match=message):
        read_facts(FACTS | change)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataFileError, match="cannot be read"):
        read_facts(tmp_path / "facts.yaml")
