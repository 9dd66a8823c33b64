"""`sctab report`, and `sctab annotate --report`."""

import re

import pytest
import scanpy as sc
from tests.annotated import annotated
from typer.testing import CliRunner

from sctab.cli import app


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path):
    annotated().write_h5ad(tmp_path / "annotated.h5ad")
    return tmp_path / "annotated.h5ad"


def test_a_page_and_a_section(file, tmp_path):
    page, section = tmp_path / "page.html", tmp_path / "a_mqc.json"
    result = run("report", file, "--output", page, "--multiqc", section, "--title", "My cells", "--labels-key", "authors")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Wrote `{page}`.\nWrote `{section}`.\n"
    text = page.read_text(encoding="utf-8")
    assert "<title>My cells</title>" in text
    assert "annotated.h5ad · sctab" in text
    assert section.exists()


def test_refusals(file, tmp_path):
    page = tmp_path / "page.html"
    for options, message in (
        (["--key-added", "other"], "The data has no annotation under `other`. Run `sctab annotate"),
        (["--sample-key", "author"], "`--sample-key author` is not in `obs`. Did you mean `authors`?"),
        (["--model", "gone"], "There is no model `gone`"),
        (["--output", tmp_path / "page.txt"], "does not end with `.html`"),
    ):
        result = run("report", file, "--output", page, *options)
        assert result.exit_code == 2
        assert message in result.stderr
        assert not page.exists()
    page.write_text("mine")
    result = run("report", file, "--output", page)
    assert (result.exit_code, page.read_text()) == (2, "mine")
    assert "already exists. Choose another name, or replace it with `--overwrite`." in result.stderr


def test_annotate_with_a_report(tmp_path, monkeypatch):
    adata = sc.datasets.pbmc68k_reduced()
    query = adata.raw.to_adata()[:200].copy()
    query.obsm["X_umap"] = adata.obsm["X_umap"][:200]
    query.write_h5ad(tmp_path / "query.h5ad")
    arguments = ["annotate", tmp_path / "query.h5ad", "--output", tmp_path / "a.h5ad", "--report", tmp_path / "page.html"]
    monkeypatch.setattr("sys.argv", ["sctab", *map(str, arguments)])
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert f"Wrote `{tmp_path / 'page.html'}`." in result.stdout
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.search(r'<pre id="command">sctab annotate [^<]*--report', text)
    assert "The command that was run." in text
    assert "Genes that speak for each type" in text
    assert "on the UMAP that the data has" in text


def test_a_report_needs_one_copy(tmp_path):
    for outputs in (["--csv", "a.csv"], ["--output", "a.h5ad", "--output", "b.zarr"]):
        result = run("annotate", "query.h5ad", *outputs, "--report", tmp_path / "page.html")
        assert result.exit_code == 2
        assert "A report is on one annotated copy" in result.stderr
    (tmp_path / "page.html").write_text("mine")
    result = run("annotate", "query.h5ad", "--output", tmp_path / "a.h5ad", "--report", tmp_path / "page.html")
    assert result.exit_code == 2
    assert "already exists" in result.stderr
