"""Names of antibodies as published datasets and vendors have them, and two datasets.

The names are from memory of the 10x Genomics datasets, Hao et al. 2021, Stephenson et al. 2021, the NeurIPS 2021 data, BioLegend and BD.
"""

import h5py
import numpy as np
import pytest
from anndata.io import read_elem

from sctab.data import ProteinValues, inspect_proteins, learn_panel, protein_recipe
from sctab.data.proteins._antigens import antigen_of
from sctab.data.proteins._matching import match_names

PANELS = {
    "10x Genomics": {
        "CD3_TotalSeqB": "CD3", "CD8a_TotalSeqB": "CD8", "CD45RA_TotalSeqB": "CD45RA", "CD45RO_TotalSeqC": "CD45RO",
        "PD-1_TotalSeqB": "CD279", "HLA-DR_TotalSeqB": "HLA-DR", "TIGIT_TotalSeqB": "TIGIT", "CD127_TotalSeqB": "CD127",
        "IgG1_control_TotalSeqB": None, "IgG2a_control_TotalSeqB": None, "IgG2b_control_TotalSeqB": None,
    },
    "Hao et al. 2021": {
        "CD3-1": "CD3", "CD3-2": "CD3", "CD56-1": "CD56", "CD4-1": "CD4", "CD45-2": "CD45", "CD11a/CD18": "CD11a/CD18",
        "CD66a/c/e": "CD66a/c/e", "CD158e/k": "CD158e/k", "CD235ab": "CD235ab", "TCR-V-7.2": "TCR Vα7.2", "Integrin-7": "Integrin β7",
        "Galectin-9": "Galectin-9", "CD307c/FcRL3": "CD307c", "CLEC12A": "CD371", "Rat-IgG1-1": None, "Rag-IgG2c": None, "TCR-1": None,
    },
    "Stephenson et al. 2021": {
        "AB_CD3": "CD3", "AB_CCR5": "CD195", "AB_TCR_Va7.2": "TCR Vα7.2", "AB_TCR_gamma/delta": "TCRgd", "AB_integrinB7": "Integrin β7",
        "AB_Mouse_IgG1_K_Iso": None, "AB_anti_Ig_light_chain_kappa": "Ig light chain κ", "AB_C-KIT": "CD117",
    },
    "NeurIPS 2021": {
        "CD86-1": "CD86", "CD270": "CD270", "HLA-A-B-C": "HLA-ABC", "TIGIT-1": "TIGIT", "KLRG1-1": "KLRG1", "CX3CR1-1": "CX3CR1",
        "TCRVd2": "TCR Vδ2", "HLA-E-1": "HLA-E", "CD158": "CD158", "CD158b": "CD158b", "CD158e1": "CD158e", "FceRIa": "FcεRIα",
    },
    "BioLegend": {
        "Hu.CD3_UCHT1": "CD3", "Hu.CD4_RPA.T4": "CD4", "Hu.CD14_M5E2": "CD14", "HuMs.CD45R_B220": "CD45R",
        "HuMs.integrin.b7": "Integrin β7",
        "HuMsRt.CD278": "CD278", "Hu.HLA.ABC": "HLA-ABC", "Hu.Ig.LightChain.k": "Ig light chain κ", "Hu.TCR.AB": "TCRab",
        "Isotype_MOPC.21": None, "CD274 (B7-H1, PD-L1)": "CD274", "CD270 (HVEM, TR2)": "CD270", "CD57 Recombinant": "CD57",
        "CD158 (KIR2DL1/S1/S3/S5)": "CD158", "CD158b (KIR2DL2/L3, NKAT2)": "CD158b", "CD73 (Ecto-5'-nucleotidase)": "CD73",
        "anti-human CD3": "CD3", "anti-mouse/human CD44": "CD44", "TotalSeq-C0034 anti-human CD3": "CD3", "HLA-DR, DP, DQ": "HLA-DR/DP/DQ",
        "LAP (TGF-β1)": "LAP", "Mouse IgG1, κ isotype Ctrl": None, "CD119 (IFN-γ R α chain)": "CD119",
    },
    "BioLegend for mouse": {
        "ADT_CD115(CSF-1R)-A0105": "CD115", "ADT_CD16-32-A0109": "CD16/CD32", "ADT_CD45.1-A0178": "CD45.1", "ADT_CD90.2-A0075": "CD90.2",
        "ADT_Ly-6G-Ly-6C(Gr-1)-A0116": "Ly-6G/Ly-6C", "ADT_Ly-6C-A0013": "Ly-6C", "ADT_F4-80-A0114": "F4/80", "ADT_NK-1.1-A0118": "NKR-P1C",
        "ADT_CD274(B7-H1_PD-L1)-A0190": "CD274", "ADT_I-A-I-E-A0117": "I-A/I-E", "ADT_RatIgG1LambdaIsotypeCtrl": None,
    },
    "BD": {
        "CD3:SK7|CD3E|AHS0033|pAbO": "CD3", "CD16:3G8|FCGR3A|AHS0053|pAbO": "CD16", "CCR7:2-L1-A|CCR7|AHS0273|pAbO": "CD197",
        "HLA-DR|CD74|AHS0035|pAbO": "HLA-DR", "CD3.UCHT1.CD3E.AHS0231.pAbO": "CD3", "SampleTag01_hs|stAbO": None,
    },
    "names made for R": {
        "B7.H1..PD.L1.": "CD274", "CD366..tim3.": "CD366", "IL7Ralpha..CD127.": "CD127", "PECAM..CD31.": "CD31", "HLA.A.B.C": "HLA-ABC",
        "CD45RA-TotalSeqB": "CD45RA", "CD3.1": "CD3",
    },
}  # fmt: skip


@pytest.mark.parametrize("names", PANELS.values(), ids=PANELS)
def test_antigens_of_panels(names):
    found = {name: antigen_of(name) for name in names}
    assert {name: None if reading is None else reading.antigen for name, reading in found.items()} == names


@pytest.mark.parametrize("names", PANELS.values(), ids=PANELS)
def test_panels_match_their_antigens(names):
    antigens = sorted({antigen for antigen in names.values() if antigen is not None})
    positions, _ = match_names(antigens, list(names))
    assert [antigens[i] if i >= 0 else None for i in positions] == list(names.values())
    forwards = [name for name in names if antigen_of(name) is not None]
    back, _ = match_names(forwards, antigens)
    assert [names[forwards[i]] for i in back] == antigens


@pytest.fixture
def proteins(shared_data):
    def read(name):
        with h5py.File(shared_data(name)) as file:
            return read_elem(file["mod/prot"])

    return read


def test_raw_counts(proteins):
    data = proteins("eccite_pbmc_500.h5mu")
    assert inspect_proteins(data.X, "X") is ProteinValues.COUNTS
    panel, notes = learn_panel(list(data.var_names), data.X)
    assert len(panel) == 45
    assert notes == [
        "Left out isotype controls (2): `IgG1`, `IgG2a`.",
        "Averaged antibodies to one antigen: `B7-H1 (PD-L1)`, `PD-L1 (CD274)` as `B7-H1 (PD-L1)`; `PD-1 (CD279)`, `PD1 (CD279)` as "
        "`PD-1 (CD279)`.",
    ]
    recipe, _ = protein_recipe(panel, list(data.var_names), data.X, name="X")
    given = recipe.apply(data.X)
    assert (given[:, -1] == 1).all()
    assert np.abs(given[:, :-1].mean(axis=0)).max() < 0.02  # values above 10 standard deviations are clipped


def test_scaled_values(proteins):
    data = proteins("cite_cbmc.h5mu")
    assert inspect_proteins(data.X, "X") is ProteinValues.SCALED
    panel, notes = learn_panel(list(data.var_names), data.X)
    assert panel.names == tuple(data.var_names)
    assert notes == []
    other = proteins("eccite_pbmc_500.h5mu")
    recipe, notes = protein_recipe(panel, list(other.var_names), other.X, name="X")
    assert panel.match(list(other.var_names)).coverage == 1
    assert notes == [
        "Antibodies of the query hold counts, those of the reference scaled values: they are compared relative to the other cells of each "
        "dataset."
    ]
    np.testing.assert_allclose(recipe.apply(other.X)[:, :-1].std(axis=0), 1, atol=0.05)
