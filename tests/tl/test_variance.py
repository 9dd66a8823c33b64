"""Explained variance of an AnnData: against scikit-learn, from any matrix, and what is refused."""

import numpy as np
import pytest
import scanpy as sc
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.preprocessing import OneHotEncoder
from tests.reference import make_reference

from sctab import InputValueError, KeyNotFoundError, LabelError, SctabWarning, tl


@pytest.fixture
def reference():
    return make_reference()


def normalised(adata):
    adata = adata.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def test_is_that_of_scikit_learn_on_what_scanpy_normalises(reference):
    before = reference.copy()
    found = tl.explained_variance(reference, "cell_type", "donor_id")
    values = normalised(reference).X.toarray()
    design = OneHotEncoder(sparse_output=False).fit_transform(reference.obs[["cell_type", "donor_id"]])
    predicted = LinearRegression().fit(design, values).predict(design)
    for how in ("uniform_average", "variance_weighted"):
        assert found.loc["original", how] == pytest.approx(r2_score(values, predicted, multioutput=how), rel=1e-5)
    assert (found.loc["original"] > 0.1).all()
    assert (found.loc["augmented"] > 0).all()
    assert (found.loc["augmented"] != found.loc["original"]).all()
    np.testing.assert_array_equal(reference.X.toarray(), before.X.toarray())
    assert list(reference.obs.columns) == list(before.obs.columns)


def test_any_matrix_of_the_same_counts_gives_the_same(reference):
    expected = tl.explained_variance(reference, "cell_type", "donor_id")
    dense = reference.copy()
    dense.layers["mine"], dense.X = reference.X.toarray(), reference.X.toarray() - 1
    np.testing.assert_allclose(tl.explained_variance(normalised(reference), "cell_type", "donor_id"), expected, rtol=1e-4)
    np.testing.assert_allclose(tl.explained_variance(dense, "cell_type", "donor_id", layer="mine"), expected, rtol=1e-6)
    with pytest.warns(SctabWarning, match="was used"):
        tl.explained_variance(dense, "cell_type", "donor_id")


def test_the_seed_decides_what_is_added(reference):
    one, same, other = (tl.explained_variance(reference, "cell_type", "donor_id", seed=seed) for seed in (0, 0, 1))
    assert one.equals(same)
    np.testing.assert_array_equal(one.loc["original"], other.loc["original"])
    assert (one.loc["augmented"] != other.loc["augmented"]).all()


def test_cells_without_type_or_donor_are_left_out(reference):
    few = reference[10:].copy()
    reference.obs.loc[reference.obs_names[:5], "cell_type"] = np.nan
    reference.obs.loc[reference.obs_names[5:10], "donor_id"] = np.nan
    found, expected = (tl.explained_variance(adata, "cell_type", "donor_id") for adata in (reference, few))
    assert found.equals(expected)


def test_antibodies_do_not_count(reference):
    reference.var["feature_types"] = ["Antibody Capture"] * 5 + ["Gene Expression"] * 55
    found = tl.explained_variance(reference, "cell_type", "donor_id")
    assert found.equals(tl.explained_variance(reference[:, 5:].copy(), "cell_type", "donor_id"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ("type", "donor_id"),
            KeyNotFoundError,
            "`labels_key='type'` is not in `adata.obs`. Did you mean `cell_type`\\? Columns: `cell_type`, `donor_id`",
        ),
        (("cell_type", "patient"), KeyNotFoundError, "`donor_key='patient'` is not in"),
        (("cell_type", "cell_type"), LabelError, "No type .* has cells of two donors"),
    ],
)
def test_refusals(reference, arguments, error, message):
    with pytest.raises(error, match=message):
        tl.explained_variance(reference, *arguments)


def test_scaled_values_are_refused(reference):
    reference.X = reference.X.toarray() - 1
    with pytest.raises(InputValueError, match="holds negative values"):
        tl.explained_variance(reference, "cell_type", "donor_id")
