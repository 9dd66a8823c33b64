"""What is special about CELLxGENE."""

import pandas as pd
import pytest
from tests.annotated import annotated
from tests.blood import LAB

from sctab.errors import SettingError
from sctab.export._cell_types import cell_types
from sctab.export._cellxgene import columns_of_cellxgene, uns_of_cellxgene
from sctab.export._lab import lab_values


def exported(adata, **given):
    lab = lab_values(adata.obs, LAB | given, target="cellxgene", species="human")
    types = cell_types(adata, answer="label", label_ids=None, key_added="sctab")
    return columns_of_cellxgene(types, lab), uns_of_cellxgene(lab, "human")


def test_terms_that_say_nothing_are_unknown():
    adata = annotated(names=("B cell", "animal cell", "mine"), sizes=(4, 2, 1), terms=False, unseen=False)
    (columns, notes), uns = exported(adata)
    assert pd.Series(columns["cell_type_ontology_term_id"]).value_counts().to_dict() == {"CL:0000236": 4, "unknown": 3}
    assert "`animal cell`" in notes[0] or "3 of 7 cells" in notes[0]
    assert uns == {
        "title": "Blood of a donor",
        "organism_ontology_term_id": "NCBITaxon:9606",
        "X_approximate_distribution": "normal",
    }


def test_spatial_assays_are_refused():
    with pytest.raises(SettingError, match="`EFO:0010961` is a spatial assay"):
        exported(annotated(), assay_ontology_term_id="EFO:0010961")
