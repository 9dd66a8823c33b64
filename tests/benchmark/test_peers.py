"""Environments of peers."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests.reference import TYPES, make_reference

from sctab.benchmark import PeerUnavailableError
from sctab.benchmark._peers import PEERS, PROGRAMS, default_environments, make_environment, run_peer


def test_without_requirements_it_is_the_environment_of_sctab(tmp_path):
    assert make_environment((), tmp_path) == Path(sys.executable)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def package(tmp_path):
    """A package that can be installed without a network."""
    root = tmp_path / "package"
    (root / "tiny_peer").mkdir(parents=True)
    (root / "tiny_peer" / "__init__.py").write_text("ANSWER = 42\n", encoding="utf-8")
    metadata = "Metadata-Version: 2.1\nName: tiny-peer\nVersion: 1.0\n"
    wheel = tmp_path / "tiny_peer-1.0-py3-none-any.whl"
    import zipfile

    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(root / "tiny_peer" / "__init__.py", "tiny_peer/__init__.py")
        archive.writestr("tiny_peer-1.0.dist-info/METADATA", metadata)
        archive.writestr(
            "tiny_peer-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_peer-1.0.dist-info/RECORD", "")
    return str(wheel)


def test_an_environment_is_made_once(tmp_path, package, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    folder = tmp_path / "environments"
    python = make_environment([package], folder)
    code = "import tiny_peer, sys; print(tiny_peer.ANSWER, sys.prefix != sys.base_prefix)"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["42", "True"]
    Path(package).unlink()  # so that it could not be made again
    assert make_environment([package], folder) == python
    assert len(list(folder.iterdir())) == 1


def test_what_cannot_be_installed_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(PeerUnavailableError, match=r"its environment could not be made: `uv pip` says: .*no-such-package"):
        make_environment(["no-such-package==0"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_environments_are_in_the_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_environments() == tmp_path / "sctab" / "environments"


@pytest.mark.parametrize("requirements", PEERS.values(), ids=list(PEERS))
def test_every_peer_has_an_environment_of_its_own(requirements):
    assert any("==" in requirement for requirement in requirements)


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_has_a_program_that_does_not_know_sctab(name):
    source = (PROGRAMS / f"peer_{name}.py").read_text(encoding="utf-8")
    assert "def annotate(" in source
    assert "sctab" not in source


FEW_EPOCHS = {
    "scvi_knn": {"max_epochs": 12, "n_neighbors": 5},
    "scanvi": {"max_epochs": 12, "max_epochs_scanvi": 8},
    "scarches": {"max_epochs": 12, "max_epochs_scanvi": 8, "max_epochs_query": 2},
}


@pytest.mark.parametrize("name", FEW_EPOCHS)
def test_peers_of_scvi_tools_give_each_query_cell_a_probability_per_type(name, tmp_path):
    adata = make_reference(n_obs=600)
    is_query = (adata.obs["donor_id"] == "donor_3").to_numpy()
    obs = pd.DataFrame({"batch": adata.obs["donor_id"].astype(str), "label": adata.obs["cell_type"].astype(str)})
    adata.obs = obs
    reference, query = adata[~is_query].copy(), adata[is_query].copy()
    truth = query.obs.pop("label")
    settings = FEW_EPOCHS[name] | {"n_top_genes": 50, "n_latent": 5, "n_layers": 1}

    result = run_peer(name, Path(sys.executable), tmp_path, reference=reference, query=query, seed=0, settings=settings)

    assert set(result.probabilities.columns) == set(TYPES)
    assert list(result.probabilities.index) == list(query.obs_names)
    assert result.probabilities.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert (result.predicted == result.probabilities.idxmax(axis=1)).all()
    assert (result.predicted == truth).mean() > 0.5  # a third by chance
    assert result.seconds > 0
