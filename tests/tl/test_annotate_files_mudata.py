"""Files with gene expression and surface proteins: results are those of the same cells in memory."""

import warnings

import anndata
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from anndata.io import write_elem
from scipy import sparse
from tests.cite_seq import ANTIBODIES, as_mudata, cite_seq
from tests.formats import write_ten_x

import sctab
from sctab.errors import DataFileError, InputValueError, KeyNotFoundError, OutputError, SctabWarning, SettingError
from sctab.model import LinearClassifier

BLOCKS = {"block_size": 40, "batch_size": 16}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    reference = cite_seq(360)
    LinearClassifier.setup_mudata(reference, "cell_type", modalities={"rna": "rna", "protein": "prot"}, donor_key="donor")
    model = LinearClassifier(reference)
    with warnings.catch_warnings(action="ignore"):
        model.train(max_epochs=30, enable_progress_bar=False, accelerator="cpu")
    path = tmp_path_factory.mktemp("model") / "cite"
    model.save(path)
    return path


def write(mdata, path):
    with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
        mdata.write(path)
    return path


def read(path):
    with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
        return mudata.read_h5mu(path)


def in_memory(mdata, model, **settings):
    with warnings.catch_warnings(action="ignore"):
        return sctab.tl.annotate(mdata, model, copy=True, **settings)


def table_of(path):
    return pd.read_parquet(path).set_index("cell")


def assert_same(table, annotated, *, key="sctab"):
    columns = [name for name in annotated.obs if name.startswith(f"{key}_")]
    assert columns == [name for name in table if name.startswith(f"{key}_")]
    for name in columns:
        found, expected = table[name], annotated.obs[name].loc[table.index]
        if expected.dtype.kind in "fib":
            np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy(), err_msg=name)
        else:
            assert list(found.astype(object).fillna("")) == list(expected.astype(object).fillna("")), name


def permuted():
    whole, rng = cite_seq(130, seed=1), np.random.default_rng(0)
    return as_mudata(rna=whole["rna"].copy(), prot=whole["prot"][rng.permutation(130)].copy())


def missing():
    whole, rng = cite_seq(130, seed=1), np.random.default_rng(0)
    return as_mudata(prot=whole["prot"][rng.permutation(130)[:90]].copy(), rna=whole["rna"][20:].copy())


CELLS = {"same": lambda: cite_seq(130, seed=1), "permuted": permuted, "missing": missing}


@pytest.mark.filterwarnings("ignore:.*Antibodies were measured in")
@pytest.mark.parametrize("kind", CELLS)
def test_as_in_memory(model, tmp_path, kind):
    mdata = CELLS[kind]()
    path = write(mdata, tmp_path / "cells.h5mu")
    done = sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet", accepted_error=0.3, **BLOCKS)
    table = table_of(tmp_path / "out.parquet")
    assert list(table.index) == list(mdata["rna"].obs_names)
    annotated = in_memory(mdata, model, accepted_error=0.3)
    assert_same(table, annotated)
    run, expected = done.runs[str(path)], annotated.uns["sctab"]
    assert run["proteins"]["measured"] == expected["proteins"]["measured"] == "all"
    assert run["calibration"] == expected["calibration"]
    if kind == "same":
        is_t = mdata.obs["cell_type"].astype(str).str.contains("T cell")
        is_right = table["sctab_label"].astype(str) == mdata.obs["cell_type"].astype(str)
        assert is_right[is_t].mean() > 0.8  # gene expression alone cannot tell them apart


def test_memory_and_files_use_the_same_calibration_without_proteins(model, tmp_path):
    mdata = cite_seq(60, seed=1)
    mdata["rna"].write_h5ad(tmp_path / "rna.h5ad")
    with pytest.warns(SctabWarning, match="no surface proteins"):
        done = sctab.tl.annotate_files(tmp_path / "rna.h5ad", model, output=tmp_path / "out.parquet", **BLOCKS)
    annotated = in_memory(mdata["rna"].copy(), model)
    assert_same(table_of(tmp_path / "out.parquet"), annotated)
    assert done.runs[str(tmp_path / "rna.h5ad")]["calibration"] == annotated.uns["sctab"]["calibration"]


class TestModalities:
    def test_none(self, model, tmp_path):
        mdata = cite_seq(60, seed=1)
        path = write(mdata, tmp_path / "cells.h5mu")
        with pytest.warns(SctabWarning, match="no surface proteins"):
            sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet", protein_modality="none", modality="rna")
        assert_same(table_of(tmp_path / "out.parquet"), in_memory(mdata["rna"].copy(), model))

    def test_by_name(self, model, tmp_path):
        whole = cite_seq(60, seed=1)
        wrong = cite_seq(60, seed=5)["prot"].copy()
        mdata = as_mudata(rna=whole["rna"].copy(), aaa=wrong, other=whole["prot"].copy())
        path = write(mdata, tmp_path / "cells.h5mu")
        sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet", protein_modality="other", modality="rna")
        assert_same(table_of(tmp_path / "out.parquet"), in_memory(whole, model))
        with pytest.raises(KeyNotFoundError, match="`protein_modality='othr'` is not another modality.*Did you mean `other`"):
            sctab.tl.annotate_files(path, model, output=tmp_path / "b.parquet", protein_modality="othr")

    def test_those_of_the_model_come_first(self, model, tmp_path):
        whole = cite_seq(60, seed=1)
        mdata = as_mudata(aaa=cite_seq(60, seed=5)["prot"].copy(), prot=whole["prot"].copy(), rna=whole["rna"].copy())
        path = write(mdata, tmp_path / "cells.h5mu")
        with pytest.warns(SctabWarning, match="`rna` was used, of `aaa`, `rna`"):
            sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet")
        assert_same(table_of(tmp_path / "out.parquet"), in_memory(whole, model))

    def test_antibodies_alone(self, model, tmp_path):
        path = write(as_mudata(prot=cite_seq(60, seed=1)["prot"].copy()), tmp_path / "cells.h5mu")
        with pytest.raises(InputValueError, match="has antibodies and no gene expression. Read it with `mudata.read_h5mu"):
            sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet")


def features_in_one_matrix(mdata):
    return AnnData(
        sparse.hstack([mdata["rna"].X, mdata["prot"].X], format="csr"),
        obs=mdata["rna"].obs,
        var=pd.DataFrame(
            {
                "gene_ids": [*mdata["rna"].var_names, *ANTIBODIES],
                "feature_types": ["Gene Expression"] * 60 + ["Antibody Capture"] * 6,
            },
            index=[*mdata["rna"].var_names, *(f"{name}_TotalSeqB" for name in ANTIBODIES)],
        ),
    )


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr", ".h5"])
@pytest.mark.filterwarnings("ignore:.*features? other than gene expression")
def test_features_of_one_matrix(model, tmp_path, suffix):
    mdata = cite_seq(90, seed=1)
    adata = features_in_one_matrix(mdata)
    path = tmp_path / f"cells{suffix}"
    if suffix == ".h5":
        write_ten_x(adata, path)
    else:
        getattr(adata, {".h5ad": "write_h5ad", ".zarr": "write_zarr"}[suffix])(path)
    sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet", **BLOCKS)
    assert_same(table_of(tmp_path / "out.parquet"), in_memory(mdata, model))


def test_files_with_and_without_proteins_are_refused(model, tmp_path):
    mdata = cite_seq(60, seed=1)
    write(mdata, tmp_path / "a.h5mu")
    mdata["rna"].write_h5ad(tmp_path / "b.h5ad")
    with pytest.raises(InputValueError, match="a.h5mu` has all of the antibodies .*b.h5ad` has none.*in separate runs"):
        sctab.tl.annotate_files([tmp_path / "a.h5mu", tmp_path / "b.h5ad"], model, output=tmp_path / "out.parquet")
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.h5mu", "b.h5ad"}


def test_several_files(model, tmp_path):
    names = ["a.h5mu", "b.h5mu"]
    for seed, name in enumerate(names, start=1):
        write(cite_seq(60, seed=seed), tmp_path / name)
    sctab.tl.annotate_files([tmp_path / name for name in names], model, output=tmp_path / "out.parquet", **BLOCKS)
    table = pd.read_parquet(tmp_path / "out.parquet")
    for seed, (_, part) in enumerate(table.groupby("file", observed=True), start=1):
        assert_same(part.set_index("cell"), in_memory(cite_seq(60, seed=seed), model))


def test_interrupted_and_resumed(model, tmp_path, monkeypatch):
    path = write(permuted(), tmp_path / "cells.h5mu")
    savez, saved = np.savez, []

    def fails(*arguments, **arrays):
        saved.append(1)
        if len(saved) > 2:
            raise OSError("No space left on device")
        savez(*arguments, **arrays)

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OutputError):
        sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet", **BLOCKS)
    monkeypatch.undo()
    with pytest.raises(SettingError, match="differ"):
        sctab.tl.annotate_files(
            path, model, output=tmp_path / "out.parquet", resume=True, protein_modality="none", modality="rna", **BLOCKS
        )
    sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet", resume=True, **BLOCKS)
    assert_same(table_of(tmp_path / "out.parquet"), in_memory(permuted(), model))


def test_a_model_of_genes_does_not_read_antibodies(tmp_path):
    reference = cite_seq(200)
    adata = reference["rna"].copy()
    adata.obs["cell_type"] = np.where(reference.obs["cell_type"].str.contains("T cell"), "T cell", "B cell")
    LinearClassifier.setup_anndata(adata, "cell_type")
    model = LinearClassifier(adata)
    model.train(max_epochs=3, enable_progress_bar=False, accelerator="cpu", calibrate=False)
    path = write(cite_seq(60, seed=1), tmp_path / "cells.h5mu")
    with h5py.File(path, "r+") as root:
        del root["mod/prot/X"]
        root["mod/prot/X"] = np.zeros(3)  # damaged
    with pytest.warns(SctabWarning, match="`rna` was used, of"):
        sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet")
    assert_same(table_of(tmp_path / "out.parquet"), in_memory(cite_seq(60, seed=1)["rna"].copy(), model))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["eccite_pbmc_500.h5mu", "cite_cbmc.h5mu"])
def test_published_data(shared_data, tmp_path, name):
    path = shared_data(name)
    mdata = read(path)
    rna = next(each for each in mdata.mod if each.lower() in {"rna", "gex"})
    mdata.obs["half"] = np.where(np.arange(mdata.n_obs) % 2, "a", "b")
    LinearClassifier.setup_mudata(mdata, "half")
    model = LinearClassifier(mdata, n_top_genes=200)
    model.train(max_epochs=2, enable_progress_bar=False, accelerator="cpu", calibrate=False)
    sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet", block_size=100)
    table = table_of(tmp_path / "out.parquet")
    assert list(table.index) == list(mdata[rna].obs_names)
    assert_same(table, in_memory(read(path), model))


def out_of(path, model, output, **settings):
    sctab.tl.annotate_files(path, model, output=output, **{**BLOCKS, **settings})
    return read(output)


def assert_same_object(found, expected, key="sctab"):
    """Results of cells with gene expression, and everything else, are those of an annotation in memory."""
    assert list(found.obs_names) == list(expected.obs_names)
    cells = found.obs_names.isin(expected["rna"].obs_names)
    for name in (name for name in expected.obs if name.startswith(f"{key}_")):
        pd.testing.assert_series_equal(found.obs[name][cells], expected.obs[name][cells], check_categorical=True, rtol=0, atol=0)
    found_frame, frame = found.obsm[f"{key}_probabilities"], expected.obsm[f"{key}_probabilities"]
    pd.testing.assert_frame_equal(found_frame[cells], frame[cells], check_names=False, rtol=0, atol=0)
    assert found_frame[~cells].isna().all(axis=None)
    assert list(found.uns[key]["labels"]["names"]) == list(expected.uns[key]["labels"]["names"])
    for name, part in expected.mod.items():
        np.testing.assert_array_equal(found[name].X.toarray(), part.X.toarray())
        assert list(found[name].obs_names) == list(part.obs_names)


@pytest.mark.filterwarnings("ignore:.*Antibodies were measured in")
class TestWholeMuData:
    @pytest.mark.parametrize("kind", CELLS)
    def test_as_in_memory(self, model, tmp_path, kind):
        mdata = CELLS[kind]()
        mdata.uns["kept"], mdata["rna"].layers["twice"] = "yes", mdata["rna"].X * 2
        path = write(mdata, tmp_path / "cells.h5mu")
        found = out_of(path, model, tmp_path / "out.h5mu", accepted_error=0.3)
        expected = in_memory(mdata, model, accepted_error=0.3)
        assert_same_object(found, expected)
        assert found.uns["kept"] == "yes"
        np.testing.assert_array_equal(found["rna"].layers["twice"].toarray(), 2 * mdata["rna"].X.toarray())
        has_none = ~found.obs_names.isin(mdata["rna"].obs_names)
        assert found.obs["sctab_label"].isna()[has_none].all()
        assert has_none.any() == (kind == "missing")
        assert found.obs["sctab_label"].notna()[~has_none].all()

    def test_again_with_another_model_takes_away_what_it_does_not_give(self, model, tmp_path):
        path = write(missing(), tmp_path / "cells.h5mu")
        out_of(path, model, tmp_path / "a.h5mu", accepted_error=0.3)
        found = out_of(tmp_path / "a.h5mu", model, tmp_path / "b.h5mu")
        assert "sctab_term" not in found.obs
        assert "sctab_label" in found.obs

    def test_votes(self, model, tmp_path):
        mdata = missing()
        mdata.obs["leiden"] = pd.Categorical(np.resize(["0", "1", "2"], mdata.n_obs))
        path = write(mdata, tmp_path / "cells.h5mu")
        found = out_of(path, model, tmp_path / "out.h5mu", vote="leiden")
        sctab.tl.annotate_files(path, model, output=tmp_path / "out.parquet", vote="leiden", **BLOCKS)
        table = table_of(tmp_path / "out.parquet")
        assert list(found.obs["sctab_vote"].loc[table.index].astype(object)) == list(table["sctab_vote"].astype(object))
        others = found.obs_names.difference(table.index)
        assert found.obs["sctab_vote"].loc[others].isna().all()
        assert found.uns["sctab_vote"]["n_cells"].sum() == len(table)

    def test_resumed_where_it_is_finished(self, model, tmp_path):
        path = write(cite_seq(60, seed=1), tmp_path / "cells.h5mu")
        out_of(path, model, tmp_path / "out.h5mu")
        done = sctab.tl.annotate_files(path, model, output=tmp_path / "out.h5mu", resume=True, **BLOCKS)
        assert done.runs == {}

    def test_from_a_store(self, model, tmp_path):
        mdata = cite_seq(60, seed=1)
        with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
            mdata.write_zarr(tmp_path / "cells.zarr")
        assert_same_object(out_of(tmp_path / "cells.zarr", model, tmp_path / "out.h5mu"), in_memory(mdata, model))

    def test_links_become_what_they_lead_to(self, model, tmp_path):
        mdata = cite_seq(60, seed=1)
        path = write(mdata, tmp_path / "cells.h5mu")
        with h5py.File(path, "r+") as root:
            root["mod/rna/layers/counts"] = h5py.SoftLink("/mod/rna/X")
        found = out_of(path, model, tmp_path / "out.h5mu")
        assert_same_object(found, in_memory(mdata, model))
        np.testing.assert_array_equal(found["rna"].layers["counts"].toarray(), mdata["rna"].X.toarray())

    def test_a_directory_of_copies(self, model, tmp_path):
        path = write(cite_seq(60, seed=1), tmp_path / "cells.h5mu")
        sctab.tl.annotate_files(path, model, output=tmp_path / "out", **BLOCKS)
        assert "sctab_label" in read(tmp_path / "out/cells.h5mu").obs

    def test_one_modality_as_h5ad(self, model, tmp_path):
        path = write(cite_seq(60, seed=1), tmp_path / "cells.h5mu")
        sctab.tl.annotate_files(path, model, output=tmp_path / "out.h5ad", **BLOCKS)
        found = anndata.read_h5ad(tmp_path / "out.h5ad")
        assert found.shape == (60, 60)
        assert "sctab_label" in found.obs

    def test_refuses_another_input(self, model, tmp_path):
        cite_seq(60, seed=1)["rna"].write_h5ad(tmp_path / "cells.h5ad")
        with pytest.raises(OutputError, match=r"out.h5mu` would be a MuData, and `.*cells.h5ad` is not one. Write `.h5ad`"):
            sctab.tl.annotate_files(tmp_path / "cells.h5ad", model, output=tmp_path / "out.h5mu")
        assert {entry.name for entry in tmp_path.iterdir()} == {"cells.h5ad"}

    def test_refuses_cells_that_the_mudata_does_not_have(self, model, tmp_path):
        path = write(cite_seq(60, seed=1), tmp_path / "cells.h5mu")
        with h5py.File(path, "r+") as root:
            del root["mod/rna/obs/_index"]
            write_elem(root["mod/rna/obs"], "_index", np.array([f"other{i}" for i in range(60)], dtype=object))
        with pytest.raises(DataFileError, match="has cells in `mod\\['rna'\\]` that are not in the `obs` of the MuData"):
            sctab.tl.annotate_files(path, model, output=tmp_path / "out.h5mu")

    def test_a_damaged_part_that_is_not_read(self, model, tmp_path):
        path = write(cite_seq(60, seed=1), tmp_path / "cells.h5mu")
        with h5py.File(path, "r+") as root:
            root["mod/prot/layers/odd"] = np.zeros((2, 2))
            root["mod/prot/layers/odd"].attrs["encoding-type"] = "unknown"
        with pytest.raises(DataFileError, match="mod/prot/layers/odd` .*cannot be read by anndata"):
            sctab.tl.annotate_files(path, model, output=tmp_path / "out.h5mu", **BLOCKS)
