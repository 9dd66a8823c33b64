"""Custom content for MultiQC."""

from tests.annotated import annotated
from tests.report.test_content import content

from sctab.report._multiqc import custom_content


def test_colours_are_those_of_the_report():
    found = content(annotated())
    made = custom_content(found)
    assert {entry["name"]: entry["color"] for entry in made["categories"].values()} == dict(found.palette)
    assert made["data"]["a"]["B cell"] == 3


def test_one_bar_without_samples():
    adata = annotated(n_without=2)
    del adata.obs["donor"]
    made = custom_content(content(adata, source="cells.h5ad"))
    assert made["data"] == {
        "cells": {
            "CD4-positive, alpha-beta T cell": 10,
            "B cell": 5,
            "CD14-positive monocyte": 3,
            "natural killer cell": 2,
            "no label": 2,
        }
    }
