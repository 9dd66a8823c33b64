"""Training on labels of mixed granularity."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import f1_score
from tests.reference import make_reference

from sctab import SettingError
from sctab.model import SCTAB, LinearClassifier, MLPClassifier, XGBoostClassifier
from sctab.ontology import CellOntology
from sctab.train._memory import MemoryData

NAMES = {"B cell": "B cell", "T cell": "CD4-positive, alpha-beta T cell", "monocyte": "CD8-positive, alpha-beta T cell"}
"""The three types of :func:`make_reference` by other names, so that two of them are subtypes of a fourth."""
QUICK = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "max_epochs": 20,
    "batch_size": 32,
    "gene_dropout": 0.3,
    "refit": False,
}


def make_mixed(n_obs=240, *, seed=0, careless=True):
    """Two of four donors have T cells that are called that and no more."""
    adata = make_reference(n_obs, seed=seed)
    labels = adata.obs["cell_type"].astype(str).map(NAMES).to_numpy(dtype=object)
    if careless:
        labels[adata.obs["donor_id"].isin(["donor_0", "donor_1"]).to_numpy() & (labels != "B cell")] = "T cell"
    adata.obs["cell_type"] = labels
    return adata


@pytest.fixture(scope="module", params=[LinearClassifier, MLPClassifier, SCTAB], ids=lambda cls: cls.__name__)
def trained(request):
    models = {}
    for loss in ("cross-entropy", "auto", "hierarchical"):
        adata = make_mixed()
        request.param.setup_anndata(adata, "cell_type", donor_key="donor_id")
        models[loss] = request.param(adata)
        models[loss].train(**QUICK, loss=loss, seed=0)
    return models


def test_careless_labels_do_not_teach_that_there_are_no_subtypes(trained):
    query = make_mixed(120, seed=5, careless=False)
    truth = query.obs["cell_type"].to_numpy()
    right = {loss: (model.predict(query) == truth).mean() for loss, model in trained.items()}
    assert min(right["hierarchical"], right["auto"]) > 0.8
    assert right["auto"] > right["cross-entropy"] + 0.05


def monocytes():
    """In the Cell Ontology CD16-positive monocytes are CD14-positive ones; here, as in many datasets, the labels exclude each other."""
    adata = make_reference(240)
    names = {"B cell": "B cell", "T cell": "CD14-positive monocyte", "monocyte": "CD14-low, CD16-positive monocyte"}
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(str).map(names)
    return adata


@pytest.mark.parametrize("donor_key", ["donor_id", None])
def test_a_type_that_its_donors_tell_apart_is_predicted_although_it_has_a_subtype(donor_key):
    adata = monocytes()
    LinearClassifier.setup_anndata(adata, "cell_type", donor_key=donor_key)
    model = LinearClassifier(adata)
    model.train(calibrate=False, **QUICK, seed=0)
    assert (model.predict(adata) == adata.obs["cell_type"]).mean() > 0.95


def test_where_labels_exclude_each_other_the_default_is_the_published_loss():
    losses = {}
    for loss in ("auto", "cross-entropy", "hierarchical"):
        adata = monocytes()
        LinearClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
        model = LinearClassifier(adata)
        model.train(calibrate=False, **QUICK | {"max_epochs": 2}, loss=loss, seed=0)
        losses[loss] = model.history["train_loss"]["train_loss"].tolist()
    assert losses["auto"] == losses["cross-entropy"] != losses["hierarchical"]


class TestWhoLookedCloser:
    CHILDREN = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 1]], dtype=bool)

    def unlooked(self, labels, donors):
        data = MemoryData(
            blocks=lambda _size: iter(()),
            content=str,
            labels=np.array(labels),
            donors=None if donors is None else np.array(donors),
            n_classes=3,
            covariates=sparse.csr_matrix((len(labels), 0)),
            child_matrix=self.CHILDREN,
        )
        return data.unresolved_subtypes.astype(int).tolist()

    def test_a_donor_with_both_told_them_apart(self):
        # donor 0 has the label and subtype 1, donor 1 has subtype 2 alone
        assert self.unlooked([0, 0, 1, 2], [0, 0, 0, 1]) == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]

    def test_most_cells_of_the_label_decide(self):
        # three cells of the label from a donor without subtypes, one from a donor with subtype 1
        assert self.unlooked([0, 0, 0, 0, 1], [0, 0, 0, 1, 1])[0] == [1, 1, 1]
        assert self.unlooked([0, 0, 0, 0, 1], [0, 1, 1, 1, 1])[0] == [1, 0, 1]

    def test_cells_without_a_label_say_nothing(self):
        assert self.unlooked([0, -1, 1], [0, 0, 1])[0] == [1, 1, 1]

    def test_without_donors_labels_exclude_each_other(self):
        assert self.unlooked([0, 1, 2], None) == np.eye(3, dtype=int).tolist()


def test_a_subtype_is_right_in_validation(trained):
    model = trained["hierarchical"]
    cells = model.adata[model.validation_indices]
    truth, predicted = cells.obs["cell_type"].astype(str).to_numpy(), model.predict(cells.to_memory()).astype(str)
    below = [
        CellOntology.embedded().is_kind_of(*map(CellOntology.embedded().find, (p, t)))
        for t, p in zip(truth, predicted, strict=True)
    ]
    expected = f1_score(truth, np.where(below, truth, predicted), average="macro", labels=sorted(set(truth)))
    assert model.spec.training["validation"]["macro_f1"] == pytest.approx(expected)


@pytest.mark.parametrize("cls", [LinearClassifier, MLPClassifier, SCTAB])
@pytest.mark.parametrize("n_obs", [1000, 1_000_000])
def test_it_is_the_default_but_not_the_published_loss(cls, n_obs):
    assert cls._default_training(n_obs).loss == "auto"
    assert cls.paper_settings()["train"]["loss"] == "cross-entropy"


def test_trees_have_no_such_loss():
    adata = make_mixed()
    XGBoostClassifier.setup_anndata(adata, "cell_type")
    with pytest.raises(SettingError, match="`loss` cannot be set for `XGBoostClassifier`"):
        XGBoostClassifier(adata).train(calibrate=False, loss="hierarchical")
