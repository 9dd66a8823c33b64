"""Stored models of every version of the format, written by the code of its time, with what they predicted then.

`scripts/make_model_fixtures.py` wrote them, once.
"""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from tests.cite_seq import as_mudata

import sctab
from sctab import ModelFormatError
from sctab.errors import SctabWarning
from sctab.keys import FORMAT_VERSIONS
from sctab.model import load_model

FOLDER = Path(__file__).parents[1] / "fixtures" / "models"
STORED = sorted(
    path.with_suffix("").relative_to(FOLDER).as_posix() for path in FOLDER.glob("format_*/*.json") if path.stem != "query"
)
FIRST = "format_1/"


def query_of(path):
    """The cells that a stored model was asked about."""
    values = json.loads((path.parent / "query.json").read_text())
    obs = pd.DataFrame(values.pop("obs"))
    obs.index = [f"cell_{i}" for i in obs.index]
    parts = {
        name: AnnData(np.asarray(part["counts"], dtype=np.float32), obs=obs[[]].copy(), var=pd.DataFrame(index=part["features"]))
        for name, part in values.items()
    }
    if "prot" in parts and path.name != "scdeepcluster":
        mdata = as_mudata(**parts)
        mdata.obs = mdata.obs.join(obs)
        return mdata
    parts["rna"].obs = obs
    return parts["rna"]


def loaded(path):
    """The stored model; the first version warns."""
    if FIRST in path.as_posix():
        with pytest.warns(SctabWarning, match="saved by an earlier version of sctab, without a hash of its description") as caught:
            model = load_model(path, accelerator="cpu")
        assert len(caught) == 1
        return model
    return load_model(path, accelerator="cpu")


def test_every_version_is_stored():
    assert {int(name.split("/")[0].removeprefix("format_")) for name in STORED} == set(FORMAT_VERSIONS)
    for version in FORMAT_VERSIONS:
        kinds = {name.split("/")[1] for name in STORED if name.startswith(f"format_{version}/")}
        assert kinds >= {"sctab", "linear", "mlp", "xgboost", "ensemble"}
        described = json.loads((FOLDER / f"format_{version}" / "linear" / "model.json").read_text())
        assert described["format_version"] == version


@pytest.mark.parametrize("name", STORED)
def test_it_predicts_what_it_did(name, tmp_path):
    path = FOLDER / name
    expected, query, model = json.loads(path.with_suffix(".json").read_text()), query_of(path), loaded(path)
    found = model.predict(query, soft=True)
    assert list(map(str, found.columns)) == expected["labels"]
    np.testing.assert_allclose(found.to_numpy(), expected["probabilities"], atol=1e-6, rtol=0)
    model.save(tmp_path / "again")
    again = load_model(tmp_path / "again", accelerator="cpu")  # without a warning
    assert again.spec == model.spec
    np.testing.assert_array_equal(again.predict(query, soft=True), found)


@pytest.mark.parametrize("name", [name for name in STORED if not name.endswith("scdeepcluster")])
def test_it_annotates(name):
    path = FOLDER / name
    expected, query = json.loads(path.with_suffix(".json").read_text()), query_of(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SctabWarning)
        sctab.tl.annotate(query, path)
    best = np.asarray(expected["labels"])[np.argmax(expected["probabilities"], axis=1)]
    assert query.obs["sctab_label"].astype(str).tolist() == best.tolist()


@pytest.mark.parametrize("name", [name for name in STORED if not name.startswith(FIRST)])
def test_a_description_that_was_edited_is_refused(name, tmp_path):
    path = shutil.copytree(FOLDER / name, tmp_path / "model")
    described = path / ("ensemble.json" if (path / "ensemble.json").exists() else "model.json")
    values = json.loads(described.read_text())
    if "members" in values:
        values["members"].reverse()
    else:
        values["labels"]["names"].reverse()
    described.write_text(json.dumps(values))
    with pytest.raises(ModelFormatError):
        load_model(path, accelerator="cpu")
