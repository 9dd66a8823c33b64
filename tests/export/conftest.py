"""Annotated blood cells."""

import warnings

import pytest
from tests.blood import blood

import sctab


@pytest.fixture(scope="session")
def annotated_blood():
    """With promised terms, of which some are broad, and cells that no label fits; not to be changed."""
    adata = blood()
    with warnings.catch_warnings(action="ignore"):
        sctab.tl.annotate(adata, "pbmc", accepted_error=0.2, unseen_fdr=0.1)
    adata.obs.iloc[:7, adata.obs.columns.get_loc("sctab_is_unseen")] = True
    return adata


@pytest.fixture
def cells(annotated_blood):
    """120 of them, to be changed."""
    return annotated_blood[:120].copy()
