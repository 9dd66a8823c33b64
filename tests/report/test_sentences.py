"""Sentences of a report."""

import numpy as np
import pandas as pd
import pytest
from tests.annotated import annotated
from tests.report.test_content import content

from sctab.report._sentences import command_of, facts, limits, map_caption, percent, plural, review, summary


@pytest.mark.parametrize(
    ("fraction", "shown"), [(0, "0%"), (1, "100%"), (0.5, "50%"), (0.052, "5.2%"), (0.0004, "< 0.1%"), (np.nan, "")]
)
def test_percent(fraction, shown):
    assert percent(fraction) == shown


def test_plural():
    assert [plural(1, "cell"), plural(1200, "cell"), plural(2, "entry", "entries")] == ["1 cell", "1,200 cells", "2 entries"]


def test_a_withdrawn_promise_and_no_test():
    adata = annotated(unseen=False)
    adata.uns["sctab"]["promise"]["is_kept"] = False
    text = " ".join(summary(content(adata)))
    assert "An error of 0.1 was asked for and cannot be promised for these cells" in text
    assert "were not looked for" in text


def test_the_summary_of_what_is_known():
    adata = annotated(n_without=2)
    adata.uns["sctab"]["unseen"]["n_reported"] = 0
    text = " ".join(summary(content(adata)))
    assert "The model pbmc labelled 20 of 22 cells as 4 types." in text
    assert "No cell was reported as unseen (false discovery rate 0.1)." in text
    assert "The model pbmc labelled all 20 cells as 4 types." in " ".join(summary(content(annotated())))


def test_calibration_names_its_unit():
    adata = annotated()
    adata.uns["sctab"]["calibration"] = {"temperature": 1.704, "unit": "donor", "n_units": 5, "calibration_error": 0.0264}
    shown = "on held-out donors (5 of them), temperature 1.70, expected calibration error 0.026"
    assert dict(facts(content(adata)))["Calibration"] == shown
    assert "On held-out donors, confidence differed from accuracy by 0.03 on average." in " ".join(summary(content(adata)))


def test_a_restriction_to_expected_labels():
    adata = annotated()
    adata.uns["sctab"]["expected"] = {
        "requested": np.array(["T cell", "B cell"]),
        "labels": np.array(["CD4-positive, alpha-beta T cell", "B cell"]),
        "n_cells": 20,
        "n_outside": 2,
        "mean_excluded": 0.12,
    }
    found = content(adata)
    text = " ".join(summary(found))
    assert "Labels were restricted to 2 expected ones; the others had 12% of the probability on average." in text
    assert "2 cells (10%) are more likely of a type that is not expected, and have no label." in text
    assert dict(facts(found))["Expected types"] == "T cell, B cell: CD4-positive, alpha-beta T cell, B cell"
    assert "--labels 'T cell' --labels 'B cell'" in command_of(found)
    assert "restricted" not in " ".join(summary(content(annotated())))


def test_a_review():
    adata = annotated()
    assert review(content(adata)) == ""
    adata.uns["sctab_review"] = {
        "labels_key": "authors",
        "evidence": "linear models of the other cells (5 parts by cell)",
        "n_reviewed": 20,
        "n_suspect": 1,
        "n_wrong": 1.2,
        "cells": pd.DataFrame({"cell": ["a"], "given": ["B"], "suggested": ["T"], "margin": [0.5], "position": [0]}),
    }
    assert review(content(adata)) == (
        "Labels of 20 cells in the column authors were compared with evidence from the linear models of the other cells (5 parts by "
        "cell): 1 is suspect, and 1 labels are estimated to be wrong."
    )


def test_the_map_is_explained():
    assert map_caption(content(annotated())) == "All cells, on the UMAP that the data has."


def test_facts_and_limits():
    found = content(annotated(terms=False))
    assert dict(facts(found))["Genes"] == (
        "573 of 6,512 genes of the model, found by symbol in index; they carry 32% of total importance"
    )
    lines = list(limits(found))
    assert lines[0].startswith("573 of 6,512 model genes found")
    assert any("Labels carry no promise" in line for line in lines)


def test_the_command_is_quoted():
    adata = annotated()
    adata.uns["sctab"]["model"]["name"] = "my model"
    assert command_of(content(adata, source="a b.h5ad")) == (
        "sctab annotate 'a b.h5ad' --model 'my model' --output annotated.h5ad --accepted-error 0.1 --unseen-fdr 0.1"
    )
