"""From antibodies of a dataset to the input of a model."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse

from sctab.data import ProteinPanel, ProteinValues, inspect_proteins, learn_panel, protein_recipe
from sctab.errors import InputValueError

NAMES = ["CD3", "CD4", "CD8", "CD19", "CD56"]


@pytest.fixture
def counts():
    rng = np.random.default_rng(1)
    return rng.poisson(rng.choice([2.0, 200.0], size=(80, 5))).astype(np.float32)


def clr(counts):
    logs = np.log1p(counts.astype(float))
    return logs - logs.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("matrix", [np.asarray, sparse.csr_matrix], ids=["dense", "CSR"])
def test_the_reference_itself_is_standardised(counts, matrix):
    panel, _ = learn_panel(NAMES, counts)
    recipe, notes = protein_recipe(panel, NAMES, matrix(counts), name="X")
    given = recipe.apply(matrix(counts))
    assert given.dtype == np.float32
    np.testing.assert_allclose(given[:, :-1].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(given[:, :-1].std(axis=0), 1, atol=1e-5)
    assert (given[:, -1] == 1).all()
    assert notes == []


def test_other_antibodies_do_not_move_the_centre(counts):
    panel, _ = learn_panel(NAMES, counts)
    alone, _ = protein_recipe(panel, NAMES[:3], counts[:, :3], name="X")
    more, _ = protein_recipe(panel, [*NAMES[:3], "CD20", "CD33"], counts, name="X")
    np.testing.assert_array_equal(alone.apply(counts[:, :3]), more.apply(counts))
    logs = np.log1p(counts[:, :3].astype(float))
    expected = (logs - logs.mean(axis=1, keepdims=True) - panel.mean[:3]) / panel.sd[:3]
    differ = np.ptp(logs, axis=1) > 0
    np.testing.assert_allclose(more.apply(counts)[differ, :3], expected[differ].clip(-10, 10), atol=1e-5)
    assert (more.apply(counts)[:, 3:5] == 0).all()


def test_features_of_one_antigen_are_averaged_as_logarithms(counts):
    panel, _ = learn_panel(NAMES[:2], counts[:, :2])
    recipe, _ = protein_recipe(panel, ["CD3-1", "CD4", "CD3-2"], counts[:, :3], name="X")
    logs = np.log1p(counts[:, :3].astype(float))
    values = np.c_[(logs[:, 0] + logs[:, 2]) / 2, logs[:, 1]]
    expected = (values - values.mean(axis=1, keepdims=True) - panel.mean) / panel.sd
    remains = np.abs(values[:, 0] - values[:, 1]) > 1e-3
    np.testing.assert_allclose(recipe.apply(counts[:, :3])[remains, :2], expected[remains].clip(-10, 10), atol=1e-5)


def test_cells_without_values(counts):
    panel, _ = learn_panel(NAMES, counts)
    counts[3], counts[4] = np.nan, 0
    recipe, notes = protein_recipe(panel, NAMES, counts, name="X")
    given = recipe.apply(counts)
    assert (given[3:5] == 0).all()
    assert (given[5:, -1] == 1).all()
    assert notes == ["Antibodies were measured in 79 of 80 cells."]


def test_other_kind_of_values(counts):
    panel, _ = learn_panel(NAMES, clr(counts))
    assert panel.values is ProteinValues.CLR
    recipe, notes = protein_recipe(panel, NAMES, counts * 2, name="X")
    given = recipe.apply(counts * 2)
    np.testing.assert_allclose(given[:, :-1].std(axis=0), 1, atol=1e-5)
    assert notes == [
        "Antibodies of the query hold counts, those of the reference centred log ratios: they are compared relative to the other cells of "
        "each dataset."
    ]
    few, notes = protein_recipe(panel, NAMES, counts[:49], name="X")
    assert (few.apply(counts[:49]) == 0).all()
    assert notes[-1] == "The comparison requires 50 cells, and 49 were measured: proteins are left out."


def test_scaled_values_are_standardised_already(counts):
    panel, _ = learn_panel(NAMES, counts)
    logs = np.log1p(counts)
    scaled = (logs - logs.mean(axis=0)) / logs.std(axis=0)
    assert inspect_proteins(scaled, "X") is ProteinValues.SCALED
    recipe, _ = protein_recipe(panel, NAMES, scaled, name="X")
    np.testing.assert_allclose(recipe.apply(scaled)[:, :-1], scaled, atol=1e-6)


def test_left_out(counts):
    panel, _ = learn_panel(NAMES, counts)
    for names, message in (
        (["CD33", "CD34", "CD36", "CD38", "CD40"], "No antibody of the model"),
        (["CD3", *"abcd"], "One antibody is not enough"),
    ):
        recipe, notes = protein_recipe(panel, names, counts, name="X")
        assert message in notes[-1]
        assert not recipe.is_used
        assert (recipe.apply(counts) == 0).all()
    recipe, notes = protein_recipe(panel, NAMES, np.full((3, 5), np.nan), name="X")
    assert notes == ["`X` holds no value of the model's antibodies in any cell: proteins are left out."]


def test_names_and_columns(counts):
    panel = ProteinPanel(("CD3",), ProteinValues.SCALED, (0.0,), (1.0,))
    with pytest.raises(InputValueError, match="1 names of antibodies, and `X` has 5 columns"):
        protein_recipe(panel, ["CD3"], counts, name="X")


def test_another_scale_is_noted(counts):
    values = np.log1p(counts) + 0.1
    panel, _ = learn_panel(NAMES, values)
    assert panel.values is ProteinValues.NORMALISED
    assert protein_recipe(panel, NAMES, values * 1.4, name="X")[1] == []
    _, notes = protein_recipe(panel, NAMES, values * 10, name="X")
    assert notes == [
        "Antibodies vary 10 times as much as in the reference: the values may be on another scale. Provide counts, or values that were "
        "normalised as those of the reference."
    ]


def test_an_antibody_that_does_not_vary_in_the_query(counts):
    panel, _ = learn_panel(NAMES, counts)
    values = np.log1p(counts) + 0.1
    values[:, 1] = 3
    recipe, _ = protein_recipe(panel, NAMES, values, name="X")
    assert (recipe.apply(values)[:, 1] == 0).all()


@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
def test_order_of_the_features_does_not_matter(order, seed):
    counts = np.random.default_rng(seed).poisson(5, size=(60, 5)).astype(float)
    panel, _ = learn_panel(NAMES, counts)
    names = ["CD8a", "CD3-1", "FAKE", "CD3-2", "CD19_TotalSeqB"]
    given = protein_recipe(panel, names, counts, name="X")[0].apply(counts)
    permuted = protein_recipe(panel, [names[i] for i in order], counts[:, order], name="X")[0].apply(counts[:, order])
    np.testing.assert_allclose(permuted, given, atol=1e-5)
