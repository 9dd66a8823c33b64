"""Reading what a benchmark compares."""

import pytest

from sctab import DataFileError, SctabWarning, SettingError
from sctab.benchmark import ModelEntry, PeerEntry, Subset, Task, read_config
from sctab.model import SCTAB, LinearClassifier
from sctab.tuning import Settings


def test_old_names(write_config, task):
    new = {**task, "split": "donor", "test_fraction": 0.25, "subset": {"by": "cell", "fractions": [0.5]}}
    del new["test_donors"]
    old = {**new, "split": "donors", "test_share": 0.25, "subset": {"by": "cells", "fractions": [0.5]}}
    del old["test_fraction"]
    with pytest.warns(SctabWarning, match="is called `.*` now. Rename it: the old name will be removed") as caught:
        tasks = read_config(write_config("old.yaml", tasks=[old])).tasks
    assert tasks == read_config(write_config("new.yaml", tasks=[new])).tasks
    said = " ".join(str(each.message) for each in caught)
    for pair in (
        "`test_share` is called `test_fraction`",
        "`split: donors` is called `split: donor`",
        "`by: cells` is called `by: cell`",
    ):
        assert pair in said
    assert len(caught) == 3


def test_everything_that_can_be_said(write_config, folder):
    path = write_config(
        tasks=[
            {
                "name": "a",
                "reference": "cells.h5ad",
                "labels_key": "cell_type",
                "donor_key": "donor_id",
                "split": "donor",
                "test_fraction": 0.25,
                "split_seed": 3,
                "group_key": "donor_id",
                "layer": "counts",
                "unlabeled_category": "unknown",
                "gene_id_key": "ensembl_id",
                "gene_symbol_key": "symbol",
                "subset": {"by": "donor", "fractions": [1.0, 0.5], "models": ["small"]},
            },
            {"name": "b", "reference": "cells.h5ad", "query": "others.h5ad", "labels_key": "cell_type", "split": "dataset"},
        ],
        models=["linear", {"name": "mlp", "label": "small", "model": {"n_layers": 1}, "train": {"max_epochs": 2}}],
        peers=["celltypist", {"name": "scanvi", "requirements": ["scvi-tools==1.3"], "settings": {"max_epochs": 5}}],
        seeds=[4, 5],
        accelerator="gpu",
        baseline="small",
    )
    config = read_config(path)
    assert config.data == folder
    assert config.tasks == (
        Task(
            "a",
            "cells.h5ad",
            "cell_type",
            "donor",
            donor_key="donor_id",
            group_key="donor_id",
            layer="counts",
            unlabeled_category="unknown",
            gene_id_key="ensembl_id",
            gene_symbol_key="symbol",
            test_fraction=0.25,
            split_seed=3,
            subset=Subset("donor", (0.5, 1.0), ("small",)),
        ),
        Task("b", "cells.h5ad", "cell_type", "dataset", query="others.h5ad"),
    )
    assert config.models == (ModelEntry("linear", "linear"), ModelEntry("mlp", "small", {"n_layers": 1}, {"max_epochs": 2}))
    assert config.peers == (
        PeerEntry("celltypist", "celltypist", {}, ("celltypist==1.7.1", "scikit-learn<1.7", "pyarrow")),
        PeerEntry("scanvi", "scanvi", {"max_epochs": 5}, ("scvi-tools==1.3",)),
    )
    assert (config.seeds, config.accelerator, config.baseline) == ((4, 5), "gpu", "small")


def test_data_lies_beside_the_file_or_where_it_is_said(write_config, tmp_path):
    path = write_config(data="elsewhere")
    assert read_config(path).data == tmp_path / "elsewhere"
    assert read_config(path, data=tmp_path / "here").data == tmp_path / "here"


def test_published_settings_and_what_is_changed_of_them(write_config):
    config = read_config(write_config(models=[{"name": "sctab", "settings": "paper", "train": {"batch_size": 64}}]))
    published = SCTAB.paper_settings()
    assert config.models[0].model == published["model"]
    assert config.models[0].train == published["train"] | {"batch_size": 64}


def test_settings_of_a_file(write_config, tmp_path):
    Settings("linear", train_settings={"learning_rate": 0.02}).write(tmp_path / "tuned.json")
    config = read_config(write_config(models=[{"name": "linear", "settings": "tuned.json"}]))
    assert config.models[0].train == {"learning_rate": 0.02}
    with pytest.raises(SettingError, match=r"model 1: `tuned.json` holds settings of `linear`, not of `mlp`"):
        read_config(write_config(models=[{"name": "mlp", "settings": "tuned.json"}]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"taks": []}, r"`benchmark.yaml`: `taks` is not known. Available: .*`tasks`"),
        ({"tasks": []}, r"has no tasks. Provide at least one"),
        ({"peers": []}, r"has no models and peers"),
        ({"seeds": []}, r"has no seeds"),
        ({"seeds": [1, 2, 1]}, r"`seeds: \[1, 2, 1\]` names a seed twice"),
        ({"seeds": [-1]}, r"`seeds`: an integer of at least 0 and below 2\^63 was expected, found `-1`"),
        ({"seeds": 3}, r"`seeds`: a list was expected, found `3`"),
        ({"data": 3}, r"`data`: a string was expected, found `3`"),
        ({"baseline": "mlp"}, r"`baseline: mlp` is not compared. Available: `logistic_regression`"),
        ({"models": ["linear", "linear"]}, r"more than one is called `linear`"),
        ({"models": ["forest"]}, r"model 1: `model='forest'` is not a model class"),
        ({"models": [{"label": "x"}]}, r"model 1, `name`: a string was expected"),
        ({"models": [{"name": "linear", "train": {"epochs": 3}}]}, r"model 1: `epochs` cannot be among the `train_settings`"),
        ({"models": [{"name": "linear", "train": 3}]}, r"model 1, `train`: a mapping of names to values was expected"),
        ({"models": [{"name": "auto", "settings": "paper"}]}, r"model 1: `auto` has no published settings"),
        ({"peers": ["singler"]}, r"peer 1: there is no peer `singler`. Available: `celltypist`"),
    ],
)
def test_refusals(write_config, values, message):
    with pytest.raises(SettingError, match=message):
        read_config(write_config(**values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels_key": None}, r"task 1, `labels_key`: a string was expected, found `None`"),
        ({"split": "time"}, r"task 1: `split: time` is not known. Choose one of `dataset`, `donor`, `random`"),
        ({"group_key": "type"}, r"task 1: `group_key: type` would be mistaken for scores of cell types"),
        ({"query": "others.h5ad"}, r"`query` belongs to `split: dataset`"),
        ({"split": "dataset"}, r"`query` belongs to `split: dataset`"),
        ({"split": "dataset", "query": "others.h5ad"}, r"cut one file in two"),
        ({"test_fraction": 0.2}, r"needs either `test_donors` or `test_fraction`"),
        ({"split": "random"}, r"`split: random` needs `test_fraction`"),
        ({"test_donors": [], "test_fraction": 1.5}, r"a fraction above 0 and up to 1 was expected, found `1.5`"),
        ({"subset": {"by": "genes", "fractions": [0.5]}}, r"`by: genes` is not known. Choose one of `donor`, `cell`"),
        ({"subset": {"by": "cell", "fractions": []}}, r"`fractions` is empty"),
        ({"subset": {"by": "cell", "fractions": [0.5], "models": ["mlp"]}}, r"names `mlp`, which is not compared"),
        ({"subset": {"by": "cell"}}, r"task 1, `subset` lacks `fractions`"),
    ],
)
def test_refusals_of_tasks(write_config, task, change, message):
    with pytest.raises(SettingError, match=message):
        read_config(write_config(tasks=[task | change]))


def test_donors_need_their_column(write_config, task):
    del task["donor_key"]
    with pytest.raises(SettingError, match="`donor_key` is needed"):
        read_config(write_config(tasks=[task]))


def test_a_file_that_is_no_yaml(tmp_path):
    with pytest.raises(DataFileError, match="cannot be read: No such file"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("tasks: [", encoding="utf-8")
    with pytest.raises(DataFileError, match="is not valid YAML: while parsing"):
        read_config(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1", encoding="utf-8")
    with pytest.raises(SettingError, match="is not a benchmark"):
        read_config(tmp_path / "list.yaml")


class TestShipped:
    def test_blood(self, repository):
        config = read_config(repository / "benchmarks" / "blood.yaml")
        assert len(config.tasks) == len(config.seeds) == 3
        assert [model.name for model in config.models] == ["linear", "mlp", "xgboost", "sctab", "auto"]
        assert {peer.name for peer in config.peers} == {"celltypist", "scanvi", "logistic_regression"}

    def test_scvi(self, repository):
        config = read_config(repository / "benchmarks" / "scvi.yaml")
        assert [task.split for task in config.tasks] == ["donor", "donor"]
        assert {peer.name: peer.label for peer in config.peers} == {
            "scvi_knn": "scVI + kNN",
            "scanvi": "scANVI",
            "scarches": "scArches",
        }
        assert not any(peer.requirements for peer in config.peers)

    def test_paper(self, repository):
        config = read_config(repository / "benchmarks" / "sctab_paper.yaml", data="/data")
        settings = {model.label: (model.model, model.train) for model in config.models}
        assert settings["linear"][1] == LinearClassifier.paper_settings()["train"]
        assert settings["scTab"][0] == SCTAB.paper_settings()["model"]
        assert {label for label, (_, train) in settings.items() if train.get("augment")} == {"scTab", "MLP"}
        assert {task.subset.models for task in config.tasks if task.subset is not None} == {("linear", "scTab, not augmented")}
        subsets = {task.subset.by: task.subset.fractions for task in config.tasks if task.subset is not None}
        assert subsets == {"donor": (0.15, 0.3, 0.5, 0.7, 1.0), "cell": (0.15, 0.3, 0.5, 0.7, 1.0)}
        assert sum(model.name == "sctab" for model in config.models) >= 3
