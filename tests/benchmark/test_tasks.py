"""Splitting a task into cells to learn from and cells to name."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tests.reference import make_reference

from sctab import DataFileError, GeneOverlapError, KeyNotFoundError, SettingError
from sctab.benchmark import Subset, Task
from sctab.benchmark._tasks import Cells, load_task, over_shared_genes
from sctab.inference import NO_SETUP
from sctab.train import MemoryReference

TWO_FILES = Task("two", "cells.h5ad", "cell_type", "dataset", query="others.h5ad")
BY_DONOR = Task("donors", "cells.h5ad", "cell_type", "donor", donor_key="donor_id", test_donors=("donor_3", "donor_1"))


def test_two_files(folder):
    cells = load_task(TWO_FILES, folder)
    assert (cells.reference.n_obs, cells.query.n_obs) == (240, 60)
    assert cells.types == ("B cell", "T cell", "monocyte")
    reference, query = over_shared_genes(cells, TWO_FILES)
    assert list(reference.var_names) == list(query.var_names) == list(cells.query.var_names)
    np.testing.assert_array_equal(reference.X.toarray(), cells.reference.X.toarray()[:, 5:])
    np.testing.assert_array_equal(query.X.toarray(), cells.query.X.toarray())


@pytest.fixture
def stored(tmp_path):
    """Write a reference and a query, and give the cells of a task that has them."""

    def write(reference, query=None, **more):
        reference.write_h5ad(tmp_path / "cells.h5ad")
        (make_reference(n_obs=60, seed=1) if query is None else query).write_h5ad(tmp_path / "others.h5ad")
        return load_task(replace(TWO_FILES, **more), tmp_path)

    return write


def test_cells_without_a_label_are_left_out_on_both_sides(stored):
    sides = make_reference(), make_reference(n_obs=60, seed=1)
    for adata in sides:
        labels = adata.obs["cell_type"].astype(object)
        labels.iloc[[0, 3]], labels.iloc[1] = "unknown", np.nan
        adata.obs["cell_type"] = labels
    cells = stored(*sides, unlabeled_category="unknown")
    assert list(cells.reference.obs_names) == [f"cell_{i}" for i in range(240) if i not in {0, 1, 3}]
    assert list(cells.query.obs_names) == [f"cell_{i}" for i in range(60) if i not in {0, 1, 3}]
    assert cells.types == ("B cell", "T cell", "monocyte")
    assert "unknown" in stored(*sides).types


@pytest.mark.parametrize("layer", [None, "counts"])
def test_counts_are_taken_from_where_they_are(stored, layer):
    reference = make_reference()
    counts = reference.X.copy()
    reference.layers["counts"], reference.X = counts, np.zeros(reference.shape, dtype=np.float32) - 1
    query = make_reference(n_obs=60, seed=1)
    query.layers["counts"] = query.X.copy()
    cells = stored(reference, query, layer=layer)
    np.testing.assert_array_equal(cells.reference.X.toarray(), counts.toarray())


def test_log1p_is_undone(stored):
    reference = make_reference()
    shares = reference.X.toarray() / reference.X.toarray().sum(axis=1, keepdims=True)
    reference.X = sparse.csr_matrix(np.log1p(1e4 * shares).astype(np.float32))
    np.testing.assert_allclose(stored(reference).reference.X.toarray(), 1e4 * shares, rtol=1e-4)


def test_features_that_are_no_genes_are_left_out(stored):
    reference = make_reference()
    reference.var["feature_types"] = ["Antibody Capture"] * 2 + ["Gene Expression"] * 58
    assert list(stored(reference).reference.var_names) == list(reference.var_names[2:])


def test_symbols_are_matched_to_ids(stored):
    query = make_reference(n_obs=60, seed=1)[:, ::-1].copy()
    expected = query[:, ::-1].X.toarray()
    query.var = pd.DataFrame(index=[f"{name}.3" for name in query.var["ensembl_id"]])
    cells = stored(make_reference(), query)
    reference, query = over_shared_genes(cells, TWO_FILES)
    assert list(reference.var_names) == list(query.var_names) == list(cells.reference.var_names)
    np.testing.assert_array_equal(query.X.toarray(), expected)


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_names_that_repeat_are_one_gene():
    def cells_of(names, values):
        return ad.AnnData(sparse.csr_matrix(np.array(values, dtype=np.float32)), var=pd.DataFrame(index=names))

    reference = cells_of(["CD3D", "MS4A1", "CD3D"], [[1, 2, 4]])
    reference.obs["label"] = "B cell"
    source = MemoryReference(reference, NO_SETUP | {"labels_key": "label"})
    cells = Cells(source, cells_of(["MS4A1", "CD3D", "NKG7"], [[5, 6, 7]]), ())
    reference, query = over_shared_genes(cells, TWO_FILES)
    assert list(reference.var_names) == ["CD3D", "MS4A1"]
    assert reference.X.toarray().tolist() == [[5, 2]]
    assert query.X.toarray().tolist() == [[6, 5]]


def test_there_must_be_shared_genes(stored):
    query = make_reference(n_obs=60, seed=1)
    query.var = pd.DataFrame(index=[f"other{i}" for i in range(60)])
    with pytest.raises(GeneOverlapError, match="None of the model's 60 genes is in the data"):
        over_shared_genes(stored(make_reference(), query), TWO_FILES)


def test_named_donors(folder):
    cells = load_task(BY_DONOR, folder)
    assert set(cells.query.obs["donor_id"]) == {"donor_1", "donor_3"}
    assert set(cells.reference.obs["donor_id"]) == {"donor_0", "donor_2"}
    assert cells.reference.n_obs + cells.query.n_obs == 240


@pytest.mark.parametrize("split", ["donor", "random"])
def test_a_share(folder, split):
    task = Task("share", "cells.h5ad", "cell_type", split, donor_key="donor_id", test_fraction=0.25)
    cells, again, other = (load_task(replace(task, split_seed=seed), folder) for seed in (0, 0, 1))
    assert cells.query.n_obs == 60
    assert not set(cells.query.obs_names) & set(cells.reference.obs_names)
    assert list(cells.query.obs_names) == list(again.query.obs_names) != list(other.query.obs_names)
    assert cells.query.obs["cell_type"].value_counts().tolist() == [20, 20, 20]
    by_donor = set(cells.query.obs["donor_id"]).isdisjoint(cells.reference.obs["donor_id"])
    assert by_donor == (split == "donor")


@pytest.mark.parametrize("by", ["donor", "cell"])
def test_parts_are_nested(folder, by):
    task = Task(
        "two", "cells.h5ad", "cell_type", "dataset", query="others.h5ad", donor_key="donor_id", subset=Subset(by, (0.2, 0.5))
    )
    parts = [load_task(task, folder, fraction=fraction, seed=7).reference for fraction in (0.2, 0.5, 1)]
    names = [set(part.obs_names) for part in parts]
    assert names[0] < names[1] < names[2]
    assert [len(cells) for cells in names] == ([60, 120, 240] if by == "donor" else [48, 120, 240])
    if by == "donor":
        assert [part.obs["donor_id"].nunique() for part in parts] == [1, 2, 4]
    other = load_task(task, folder, fraction=0.5, seed=8).reference
    assert set(other.obs_names) != names[1]


def test_types_are_those_of_the_whole_reference(folder, tmp_path):
    adata = ad.read_h5ad(folder / "cells.h5ad")
    adata.obs["cell_type"] = np.where(np.arange(240) == 0, "rare", adata.obs["cell_type"].astype(str))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    task = Task("rare", "cells.h5ad", "cell_type", "random", test_fraction=0.5, subset=Subset("cell", (0.1,)))
    assert "rare" in load_task(task, tmp_path, fraction=0.1, seed=1).types


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (replace(TWO_FILES, query="none.h5ad"), DataFileError, r"none.h5ad` not found. Set the data folder"),
        (
            replace(TWO_FILES, labels_key="type"),
            KeyNotFoundError,
            r"`type` is not in `obs` of `cells.h5ad`. Did you mean `cell_type`\? Columns: `cell_type`",
        ),
        (replace(TWO_FILES, layer="raw"), KeyNotFoundError, r"`layer='raw'` is not in the data. Available: `X`"),
        (replace(TWO_FILES, group_key="sex"), KeyNotFoundError, r"`sex` is not in `obs` of `others.h5ad`"),
        (replace(BY_DONOR, test_donors=("donor_9",)), SettingError, r"names `donor_9`, which `donor_id` does not have"),
        (
            replace(BY_DONOR, test_donors=tuple(f"donor_{i}" for i in range(4))),
            SettingError,
            r"assigns 240 of 240 cells to the query",
        ),
        (replace(BY_DONOR, test_donors=(), test_fraction=0.25, donor_key="cell_type"), SettingError, r"cannot be split by donor"),
    ],
)
def test_refusals(folder, task, error, message):
    with pytest.raises(error, match=message):
        load_task(task, folder)
