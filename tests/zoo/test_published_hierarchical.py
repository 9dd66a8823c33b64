"""Checkpoints of the paper on hierarchical cross-entropy (Zenodo 17211022), in the layout of its repository."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import sparse
from tests.published import HIERARCHICAL, N_GENES, write_hierarchical, write_tables

import sctab
from sctab import ModelFormatError
from sctab.data import Normalization, normalise
from sctab.zoo import import_checkpoint
from sctab.zoo._indices import packaged_index

CLASSES = {"linear": "LinearClassifier", "mlp": "MLPClassifier", "tabnet": "SCTAB"}
ROUNDING = {"linear": 1e-5, "mlp": 1e-5, "tabnet": 1e-4}
"""Largest difference of probabilities; the random weights of a TabNet amplify rounding."""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Two runs of each model, in a folder, and what the networks predict for some cells."""
    folder = tmp_path_factory.mktemp("zenodo")
    networks, tables = write_hierarchical(folder / "tb_logs", n_versions=2), write_tables(folder)
    counts = sparse.csr_matrix(np.random.default_rng(1).poisson(2.0, size=(20, N_GENES)).astype(np.float32))
    cells = AnnData(counts, var=pd.DataFrame(index=[f"ENSG{i:011d}" for i in range(N_GENES)]))
    values = torch.from_numpy(normalise(counts, Normalization()).toarray())
    expected = {}
    for kind, members in networks.items():
        with torch.inference_mode():
            outputs = [network(values) for network in members]
        expected[kind] = [(each[0] if isinstance(each, tuple) else each).softmax(dim=1).numpy() for each in outputs]
    return folder / "tb_logs", tables, cells, expected


@pytest.mark.parametrize("kind", list(HIERARCHICAL))
def test_one_run(kind, published):
    folder, tables, cells, expected = published
    run = folder / f"cxg_2023_05_15_{kind}_hierarchical_loss" / "default" / "version_0"
    for source in (run, run / "checkpoints" / HIERARCHICAL[kind][1]):
        model = import_checkpoint(source, **tables)
        assert type(model).__name__ == CLASSES[kind]
        np.testing.assert_allclose(model.predict(cells, soft=True), expected[kind][0], rtol=0, atol=ROUNDING[kind])
        assert model.spec.training["hyperparameters"]["use_hierarchical_loss"] is True


@pytest.mark.parametrize("archived", ["", "zip", "gztar"])
@pytest.mark.parametrize("kind", list(HIERARCHICAL))
def test_all_runs_of_a_model(kind, archived, published, tmp_path):
    folder, tables, cells, expected = published
    source = shutil.make_archive(str(tmp_path / "checkpoints"), archived, folder.parent, folder.name) if archived else folder
    ensemble = import_checkpoint(source, folder=f"cxg_2023_05_15_{kind}_hierarchical_loss", output=tmp_path / "model", **tables)
    np.testing.assert_allclose(ensemble.predict(cells, soft=True), np.mean(expected[kind], axis=0), rtol=0, atol=ROUNDING[kind])
    sctab.tl.annotate(cells, tmp_path / "model")
    card = sctab.zoo.card_of(tmp_path / "model")
    assert any("command, settings and seeds" in part for part in card.missing)


def test_models_are_listed_where_none_is_chosen(published):
    folder, tables, *_ = published
    with pytest.raises(ModelFormatError, match="has runs of 3 models, in .*cxg_2023_05_15_linear_hierarchical_loss"):
        import_checkpoint(folder, **tables)


def test_a_damaged_zip(published, tmp_path):
    folder, tables, *_ = published
    archive = shutil.make_archive(str(tmp_path / "checkpoints"), "zip", folder.parent, folder.name)
    content = bytearray((tmp_path / "checkpoints.zip").read_bytes())
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFormatError, match="It may be truncated; download it again"):
        import_checkpoint(tmp_path / "cut.zip", folder="linear", **tables)
    assert archive


def test_the_packaged_index_lists_them_with_the_command_that_imports_each():
    entries = {entry.name: entry for entry in packaged_index().models}
    assert set(entries) == {"sctab-published", *(f"hierarchical-{kind}" for kind in HIERARCHICAL)}
    for name, entry in entries.items():
        command = entry.import_command.split()
        assert command[:2] == ["sctab", "import-checkpoint"]
        assert command[-2:] == ["--output", name]
        assert command[command.index("--folder") + 1] in (
            "scTab",
            f"cxg_2023_05_15_{name.removeprefix('hierarchical-')}_hierarchical_loss",
        )
        assert all(url.startswith("https://") for url in entry.urls)
