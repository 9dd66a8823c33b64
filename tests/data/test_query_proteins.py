import numpy as np
import pytest
from tests.cite_seq import ANTIBODIES, as_mudata, cite_seq

from sctab.data import join, learn_panel, open_proteins

ROLES = {"rna": "rna", "protein": "prot"}


@pytest.fixture
def mdata():
    return cite_seq(80)


@pytest.fixture
def panel(mdata):
    return learn_panel(ANTIBODIES, mdata["prot"].X)[0]


class TestOpenProteins:
    def test_values_are_standardised_log_ratios(self, mdata, panel):
        found, notes = open_proteins(join(mdata, ROLES), panel)
        counts = np.log1p(mdata["prot"].X.toarray().astype(np.float64))
        ratios = counts - counts.mean(axis=1, keepdims=True)
        expected = (ratios - ratios.mean(axis=0)) / ratios.std(axis=0)
        np.testing.assert_allclose(found.read(0, 80).toarray()[:, :-1], expected, atol=1e-4)
        assert (found.read(0, 80).toarray()[:, -1] == 1).all()
        assert found.measured == "all"
        assert notes == []

    def test_a_query_without_antibodies(self, mdata, panel):
        found, notes = open_proteins(mdata["rna"], panel)
        assert found.measured == "none"
        assert found.read(2, 5).nnz == 0
        assert found.read(2, 5).shape == (3, panel.n_inputs)
        assert notes == [
            "The data has no surface proteins, and the model also learned from 6 antibodies: cells were annotated by gene expression alone."
        ]
        assert found.table()["feature"].tolist() == [""] * 6

    def test_other_antibodies(self, mdata, panel):
        other = mdata["prot"].copy()
        other.var_names = ["CD56", "CD34", "CD25", "CD127", "CD161", "CD69"]
        found, notes = open_proteins(join(as_mudata(rna=mdata["rna"].copy(), prot=other), ROLES), panel)
        assert found.measured == "none"
        assert "None of the 6 antibodies of the model is among the 6 of the data" in notes[0]

    def test_some_antibodies(self, mdata, panel):
        some = join(as_mudata(rna=mdata["rna"].copy(), prot=mdata["prot"][:, :3].copy()), ROLES)
        found, notes = open_proteins(some, panel)
        assert found.measured == "some"
        assert "3 of the model's 6 antibodies were found" in notes[0]
        assert (found.read(0, 80).toarray()[:, 3:6] == 0).all()
        assert found.table()["rule"].tolist() == ["same name"] * 3 + [""] * 3

    def test_hidden_antibodies(self, mdata, panel):
        joint = join(mdata, ROLES)
        assert open_proteins(joint, panel, "all")[0].read(0, 80).nnz == 0
        half = open_proteins(joint, panel, "some")[0]
        zeros = (half.read(0, 80).toarray()[:, :-1] == 0).mean()
        assert 0.35 < zeros < 0.65
        assert half.measured == "some"
        np.testing.assert_array_equal(half.read(0, 80).toarray(), open_proteins(joint, panel, "some")[0].read(0, 80).toarray())

    def test_blocks_do_not_matter(self, mdata, panel):
        whole = as_mudata(rna=mdata["rna"].copy(), prot=mdata["prot"][::-2].copy())
        found, _ = open_proteins(join(whole, ROLES), panel)
        parts = np.vstack([found.read(start, start + 20).toarray() for start in range(0, 80, 20)])
        np.testing.assert_array_equal(parts, found.read(0, 80).toarray())
        assert parts[:, -1].sum() == 40
