"""Every format against the `.h5ad` of the same cells: labels, probabilities, latents, and the copy that is written."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from tests.formats import write_loom, write_market, write_ten_x, write_ten_x_v2
from typer.testing import CliRunner

import sctab
from sctab import SctabWarning
from sctab.cli import app

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*1 cell has no count:sctab.errors.SctabWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword"),  # of pandas, which mudata uses
]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def cells(query):
    """The query, with ids in the column where 10x Genomics has them."""
    return ad.AnnData(query.X, obs=query.obs[[]], var=query.var.rename(columns={"ensembl_id": "gene_ids"}))


@pytest.fixture(scope="module")
def expected(cells, model_path):
    return sctab.tl.annotate(cells, model_path, copy=True)


def write_mudata(cells, path):
    mudata = pytest.importorskip("mudata")
    proteins = ad.AnnData(np.ones((cells.n_obs, 3), dtype=np.float32), obs=cells.obs[[]])
    proteins.var_names = ["CD3_TotalSeqB", "CD4_TotalSeqB", "CD8_TotalSeqB"]
    mudata.MuData({"prot": proteins, "transcripts": cells}).write(path)
    return path


def write_run(cells, folder):
    (folder / "outs").mkdir(parents=True)
    write_ten_x(cells, folder / "outs/filtered_feature_bc_matrix.h5")
    return folder / "outs"


FORMATS = {
    "10x v3": lambda cells, folder: write_ten_x(cells, folder / "a.h5"),
    "10x v2": lambda cells, folder: write_ten_x_v2({"GRCh38": cells}, folder / "a.h5"),
    "outs": write_run,
    "Cell Ranger 3": lambda cells, folder: write_market(cells, folder / "m"),
    "Cell Ranger 2": lambda cells, folder: write_market(cells, folder / "m", layout="v2", compressed=False),
    "STARsolo": lambda cells, folder: write_market(cells, folder / "m", layout="star", compressed=False, order="genes"),
    "alevin": lambda cells, folder: write_market(cells, folder / "m", layout="alevin"),
    "loom": lambda cells, folder: write_loom(cells, folder / "a.loom"),
    "h5mu": lambda cells, folder: write_mudata(cells, folder / "a.h5mu"),
}


@pytest.mark.filterwarnings("ignore:.*`transcripts` was used, of `prot`, `transcripts`")
@pytest.mark.parametrize("kind", FORMATS)
def test_same_as_h5ad(cells, expected, model_path, tmp_path, kind):
    given = FORMATS[kind](cells, tmp_path / "in" if kind == "outs" else tmp_path)
    result = run("annotate", given, "--model", model_path, "--output", tmp_path / "out.h5ad", "--csv", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    got, table = ad.read_h5ad(tmp_path / "out.h5ad"), pd.read_csv(tmp_path / "out.csv", index_col="cell")
    assert list(got.obs["sctab_label"].astype(object)) == list(expected.obs["sctab_label"].astype(object))
    pd.testing.assert_series_equal(got.obs["sctab_confidence"], expected.obs["sctab_confidence"], rtol=0, atol=1e-6)
    pd.testing.assert_frame_equal(got.obsm["sctab_probabilities"], expected.obsm["sctab_probabilities"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(got.obsm["X_sctab"], expected.obsm["X_sctab"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(got.X.toarray(), cells.X.toarray())
    assert list(got.var_names) == list(cells.var_names)
    assert list(table.index) == list(cells.obs_names)
    assert list(table["sctab_label"].fillna("")) == list(expected.obs["sctab_label"].astype(object).fillna(""))


def test_resume_and_several_inputs(cells, model_path, tmp_path):
    inputs = [write_ten_x(cells, tmp_path / "a.h5"), write_loom(cells, tmp_path / "b.loom"), write_market(cells, tmp_path / "c")]
    done = sctab.tl.annotate_files(inputs, model_path, output=tmp_path / "copies")
    assert sorted(path.name for path in (tmp_path / "copies").iterdir()) == ["a.h5ad", "b.h5ad", "c.h5ad"]
    assert done.outputs == (tmp_path / "copies",)
    again = sctab.tl.annotate_files(inputs, model_path, output=tmp_path / "copies", resume=True)
    assert not again.runs


def test_the_genome_of_the_species_of_the_model(cells, expected, model_path, tmp_path):
    others = cells[:50].copy()
    others.var_names = [f"Other{i}" for i in range(others.n_vars)]
    others.var["gene_ids"] = [f"ENSMUSG{i:011d}" for i in range(others.n_vars)]
    path = write_ten_x_v2({"aa10": others, "hg19": cells}, tmp_path / "a.h5")
    with pytest.warns(SctabWarning, match="`hg19` was used, of `aa10`, `hg19`. Choose another with `modality`"):
        sctab.tl.annotate_files(path, model_path, output=tmp_path / "a.h5ad")
    got = ad.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(got.obsm["sctab_probabilities"], expected.obsm["sctab_probabilities"], rtol=0, atol=1e-6)
    result = run("annotate", path, "--model", model_path, "--csv", tmp_path / "b.csv", "--modality", "aa10")
    assert result.exit_code == 2
    assert "genes" in result.stderr
    result = run("annotate", path, "--model", model_path, "--csv", tmp_path / "b.csv", "--modality", "mm10")
    assert "has no genome `mm10`" in result.stderr


def test_antibodies_are_ignored(cells, expected, model_path, tmp_path):
    more = ad.concat([cells, ad.AnnData(np.ones((cells.n_obs, 2), np.float32), obs=cells.obs)], axis=1, merge="same")
    more.var_names = [*cells.var_names, "CD3", "CD4"]
    more.var["gene_ids"] = [*cells.var["gene_ids"], "CD3", "CD4"]
    more.var["feature_types"] = ["Gene Expression"] * cells.n_vars + ["Antibody Capture"] * 2
    with pytest.warns(SctabWarning, match="2 features other than gene expression were ignored"):
        sctab.tl.annotate_files(write_ten_x(more, tmp_path / "a.h5"), model_path, output=tmp_path / "a.h5ad")
    got = ad.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(got.obsm["sctab_probabilities"], expected.obsm["sctab_probabilities"], rtol=0, atol=1e-6)
    assert got.n_vars == more.n_vars


def test_a_damaged_matrix_leaves_nothing(cells, model_path, tmp_path):
    path = write_ten_x(cells, tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["matrix/indices"][5] = 10**6
    result = run("annotate", path, "--model", model_path, "--output", tmp_path / "b.h5ad")
    assert result.exit_code == 2
    assert "`indices` must lie between 0 and 59, and one is 1000000" in result.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.h5"]


def test_the_modality_of_published_cells(shared_data, tmp_path):
    """Genes have the prefix `hg19_`; antibodies and hashtags are modalities of their own."""
    mudata = pytest.importorskip("mudata")
    path = shared_data("eccite_pbmc_500.h5mu")
    rna = mudata.read_h5mu(path)["rna"]
    sctab.tl.annotate(rna, "pbmc")
    with pytest.warns(SctabWarning, match="`rna` was used, of `hto`, `prot`, `rna`"):
        sctab.tl.annotate_files(path, "pbmc", output=tmp_path / "a.h5ad")
    got = ad.read_h5ad(tmp_path / "a.h5ad")
    assert list(got.obs["sctab_label"]) == list(rna.obs["sctab_label"])
    np.testing.assert_allclose(got.obsm["sctab_probabilities"], rna.obsm["sctab_probabilities"], rtol=0, atol=1e-6)


def test_labels_of_cell_ranger_are_carried(cells, expected, model_path, tmp_path):
    outs = write_run(cells, tmp_path / "run")
    (outs / "cell_types").mkdir()
    table = pd.DataFrame({"barcode": cells.obs_names[:200], "coarse_cell_type": "T cell"})
    table.to_csv(outs / "cell_types/cell_types.csv", index=False)
    result = run("annotate", outs, "--model", model_path, "--output", tmp_path / "a.h5ad", "--csv", tmp_path / "a.csv")
    assert result.exit_code == 0, result.output
    assert (
        f"has labels of Cell Ranger for 200 of {cells.n_obs} cells, which are in `obs` as `cellranger_coarse_cell_type`."
        in result.stderr
    )
    got = ad.read_h5ad(tmp_path / "a.h5ad")
    assert got.obs["cellranger_coarse_cell_type"].isna().tolist() == [False] * 200 + [True] * (cells.n_obs - 200)
    pd.testing.assert_frame_equal(got.obsm["sctab_probabilities"], expected.obsm["sctab_probabilities"], rtol=0, atol=1e-6)
    assert list(pd.read_csv(tmp_path / "a.csv", nrows=1).filter(like="cellranger")) == []


def two_genomes(cells, path):
    """A matrix of version 2 with the cells under a genome, and others, of another species, under one that comes before it."""
    others = cells[:50].copy()
    others.var_names = [f"Other{i}" for i in range(others.n_vars)]
    others.var["gene_ids"] = [f"ENSMUSG{i:011d}" for i in range(others.n_vars)]
    return write_ten_x_v2({"aa10": others, "hg19": cells}, path)


def test_check_of_a_genome(cells, model_path, tmp_path):
    path = two_genomes(cells, tmp_path / "a.h5")
    result = run("check", path, "--model", model_path)
    assert "`hg19` was used, of `aa10`, `hg19`. Choose another with `--modality`." in " ".join(result.stdout.split())
    result = run("check", path, "--model", model_path, "--modality", "hg19")
    assert result.exit_code in (0, 3), result.output
    assert "was used, of" not in result.stdout
    result = run("check", path, "--model", model_path, "--modality", "mm10")
    assert (result.exit_code, "has no genome `mm10`" in result.stderr) == (2, True)


@pytest.fixture
def labelled(cells, query, tmp_path):
    """A MuData with two modalities that have genes, of which the first has most."""
    mudata = pytest.importorskip("mudata")
    whole = ad.AnnData(cells.X, obs=query.obs[["cell_type"]], var=cells.var)
    part = whole[:, :40].copy()
    part.var_names = [f"part{i}" for i in range(40)]
    mudata.MuData({"rna": whole, "part": part}).write(tmp_path / "a.h5mu")
    return tmp_path / "a.h5mu"


def test_training_on_a_modality(labelled, tmp_path):
    options = (
        "--labels-key",
        "cell_type",
        "--model",
        "linear",
        "--max-epochs",
        1,
        "--no-calibrate",
        "--no-logs",
        "--accelerator",
        "cpu",
    )
    result = run("train", labelled, *options, "--output", tmp_path / "a")
    assert result.exit_code == 0, result.output
    assert "Note: `rna` was used, of `part`, `rna`. Choose another with `--modality`." in result.stderr
    result = run("train", labelled, *options, "--output", tmp_path / "b", "--modality", "part")
    assert result.exit_code == 0, result.output
    assert "was used, of" not in result.stderr
    assert (
        len(sctab.model.load_model(tmp_path / "b").spec.features) <= 40 < len(sctab.model.load_model(tmp_path / "a").spec.features)
    )
    result = run("train", labelled, *options, "--output", tmp_path / "c", "--modality", "parts")
    assert "has no modality `parts`. Did you mean `part`?" in result.stderr
    result = run("tune", labelled, "--labels-key", "cell_type", "--output", tmp_path / "c.json", "--modality", "parts")
    assert "has no modality `parts`. Did you mean `part`?" in result.stderr
    result = run("train", "--corpus", tmp_path, "--output", tmp_path / "c", "--modality", "part")
    assert "`--modality` cannot be given with a corpus" in result.stderr


def test_evaluating_a_modality(labelled):
    for options, used in (((), "rna"), (("--modality", "part"), "part")):
        result = run("evaluate", labelled, "--labels-key", "cell_type", *options)
        assert result.exit_code == 2
        assert ("`rna` was used" in result.stderr) == (used == "rna" and not options)
    assert "has no modality `x`" in run("evaluate", labelled, "--labels-key", "cell_type", "--modality", "x").stderr


def test_a_modality_of_a_source_of_a_corpus(labelled):
    from sctab.corpus._entry import SourceEntry
    from sctab.corpus.sources._open import open_source

    assert [open_source(SourceEntry(str(labelled), modality=name)).n_vars for name in (None, "rna", "part")] == [60, 60, 40]
