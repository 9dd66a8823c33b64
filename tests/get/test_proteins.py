import pytest
from tests.cite_seq import ANTIBODIES, as_mudata, cite_seq

import sctab
from sctab.errors import SettingError
from sctab.model import LinearClassifier


def trained(**modalities):
    reference = cite_seq(120)
    LinearClassifier.setup_mudata(reference, "cell_type", modalities=modalities)
    model = LinearClassifier(reference)
    model.train(max_epochs=4, calibrate=False, enable_progress_bar=False, accelerator="cpu")
    return model


def test_lists_how_antibodies_were_matched():
    model, query = trained(rna="rna", protein="prot"), cite_seq(60)
    proteins = query["prot"][:, 1:].copy()
    proteins.var_names = ["anti-human CD4", "CD8A", "CD19_TotalSeqB", "Hu.CD14", "CD56"]
    found = sctab.get.proteins(as_mudata(rna=query["rna"].copy(), prot=proteins), model).set_index("antibody")
    assert set(found.index) == set(ANTIBODIES)
    assert found["feature"].to_dict() == {
        "CD3": "", "CD4": "anti-human CD4", "CD8": "CD8A", "CD19": "CD19_TotalSeqB", "CD14": "Hu.CD14", "CD45RA": "",
    }  # fmt: skip
    assert (found["rule"] == "").tolist() == (found["feature"] == "").tolist()
    assert found["importance"].is_monotonic_decreasing
    assert 0 < found["importance"].sum() < 1


def test_a_dataset_without_proteins():
    found = sctab.get.proteins(cite_seq(20)["rna"], trained(rna="rna", protein="prot"))
    assert (found["feature"] == "").all()


def test_refuses_a_model_of_genes():
    with pytest.raises(SettingError, match="did not learn from surface proteins"):
        sctab.get.proteins(cite_seq(20), trained(rna="rna"))
