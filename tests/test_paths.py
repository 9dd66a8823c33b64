"""A leading `~` is the home directory in every path that a public function takes."""

import inspect
import re
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import yaml

import sctab
from sctab import DataFileError, OutputExistsError
from sctab.model import AutoClassifier, DeepEnsemble, LinearClassifier, load_model
from sctab.ontology import CellOntology, read_label_map
from sctab.tuning import Settings
from tests.blood import CAP, blood
from tests.published import lightning_checkpoint, published_tabnet, write_tables
from tests.reference import make_reference
from tests.test_api import PUBLIC

ELSEWHERE = {
    **{
        f"{name}.export(path)": "Predictor.export"
        for name in ("AutoClassifier", "CellTypeClassifier", "DeepEnsemble", "SCDeepCluster")
    },
    "AutoClassifier.from_corpus(corpus)": "Corpus.open",
    "AutoClassifier.train(run_dir)": "CellTypeClassifier.train",
    "CellOntology.from_obo_foundry(cache_dir)": "as_path",
    "CellTypeClassifier.from_corpus(corpus)": "Corpus.open",
    "CellTypeClassifier.load_query_data(label_ids)": "CellTypeClassifier.setup_anndata",
    "CellTypeClassifier.setup_mudata(label_ids)": "CellTypeClassifier.setup_anndata",
    "CellTypeClassifier.load_query_data(reference_model)": "CellTypeClassifier.prepare_query_anndata",
    "CellTypeClassifier.write_checkpoint(path)": "CellTypeClassifier.train",
    "DeepEnsemble.from_corpus(corpus)": "Corpus.open",
    "SCDeepCluster.from_corpus(corpus)": "Corpus.open",
    "SCDeepCluster.load(dir_path)": "CellTypeClassifier.load",
    "SCDeepCluster.save(dir_path)": "CellTypeClassifier.save",
    "SCDeepCluster.train(run_dir)": "CellTypeClassifier.train",
    **{f"{name}.push_to_hub(facts)": "write_card" for name in ("CellTypeClassifier", "DeepEnsemble", "SCDeepCluster")},
    "add_scores(directory)": "write_card",
    "cluster(model)": "CellTypeClassifier.load",
    "consensus(label_ids)": "read_label_map",
    "evaluate(label_ids)": "read_label_map",
    "explain(model)": "sctab.zoo.load",
    "publish(facts)": "read_facts",
    **{f"{name}(index)": "as_path" for name in ("fetch", "info", "list_models")},
    "load_predictor(path)": "as_path",
    "Predictor.open_file(path)": "annotate_files",
    "proteins(model)": "sctab.zoo.load",
    "review(label_ids)": "read_label_map",
    "review(model)": "sctab.zoo.load",
    "run_benchmark(environments)": "as_path",
    "tune(label_ids)": "CellTypeClassifier.setup_anndata",
    "tune_from_corpus(corpus)": "Corpus.open",
    "tune_from_corpus(storage)": "tune",
}
"""Paths that are given on, and to what."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A home directory with one of everything."""
    home = tmp_path_factory.mktemp("home")
    reference = make_reference()
    reference.write_h5ad(home / "cells.h5ad")
    (home / "map.tsv").write_text("B cell\tCL:0000236\nT cell\tCL:0000084\nmonocyte\tCL:0000576\n")
    LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id", label_ids=home / "map.tsv")
    model = LinearClassifier(reference)
    model.train(
        calibrate=False, max_epochs=1, enable_progress_bar=False, augment=True, refit=False, run_dir=home / "run", accelerator="cpu"
    )
    model.save(home / "model")
    DeepEnsemble.from_members([model, load_model(home / "model")]).save(home / "ensemble")
    Settings("linear", {}, {}).write(home / "settings.json")
    write_tables(home)
    torch.save(lightning_checkpoint(*published_tabnet()), home / "best.ckpt")
    (home / "hparams.yaml").write_text(yaml.safe_dump(published_tabnet()[1]))
    (home / "corpus.yaml").write_text(
        yaml.safe_dump({"sources": ["~/cells.h5ad"], "labels_key": "cell_type", "donor_key": "donor_id", "label_map": "~/map.tsv"})
    )
    task = {"name": "a", "reference": "~/cells.h5ad", "labels_key": "cell_type", "split": "random", "test_fraction": 0.2}
    values = {"tasks": [task], "models": [{"name": "linear", "settings": "~/settings.json"}], "seeds": [0]}
    (home / "benchmark.yaml").write_text(yaml.safe_dump(values))
    (home / "tree.tsv").write_text("child\tparent\na\tb\n")
    (home / "small.obo").write_text("format-version: 1.2\n\n[Term]\nid: CL:0000000\nname: cell\n")
    (home / "others").mkdir()
    (home / "others/report.md").write_text("mine")
    return home


@pytest.fixture
def home(prepared, tmp_path, monkeypatch):
    shutil.copytree(prepared, tmp_path / "home")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def reference_of(cls, **options):
    reference = make_reference()
    cls.setup_anndata(reference, "cell_type", **options)
    return reference


QUICK = {"max_epochs": 1, "enable_progress_bar": False, "accelerator": "cpu", "refit": False, "run_dir": "~/new"}


def train_ensemble():
    ensemble = DeepEnsemble(LinearClassifier, 2)
    reference = make_reference()
    ensemble.setup_anndata(reference, "cell_type")
    ensemble.train(calibrate=False, **QUICK)


def save(cls):
    cls.load("~/ensemble" if cls is DeepEnsemble else "~/model", accelerator="cpu").save("~/new")


def build_corpus():
    pytest.importorskip("annbatch", reason="the extra `corpus` is not installed")
    sctab.corpus.build("~/corpus.yaml", "~/new")
    assert sctab.corpus.Corpus.open("~/new").n_obs == 240
    assert sctab.corpus.SourceEntry("~/cells.h5ad").path.endswith("/home/cells.h5ad")


def tune():
    pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    options = {"n_trials": 1, "train_settings": {"max_epochs": 1}, "storage": "~/new", "show_progress": False}
    sctab.tuning.tune(make_reference(), "cell_type", model="linear", **options)


def read_benchmark():
    pytest.importorskip("distributed", reason="the extra `benchmark` is not installed")
    config = sctab.benchmark.read_config("~/benchmark.yaml", data="~")
    with pytest.raises(OutputExistsError, match="home/others` exists and holds no benchmark"):
        sctab.benchmark.run_benchmark(config, "~/others")


def no_results():
    with pytest.raises(DataFileError, match="/home/others"):
        sctab.benchmark.read_results("~/others")


def import_checkpoint():
    options = {"genes": "~/var.parquet", "labels": "~/cell_type.parquet", "hparams": "~/hparams.yaml", "output": "~/new"}
    with warnings.catch_warnings(action="ignore"):
        sctab.zoo.import_checkpoint("~/best.ckpt", **options)


def scdeepcluster():
    with pytest.raises(sctab.ModelFormatError, match="best.ckpt"):
        sctab.zoo.import_scdeepcluster("~/best.ckpt")
    layers = ("encoder.0", "decoder.0", "latent", "mean", "dispersion", "dropout")
    sctab.zoo.export_scdeepcluster({f"{layer}.weight": torch.zeros(1, 1) for layer in layers}, "~/new")


def annotate_files():
    sctab.tl.annotate_files("~/cells.h5ad", "~/model", output=["~/new"], genes_table="~/new/genes.csv")
    sctab.tl.annotate_files(["~/cell*.h5ad"], "~/model", output="~/new/labels.csv")


def write_report():
    sctab.tl.annotate_files("~/cells.h5ad", "~/model", output="~/annotated.h5ad")
    Path("~/new").expanduser().mkdir()
    sctab.report.write("~/annotated.h5ad", "~/new/report.html", multiqc="~/new/report_mqc.json")
    assert Path("~/new/report.html").expanduser().exists()
    assert Path("~/new/report_mqc.json").expanduser().exists()


def write_export():
    cells = blood(60)
    sctab.tl.annotate(cells, "pbmc")
    cells.write_h5ad(Path("~/annotated.h5ad").expanduser())
    Path("~/new").expanduser().mkdir()
    Path("~/lab.yaml").expanduser().write_text("\n".join(f"{name}: {value}" for name, value in CAP.items()), encoding="utf-8")
    options = {"format": "cap", "metadata": "~/lab.yaml", "mappings": "~/new/labels.tsv", "label_ids": "~/map.tsv"}
    sctab.export.write("~/annotated.h5ad", "~/new/cap.h5ad", **options)
    assert Path("~/new/cap.h5ad").expanduser().exists()
    assert Path("~/new/labels.tsv").expanduser().exists()


def write_card():
    save(LinearClassifier)
    Path("~/facts.yaml").expanduser().write_text("license: CC-BY-4.0\n", encoding="utf-8")
    sctab.zoo.write_card("~/new", facts="~/facts.yaml")
    assert Path("~/new/MODEL_CARD.md").expanduser().exists()


def export_predictor():
    Path("~/new").expanduser().mkdir()
    sctab.inference.load_predictor("~/model").export("~/new/model.onnx")
    assert Path("~/new/model.onnx.json").expanduser().exists()


READS = {
    "read_results(directory)": no_results,
    "CorpusConfig.read(path)": lambda: sctab.corpus.CorpusConfig.read("~/corpus.yaml"),
    "CorpusConfig.of(folder)": lambda: sctab.corpus.CorpusConfig.of({"sources": ["cells.h5ad"]}, folder=Path("~")),
    "plan(config)": lambda: sctab.corpus.plan("~/corpus.yaml"),
    "augmentation(run_dir)": lambda: sctab.get.augmentation("~/run"),
    "training(source)": lambda: (sctab.get.training("~/run"), sctab.get.training("~/model")),
    "AutoClassifier.load(dir_path)": lambda: AutoClassifier.load("~/model", accelerator="cpu"),
    "CellTypeClassifier.load(dir_path)": lambda: LinearClassifier.load("~/model", accelerator="cpu"),
    "DeepEnsemble.load(dir_path)": lambda: DeepEnsemble.load("~/ensemble", accelerator="cpu"),
    "load_model(dir_path)": lambda: (load_model("~/model", accelerator="cpu"), load_model("~/ensemble", accelerator="cpu")),
    "card_of(directory)": lambda: sctab.zoo.card_of("~/model"),
    "fetch(model)": lambda: sctab.zoo.fetch("~/model"),
    "info(model)": lambda: sctab.zoo.info("~/model"),
    "verify(model)": lambda: sctab.zoo.verify("~/model"),
    "load(model)": lambda: sctab.zoo.load("~/model", accelerator="cpu"),
    "CellTypeClassifier.setup_anndata(label_ids)": lambda: reference_of(LinearClassifier, label_ids="~/map.tsv"),
    "CellTypeClassifier.prepare_query_anndata(reference_model)": lambda: LinearClassifier.prepare_query_anndata(
        make_reference(), "~/model"
    ),
    "CellOntology.from_file(path)": lambda: CellOntology.from_file("~/small.obo"),
    "read_label_map(path)": lambda: read_label_map("~/map.tsv"),
    "read_hierarchy(path)": lambda: sctab.ontology.read_hierarchy("~/tree.tsv"),
    "genes(model)": lambda: sctab.get.genes(make_reference(), "~/model"),
    "check(model)": lambda: sctab.pp.check(make_reference(), "~/model"),
    "annotate(model)": lambda: sctab.tl.annotate(make_reference(), "~/model"),
    "Settings.read(path)": lambda: Settings.read("~/settings.json"),
    "read_config(path)": read_benchmark,
    "read_config(data)": read_benchmark,
    "run_benchmark(directory)": read_benchmark,
}
WRITES = {
    "build(config)": build_corpus,
    "build(output)": build_corpus,
    "Corpus.open(path)": build_corpus,
    "CellTypeClassifier.train(run_dir)": lambda: LinearClassifier(reference_of(LinearClassifier)).train(calibrate=False, **QUICK),
    "DeepEnsemble.train(run_dir)": train_ensemble,
    "CellTypeClassifier.save(dir_path)": lambda: save(LinearClassifier),
    "AutoClassifier.save(dir_path)": lambda: save(AutoClassifier),
    "DeepEnsemble.save(dir_path)": lambda: save(DeepEnsemble),
    "Settings.write(path)": lambda: Settings("linear", {}, {}).write("~/new"),
    "tune(storage)": tune,
    **{f"export.write({name})": write_export for name in ("annotated", "label_ids", "mappings", "output")},
    **{f"report.write({name})": write_report for name in ("annotated", "multiqc", "output")},
    "annotate_files(inputs)": annotate_files,
    "annotate_files(model)": annotate_files,
    "annotate_files(output)": annotate_files,
    "annotate_files(genes_table)": annotate_files,
    "Predictor.export(path)": export_predictor,
    **dict.fromkeys(("publish(model)", "publish(to)"), lambda: sctab.zoo.publish("~/model", "~/new", version="1", draft=True)),
    "write_card(directory)": write_card,
    "write_card(facts)": write_card,
    "export_scdeepcluster(path)": scdeepcluster,
    "import_scdeepcluster(path)": scdeepcluster,
    **{f"import_checkpoint({name})": import_checkpoint for name in ("checkpoint", "genes", "labels", "hparams", "output")},
}


def paths_of_public_functions():
    """`function(parameter)` for each parameter that may be a path; methods under the most basic public class that has them."""
    functions = {}
    classes = [value for value in PUBLIC.values() if inspect.isclass(value)]
    for value in PUBLIC.values():
        if inspect.isfunction(value):
            room = f"{value.__module__.split('.')[1]}." if value.__qualname__ == "write" else ""  # several rooms have one
            functions[f"{room}{value.__qualname__}"] = value
        elif inspect.isclass(value):
            for name, member in inspect.getmembers(value, lambda member: inspect.isfunction(member) or inspect.ismethod(member)):
                if not name.startswith("_") and member.__module__.startswith("sctab"):
                    owner = next(cls for cls in reversed(value.__mro__) if cls in classes and hasattr(cls, name))
                    functions[f"{owner.__name__}.{name}"] = member
    return {
        f"{name}({parameter.name})"
        for name, function in functions.items()
        for parameter in inspect.signature(function).parameters.values()
        if re.search(r"PathLike|\bPath\b|Inputs", str(parameter.annotation))
    }


def test_every_path_of_a_public_function_is_known():
    assert sorted(paths_of_public_functions() ^ {*READS, *WRITES, *ELSEWHERE}) == []


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
@pytest.mark.parametrize("call", list(dict.fromkeys(READS.values())), ids=lambda call: next(n for n in READS if READS[n] is call))
def test_read(home, call):
    call()
    assert not list(Path.cwd().iterdir())


@pytest.mark.filterwarnings("ignore::sctab.errors.SctabWarning")
@pytest.mark.parametrize(
    "call", list(dict.fromkeys(WRITES.values())), ids=lambda call: next(n for n in WRITES if WRITES[n] is call)
)
def test_written(home, call):
    call()
    assert (home / "new").exists()
    assert not list(Path.cwd().iterdir())
