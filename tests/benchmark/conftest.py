"""A folder with small data, and benchmarks of it."""

import pytest
import yaml
from tests.reference import make_reference

TASK = {
    "name": "donors",
    "reference": "cells.h5ad",
    "labels_key": "cell_type",
    "donor_key": "donor_id",
    "split": "donor",
    "test_donors": ["donor_3"],
}


OFFLINE = {"name": "logistic_regression", "requirements": []}
"""A peer that runs in this environment."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with `cells.h5ad` of four donors, and `others.h5ad` with fewer genes and a type that the former lacks."""
    folder = tmp_path_factory.mktemp("data")
    make_reference().write_h5ad(folder / "cells.h5ad")
    others = make_reference(n_obs=60, seed=1)[:, 5:].copy()
    others.obs["cell_type"] = others.obs["cell_type"].astype(str).where(others.obs["cell_type"] != "monocyte", "macrophage")
    others.write_h5ad(folder / "others.h5ad")
    return folder


@pytest.fixture
def task():
    """A task as a file has it: three donors to one."""
    return dict(TASK)


@pytest.fixture
def write_config(folder, tmp_path):
    """Write a benchmark and give its path; what is not said is a task by donors and a logistic regression."""

    def write(name="benchmark.yaml", **values):
        values = {"data": str(folder), "tasks": [TASK], "peers": [OFFLINE], "seeds": [0]} | values
        path = tmp_path / name
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    return write
