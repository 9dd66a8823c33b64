"""`sctab export`."""

import anndata as ad
import pandas as pd
import pytest
from tests.annotated import annotated
from tests.blood import CAP, blood
from typer.testing import CliRunner

import sctab
from sctab.cli import app


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path):
    annotated().write_h5ad(tmp_path / "annotated.h5ad")
    return tmp_path / "annotated.h5ad"


def test_a_table_with_mappings(file, tmp_path):
    cells, labels = tmp_path / "new" / "cells.csv", tmp_path / "labels.sssom.tsv"
    result = run("export", file, "--format", "table", "--output", cells, "--mappings", labels, "--answer", "label")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Wrote `{cells}`.\nWrote `{labels}`.\n"
    assert list(pd.read_csv(cells)["label"][:5]) == ["B cell"] * 5
    assert labels.read_text(encoding="utf-8").startswith("#curie_map:")


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
def test_a_file_for_a_portal(tmp_path):
    cells = blood(60)
    sctab.tl.annotate(cells, "pbmc")
    cells.write_h5ad(tmp_path / "cells.h5ad")
    result = run("export", tmp_path / "cells.h5ad", "--format", "cap", "--output", tmp_path / "cap.h5ad")
    assert result.exit_code == 2
    assert "needs 3 fields that only the laboratory knows" in result.stderr
    assert "`--metadata lab.yaml`" in result.stderr
    assert "assay_ontology_term_id: EFO:0009922" in result.stderr
    assert not (tmp_path / "cap.h5ad").exists()
    (tmp_path / "lab.yaml").write_text("\n".join(f"{name}: {value}" for name, value in CAP.items()), encoding="utf-8")
    options = ("--metadata", tmp_path / "lab.yaml", "--set-name", "types", "--n-genes", 2)
    result = run("export", tmp_path / "cells.h5ad", "--format", "cap", "--output", tmp_path / "cap.h5ad", *options)
    assert result.exit_code == 0, result.output
    obs = ad.read_h5ad(tmp_path / "cap.h5ad").obs
    assert obs["types--marker_gene_evidence"].dropna().str.count(",").max() == 1


def test_refusals(file, tmp_path):
    output = tmp_path / "cells.csv"
    for options, message in (
        (["--key-added", "other"], "`uns['other']`, the record of the annotation, does not exist"),
        (["--metadata", tmp_path / "gone.yaml"], "gone.yaml"),
        (["--mappings", output], "`--mappings"),
        (["--answer", "vote"], "`obs['sctab_vote']` not found"),
    ):
        result = run("export", file, "--format", "table", "--output", output, *options)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
        assert not output.exists()
    output.write_text("mine")
    result = run("export", file, "--format", "table", "--output", output)
    assert (result.exit_code, output.read_text()) == (2, "mine")
    assert "already exists. Choose another name, or replace it with `--overwrite`." in result.stderr
    assert run("export", file, "--format", "seurat", "--output", output).exit_code == 2
