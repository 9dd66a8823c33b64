import pandas as pd
import pytest

from sctab.data import choose_expression, choose_known, choose_modality, choose_proteins, find_modalities
from sctab.data._roles import antibodies_beside
from sctab.errors import InputValueError, KeyNotFoundError

GENES, ANTIBODIES = pd.DataFrame(index=["CD3D", "CD8A", "MS4A1"]), pd.DataFrame(index=["CD3", "CD4", "CD8"])
TABLES = {"prot": ANTIBODIES, "rna": GENES}


class TestFindModalities:
    @pytest.mark.parametrize("names", [("prot", "transcripts"), ("a", "b")])
    def test_by_features(self, names):
        assert find_modalities({names[0]: ANTIBODIES, names[1]: GENES}) == {"rna": names[1], "protein": names[0]}

    def test_hashtags_and_peaks_are_no_proteins(self):
        tables = {
            "rna": GENES,
            "hto": pd.DataFrame(index=["HTO28_5P", "HTO29_5P"]),
            "atac": pd.DataFrame(index=["chr1:100-600", "chr2:100-600"]),
        }
        assert find_modalities(tables) == {"rna": "rna"}

    def test_proteins_alone(self):
        assert find_modalities({"adt": ANTIBODIES}) == {"protein": "adt"}

    def test_a_single_modality(self):
        assert find_modalities({"gex": GENES}) == {"rna": "gex"}


class TestChooseExpression:
    def test_antibodies_are_not_taken_for_genes(self):
        genes = pd.DataFrame(index=["GENE1", "GENE2", "GENE3"])
        assert choose_expression()({"prot": ANTIBODIES, "rna": genes}) == "rna"
        assert choose_expression()({"prot": ANTIBODIES}) == "prot"


class TestChooseKnown:
    def test_names_of_the_model_come_first(self):
        tables = TABLES | {"other": GENES}
        assert choose_known(choose_modality(), {"rna": "other", "protein": "prot"})(tables) == "other"

    def test_others_are_found(self):
        assert choose_known(choose_modality(), {"rna": "gex", "protein": "prot"})(TABLES) == "rna"
        assert choose_known(choose_modality(), None)(TABLES) == "rna"


class TestChooseProteins:
    def test_found_by_features(self):
        assert choose_proteins()(TABLES, "rna") == "prot"
        assert choose_proteins()({"rna": GENES}, "rna") is None
        assert choose_proteins()({"rna": GENES, "other": GENES}, "rna") is None

    def test_names_of_the_model_come_first(self):
        tables = TABLES | {"adt": ANTIBODIES}
        assert choose_proteins({"rna": "rna", "protein": "adt"})(tables, "rna") == "adt"
        assert choose_proteins({"rna": "gex", "protein": "missing"})(TABLES, "rna") == "prot"

    def test_as_the_user_says(self):
        assert choose_proteins(wanted="none")(TABLES, "rna") is None
        assert choose_proteins({"rna": "rna", "protein": "prot"}, "prot")(TABLES, "rna") == "prot"
        with pytest.raises(KeyNotFoundError, match="`protein_modality='prt'` is not another modality.*Did you mean `prot`"):
            choose_proteins(wanted="prt")(TABLES, "rna")

    def test_antibodies_alone(self):
        with pytest.raises(InputValueError, match="antibodies and no gene expression"):
            choose_proteins()({"prot": ANTIBODIES}, "prot")
        with pytest.raises(InputValueError, match="antibodies and no gene expression"):
            choose_known(choose_modality(), None)({"prot": ANTIBODIES})


def test_antibodies_beside():
    class File:
        tables, modality = TABLES, "rna"

    assert antibodies_beside(File()) == 3
    assert antibodies_beside(object()) == 0
