"""Names of antibodies."""

import pytest
from hypothesis import given, strategies as st

from sctab.data.proteins._names import clean, is_hashtag, is_isotype


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("CD3_TotalSeqB", "cd3"),
        ("CD45RA_TotalSeqB", "cd45ra"),
        ("CD4-TotalSeqC", "cd4"),
        ("CD4 TotalSeq-A", "cd4"),
        ("AB_CD3", "cd3"),
        ("ADT_CD3", "cd3"),
        ("adt:CD3", "cd3"),
        ("prot_CD3", "cd3"),
        ("anti-human CD3", "cd3"),
        ("anti-mouse/human CD44", "cd44"),
        ("anti_human_CD3", "cd3"),
        ("Hu.CD3_UCHT1", "cd3_ucht1"),
        ("HuMs.CD45R_B220", "cd45r_b220"),
        ("CD3:SK7|CD3E|AHS0033|pAbO", "cd3"),
        ("CD3-A0034", "cd3"),
        ("CD3_C0034", "cd3"),
        ("CD3_PROT", "cd3"),
        ("CD3-ADT", "cd3"),
        ("CD3 (ADT)", "cd3"),
        ("TCR γ/δ", "tcr gamma/delta"),
        ("CD19-PE", "cd19"),
    ],
)
def test_clean(name, cleaned):
    assert clean(name) == cleaned


PIECES = [
    "ADT",
    "prot",
    "Ab",
    "anti",
    "human",
    "mouse",
    "Hu.",
    "CD3",
    "TCR",
    "α",
    "UCHT1",
    "A0034",
    "TotalSeq",
    "B",
    "PE",
    "(",
    ")",
    "|",
    "pAbO",
    "1",
]


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from([*PIECES, "-", "_", " ", ".", "/", ":"]), max_size=12).map("".join)
    | st.text(min_size=190, max_size=230)
)
def test_cleaning_is_idempotent(name):
    assert clean(clean(name)) == clean(name)


@pytest.mark.parametrize(
    "name", ["HTO1", "HTO28_5P", "Hashtag 3", "anti-human Hashtag 1", "hashtag-A0251", "CMO301", "SampleTag01_hs", "unmapped"]
)
def test_hashtags(name):
    assert is_hashtag(name)
    assert not is_isotype(name)


@pytest.mark.parametrize(
    "name",
    [
        "IgG1", "IgG2a", "IgG2b.kappa", "IgG2a_control_TotalSeqB", "Mouse_IgG2a_isotype", "Mouse IgG1, κ isotype Ctrl", "Rat-IgG1-1",
        "Isotype_RTK2758", "Rat_IgG2b", "Armenian Hamster IgG Isotype Ctrl", "IgG1 Ctrl", "RatIgG2b", "mouse IgM",
    ],
)  # fmt: skip
def test_isotypes(name):
    assert is_isotype(name)
    assert not is_hashtag(name)


@pytest.mark.parametrize(
    "name", ["IgD", "IgM", "Hu.IgM", "IgG Fc", "Ig light chain kappa", "CD3", "CD298", "TIGIT", "Siglec-8", "CD32", "LIGHT"]
)
def test_antibodies_are_neither(name):
    assert not is_isotype(name)
    assert not is_hashtag(name)
