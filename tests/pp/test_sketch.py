"""Sketches against the cells that they mark."""

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse
from tests.reference import make_reference

from sctab import InputValueError, KeyNotFoundError, SctabWarning, SettingError, pp


@pytest.fixture
def reference():
    return make_reference(n_donors=8)


def same_but_for(adata, before, column, key=None):
    """Whether nothing else was written."""
    assert list(adata.obs.columns) == [*before.obs.columns, column]
    assert set(adata.uns) == {*before.uns, *([] if key is None else [key])}
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())


class TestSketch:
    @pytest.mark.parametrize("method", ["geosketch", "stratified", "balanced", "k-centre", "herding"])
    @pytest.mark.parametrize(("size", "expected"), [(30, 30), (0.25, 60), (1.0, 240)])
    def test_what_is_written(self, reference, method, size, expected):
        before = reference.copy()
        labels_key = None if method == "geosketch" else "cell_type"
        assert pp.sketch(reference, size, method=method, labels_key=labels_key) is None
        same_but_for(reference, before, "sctab_sketch", "sctab_sketch")
        chosen = reference.obs["sctab_sketch"]
        assert chosen.dtype == bool
        assert chosen.sum() == reference.uns["sctab_sketch"]["n_cells"] == expected
        if labels_key:
            assert set(reference.obs.loc[chosen, "cell_type"].value_counts()) == {expected // 3}

    def test_any_matrix_of_the_same_counts_gives_the_same_cells(self, reference):
        """The components are those of log1p of 10,000 counts per cell, from counts as from what was made of them."""
        other = reference.copy()
        sc.pp.normalize_total(other, target_sum=1e4)
        sc.pp.log1p(other)
        pp.sketch(reference, 20, method="k-centre")
        pp.sketch(other, 20, method="k-centre")
        np.testing.assert_array_equal(reference.obs["sctab_sketch"], other.obs["sctab_sketch"])

    def test_components_span_those_of_scanpy(self, reference):
        """Farthest-first traversal looks at distances only, which do not depend on signs."""
        with_scanpy = reference.copy()
        sc.pp.normalize_total(with_scanpy, target_sum=1e4)
        sc.pp.log1p(with_scanpy)
        sc.pp.pca(with_scanpy, n_comps=50)
        pp.sketch(reference, 40, method="k-centre")
        pp.sketch(with_scanpy, 40, method="k-centre", use_rep="X_pca")
        np.testing.assert_array_equal(reference.obs["sctab_sketch"], with_scanpy.obs["sctab_sketch"])
        assert reference.uns["sctab_sketch"]["space"] == "principal components of X"
        assert with_scanpy.uns["sctab_sketch"]["space"] == "X_pca"

    def test_it_says_which_matrix_it_used(self):
        adata = sc.datasets.pbmc68k_reduced()
        with pytest.warns(SctabWarning, match=r"`raw.X` was used") as caught:
            pp.sketch(adata, 50, method="k-centre")
        assert caught[0].filename == __file__

    def test_antibodies_do_not_count(self, reference):
        other = ad.concat([reference, reference[:, :5].copy()], axis="var", join="outer", index_unique="-", keys=["rna", "adt"])
        other.obs = reference.obs.copy()
        other.var["feature_types"] = np.where(np.arange(65) < 60, "Gene Expression", "Antibody Capture")
        pp.sketch(reference, 20, method="k-centre")
        pp.sketch(other, 20, method="k-centre")
        np.testing.assert_array_equal(reference.obs["sctab_sketch"], other.obs["sctab_sketch"])

    def test_backed(self, reference, tmp_path):
        reference.write_h5ad(tmp_path / "reference.h5ad")
        backed = ad.read_h5ad(tmp_path / "reference.h5ad", backed="r")
        pp.sketch(reference, 20, method="herding")
        pp.sketch(backed, 20, method="herding")
        np.testing.assert_array_equal(reference.obs["sctab_sketch"], backed.obs["sctab_sketch"])

    def test_cells_without_a_label_are_not_chosen(self, reference):
        reference.obs.loc[reference.obs_names[:40], "cell_type"] = np.nan
        pp.sketch(reference, 1.0, method="stratified", labels_key="cell_type")
        np.testing.assert_array_equal(reference.obs["sctab_sketch"], np.arange(240) >= 40)

    def test_a_copy_leaves_the_original(self, reference):
        result = pp.sketch(reference, 20, method="k-centre", key_added="few", copy=True)
        assert result.obs["few_sketch"].sum() == 20
        assert result.uns["few_sketch"]["method"] == "k-centre"
        assert not reference.uns
        assert "few_sketch" not in reference.obs

    def test_the_result_can_be_stored(self, reference, tmp_path):
        pp.sketch(reference, 20, method="herding")
        reference.write_h5ad(tmp_path / "sketch.h5ad")
        read = ad.read_h5ad(tmp_path / "sketch.h5ad")
        assert read.uns["sctab_sketch"] == reference.uns["sctab_sketch"]

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"size": 20, "method": "random"}, SettingError, "`method='random'` is not known. Choose one of `geosketch`"),
            ({"size": 20, "method": "balanced"}, SettingError, "needs to know the types"),
            ({"size": 20, "labels_key": "cell_type"}, SettingError, "does not look at types"),
            ({"size": 20, "method": "herding", "labels_key": "type"}, KeyNotFoundError, "`labels_key='type'` is not in"),
            ({"size": 20, "use_rep": "X_pca"}, KeyNotFoundError, "`use_rep='X_pca'` is not in `adata.obsm`"),
            ({"size": 20, "layer": "counts"}, KeyNotFoundError, "`layer='counts'` is not in the data"),
            ({"size": 1.5}, SettingError, "`size=1.5` must be a fraction"),
            ({"size": 0.0}, SettingError, "`size=0.0` must be a fraction"),
            ({"size": 241}, SettingError, "`n=241` cells cannot be chosen"),
            ({"size": 0, "method": "k-centre"}, SettingError, "`n=0` cells cannot be chosen"),
        ],
    )
    def test_refusals_write_nothing(self, reference, arguments, error, message):
        with pytest.raises(error, match=message):
            pp.sketch(reference, **arguments)
        assert "sctab_sketch" not in reference.obs
        assert not reference.uns

    def test_scaled_values_are_refused(self, reference):
        reference.X = reference.X.toarray() - 1
        with pytest.raises(InputValueError, match="holds negative values"):
            pp.sketch(reference, 20)


def test_a_sparse_matrix_stays_sparse(reference, monkeypatch):
    for kind in (sparse.csr_matrix, sparse.csr_array):
        monkeypatch.setattr(kind, "toarray", lambda *_, **__: pytest.fail("made dense"))
    pp.sketch(reference, 5, method="k-centre")
    assert reference.obs["sctab_sketch"].sum() == 5
