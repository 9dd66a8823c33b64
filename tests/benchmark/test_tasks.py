"""Splitting a task into cells to learn from and cells to name."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pytest

from sctab import DataFileError, KeyNotFoundError, SettingError
from sctab.benchmark import Subset, Task
from sctab.benchmark._tasks import load_task

TWO_FILES = Task("two", "cells.h5ad", "cell_type", "datasets", query="others.h5ad")
BY_DONOR = Task("donors", "cells.h5ad", "cell_type", "donors", donor_key="donor_id", test_donors=("donor_3", "donor_1"))


def test_two_files(folder):
    cells = load_task(TWO_FILES, folder)
    assert (cells.reference.n_obs, cells.query.n_obs) == (240, 60)
    assert cells.types == ("B cell", "T cell", "monocyte")
    assert cells.shared_genes == list(cells.query.var_names)


def test_named_donors(folder):
    cells = load_task(BY_DONOR, folder)
    assert set(cells.query.obs["donor_id"]) == {"donor_1", "donor_3"}
    assert set(cells.reference.obs["donor_id"]) == {"donor_0", "donor_2"}
    assert cells.reference.n_obs + cells.query.n_obs == 240


@pytest.mark.parametrize("split", ["donors", "random"])
def test_a_share(folder, split):
    task = Task("share", "cells.h5ad", "cell_type", split, donor_key="donor_id", test_share=0.25)
    cells, again, other = (load_task(replace(task, split_seed=seed), folder) for seed in (0, 0, 1))
    assert cells.query.n_obs == 60
    assert not set(cells.query.obs_names) & set(cells.reference.obs_names)
    assert list(cells.query.obs_names) == list(again.query.obs_names) != list(other.query.obs_names)
    assert cells.query.obs["cell_type"].value_counts().tolist() == [20, 20, 20]
    by_donor = set(cells.query.obs["donor_id"]).isdisjoint(cells.reference.obs["donor_id"])
    assert by_donor == (split == "donors")


@pytest.mark.parametrize("by", ["donors", "cells"])
def test_parts_are_nested(folder, by):
    task = Task(
        "two", "cells.h5ad", "cell_type", "datasets", query="others.h5ad", donor_key="donor_id", subset=Subset(by, (0.2, 0.5))
    )
    parts = [load_task(task, folder, fraction=fraction, seed=7).reference for fraction in (0.2, 0.5, 1)]
    names = [set(part.obs_names) for part in parts]
    assert names[0] < names[1] < names[2]
    assert [len(cells) for cells in names] == ([60, 120, 240] if by == "donors" else [48, 120, 240])
    if by == "donors":
        assert [part.obs["donor_id"].nunique() for part in parts] == [1, 2, 4]
    other = load_task(task, folder, fraction=0.5, seed=8).reference
    assert set(other.obs_names) != names[1]


def test_types_are_those_of_the_whole_reference(folder, tmp_path):
    adata = ad.read_h5ad(folder / "cells.h5ad")
    adata.obs["cell_type"] = np.where(np.arange(240) == 0, "rare", adata.obs["cell_type"].astype(str))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    task = Task("rare", "cells.h5ad", "cell_type", "random", test_share=0.5, subset=Subset("cells", (0.1,)))
    assert "rare" in load_task(task, tmp_path, fraction=0.1, seed=1).types


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (replace(TWO_FILES, query="none.h5ad"), DataFileError, r"none.h5ad` is not there. Say where the data is"),
        (replace(TWO_FILES, labels_key="type"), KeyNotFoundError, r"`type` is not in `obs` of `cells.h5ad`. Columns: `cell_type`"),
        (replace(TWO_FILES, group_key="sex"), KeyNotFoundError, r"`sex` is not in `obs` of `others.h5ad`"),
        (replace(BY_DONOR, test_donors=("donor_9",)), SettingError, r"names `donor_9`, which `donor_id` does not have"),
        (
            replace(BY_DONOR, test_donors=tuple(f"donor_{i}" for i in range(4))),
            SettingError,
            r"puts 240 of 240 cells into the query",
        ),
        (replace(BY_DONOR, test_donors=(), test_share=0.25, donor_key="cell_type"), SettingError, r"cannot be split by donor"),
    ],
)
def test_refusals(folder, task, error, message):
    with pytest.raises(error, match=message):
        load_task(task, folder)
