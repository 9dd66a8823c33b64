"""Names of a dataset and of a model."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from sctab.data.proteins._antigens import antigen_of, antigens
from sctab.data.proteins._matching import match_names

MODEL = ["CD3", "CD4", "CD8", "CD45RA", "CD45RO", "CD279", "CD16", "HLA-DR", "my antibody"]


@pytest.mark.parametrize(
    ("name", "found", "rule"),
    [
        ("CD3", "CD3", "same name"),
        ("CD3_TotalSeqB", "CD3", "same name, cleaned"),
        ("MY  Antibody-ADT", "my antibody", "same name, cleaned"),
        ("PD-1", "CD279", "same antigen (PD-1 = CD279)"),
        ("PDCD1", "CD279", "gene PDCD1"),
        ("CD8A", "CD8", "same antigen (CD8a = CD8)"),
        ("CD4-SK3", "CD4", "same antigen (CD4)"),
        ("FCGR3A", "CD16", "gene FCGR3A"),
        ("CD45", None, ""),
        ("CD8b", None, ""),
        ("IgG1", None, ""),
        ("", None, ""),
    ],
)
def test_rules(name, found, rule):
    positions, rules = match_names(MODEL, [name])
    assert [MODEL[i] if i >= 0 else None for i in positions] == [found]
    assert rules == (rule,)


@pytest.mark.parametrize(
    "names",
    [
        ["CD45", "CD45RA", "CD45RB", "CD45RC", "CD45RO", "B220", "CD45.1", "CD45.2"],
        ["CD8a", "CD8b"],
        ["CD16", "CD16b", "CD16/CD32", "CD32", "CD32b"],
        ["CD3-1", "CD31", "CD4-1", "CD41", "CD44", "CD2-4", "CD24"],
        ["CD11a", "CD11b", "CD11c", "CD18", "CD11a/CD18"],
        ["CD66a", "CD66b", "CD66c", "CD66a/c/e"],
        ["HLA-ABC", "HLA-DR", "HLA-DQ", "HLA-DR,DP,DQ", "HLA-E", "HLA-A2"],
        ["TCR a/b", "TCR g/d", "TCR Va7.2", "TCR Vd2", "TCR Vg9", "TCR Cb1"],
        ["IgM", "IgD", "IgG Fc", "IgA", "IgE", "Ig kappa", "Ig lambda"],
        ["CD158a", "CD158b", "CD158e", "CD158e2", "CD158f", "CD158k", "CD158"],
        ["PD-1", "PD-L1", "PD-L2", "B7-1", "B7-2", "B7-H3", "B7-H4"],
        ["CD62L", "CD62P", "CD62E", "CD1a", "CD1c", "CD1d", "CD49a", "CD49b"],
        ["CD90", "CD90.1", "CD90.2", "Ly-6C", "Ly-6G", "Gr-1"],
    ],
)
def test_isoforms_and_chains_are_kept_apart(names):
    assert len({antigen_of(name).antigen for name in names}) == len(names)
    for name in names:
        assert (match_names([other for other in names if other != name], [name])[0] == -1).all()


@given(
    st.lists(st.sampled_from([a.name for a in antigens()]) | st.text(max_size=20), unique=True, max_size=8),
    st.randoms(use_true_random=False),
)
def test_order_of_the_query_does_not_matter(names, random):
    order = list(range(len(names)))
    random.shuffle(order)
    positions, rules = match_names(MODEL, names)
    again, rules_again = match_names(MODEL, [names[i] for i in order])
    np.testing.assert_array_equal(again, positions[order])
    assert rules_again == tuple(rules[i] for i in order)


@given(st.lists(st.text(min_size=1), unique=True, min_size=1))
def test_a_name_matches_itself(names):
    positions, rules = match_names(names, names)
    np.testing.assert_array_equal(positions, np.arange(len(names)))
    assert set(rules) == {"same name"}
