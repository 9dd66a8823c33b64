"""What is given in place of an AnnData, and copies of what is backed."""

from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tests.reference import make_reference

import sctab
from sctab import InputTypeError, InputValueError, SctabError
from sctab.model import DeepEnsemble, LinearClassifier


@pytest.fixture(scope="module")
def cells():
    return make_reference(40)


def as_mudata(cells):
    return mudata.MuData({"rna": cells.copy(), "prot": cells[:, :5].copy()})


class SpatialData:
    """Has tables, as the class of this name has."""

    __module__ = "spatialdata._core.spatialdata"
    tables = {"table": None}  # noqa: RUF012


# ruff: noqa: ARG005
OTHERS = {
    "path": (lambda cells: "q.h5ad", r"'q\.h5ad' is a string.*`anndata\.read_h5ad\('q\.h5ad'\)`"),
    "Path of a store": (lambda cells: Path("q.zarr"), r"read_zarr\('q\.zarr'\)"),
    "bytes": (lambda cells: b"q.h5ad", "this is a bytes"),
    "SpatialData": (lambda cells: SpatialData(), r"SpatialData with the tables `table`.*`sdata\.tables\['table'\]`"),
    "frame": (lambda cells: cells.to_df(), r"this is a DataFrame\. Convert it.*`anndata\.AnnData\(frame\)`"),
    "array": (lambda cells: cells.X.toarray(), r"this is a ndarray.*var=pandas\.DataFrame\(index=gene_names\)"),
    "sparse": (lambda cells: cells.X, "this is a csr_matrix"),
    "raw": (lambda cells: ad.AnnData(cells.X, raw=cells).raw, r"this is the `raw` of one.*`adata\.raw\.to_adata\(\)`"),
    "list": (lambda cells: [cells, cells], "this is a list. Pass one AnnData at a time"),
    "dict": (lambda cells: {"a": cells}, "this is a dict"),
    "nothing": (lambda cells: None, "this is `None`"),
    "class": (lambda cells: ad.AnnData, "this is the class `AnnData`"),
    "model": (lambda cells: sctab.zoo.load("pbmc"), "this is a SCTAB"),
}


@pytest.mark.filterwarnings("ignore")  # MuData warns of itself
@pytest.mark.parametrize("other", OTHERS)
def test_something_else_than_an_anndata_is_refused_with_what_to_pass(other, cells):
    make, said = OTHERS[other]
    with pytest.raises(InputTypeError, match=said) as raised:
        sctab.tl.annotate(make(cells))
    assert isinstance(raised.value, SctabError)
    assert isinstance(raised.value, TypeError)


@pytest.mark.filterwarnings("ignore")  # MuData warns of itself
def test_a_mudata_is_refused_where_one_modality_is_needed(cells):
    with pytest.raises(InputTypeError, match=r"MuData with the modalities `rna`, `prot`.*`mdata\['rna'\]`"):
        sctab.pp.subsample(as_mudata(cells), 0.5)


def test_a_path_is_told_the_function_for_files():
    with pytest.raises(InputTypeError, match=r"annotate the file itself with `sctab\.tl\.annotate_files`"):
        sctab.tl.annotate("q.h5ad")


VERBS = {
    "explain": lambda given: sctab.tl.explain(given),
    "evaluate": lambda given: sctab.tl.evaluate(given, "cell_type"),
    "explained_variance": lambda given: sctab.tl.explained_variance(given, "cell_type", "donor_id"),
    "split": lambda given: sctab.pp.split(given, "cell_type"),
    "sketch": lambda given: sctab.pp.sketch(given, 10),
    "distil": lambda given: sctab.pp.distil(given, "cell_type"),
    "subsample": lambda given: sctab.pp.subsample(given, 0.5),
    "merge": lambda given: sctab.pp.merge([given]),
    "evaluation": lambda given: sctab.get.evaluation(given),
    "explanation": lambda given: sctab.get.explanation(given),
    "probabilities": lambda given: sctab.get.probabilities(given),
    "setup_anndata": lambda given: LinearClassifier.setup_anndata(given, "cell_type"),
    "ensemble": lambda given: DeepEnsemble(LinearClassifier).setup_anndata(given, "cell_type"),
    "predict": lambda given: sctab.zoo.load("pbmc").predict(given),
    "tune": lambda given: sctab.tuning.tune(given, "cell_type", model="linear"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("given", ["q.h5ad", pd.DataFrame({"CD3D": [1.0, 2.0]})], ids=["path", "frame"])
def test_every_function_says_so(verb, given):
    with pytest.raises(InputTypeError, match="An AnnData is needed"):
        VERBS[verb](given)


@pytest.fixture
def backed(cells, tmp_path):
    cells.write_h5ad(tmp_path / "q.h5ad")
    return ad.read_h5ad(tmp_path / "q.h5ad", backed="r")


@pytest.fixture(scope="module")
def model(cells):
    reference = cells.copy()
    LinearClassifier.setup_anndata(reference, "cell_type")
    model = LinearClassifier(reference)
    model.train(calibrate=False, max_epochs=2, enable_progress_bar=False)
    return model


def test_a_copy_of_a_backed_anndata_is_in_memory(backed, cells, model):
    copied = sctab.tl.annotate(backed, model, copy=True)
    assert not copied.isbacked
    assert "sctab_label" in copied.obs
    assert "sctab_label" not in backed.obs
    assert list(copied.obs["sctab_label"]) == list(sctab.tl.annotate(cells, model, copy=True).obs["sctab_label"])


def test_a_backed_anndata_is_annotated_in_memory_and_its_file_left_alone(backed, model, tmp_path):
    before = (tmp_path / "q.h5ad").read_bytes()
    sctab.tl.annotate(backed, model)
    assert "sctab_label" in backed.obs
    assert (tmp_path / "q.h5ad").read_bytes() == before


@pytest.mark.parametrize("verb", ["annotate", "split", "sketch"])
def test_a_view_of_a_backed_anndata_is_refused_before_the_work(verb, backed, model):
    call = {
        "annotate": lambda **given: sctab.tl.annotate(backed[:20], "no such model" if not given else model, **given),
        "split": lambda **given: sctab.pp.split(backed[:20], "cell_type", fractions={"a": 0.5, "b": 0.5}, **given),
        "sketch": lambda **given: sctab.pp.sketch(backed[:20], 5, method="stratified", labels_key="cell_type", **given),
    }[verb]
    with pytest.raises(InputValueError, match=r"view of a backed AnnData.*`adata\.to_memory\(\)`, or pass `copy=True`"):
        call()
    assert call(copy=True).n_obs == 20


def test_what_the_message_names_works(backed, model):
    view = backed[:20].to_memory()
    sctab.tl.annotate(view, model)
    assert view.obs["sctab_label"].notna().all()


def test_a_view_of_a_backed_reference_is_told_what_works(backed):
    with pytest.raises(InputValueError, match=r"`adata = adata\.to_memory\(\)`"):
        LinearClassifier.setup_anndata(backed[:30], "cell_type")
    LinearClassifier.setup_anndata(backed[:30].to_memory(), "cell_type")


def test_a_subclass_is_an_anndata(cells, model):
    class Mine(ad.AnnData):
        pass

    mine = Mine(sparse.csr_matrix(cells.X), obs=cells.obs.copy(), var=cells.var.copy())
    sctab.tl.annotate(mine, model)
    assert np.isfinite(mine.obs["sctab_confidence"]).all()
