"""Which runs a benchmark has, and what makes two of them the same."""

import shutil

import pytest
from tests.benchmark.conftest import OFFLINE
from tests.reference import LABEL_MAPS

from sctab import DataFileError, LabelError
from sctab.benchmark import _runs, read_config
from sctab.benchmark._runs import plan


def keys(path, **options):
    return [run.key for run in plan(read_config(path, **options))]


def test_every_model_on_every_task_with_every_seed(write_config, task):
    other = {"name": "two", "reference": "cells.h5ad", "query": "others.h5ad", "labels_key": "cell_type", "split": "dataset"}
    runs = plan(read_config(write_config(tasks=[task, other], models=["linear", "mlp"], seeds=[3, 4])))
    described = [(run.task.name, run.entry.label, run.seed) for run in runs]
    assert described == [(t, m, s) for t in ("donors", "two") for m in ("linear", "mlp", "logistic_regression") for s in (3, 4)]
    assert len({run.key for run in runs}) == len(runs)


def test_parts_are_learned_by_those_that_are_named(write_config, task):
    subset = {"by": "cell", "fractions": [0.5], "models": ["linear"]}
    runs = plan(read_config(write_config(tasks=[task | {"subset": subset}], models=["linear", "mlp"])))
    assert [(run.fraction, run.entry.label) for run in runs] == [
        (1, "linear"),
        (1, "mlp"),
        (1, "logistic_regression"),
        (0.5, "linear"),
    ]
    assert len({run.key for run in runs}) == 4


def test_names_do_not_matter(write_config, task, folder, tmp_path):
    first = keys(write_config("a.yaml"))
    assert keys(write_config("b.yaml", tasks=[task | {"name": "x"}], peers=[OFFLINE | {"label": "y"}])) == first
    assert keys(write_config("c.yaml", tasks=[task | {"subset": {"by": "cell", "fractions": [1.0]}}])) == first
    (tmp_path / "copy").mkdir()
    shutil.copy(folder / "cells.h5ad", tmp_path / "copy" / "renamed.h5ad")
    renamed = write_config("d.yaml", data=str(tmp_path / "copy"), tasks=[task | {"reference": "renamed.h5ad"}])
    assert keys(renamed) == first


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": [1]},
        {"peers": [OFFLINE | {"settings": {"C": 2.0}}]},
        {"peers": [{"name": "logistic_regression", "requirements": ["scikit-learn==1.5"]}]},
        {"tasks": [{"test_donors": ["donor_2"]}]},
        {"tasks": [{"reference": "others.h5ad"}]},
        {"tasks": [{"group_key": "donor_id"}]},
        {"tasks": [{"layer": "X"}]},
    ],
)
def test_content_does(write_config, task, change):
    if "tasks" in change:
        change = {"tasks": [task | change["tasks"][0]]}
    assert keys(write_config("a.yaml", **change)) != keys(write_config("b.yaml"))


def test_ids_of_labels_do_and_not_the_form_of_their_file(write_config, task, tmp_path):
    def keys_with(text):
        (tmp_path / "labels.tsv").write_text(text)
        return keys(write_config(tasks=[task | {"label_map": str(tmp_path / "labels.tsv")}]))

    two_columns, sssom = map(keys_with, LABEL_MAPS.values())
    assert two_columns == sssom
    assert len({*two_columns, *keys_with("DC2\tCL:0000990\n"), *keys(write_config())}) == 3
    with pytest.raises(LabelError, match=r"`DC2: CL:7777777` in `label_ids` is not in the Cell Ontology"):
        keys_with("DC2\tCL:7777777\n")
    with pytest.raises(DataFileError, match=r"labels.tsv` is not a file of labels\. Provide a table"):
        keys(
            write_config(
                data=str(tmp_path), tasks=[task | {"reference": str(tmp_path / "labels.tsv"), "label_map": "none/labels.tsv"}]
            )
        )


def test_settings_of_models_and_where_they_compute_do(write_config):
    entries = [["linear"], [{"name": "linear", "train": {"max_epochs": 3}}], [{"name": "mlp"}]]
    found = [keys(write_config(models=models, peers=[], accelerator=where))[0] for models in entries for where in ("cpu", "gpu")]
    assert len(set(found)) == 6


def test_code_does(write_config, monkeypatch, tmp_path):
    source = tmp_path / "sctab"
    shutil.copytree(_runs._SOURCE, source, ignore=shutil.ignore_patterns("__pycache__", "packaged"))
    monkeypatch.setattr(_runs, "_SOURCE", source)
    path = write_config(models=["linear"])

    def after(name, line="\nCHANGED = True\n"):
        with (source / name).open("a", encoding="utf-8") as file:
            file.write(line)
        _runs._source_hash.cache_clear()
        return keys(path)

    _runs._source_hash.cache_clear()
    first = keys(path)
    assert after("tl/_annotate.py") == first
    assert after("metrics/_scores.py", '\n\n# changed\n"""Changed."""\n') == first
    assert after("benchmark/_report.py") == first
    model_changed = after("model/_linear.py")
    assert model_changed[0] != first[0]
    assert model_changed[1] == first[1]
    metric_changed = after("metrics/_scores.py")
    assert metric_changed[0] != model_changed[0]
    assert metric_changed[1] != model_changed[1]
    before = metric_changed
    for name in (
        "io/_rows.py",
        "ontology/_ontology.py",
        "data/_source.py",
        "benchmark/_worker.py",
        "data/genes/_match.py",
    ):
        earlier, before = before, after(name)
        assert all(old != new for old, new in zip(earlier, before, strict=True)), name
    now = after("ontology/common_names.tsv", "a\tb\n")
    assert all(old != new for old, new in zip(before, now, strict=True))
    for name in (
        "data/_kernels.py",
        "nn/fast/_kernels.py",
        "nn/fast/_sparse.py",
        "model/_auto.py",
        "nn/_trees.py",
        "augmentation.py",
    ):
        before, now = now, after(name)
        assert now[0] != before[0], name
    for name in ("cli/_app.py", "pl/_training.py", "benchmark/_config.py", "benchmark/_results.py", "zoo/_published.py"):
        assert after(name) == now, name
    peers = after("benchmark/peers/_program.py")
    assert peers[1] != now[1]
    monkeypatch.undo()
    _runs._source_hash.cache_clear()


@pytest.mark.parametrize(
    "library",
    ["cellxgene-ontology-guide", "numba", "xgboost", "scikit-learn", "scanpy", "entmax", "lightning", "pandas", "torch", "anndata"],
)
def test_versions_of_libraries_do(write_config, tmp_path, monkeypatch, library):
    own = {"name": "logistic_regression", "label": "own", "requirements": ["scikit-learn==1.5"]}
    path = write_config(models=["linear"], peers=[OFFLINE, own])
    first = keys(path)
    installed = tmp_path / "site" / f"{library.replace('-', '_')}-99.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {library}\nVersion: 99.0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    after = keys(path)
    assert [old == new for old, new in zip(first, after, strict=True)] == [False, False, True]


def test_data_must_be_there(write_config, tmp_path):
    with pytest.raises(DataFileError, match=r"cells.h5ad` not found. Set the data folder with `data:`"):
        plan(read_config(write_config(data=str(tmp_path))))
