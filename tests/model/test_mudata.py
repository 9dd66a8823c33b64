"""Models of gene expression and surface proteins."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from tests.cite_seq import ANTIBODIES, as_mudata, cite_seq

import sctab
from sctab.errors import SctabWarning
from sctab.model import SCTAB, LinearClassifier, MLPClassifier, XGBoostClassifier, load_model

QUICK = {"max_epochs": 6, "enable_progress_bar": False, "accelerator": "cpu"}
CLASSES = {
    "linear": (LinearClassifier, QUICK),
    "mlp": (MLPClassifier, QUICK),
    "sctab": (SCTAB, QUICK),
    "xgboost": (XGBoostClassifier, {"max_epochs": 6, "enable_progress_bar": False}),
}


def trained(name, mdata, **settings):
    model_class, quick = CLASSES[name]
    model_class.setup_mudata(mdata, "cell_type", modalities={"rna": "rna", "protein": "prot"}, donor_key="donor")
    model = model_class(mdata)
    model.train(**{**quick, "calibrate": False, **settings})
    return model


@pytest.fixture(scope="module")
def reference():
    return cite_seq(360)


@pytest.fixture(scope="module", params=list(CLASSES))
def model(request, reference):
    return trained(request.param, reference, max_epochs=40)


class TestEveryClass:
    def test_antibodies_decide_what_genes_confuse(self, model):
        query = cite_seq(120, seed=1)
        truth = query.obs["cell_type"].to_numpy()
        is_t = pd.Series(truth).str.endswith(" T cell").to_numpy()
        assert (model.predict(query)[is_t] == truth[is_t]).mean() > 0.9

    def test_cells_without_proteins_keep_what_genes_say(self, model):
        query = cite_seq(120, seed=1)
        with pytest.warns(SctabWarning, match="no surface proteins"):
            found = model.predict(query["rna"].copy())
        lineage = pd.Series(found).where(~pd.Series(found).str.endswith(" T cell"), "T")
        truth = query.obs["cell_type"].where(~query.obs["cell_type"].str.endswith(" T cell"), "T").reset_index(drop=True)
        assert (lineage == truth).mean() > 0.9

    def test_order_and_other_antibodies_change_nothing(self, model):
        query = cite_seq(60, seed=2)
        other = query["prot"][:, ::-1].copy()
        more = AnnData(
            np.hstack([other.X.toarray(), np.full((60, 2), 9.0, dtype=np.float32)]),
            obs=other.obs,
            var=pd.DataFrame(
                index=[*(f"{name}_TotalSeqB" for name in other.var_names), "CD56_TotalSeqB", "IgG1_control_TotalSeqB"]
            ),
        )
        changed = as_mudata(rna=query["rna"].copy(), prot=more)
        np.testing.assert_allclose(
            model.predict(changed, soft=True).to_numpy(), model.predict(query, soft=True).to_numpy(), rtol=1e-4, atol=1e-5
        )

    def test_saved_and_loaded(self, model, tmp_path):
        query = cite_seq(40, seed=3)
        model.save(tmp_path / "model")
        loaded = load_model(tmp_path / "model")
        assert loaded.spec.proteins == model.spec.proteins
        np.testing.assert_array_equal(loaded.predict(query, soft=True), model.predict(query, soft=True))
        assert sctab.zoo.load_predictor(tmp_path / "model").spec.proteins.names == ANTIBODIES

    def test_importance_of_antibodies(self, model):
        importance = pd.Series(model.spec.training["protein_importance"], index=ANTIBODIES)
        assert importance[["CD4", "CD8"]].min() > importance["CD45RA"]
        assert model.gene_importance.sum() == pytest.approx(1, abs=1e-5)
