"""Antibodies that a model learns."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse

from sctab.data import ProteinPanel, ProteinValues, learn_panel
from sctab.errors import InputValueError


def counts_of(n_antibodies, n_obs=60, seed=0):
    return np.random.default_rng(seed).poisson(20, size=(n_obs, n_antibodies)).astype(np.float32)


@pytest.mark.parametrize("matrix", [np.asarray, sparse.csr_matrix], ids=["dense", "CSR"])
def test_scale_of_counts(matrix):
    counts = counts_of(4)
    counts[5] = np.nan
    panel, notes = learn_panel(["CD3", "CD4", "CD8", "IgG1"], matrix(counts))
    logs = np.log1p(np.delete(counts, 5, axis=0)[:, :3].astype(float))
    centred = logs - logs.mean(axis=1, keepdims=True)
    assert panel.names == ("CD3", "CD4", "CD8")
    assert panel.values is ProteinValues.COUNTS
    np.testing.assert_allclose(panel.mean, centred.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(panel.sd, centred.std(axis=0), atol=1e-6)
    assert notes == ["Left out isotype controls (1): `IgG1`.", "Antibodies were measured in 59 of 60 cells."]


def test_what_is_left_out():
    counts = counts_of(6)
    counts[:, 2] = 3
    panel, notes = learn_panel(["CD3", "HTO1", "CD4", "Rat_IgG2b", "CD3-2", "CD19"], counts)
    assert panel.names == ("CD3", "CD19")
    assert notes == [
        "Left out hashtags (1): `HTO1`.",
        "Left out antibodies that do not vary (1): `CD4`.",
        "Left out isotype controls (1): `Rat_IgG2b`.",
        "Averaged antibodies to one antigen: `CD3`, `CD3-2` as `CD3`.",
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "There are no antibodies"),
        (["CD3", "CD3"], "occur twice: `CD3`"),
        (["CD3", " "], "1 of 2 antibodies has no name"),
        (["chr1:100-2000", "chr2:100-2000"], "regions of the genome.*Peaks of accessible chromatin cannot be used"),
        (["HTO1", "IgG1"], "No antibody is left of 2"),
        (["CD3", "IgG1"], "Only one antibody is left, `CD3`"),
        ([f"RPL{i}" for i in range(3, 40)] + [f"ENSG000001672{i}" for i in range(10, 40)], "The features are genes"),
    ],
)
def test_refused(names, message):
    with pytest.raises(InputValueError, match=message):
        learn_panel(names, counts_of(len(names)))


@given(st.lists(st.text(max_size=30) | st.sampled_from(["CD3", "cd3", "IgG1", "HTO1", "CD3_TotalSeqB", "chr1:1-2000"]), max_size=8))
def test_any_names(names):
    try:
        panel, _ = learn_panel(names, counts_of(len(names), n_obs=5))
    except InputValueError:
        return
    assert set(panel.names) <= set(names)
    assert ProteinPanel.from_json(panel.to_json()) == panel
    assert panel.match(names).coverage == 1


def test_names_and_columns():
    with pytest.raises(InputValueError, match="1 names of antibodies, and the matrix has 2 columns"):
        learn_panel(["CD3"], counts_of(2))
