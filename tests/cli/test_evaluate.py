"""`sctab evaluate` as typed in a shell."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from tests.reference import make_reference
from typer.testing import CliRunner

import sctab
from sctab.cli import app
from sctab.model import LinearClassifier


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """A file of annotated cells."""
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type")
    model = LinearClassifier(reference)
    model.train(calibrate=False, max_epochs=5, accelerator="cpu", enable_progress_bar=False)
    query = make_reference(60, seed=3)
    sctab.tl.annotate(query, model)
    path = tmp_path_factory.mktemp("files") / "annotated.h5ad"
    query.write_h5ad(path)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_scores_are_printed(annotated):
    result = run(annotated, "--labels-key", "cell_type", "--n-bootstrap", 5)
    assert result.exit_code == 0, result.output
    for text in ("accuracy", "macro_f1", "auroc", "at every level", "monocyte"):
        assert text in result.stdout
    assert "corrected" not in result.stdout  # no label is broader than another one


def test_a_label_map(annotated, tmp_path):
    adata = ad.read_h5ad(annotated)
    adata.obs["mine"] = adata.obs["cell_type"].astype(str).replace({"B cell": "b7", "monocyte": "CD14+ Mono"})
    adata.write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "labels.csv").write_text("label,id\nb7,CL:0000236\n")
    result = run(tmp_path / "a.h5ad", "--labels-key", "mine", "--n-bootstrap", 0, "--label-map", tmp_path / "labels.csv")
    assert result.exit_code == 0, result.output
    accuracy = next(line for line in result.stdout.splitlines() if line.startswith("accuracy")).split()[1:]
    predicted, known = adata.obs["sctab_label"].astype(str), adata.obs["cell_type"].astype(str)
    expected = [(predicted == known).mean(), ((predicted == known) & (known != "monocyte")).mean()]
    assert accuracy == [f"{value:.3f}" for value in expected]
    assert "as labelled and corrected" in result.stdout
    assert "1 of 3 known types is finer than the model's labels." in " ".join(result.stderr.split())


def test_data_and_table_are_written(annotated, tmp_path):
    options = ["--labels-key", "cell_type", "--group-key", "donor_id", "--group-key", "cell_type", "--donor-key", "donor_id"]
    result = run(annotated, *options, "--n-bootstrap", 9, "--seed", 2, "--output", tmp_path / "a.zarr", "--csv", tmp_path / "a.csv")
    assert result.exit_code == 0, result.output
    expected = ad.read_h5ad(annotated)
    sctab.tl.evaluate(
        expected, "cell_type", group_keys=["donor_id", "cell_type"], donor_key="donor_id", n_bootstrap=9, seed=2, show=False
    )
    written, scores = ad.read_zarr(tmp_path / "a.zarr"), pd.read_csv(tmp_path / "a.csv")
    for table in ("overall", "types", "groups", "levels"):
        pd.testing.assert_frame_equal(
            sctab.get.evaluation(written, table), sctab.get.evaluation(expected, table), check_dtype=False
        )
    is_curve = scores["metric"].str.startswith("abstention_error_")
    of_curve = sctab.get.evaluation(expected, "abstention")
    for tenths in range(5, 10):
        for level, rows in of_curve.groupby("level"):
            row = rows[rows["answered"] >= tenths / 10].iloc[0]
            (found,) = scores[is_curve & (scores["metric"] == f"abstention_error_0.{tenths}") & (scores["level"] == level)].to_dict(
                "records"
            )
            assert (found["value"], found["cells"]) == (pytest.approx(row["error"]), row["cells"])
    assert is_curve.sum() == 15
    is_bin = scores["metric"].str.startswith("reliability_")
    bins = sctab.get.evaluation(expected, "reliability").query("cells > 0")
    assert is_bin.sum() == 2 * len(bins) > 0
    for row in bins.itertuples():
        group = f"{row.low:.3f} to {row.high:.3f}"
        found = scores[is_bin & (scores["group"] == group) & (scores["level"] == row.level)].set_index("metric")
        assert set(found["cells"]) == {row.cells}
        assert found["value"].to_dict() == pytest.approx(
            {"reliability_confidence": row.confidence, "reliability_accuracy": row.accuracy}
        )
    assert set(scores.loc[is_bin, "key"]) == {"confidence"}
    scores = scores[~is_curve & ~is_bin]
    overall = scores[scores["key"].isna() & scores["type"].isna()]
    assert overall["value"].astype(float).tolist() == pytest.approx(sctab.get.evaluation(expected)["value"].tolist(), nan_ok=True)
    assert scores.query("type == 'B cell' and metric == 'f1' and level == 'shared'")["value"].item() > 0.5
    assert set(scores["key"].dropna()) == {"donor_id", "cell_type"}


def test_promised_terms_are_printed_and_in_the_table(tmp_path):
    reference = make_reference()
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = LinearClassifier(reference)
    model.train(max_epochs=5, accelerator="cpu", enable_progress_bar=False)
    query = make_reference(60, seed=3)
    sctab.tl.annotate(query, model, accepted_error=0.25)
    query.uns["sctab"]["promise"]["is_kept"] = False
    query.write_h5ad(tmp_path / "a.h5ad")
    options = ["--labels-key", "cell_type", "--donor-key", "donor_id", "--n-bootstrap", 9]
    result = run(tmp_path / "a.h5ad", *options, "--csv", tmp_path / "a.csv")
    assert result.exit_code == 0, result.output
    assert "Promised terms: mean error over donors " in result.stdout
    assert "for new donors. The promise was withdrawn." in " ".join(result.stdout.split())
    sctab.tl.evaluate(query, "cell_type", donor_key="donor_id", n_bootstrap=9, show=False)
    expected, scores = sctab.get.evaluation(query, "promise").set_index(["over", "name"]), pd.read_csv(tmp_path / "a.csv")
    terms = scores[scores["metric"].str.startswith("term_")]
    of_type = terms[terms["type"] == "T cell"].set_index("metric")["value"]
    of_donor = terms[terms["group"] == "donor_1"].set_index("metric")["value"]
    for name in ("error", "accepted_error", "leaf", "open", "n_labels_below"):
        assert of_type[f"term_{name}"] == pytest.approx(float(expected.loc["type", "T cell"][name]))
        assert of_donor[f"term_{name}"] == pytest.approx(float(expected.loc["donor", "donor_1"][name]))
    overall = terms[terms["key"].isna() & terms["type"].isna()].set_index("metric")
    assert overall.loc["term_error", "low"] == pytest.approx(expected.loc["all", ""]["low"])
    assert overall["low"].drop("term_error").isna().all()
    assert overall.loc["term_kept", "value"] == float(expected.loc["all", ""]["kept"])
    assert not {"term_kept"} & {*of_type.index, *of_donor.index}  # nothing is promised of one type or donor
    assert terms["level"].isna().all()


def test_reports_of_unseen_types_are_printed_and_in_the_table(annotated, tmp_path):
    query = ad.read_h5ad(annotated)
    query.obs["sctab_unseen"] = np.linspace(0.01, 1, query.n_obs, dtype=np.float32)
    query.obs["sctab_is_unseen"] = query.obs["sctab_unseen"] < 0.1
    query.obs["cell_type"] = query.obs["cell_type"].astype(str).replace("B cell", "hepatocyte")
    query.write_h5ad(tmp_path / "a.h5ad")
    result = run(tmp_path / "a.h5ad", "--labels-key", "cell_type", "--n-bootstrap", 0, "--csv", tmp_path / "a.csv")
    assert result.exit_code == 0, result.output
    assert "Reported as unseen:" in " ".join(result.stdout.split())
    scores = pd.read_csv(tmp_path / "a.csv").query("metric.str.startswith('unseen_')")
    is_new = query.obs["cell_type"] == "hepatocyte"
    of_type = scores[scores["type"] == "hepatocyte"].set_index("metric")["value"]
    assert of_type["unseen_reported"] == pytest.approx(query.obs["sctab_is_unseen"][is_new].mean())
    assert of_type["unseen_median_p_value"] == pytest.approx(query.obs["sctab_unseen"][is_new].median())
    known = scores[scores["key"] == "known types"].set_index("metric")["value"]
    assert known["unseen_reported"] == pytest.approx(query.obs["sctab_is_unseen"][~is_new].mean())
    assert "unseen_auroc" not in known
    assert of_type["unseen_auroc"] == scores[scores["key"] == "unknown types"].set_index("metric")["value"]["unseen_auroc"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels-key", "type"], "`--labels-key type` is not in `obs`"),
        (["--labels-key", "cell_type", "--key-added", "mine"], "no annotation under `mine`"),
        (["--labels-key", "cell_type", "--output", "a.csv"], "is neither `.h5ad` nor `.zarr`"),
    ],
)
def test_refusals(annotated, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    result = run(annotated, *options, "--csv", "scores.csv")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["labels.csv", "./labels.csv", "scores.zarr"])
def test_inputs_and_directories_are_never_overwritten(annotated, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text("label,id\nb7,CL:0000236\n")
    ad.read_h5ad(annotated).write_zarr(tmp_path / "scores.zarr")
    result = run(annotated, "--labels-key", "cell_type", "--label-map", "labels.csv", "--csv", name, "--overwrite")
    assert result.exit_code == 2
    assert ("is an input" if "labels" in name else "is a directory, and a file does not replace it") in result.stderr
    assert (tmp_path / "labels.csv").read_text() == "label,id\nb7,CL:0000236\n"
    assert (tmp_path / "scores.zarr/obs").is_dir()


def test_nothing_is_overwritten_unless_asked(annotated, tmp_path):
    (tmp_path / "a.csv").write_text("precious")
    arguments = (annotated, "--labels-key", "cell_type", "--n-bootstrap", 0, "--csv", tmp_path / "a.csv")
    assert run(*arguments).exit_code == 2
    assert (tmp_path / "a.csv").read_text() == "precious"
    assert run(*arguments, "--overwrite").exit_code == 0
    assert (tmp_path / "a.csv").read_text().startswith("key,group,type,id,cells,level,corrected,metric")
