"""The public surface: names, signatures, docstrings, and what an import leaves behind."""

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys

import pytest

import sctab

NAMES = {
    "sctab": [
        "ClusterError",
        "DataFileError",
        "DownloadError",
        "GeneOverlapError",
        "InputTypeError",
        "InputValueError",
        "KeyNotFoundError",
        "LabelError",
        "MissingDependencyError",
        "ModelFormatError",
        "ModelNotFoundError",
        "NotTrainedError",
        "OutputError",
        "OutputExistsError",
        "SctabError",
        "SctabWarning",
        "SettingError",
        "benchmark",
        "corpus",
        "export",
        "get",
        "model",
        "pl",
        "pp",
        "report",
        "tl",
        "tuning",
        "zoo",
    ],
    "sctab.benchmark": ["comparison", "paired_differences", "read_config", "read_results", "run_benchmark"],
    "sctab.corpus": ["Corpus", "CorpusConfig", "SourceEntry", "SplitEntry", "build", "plan"],
    "sctab.data": ["FeatureSpace", "Normalization", "inspect_matrix", "normalise"],
    "sctab.export": ["write"],
    "sctab.get": [
        "annotation",
        "augmentation",
        "comparison",
        "composition",
        "consensus",
        "evaluation",
        "evidence",
        "explanation",
        "genes",
        "ontology",
        "probabilities",
        "proteins",
        "review",
        "training",
        "types",
        "vote",
    ],
    "sctab.inference": ["ModelSpec", "Predictor", "decide", "load_predictor"],
    "sctab.metrics": [
        "accuracy",
        "auroc",
        "bootstrap_interval",
        "brier_score",
        "calibration_error",
        "cluster_accuracy",
        "confusion",
        "correct_predictions",
        "cross_entropy",
        "macro_f1",
        "scores_per_group",
        "scores_per_type",
        "weighted_f1",
    ],
    "sctab.model": [
        "AutoClassifier",
        "CellTypeClassifier",
        "Choice",
        "DeepEnsemble",
        "LinearClassifier",
        "MLPClassifier",
        "Range",
        "SCDeepCluster",
        "SCTAB",
        "SearchSpace",
        "XGBoostClassifier",
        "load_model",
        "model_by_name",
    ],
    "sctab.nn": ["LinearNetwork", "MultilayerPerceptron", "TabNet", "ZINBAutoencoder", "hierarchical_cross_entropy"],
    "sctab.ontology": ["CellOntology", "read_hierarchy", "read_label_map"],
    "sctab.pl": [
        "abstention",
        "annotation",
        "benchmark_confusion",
        "benchmark_curves",
        "benchmark_groups",
        "benchmark_models",
        "benchmark_scaling",
        "benchmark_sizes",
        "benchmark_types",
        "comparison",
        "composition",
        "confusion",
        "evidence",
        "explain",
        "ontology",
        "promise",
        "reliability",
        "review",
        "training",
        "tuning_history",
        "tuning_importance",
        "type_scores",
        "unseen",
    ],
    "sctab.pp": ["check", "distil", "merge", "sketch", "split", "subsample"],
    "sctab.report": ["write"],
    "sctab.sampling": ["geometric_sketch", "herding", "k_centre"],
    "sctab.tl": [
        "annotate",
        "annotate_files",
        "cluster",
        "consensus",
        "evaluate",
        "explain",
        "explained_variance",
        "review",
        "vote",
    ],
    "sctab.tuning": ["Settings", "tune", "tune_from_corpus"],
    "sctab.zoo": [
        "add_scores",
        "card_of",
        "export_scdeepcluster",
        "fetch",
        "import_checkpoint",
        "import_scdeepcluster",
        "info",
        "list_models",
        "load",
        "packaged_path",
        "prune",
        "publish",
        "remove",
        "verify",
        "write_card",
    ],
}
RESULTS = {
    "sctab.benchmark": ["Config", "Results"],
    "sctab.corpus": ["CorpusPlan"],
    "sctab.data": ["Content", "GeneMatch", "MatrixContent"],
    "sctab.inference": ["Decision", "Evaluation", "JaxModel", "JaxOutput"],
    "sctab.nn": ["NetworkOutput", "TabNetOutput"],
    "sctab.ontology": ["LabelSpace", "Resolution"],
    "sctab.pp": ["QueryCheck"],
    "sctab.tl": ["AnnotatedFiles"],
    "sctab.tuning": ["TuningResult"],
    "sctab.zoo": [
        "CardFacts",
        "Confusion",
        "DataSource",
        "HeldOutScores",
        "LabelScore",
        "ModelCard",
        "ModelEntry",
        "ModelListing",
        "ModelSource",
        "PromiseScore",
        "PublishedAutoencoder",
        "Verification",
    ],
}
"""Types of what public names return: documented, and neither called by users nor in `__all__`."""
NOUNS = ["sctab.augmentation"]
"""Modules without `__all__`: what they define and does not begin with an underscore is public."""


def exported(module):
    module = importlib.import_module(module)
    return {name: getattr(module, name) for name in module.__all__}


def defined(module):
    module = importlib.import_module(module)
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    }


PUBLIC = {f"{module}.{name}": value for module in NAMES for name, value in exported(module).items()} | {
    f"{module}.{name}": value for module in NOUNS for name, value in defined(module).items()
}
DOCUMENTED = PUBLIC | {
    f"{room}.{name}": getattr(importlib.import_module(room), name) for room, names in RESULTS.items() for name in names
}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
GIVES = {"sctab.pp.check", "sctab.pp.subsample", "sctab.tl.explained_variance"}
"""Verbs that give something new and write nothing."""
OF_SEVERAL = {"sctab.tl.annotate_files": "inputs", "sctab.pp.merge": "adatas"}
"""Verbs on files or several AnnData, which change none of them, and what these are called."""
TRAINS = {"sctab.tl.cluster": "scdeepcluster"}
"""Verbs that train a model, whose settings they take, and return it; and the prefix of their result keys."""
VERBS = {name: value for name, value in FUNCTIONS.items() if name.startswith(("sctab.pp.", "sctab.tl."))}


def section(docstring, title):
    """Lines of a numpydoc section, without its heading."""
    match = re.search(rf"^{title}\n-{{{len(title)}}}\n(.*?)(?=^\S[^\n]*\n---+\n|\Z)", docstring, flags=re.MULTILINE | re.DOTALL)
    return match[1].splitlines() if match else []


def documented_parameters(docstring):
    names = [line for line in section(docstring, "Parameters") if line and not line.startswith(" ")]
    return [name.strip().lstrip("*") for line in names for name in line.split(" : ")[0].split(",")]


def parameters(function):
    return [name for name in inspect.signature(function).parameters if name not in {"self", "cls"}]


@pytest.mark.parametrize("module", NAMES)
def test_exported_names(module):
    assert sorted(exported(module)) == NAMES[module]


@pytest.mark.parametrize("module", NAMES)
def test_exported_names_are_each_there_once(module):
    names = importlib.import_module(module).__all__
    assert len(set(names)) == len(names)


def test_the_surface_stays_small():
    assert sum(map(len, NAMES.values())) <= 160


@pytest.mark.parametrize("module", RESULTS)
def test_results_are_no_exported_names(module):
    assert not set(RESULTS[module]) & set(NAMES[module])


def test_the_package_has_the_version_that_is_installed():
    import importlib.metadata

    assert sctab.__version__ == importlib.metadata.version("sctab")


MODULES = [
    found.name
    for found in pkgutil.walk_packages(sctab.__path__, "sctab.")
    if not any(part.startswith("_") for part in found.name.split(".")) and ".peers." not in found.name  # which run elsewhere
]


@pytest.mark.parametrize("name", ["sctab", *MODULES])
def test_modules_show_what_is_theirs(name):
    module = importlib.import_module(name)
    shown = {each for each in dir(module) if not each.startswith("_")}
    if hasattr(module, "__all__"):
        assert shown == {each for each in module.__all__ if not each.startswith("_")}
        return
    shown -= {
        each for each in shown if getattr(getattr(module, each), "__name__", "").startswith(f"{name}.")
    }  # modules in it, once loaded
    owners = {each: getattr(getattr(module, each), "__module__", None) or "sctab" for each in shown}
    assert not {each for each, owner in owners.items() if not owner.startswith("sctab") or inspect.ismodule(getattr(module, each))}
    assert set(defined(name)) <= shown


class TestDocstrings:
    @pytest.mark.parametrize("name", DOCUMENTED)
    def test_begin_with_one_sentence(self, name):
        assert DOCUMENTED[name].__doc__, f"{name} has no docstring"
        first = inspect.cleandoc(DOCUMENTED[name].__doc__).split("\n\n")[0]
        assert first.endswith(".")
        assert "\n" not in first

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_of_functions_name_every_parameter(self, name):
        assert documented_parameters(inspect.getdoc(FUNCTIONS[name])) == parameters(FUNCTIONS[name])

    @pytest.mark.parametrize(
        "name", [name for name, cls in CLASSES.items() if "__init__" in vars(cls) and "__dataclass_fields__" not in vars(cls)]
    )
    def test_of_classes_name_every_parameter(self, name):
        assert documented_parameters(inspect.getdoc(CLASSES[name])) == parameters(CLASSES[name].__init__)

    @pytest.mark.parametrize("name", VERBS)
    def test_of_verbs_say_what_is_written_and_what_is_raised(self, name):
        docstring = inspect.getdoc(VERBS[name])
        assert section(docstring, "Returns")
        assert section(docstring, "Raises")
        assert section(docstring, "Examples")

    def test_sections_are_read(self):
        docstring = "Do it.\n\nParameters\n----------\na, b\n    Two.\n**kwargs : dict\n    More.\n\nReturns\n-------\nNothing."
        assert documented_parameters(docstring) == ["a", "b", "kwargs"]
        assert section(docstring, "Returns") == ["Nothing."]
        assert section(docstring, "Raises") == []


class TestVerbs:
    @pytest.mark.parametrize("name", VERBS)
    def test_signature(self, name):
        signature = inspect.signature(VERBS[name]).parameters
        positional = [p.name for p in signature.values() if p.kind is not p.KEYWORD_ONLY]
        assert next(iter(signature)) == OF_SEVERAL.get(name, "adata")
        assert len(positional) <= 3
        kinds = {p.kind for p in signature.values()} - ({inspect.Parameter.VAR_KEYWORD} if name in TRAINS else set())
        assert kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
        if name in OF_SEVERAL:
            assert signature["key_added"].default == "sctab"
            return
        if name in TRAINS:
            assert signature["key_added"].default == TRAINS[name]
            return
        if name in GIVES:
            assert not {"copy", "key_added"} & set(signature)
            return
        assert signature["copy"].default is False
        assert signature["copy"].kind is inspect.Parameter.KEYWORD_ONLY
        assert signature["key_added"].default == "sctab"

    def test_there_are_some(self):
        assert VERBS


STATE = """
import json, logging, random, warnings
import numpy as np, scanpy as sc, scvi, torch

SCVI = ("seed", "batch_size", "verbosity", "num_threads", "dl_num_workers")
SCANPY = ("verbosity", "n_jobs", "figdir", "autosave", "autoshow", "cachedir")


def state():
    loggers = {name: (logger.level, logger.propagate, len(logger.handlers)) for name, logger in logging.root.manager.loggerDict.items()
               if isinstance(logger, logging.Logger) and not name.startswith("sctab")}
    return {
        "root level": logging.root.level,
        "root handlers": [repr(handler) for handler in logging.root.handlers],
        "loggers": loggers,
        "loggers that are off": logging.root.manager.disable,
        "warnings": [repr(entry) for entry in warnings.filters],
        "torch threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "torch type": str(torch.get_default_dtype()),
        "torch device": str(torch.get_default_device()),
        "torch precision": torch.get_float32_matmul_precision(),
        "torch determinism": torch.are_deterministic_algorithms_enabled(),
        "torch gradients": torch.is_grad_enabled(),
        "torch random": torch.get_rng_state().tolist(),
        "numpy random": repr(np.random.get_state()),
        "numpy errors": np.geterr(),
        "numpy printing": repr(np.get_printoptions()),
        "random": repr(random.getstate()),
        "scvi": {name: repr(getattr(scvi.settings, name)) for name in SCVI},
        "scanpy": {name: repr(getattr(sc.settings, name)) for name in SCANPY},
    }


before = json.loads(json.dumps(state()))
import sctab
after = json.loads(json.dumps(state()))
for loggers in (before["loggers"], after["loggers"]):
    for name in set(loggers) - set(before["loggers"]):
        del loggers[name]  # a library that was loaded on the way made it
print(json.dumps({key: [before[key], after[key]] for key in before if before[key] != after[key]}))
"""


def test_an_import_changes_nothing_global():
    found = subprocess.run([sys.executable, "-c", STATE], check=True, capture_output=True, text=True)
    assert json.loads(found.stdout) == {}
