"""The modality with gene expression is found by its features."""

from types import SimpleNamespace

import pandas as pd
from tests.reference import make_reference

from sctab.data import FeatureSpace, choose_modality
from sctab.data._modality import notes_on_modality

GENES = pd.DataFrame(index=["CD3D", "CD8A", "MS4A1", "LYZ"])
PROTEINS = pd.DataFrame(index=[f"CD{i}_TotalSeqB" for i in range(20)])
PEAKS = pd.DataFrame({"feature_types": ["Peaks"] * 9}, index=[f"chr1:{i}000-{i}500" for i in range(9)])


def test_by_names():
    assert choose_modality()({"atac": PEAKS, "x": GENES, "prot": PROTEINS}) == "x"
    assert choose_modality()({"a": GENES, "rna": GENES}) == "rna"


def test_by_the_genes_of_a_model():
    reference = make_reference()
    features = FeatureSpace.from_var(reference.var)
    others = pd.DataFrame(index=[f"Rpl{i}" for i in range(500)])
    tables = {"mm10": others, "GRCh38": reference.var}
    assert choose_modality(features)(tables) == "GRCh38"
    assert choose_modality()(tables) == "mm10"


def test_notes():
    cells = SimpleNamespace(path="a.h5mu", modality="rna", modalities=["prot", "rna"], is_modality_given=False, filtered="")
    assert notes_on_modality(cells) == ["`rna` was used, of `prot`, `rna`. Choose another with `modality`."]
    cells.is_modality_given, cells.filtered = True, "filtered.h5"
    assert notes_on_modality(cells) == ["`a.h5mu` holds all barcodes, and `filtered.h5` beside it those of cells only."]
    assert notes_on_modality(make_reference(9)) == []
