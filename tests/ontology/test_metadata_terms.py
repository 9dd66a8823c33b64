"""Terms of assays, tissues, diseases, ages and ancestries."""

from sctab.ontology import find_metadata_term


def test_ids_and_names():
    blood = find_metadata_term("UBERON:0000178", ["UBERON"])
    assert (blood.name, blood.is_obsolete) == ("blood", False)
    assert find_metadata_term("blood", ["EFO", "UBERON"]) == blood
    assert blood.is_kind_of(["UBERON:0001062"])
    assert not blood.is_kind_of(["CL:0000000"])


def test_an_obsolete_term_has_its_replacement():
    term = find_metadata_term("EFO:0009310", ["EFO"])
    assert (term.is_obsolete, term.replaced_by) == (True, "EFO:0009899")


def test_what_is_unknown():
    for value in ("EFO:9", "XX:1", "blod", "", "<script>", "UBERON:", "na", "unknown"):
        assert find_metadata_term(value, ["UBERON", "EFO"]) is None
