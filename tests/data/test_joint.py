import warnings

import mudata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from tests.cite_seq import ANTIBODIES, as_mudata, cite_seq

from sctab.data import join, joined, proteins_of
from sctab.errors import InputTypeError, InputValueError, KeyNotFoundError, SettingError

ROLES = {"rna": "rna", "protein": "prot"}


class TestJoin:
    def test_shares_matrices_and_keeps_columns(self):
        mdata = cite_seq(12)
        mdata["rna"].obs["phase"] = "G1"
        joint = join(mdata, ROLES)
        assert joint.X is mdata["rna"].X
        assert list(joint.obs) == ["cell_type", "donor", "phase"]
        found = proteins_of(joint)
        assert found.names == ANTIBODIES
        np.testing.assert_array_equal(found.rows(3, 7), mdata["prot"].X[3:7].toarray())
        assert found.name == "mod['prot'].X"

    def test_cells_that_a_modality_does_not_have(self):
        whole = cite_seq(10)
        mdata = as_mudata(rna=whole["rna"][2:].copy(), prot=whole["prot"][[7, 0, 3]].copy())
        joint = join(mdata, ROLES)
        assert list(joint.obs_names) == list(mdata.obs_names)
        for name, row, values in zip(joint.obs_names, joint.X.toarray(), proteins_of(joint).rows(0, 10), strict=True):
            at = whole.obs_names.get_loc(name)
            expected = whole["rna"].X[at].toarray().ravel() if at >= 2 else np.zeros(60)
            np.testing.assert_array_equal(row, expected)
            if at in (7, 0, 3):
                np.testing.assert_array_equal(values, whole["prot"].X[at].toarray().ravel())
            else:
                assert np.isnan(values).all()

    def test_layers_and_raw_follow(self):
        whole = cite_seq(8)
        rna = whole["rna"].copy()
        rna.layers["counts"], rna.raw = rna.X * 2, rna.copy()
        joint = join(as_mudata(rna=rna[3:].copy(), prot=whole["prot"].copy()), ROLES)
        at = [joint.obs_names.get_loc(name) for name in rna.obs_names[3:]]
        np.testing.assert_array_equal(joint.layers["counts"][at].toarray(), 2 * rna.X[3:].toarray())
        np.testing.assert_array_equal(joint.raw.X[at].toarray(), rna.X[3:].toarray())

    def test_a_layer_of_antibodies(self):
        mdata = cite_seq(6)
        mdata["prot"].layers["counts"] = mdata["prot"].X * 3
        found = proteins_of(join(mdata, ROLES, protein_layer="counts"))
        np.testing.assert_array_equal(found.rows(0, 6), 3 * mdata["prot"].X.toarray())
        with pytest.raises(KeyNotFoundError, match="`protein_layer='count'` is not in `mod\\['prot'\\]`. Did you mean `counts`"):
            join(mdata, ROLES, protein_layer="count")

    def test_slices_go_together(self):
        mdata = cite_seq(9)
        part = join(mdata, ROLES)[[8, 2]].copy()
        np.testing.assert_array_equal(proteins_of(part).rows(0, 2), mdata["prot"].X[[8, 2]].toarray())

    @pytest.mark.parametrize(
        ("roles", "error", "message"),
        [
            ({"rna": "gex"}, KeyNotFoundError, "'gex', which is not a modality"),
            ({"rna": "rna", "atac": "prot"}, SettingError, "Peaks are not read; gene activities"),
            ({"rna": "rna", "protein": "rna"}, SettingError, "one modality in two roles"),
            (["rna"], SettingError, "must be a mapping"),
        ],
    )
    def test_refuses(self, roles, error, message):
        with pytest.raises(error, match=message):
            join(cite_seq(6), roles)

    def test_refuses_modalities_of_the_same_features(self):
        with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
            mdata = mudata.MuData({"a": cite_seq(6)["rna"].copy(), "b": cite_seq(6, seed=1)["rna"][:4].copy()}, axis=1)
        with pytest.raises(InputValueError, match="do not share cells"):
            join(mdata, {"rna": "a"})

    def test_refuses_a_backed_one(self, tmp_path):
        with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
            cite_seq(6).write(tmp_path / "a.h5mu")
            backed = mudata.read_h5mu(tmp_path / "a.h5mu", backed="r")
        with pytest.raises(InputValueError, match="is backed"):
            join(backed, ROLES)
        backed.file.close()


class TestProteinsOf:
    def test_features_of_an_anndata(self):
        mdata = cite_seq(5)
        adata = AnnData(
            sparse.hstack([mdata["rna"].X, mdata["prot"].X], format="csr"),
            var=pd.DataFrame(
                {"feature_types": ["Gene Expression"] * 60 + ["Antibody Capture"] * 6},
                index=[*mdata["rna"].var_names, *(f"{name}_TotalSeqB" for name in ANTIBODIES)],
            ),
        )
        found = proteins_of(adata)
        assert found.names == tuple(f"{name}_TotalSeqB" for name in ANTIBODIES)
        np.testing.assert_array_equal(found.rows(1, 4), mdata["prot"].X[1:4].toarray())

    def test_none(self):
        assert proteins_of(cite_seq(5)["rna"]) is None


class TestJoined:
    def test_an_anndata_as_it_is(self):
        adata = cite_seq(5)["rna"]
        assert joined(adata) is adata

    def test_known_names_come_first(self):
        mdata = as_mudata(one=cite_seq(5)["rna"].copy(), two=cite_seq(5, seed=1)["rna"].copy(), prot=cite_seq(5)["prot"].copy())
        assert joined(mdata, modalities={"rna": "two", "protein": "prot"}).X is mdata["two"].X

    def test_refuses_others(self):
        with pytest.raises(InputTypeError, match="An AnnData is needed"):
            joined("cells.h5mu")
