"""Expected labels in an AnnData, in files and on the command line."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tests.reference import make_reference
from typer.testing import CliRunner

import sctab
from sctab import SctabWarning, SettingError
from sctab.cli import app
from sctab.inference import Decision, Expected
from sctab.model import DeepEnsemble, LinearClassifier, load_model
from sctab.ontology import CellOntology, LabelSpace
from sctab.tl._excluded import ExcludedCells

QUICK = {"max_epochs": 10, "batch_size": 32, "accelerator": "cpu", "enable_progress_bar": False}
ALL = ["B cell", "T cell", "monocyte"]

pytestmark = pytest.mark.filterwarnings("ignore:.*cells are more likely of a type that is not expected:sctab.errors.SctabWarning")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    adata = make_reference(360, n_donors=9)
    LinearClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    model = LinearClassifier(adata)
    model.train(**QUICK)
    path = tmp_path_factory.mktemp("model") / "model"
    model.save(path)
    return path


@pytest.fixture
def query():
    """Cells, one of which has no count, and some of which are between two types."""
    query = make_reference(90, seed=5)
    dense = query.X.toarray()
    dense[11] = 0
    dense[:10] = dense[:10] + dense[10:20]
    query.X = sparse.csr_matrix(dense)
    return query


@pytest.mark.filterwarnings("ignore:.*1 cell has no count:sctab.errors.SctabWarning")
class TestAnnotation:
    def test_columns(self, model, query):
        plain = sctab.tl.annotate(query, model, copy=True)
        with pytest.warns(
            SctabWarning, match="cells are more likely of a type that is not expected. They get no label and count as unseen"
        ):
            sctab.tl.annotate(query, model, labels="lymphocyte")
        before = plain.obsm["sctab_probabilities"]
        excluded = before["monocyte"]
        np.testing.assert_allclose(query.obs["sctab_excluded"], excluded, atol=1e-6)
        outside = (excluded > 0.5).to_numpy()
        assert 0 < outside.sum() < 60
        np.testing.assert_array_equal(query.obs["sctab_is_unseen"], outside)
        np.testing.assert_array_equal(query.obs["sctab_label"].isna(), outside | excluded.isna())
        after = query.obsm["sctab_probabilities"]
        assert list(after.columns) == ALL
        inside = ~outside & excluded.notna().to_numpy()
        np.testing.assert_allclose(after[inside].sum(axis=1), 1, atol=1e-6)
        assert (after.loc[inside, "monocyte"] == 0).all()
        assert after[outside].isna().all(axis=None)
        expected = before.loc[inside, ["B cell", "T cell"]].idxmax(axis=1)
        assert (query.obs["sctab_label"][inside].astype(str) == expected).all()
        assert list(query.obs["sctab_label"].cat.categories) == ALL
        assert query.obs["sctab_confidence"].isna().tolist() == query.obs["sctab_label"].isna().tolist()

    def test_the_record(self, model, query):
        sctab.tl.annotate(query, model, labels=["T cell", "CL:0000236"])
        record = query.uns["sctab"]["expected"]
        assert list(record["requested"]) == ["T cell", "CL:0000236"]
        assert list(record["labels"]) == ["B cell", "T cell"]
        assert record["n_cells"] == 89
        assert record["n_outside"] == query.obs["sctab_is_unseen"].sum()
        assert record["mean_excluded"] == pytest.approx(query.obs["sctab_excluded"].mean(), abs=1e-6)

    def test_without_labels_nothing_is_left_of_them(self, model, query):
        sctab.tl.annotate(query, model, labels="lymphocyte")
        sctab.tl.annotate(query, model)
        assert "expected" not in query.uns["sctab"]
        assert not {"sctab_excluded", "sctab_is_unseen"} & set(query.obs)

    def test_a_refusal_leaves_the_cells_as_they_were(self, model, query):
        with pytest.raises(SettingError, match="the model has no label for it"):
            sctab.tl.annotate(query, model, labels="hepatocyte")
        assert "sctab" not in query.uns
        assert not [name for name in query.obs if name.startswith("sctab")]

    def test_votes_are_of_cells_with_a_label(self, model, query):
        sctab.tl.annotate(query, model, labels="lymphocyte")
        query.obs["group"] = pd.Categorical(query.obs["cell_type"].astype(str))
        sctab.tl.vote(query, "group")
        table = sctab.get.vote(query).set_index("group")
        assert table.loc["T cell", "label"] == "T cell"
        assert table.loc["monocyte", "n_voting"] < table.loc["monocyte", "n_cells"] / 2
        assert "cells have a label" in table.loc["monocyte", "reason"] or table.loc["monocyte", "reason"] == "No cell has a label."

    def test_scores_count_cells_without_a_label_as_wrong(self, model, query):
        sctab.tl.annotate(query, model, labels="lymphocyte")
        sctab.tl.evaluate(query, "cell_type", show=False)
        scores = sctab.get.evaluation(query).query("level == 'as labelled'").set_index("metric")["value"]
        right = query.obs["sctab_label"].astype(object) == query.obs["cell_type"].astype(object)
        assert scores["accuracy"] == pytest.approx(right.mean())
        assert np.isfinite(scores["cross_entropy"])

    def test_more_terms_cannot_be_wrong(self, model, query):
        plain = sctab.tl.annotate(query, model, accepted_error=0.3, copy=True)
        sctab.tl.annotate(query, model, accepted_error=0.3, labels="lymphocyte")
        terms, before = (each.obs["sctab_term"].astype(object) for each in (query, plain))
        assert ((terms == before) | terms.isna()).all()
        assert (terms.isna() & before.notna()).any()
        assert query.uns["sctab"]["promise"]["is_kept"] == plain.uns["sctab"]["promise"]["is_kept"]

    def test_unseen_types_are_reported_as_well(self, model, query):
        plain = sctab.tl.annotate(query, model, unseen_fdr=0.1, force=True, copy=True)
        sctab.tl.annotate(query, model, unseen_fdr=0.1, force=True, labels="lymphocyte")
        np.testing.assert_array_equal(query.obs["sctab_unseen"], plain.obs["sctab_unseen"])
        outside = query.obs["sctab_excluded"] > 0.5
        assert (query.obs["sctab_is_unseen"] == (plain.obs["sctab_is_unseen"] | outside)).all()
        assert query.uns["sctab"]["unseen"]["n_reported"] == plain.uns["sctab"]["unseen"]["n_reported"]

    @pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
    def test_files_and_an_ensemble(self, model, query, tmp_path, suffix):
        members = [load_model(model), load_model(model)]
        ensemble = DeepEnsemble.from_members(members)
        ensemble.save(tmp_path / "model")
        query.write_h5ad(tmp_path / "query.h5ad")
        expected = sctab.tl.annotate(query, tmp_path / "model", labels="lymphocyte", copy=True)
        outputs = [tmp_path / f"copy{suffix}", tmp_path / "table.parquet"]
        done = sctab.tl.annotate_files(
            tmp_path / "query.h5ad", tmp_path / "model", output=outputs, labels="lymphocyte", block_size=40
        )
        copy = ad.read_h5ad(outputs[0]) if suffix == ".h5ad" else ad.read_zarr(outputs[0])
        table = pd.read_parquet(outputs[1])
        for name in [name for name in expected.obs if name.startswith("sctab")]:
            for found in (copy.obs[name], table[name]):
                if name.startswith("sctab_label"):
                    assert found.astype(object).where(found.notna(), None).tolist() == [
                        None if pd.isna(value) else value for value in expected.obs[name]
                    ]
                else:
                    np.testing.assert_allclose(found.astype(float), expected.obs[name].astype(float), atol=1e-6)
        np.testing.assert_allclose(copy.obsm["sctab_probabilities"], expected.obsm["sctab_probabilities"], atol=1e-6)
        (run,) = done.runs.values()
        assert run["expected"]["n_outside"] == expected.uns["sctab"]["expected"]["n_outside"] > 0
        assert any("1 cell has no count" in note for note in run["warnings"])
        assert list(copy.uns["sctab"]["expected"]["labels"]) == ["B cell", "T cell"]


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
def test_another_set_of_labels_is_another_run(model, query, tmp_path):
    query.write_h5ad(tmp_path / "query.h5ad")
    output = tmp_path / "table.parquet"
    options = {"output": output, "resume": True}
    sctab.tl.annotate_files(tmp_path / "query.h5ad", model, labels=["T cell", "B cell"], **options)
    same = sctab.tl.annotate_files(tmp_path / "query.h5ad", model, labels="lymphocyte", **options)
    assert not same.runs  # the same labels of the model, in other words
    for labels in (None, "T cell"):
        with pytest.raises(sctab.OutputExistsError, match="is from other files, settings or another model"):
            sctab.tl.annotate_files(tmp_path / "query.h5ad", model, labels=labels, **options)


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
class TestCommand:
    def test_names_and_a_file_of_names(self, model, query, tmp_path):
        query.write_h5ad(tmp_path / "query.h5ad")
        (tmp_path / "types.txt").write_text("# expected\nT cell\n\nB cell\n")
        tables = []
        for number, labels in enumerate((["--labels", "T cell", "--labels", "B cell"], ["--labels", str(tmp_path / "types.txt")])):
            table = tmp_path / f"{number}.csv"
            done = CliRunner().invoke(
                app, ["annotate", str(tmp_path / "query.h5ad"), "--model", str(model), "--csv", str(table), *labels]
            )
            assert done.exit_code == 0, done.output
            tables.append(pd.read_csv(table, index_col=0))
        pd.testing.assert_frame_equal(*tables)
        assert set(tables[0]["sctab_label"].dropna()) == {"B cell", "T cell"}

    @pytest.mark.parametrize(
        ("content", "message"), [(None, "cannot be read"), (b"\xff\xfe\xff", "not text in UTF-8"), (b"# none\n", "no names")]
    )
    def test_a_file_without_names(self, model, query, tmp_path, content, message):
        query.write_h5ad(tmp_path / "query.h5ad")
        path = tmp_path / "types.txt"
        if content is not None:
            path.write_bytes(content)
        arguments = [
            "annotate",
            str(tmp_path / "query.h5ad"),
            "--model",
            str(model),
            "--csv",
            str(tmp_path / "a.csv"),
            "--labels",
            str(path),
        ]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2
        assert message in " ".join(done.output.split())
        assert not (tmp_path / "a.csv").exists()


def test_counted_by_hand():
    labels = LabelSpace.from_names(ALL, CellOntology.embedded())
    decision = Decision(
        np.array([0, -1, -1]),
        np.array([1, np.nan, np.nan], dtype=np.float32),
        np.array([True, True, False]),
        excluded=np.array([0.25, 0.75, np.nan], dtype=np.float32),
    )
    found = ExcludedCells.of(Expected.of(labels, "B cell"), decision)
    assert (found.n_cells, found.n_outside, found.mean) == (2, 1, 0.5)
    assert found.notes[-1].startswith("1 of 2 cells are more likely")
    assert ExcludedCells.of(None, decision) is None
