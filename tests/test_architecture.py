"""Imports go down, packages open with imports only, and classifiers are final."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import sctab.model
from sctab.model import CellTypeClassifier

LAYERS = {
    "errors": 0,
    "_caches": 0,
    "_deprecation": 0,
    "_lazy": 0,
    "keys": 1,
    "io": 2,
    "ontology": 3,
    "metrics": 3,
    "sampling": 3,
    "augmentation": 3,
    "data": 4,
    "nn": 5,
    "inference": 6,
    "cards": 7,
    "corpus": 7,
    "train": 8,
    "model": 9,
    "zoo": 10,
    "tuning": 11,
    "benchmark": 12,
    "get": 13,
    "pp": 14,
    "tl": 14,
    "pl": 15,
    "export": 16,
    "report": 16,
    "__init__": 17,  # the package itself offers what is below, and only the command line imports it
    "cli": 18,
    "__main__": 19,
}
"""Rooms from the ground up: a module imports what is below its own room, or in it. Rooms of one level do not know each other."""
STRANGERS = ("errors", "_caches", "_deprecation", "_lazy")
"""Modules that import nothing of the package."""
_SERVICES = {"data", "io", "inference", "train", "corpus", "model", "zoo", "tuning", "benchmark", "get", "pp", "tl"}
HOMES = {
    "anndata": {*_SERVICES, "pl", "export", "report", "cli"},
    "lightning": {"train"},
    "scvi": {"model"},
    "matplotlib": {"pl", "report"},
    "optuna": {"tuning"},
    "jinja2": {"report"},
    "typer": {"cli"},
    "rich": {"io", "cli", "model", "tuning", "tl"},
}
"""Rooms that may import a library."""
OPTIONAL = {
    *(
        "aiohttp",
        "annbatch",
        "cellxgene_census",
        "dask",
        "distributed",
        "flatbuffers",
        "huggingface_hub",
        "geosketch",
        "igraph",
        "jax",
        "neptune",
        "onnx",
        "optuna",
        "s3fs",
    ),
    *("tiledbsoma", "uv", "xgboost", "zarrs"),
}
"""Libraries that extras install, which `require` imports."""
LONGEST_MODULE = 400
UNTESTED = {
    "sctab.benchmark._files": "names only",
    "sctab.cards._card": "`zoo/test_card.py` reads cards",
    "sctab.cards._content": "`zoo/test_card.py` reads cards",
    "sctab.cards._file": "`zoo/test_card.py` reads, edits and moves cards",
    "sctab.cards._markdown": "`zoo/test_card.py` reads the page",
    "sctab.cards._download": "`model/test_hub.py` downloads models from a server",
    "sctab.cards._upload": "`model/test_hub.py` pushes models to a server",
    "sctab.cli._annotate": "`cli/test_app.py` runs the command",
    "sctab.cli._clustered": "`cli/test_cluster.py` runs the command",
    "sctab.cli._dask": "`io/test_tasks.py` runs commands on a cluster",
    "sctab.cli._demo": "`cli/test_app.py` runs the command",
    "sctab.cli._files": "`cli/test_app.py` gives commands files",
    "sctab.cli._options": "names only",
    "sctab.cli._train": "`cli/test_app.py` runs the command",
    "sctab.data._kernels": "`data/test_normalise.py` compares its one loop",
    "sctab.get._annotation": "`tl/test_annotate.py` reads what was written",
    "sctab.inference._engine": "a protocol",
    "sctab.inference._ensemble_files": "`model/test_ensemble.py` stores ensembles",
    "sctab.inference._files": "`inference/test_storage.py` reads its names",
    "sctab.inference._local": "`inference/test_block_predictor.py` runs it",
    "sctab.inference._networks": "`inference/test_storage.py` builds them",
    "sctab.inference._sizes": "two numbers",
    "sctab.inference._predictor": "`inference/test_block_predictor.py` and `tl/test_annotate.py` use it",
    "sctab.inference._spec": "`inference/test_storage.py` reads and refuses specs",
    "sctab.io._compiled": "a decorator; every test of a kernel runs it",
    "sctab.io._hub": "`model/test_hub.py` commits to a server, and downloads from it",
    "sctab.io._sizes": "one number",
    "sctab.io._zarr": "a setting of Zarr, which every reading test runs with",
    "sctab.model._base": "`model/test_contract.py` holds every class to it",
    "sctab.model._classes": "`model/test_contract.py` holds every class to it",
    "sctab.model._comparison": "`model/test_contract.py` holds every class to it",
    "sctab.model._cluster_arguments": "`model/test_scdeepcluster.py` gives a model invalid arguments",
    "sctab.model._cluster_training": "`model/test_scdeepcluster.py` trains a model",
    "sctab.model._described": "`model/test_contract.py` holds every class to it",
    "sctab.model._network_model": "`model/test_contract.py` and `model/test_scdeepcluster.py` store its classes",
    "sctab.model._ensemble_prediction": "`model/test_ensemble.py` predicts with ensembles",
    "sctab.model._kept": "`model/test_auto.py` predicts with it",
    "sctab.model._loading": "`model/test_contract.py` holds every class to it",
    "sctab.model._members": "`model/test_contract.py` holds every class to it",
    "sctab.model._mlp": "`model/test_contract.py` holds every class to it",
    "sctab.model._names": "`model/test_contract.py` holds every class to it",
    "sctab.model._prediction": "`model/test_contract.py` holds every class to it",
    "sctab.model._running": "`model/test_contract.py` holds every class to it",
    "sctab.model._search": "`model/test_contract.py` holds every class to it",
    "sctab.model._storage": "`model/test_contract.py` holds every class to it",
    "sctab.model._training": "`model/test_contract.py` holds every class to it",
    "sctab.model._transfer": "`model/test_contract.py` holds every class to it",
    "sctab.nn._boosted_trees": "`model/test_xgboost.py` trains and stores one",
    "sctab.nn.fast._kernels": "`nn/fast/test_attention.py` and `test_sparse.py` compare every loop",
    "sctab.tl._comparison": "`tl/test_evaluate.py` and `test_annotate.py` read its results",
    "sctab.tl._result": "`tl/test_evaluate.py` and `test_annotate.py` read its results",
    "sctab.train._continuation": "`model/test_contract.py`, `test_resume.py` and `test_from_corpus.py` train with it",
    "sctab.train._corpus": "`model/test_contract.py`, `test_resume.py` and `test_from_corpus.py` train with it",
    "sctab.train._memory_data": "`train/test_memory.py` reads it",
    "sctab.train._neptune": "`model/test_contract.py`, `test_resume.py` and `test_from_corpus.py` train with it",
    "sctab.train._processes": "`model/test_contract.py`, `test_resume.py` and `test_from_corpus.py` train with it",
    "sctab.train._reference": "`model/test_contract.py`, `test_resume.py` and `test_from_corpus.py` train with it",
    "sctab.tuning._cells": "`test_tuning.py` runs studies",
    "sctab.tuning._result": "`test_tuning.py` runs studies",
    "sctab.tuning._settings": "`test_tuning.py` runs studies",
    "sctab.tuning._study": "`test_tuning.py` runs studies",
    "sctab.tuning._task": "`test_tuning.py` runs studies",
    "sctab.tuning._tune": "`test_tuning.py` runs studies",
    "sctab.zoo._load": "`zoo/test_published.py` and `test_packaged.py` load models",
    "sctab.zoo._predictor": "`zoo/test_resolve.py` and `test_packaged.py` load predictors",
    "sctab.zoo._published_files": "`zoo/test_published.py` and `test_packaged.py` load models",
    "sctab.zoo._untrusted": "`zoo/test_published.py` and `test_scdeepcluster.py` read files with it",
    "sctab.zoo._published_importance": "`zoo/test_published.py` and `test_packaged.py` load models",
    "sctab.zoo._published_model": "`zoo/test_published.py` and `test_packaged.py` load models",
}
"""Modules without a test file of their own, and why."""
SAVES = {"sctab.zoo._scdeepcluster": "a dictionary of tensors, in the one format that the published program reads"}
"""Modules that write with `torch.save`, and what."""
OPENINGS = {
    "__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)",
    "__version__ = version('sctab')",
    "__all__ = ['app', 'main']",
}
"""Code that a package may open with, besides imports: names are loaded when they are asked for."""


SCRIPTS = "peers"
"""Directory of programs that run in environments of their own."""


class Tree:
    """The modules below a directory, as the package `sctab`."""

    def __init__(self, root: Path, tests: Path | None = None) -> None:
        self.root, self.tests = root, tests or root / "tests"
        modules = (path for path in sorted(root.rglob("*.py")) if not path.is_relative_to(self.tests))
        paths = (path for path in modules if path.parent.name != SCRIPTS)
        self.modules = {self._name(path): path for path in paths}
        self.trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in self.modules.items()}
        self.offered = {name: self._stub(path) for name, path in self.modules.items() if path.name == "__init__.py"}

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(("sctab", *(parts[:-1] if parts[-1] == "__init__" else parts)))

    @staticmethod
    def _stub(path: Path) -> dict[str, str]:
        """Module of each name that a package offers, relative to it."""
        if not (stub := path.with_suffix(".pyi")).exists():
            return {}
        nodes = ast.parse(stub.read_text(encoding="utf-8")).body
        return {
            alias.name: node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module for alias in node.names
        }

    def defines(self, name: str) -> str:
        """The module that defines what a package offers: `sctab.io._rows` for `sctab.io.RowReader`; any other name as it is."""
        package, _, attribute = name.rpartition(".")
        module = self.offered.get(package, {}).get(attribute)
        return name if module is None else f"{package}.{module}"

    def is_package(self, name: str) -> bool:
        return self.modules[name].name == "__init__.py"

    def imports(self, name: str) -> Iterator[str]:
        """Everything that a module imports, wherever in it: modules of ours by their full name, of others as they are written."""
        for node in ast.walk(self.trees[name]):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield self._deepest(alias.name)
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(name, node)
                for alias in node.names:
                    yield self._deepest(f"{base}.{alias.name}")

    def _absolute(self, name: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        n_up = node.level - self.is_package(name)
        parent = name.split(".")[: len(name.split(".")) - n_up]
        return ".".join([*parent, node.module] if node.module else parent)

    def _deepest(self, dotted: str) -> str:
        """The module that a dotted name is in: `sctab.data` for `sctab.data.FeatureSpace`."""
        parts = dotted.split(".")
        while parts[0] == "sctab" and ".".join(parts) not in self.modules and len(parts) > 1:
            parts.pop()
        return ".".join(parts)

    def own_imports(self, name: str) -> set[str]:
        return {target for target in self.imports(name) if target.split(".")[0] == "sctab"}


def unit(name: str) -> str:
    """The module or package directly below `sctab`."""
    return name.split(".")[1] if "." in name else "__init__"


def without_layer(tree: Tree) -> list[str]:
    return [name for name in tree.modules if unit(name) not in LAYERS]


def upward_imports(tree: Tree) -> list[str]:
    found = []
    for name in tree.modules:
        for target in sorted(tree.own_imports(name)):
            ours, theirs = unit(name), unit(target)
            siblings = ours != theirs and LAYERS[ours] == LAYERS[theirs]
            if LAYERS[theirs] > LAYERS[ours] or siblings or (ours in STRANGERS and theirs != ours):
                found.append(f"{name} imports {target}")
    return found


def private_imports(tree: Tree) -> list[str]:
    """Imports of a private module of another room, whose stub says what others may use."""
    return [
        f"{name} imports {target}"
        for name in tree.modules
        for target in sorted(tree.own_imports(name))
        if unit(target) != unit(name) and any(part.startswith("_") for part in target.split(".")[2:])
    ]


def import_cycles(tree: Tree) -> list[str]:
    graph = {name: sorted(tree.own_imports(name)) for name in tree.modules}
    done: set[str] = set()
    found = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append(" -> ".join((*path[path.index(name) :], name)))
        elif name not in done:
            for target in graph.get(name, ()):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    return found


def code_in_package_openings(tree: Tree) -> list[str]:
    def is_allowed(node: ast.stmt, position: int) -> bool:
        if isinstance(node, ast.Import | ast.ImportFrom):
            return True
        if isinstance(node, ast.Expr):
            return position == 0 and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return isinstance(node, ast.Assign) and ast.unparse(node) in OPENINGS

    return [
        f"{name}, line {node.lineno}"
        for name in tree.modules
        if tree.is_package(name)
        for position, node in enumerate(tree.trees[name].body)
        if not is_allowed(node, position)
    ]


def asserts(tree: Tree) -> list[str]:
    return [
        f"{name}, line {node.lineno}"
        for name in tree.modules
        for node in ast.walk(tree.trees[name])
        if isinstance(node, ast.Assert)
    ]


def pickles(tree: Tree) -> list[str]:
    """Whatever runs code that a file holds; `torch.load(…, weights_only=True)` does not, nor do processes of our own."""

    def is_tensors_only(call: ast.Call) -> bool:
        return any(keyword.arg == "weights_only" and getattr(keyword.value, "value", None) is True for keyword in call.keywords)

    harmless = {"joblib.Parallel", "joblib.delayed", "joblib.externals.loky.get_reusable_executor"}
    libraries = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    calls = {("torch", "load"), ("torch", "save"), ("pd", "read_pickle"), ("pandas", "read_pickle")}
    found = []
    for name in tree.modules:
        imported = set(tree.imports(name)) - harmless
        tensors_only = {node.func for node in ast.walk(tree.trees[name]) if isinstance(node, ast.Call) and is_tensors_only(node)}
        found += [f"{name} imports {target}" for target in sorted(imported) if target.split(".")[0] in libraries]
        found += [f"{name} imports {library}.{call}" for library, call in sorted(calls) if f"{library}.{call}" in imported]
        for node in ast.walk(tree.trees[name]):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in calls:
                is_exempt = node in tensors_only or (node.attr == "save" and name in SAVES)
                found += [] if is_exempt else [f"{name}, line {node.lineno}"]
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and getattr(node.value, "value", True) is not False:
                found.append(f"{name}, line {node.lineno}")
    return found


def libraries_away_from_home(tree: Tree) -> list[str]:
    return [
        f"{name} imports {target}"
        for name in tree.modules
        for target in sorted(set(tree.imports(name)))
        if unit(name) not in HOMES.get(target.split(".")[0], {unit(name)})
    ]


def optional_imports(tree: Tree) -> list[str]:
    """Imports of what may be missing, besides those for annotations: `require` says which extra installs it."""

    def imported(node: ast.AST) -> Iterator[tuple[str, int]]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        yield from ((library, node.lineno) for name in names if (library := name.split(".")[0]) in OPTIONAL)
        for child in ast.iter_child_nodes(node):
            yield from imported(child)

    return [f"{name}, line {line}, imports {library}" for name in tree.modules for library, line in imported(tree.trees[name])]


def long_modules(tree: Tree) -> list[str]:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in tree.modules.items()}
    return [f"{name} has {n} lines" for name, n in lengths.items() if n > LONGEST_MODULE]


def modules_without_tests(tree: Tree) -> list[str]:
    """Modules of rooms that have no test file of their own name in the folder of the room: `io/test_rows.py` for `io/_rows.py`."""

    def test_file(path: Path) -> Path:
        relative = path.relative_to(tree.root)
        return tree.tests / relative.with_name(f"test_{path.stem.removeprefix('_')}.py")

    return [
        name
        for name, path in tree.modules.items()
        if path.parent != tree.root and path.name != "__init__.py" and name not in UNTESTED and not test_file(path).exists()
    ]


RULES = [
    without_layer,
    upward_imports,
    private_imports,
    import_cycles,
    code_in_package_openings,
    asserts,
    pickles,
    libraries_away_from_home,
    optional_imports,
    long_modules,
    modules_without_tests,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_source(rule, source_root):
    assert rule(Tree(source_root, tests=Path(__file__).parent)) == []


def test_exemptions_are_needed(source_root, monkeypatch):
    exempted = set(UNTESTED)
    monkeypatch.setitem(globals(), "UNTESTED", {})
    assert set(modules_without_tests(Tree(source_root, tests=Path(__file__).parent))) == exempted


@pytest.mark.parametrize(
    ("rule", "files", "found"),
    [
        (without_layer, {"utils.py": ""}, ["sctab.utils"]),
        (upward_imports, {"metrics.py": "from sctab.tl import annotate", "tl.py": ""}, ["sctab.metrics imports sctab.tl"]),
        (
            upward_imports,
            {"model/_a.py": "def f():\n    from sctab import zoo", "zoo/__init__.py": ""},
            ["sctab.model._a imports sctab.zoo"],
        ),
        (upward_imports, {"model/_a.py": "from ..cli import main", "cli/__init__.py": ""}, ["sctab.model._a imports sctab.cli"]),
        (upward_imports, {"model/__init__.py": "from .. import pl", "pl.py": ""}, ["sctab.model imports sctab.pl"]),
        (upward_imports, {"tl.py": "import sctab"}, ["sctab.tl imports sctab"]),
        (upward_imports, {"metrics.py": "import sctab.sampling as c", "sampling.py": ""}, ["sctab.metrics imports sctab.sampling"]),
        (upward_imports, {"nn/_a.py": "from sctab.nn._b import x", "nn/_b.py": "", "nn/__init__.py": ""}, []),
        (upward_imports, {"errors.py": "import sctab.keys", "keys.py": ""}, ["sctab.errors imports sctab.keys"]),
        (upward_imports, {"cli/__init__.py": "import sctab\nfrom sctab.errors import listing", "errors.py": ""}, []),
        (
            import_cycles,
            {"tl.py": "import sctab.get", "get.py": "def f():\n    from sctab.tl import x"},
            ["sctab.get -> sctab.tl -> sctab.get"],
        ),
        (
            import_cycles,
            {"nn/__init__.py": "from sctab.nn._a import x", "nn/_a.py": "from sctab.nn import y"},
            ["sctab.nn -> sctab.nn._a -> sctab.nn"],
        ),
        (import_cycles, {"tl.py": "import sctab.metrics", "pp.py": "import sctab.metrics", "metrics.py": "import numpy"}, []),
        (code_in_package_openings, {"nn/__init__.py": '"""Doc."""\nimport os\nx = 1\n'}, ["sctab.nn, line 3"]),
        (code_in_package_openings, {"nn/__init__.py": "import os\nos.getcwd()"}, ["sctab.nn, line 2"]),
        (code_in_package_openings, {"nn/__init__.py": "def f(): ..."}, ["sctab.nn, line 1"]),
        (code_in_package_openings, {"__init__.py": "__version__ = version('sctab')"}, []),
        (
            code_in_package_openings,
            {"nn/__init__.py": "__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)"},
            [],
        ),
        (
            private_imports,
            {"tl/_a.py": "from sctab.io._b import x", "io/_b.py": "x = 1", "io/__init__.py": ""},
            ["sctab.tl._a imports sctab.io._b"],
        ),
        (
            private_imports,
            {"tl/_a.py": "def f():\n    import sctab.io._b", "io/_b.py": "", "io/__init__.py": ""},
            ["sctab.tl._a imports sctab.io._b"],
        ),
        (
            private_imports,
            {"tl/_a.py": "from sctab.io import x, c\nfrom sctab.tl import _b", "tl/_b.py": "", "io/c.py": "", "io/__init__.py": ""},
            [],
        ),
        (asserts, {"metrics.py": "def f(x):\n    assert x"}, ["sctab.metrics, line 2"]),
        (pickles, {"metrics.py": "import pickle"}, ["sctab.metrics imports pickle"]),
        (pickles, {"metrics.py": "def f():\n    from torch import load"}, ["sctab.metrics imports torch.load"]),
        (pickles, {"metrics.py": "import torch\ntorch.load('x')"}, ["sctab.metrics, line 2"]),
        (pickles, {"metrics.py": "import torch\ntorch.load('x', weights_only=True)"}, []),
        (pickles, {"metrics.py": "import torch\ntorch.load('x', weights_only=False)"}, ["sctab.metrics, line 2"]),
        (pickles, {"metrics.py": "from joblib import Parallel, load"}, ["sctab.metrics imports joblib.load"]),
        (pickles, {"metrics.py": "import numpy as np\nnp.load('x', allow_pickle=True)"}, ["sctab.metrics, line 2"]),
        (pickles, {"metrics.py": "np.load('x', allow_pickle=False)"}, []),
        (libraries_away_from_home, {"metrics.py": "from anndata import AnnData"}, ["sctab.metrics imports anndata.AnnData"]),
        (libraries_away_from_home, {"tl.py": "import matplotlib.pyplot as plt"}, ["sctab.tl imports matplotlib.pyplot"]),
        (optional_imports, {"tl.py": "def f():\n    import dask.array"}, ["sctab.tl, line 2, imports dask"]),
        (optional_imports, {"tl.py": "from optuna import Study"}, ["sctab.tl, line 1, imports optuna"]),
        (optional_imports, {"tl.py": "if TYPE_CHECKING:\n    from optuna import Study"}, []),
        (long_modules, {"metrics.py": "x = 1\n" * 401}, ["sctab.metrics has 401 lines"]),
        (long_modules, {"metrics.py": "x = 1\n" * 400}, []),
        (modules_without_tests, {"io/_a.py": "", "tests/io/test_b.py": ""}, ["sctab.io._a"]),
        (modules_without_tests, {"io/deep/_a.py": "", "tests/io/test_a.py": ""}, ["sctab.io.deep._a"]),
        (modules_without_tests, {"io/_a.py": "", "io/b.py": "", "tests/io/test_a.py": "", "tests/io/test_b.py": ""}, []),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_rules_find_what_they_are_for(rule, files, found, tmp_path):
    for name, content in ({"__init__.py": ""} | files).items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert rule(Tree(tmp_path)) == found


def classifiers():
    for module in pkgutil.walk_packages(sctab.model.__path__, "sctab.model."):
        importlib.import_module(module.name)
    found, waiting = [], list(CellTypeClassifier.__subclasses__())
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if cls.__module__.startswith("sctab."):
            found.append(cls)
    return found


def overridden(cls, base):
    """Concrete methods and properties of `base` that `cls` defines again."""
    kinds = (staticmethod, classmethod, property)
    return sorted(
        name
        for name in vars(cls)
        if name != "__init__"
        and (inspect.isfunction(inherited := inspect.getattr_static(base, name, None)) or isinstance(inherited, kinds))
        and not getattr(inherited, "__isabstractmethod__", False)
    )


class TestClassifiers:
    def test_there_are_some(self):
        assert len(classifiers()) >= 1

    def test_the_base_is_abstract(self):
        assert inspect.isabstract(CellTypeClassifier)

    @pytest.mark.parametrize("cls", classifiers(), ids=lambda cls: cls.__name__)
    def test_each_is_final(self, cls):
        assert cls.__dict__.get("__final__") is True, f"{cls.__name__} is not decorated with `typing.final`"
        assert cls.__bases__ == (CellTypeClassifier,)
        assert not inspect.isabstract(cls)

    @pytest.mark.parametrize("cls", classifiers(), ids=lambda cls: cls.__name__)
    def test_each_overrides_nothing_concrete(self, cls):
        assert overridden(cls, CellTypeClassifier) == []

    def test_an_override_is_seen(self):
        class Bad:
            other = 1

            def predict(self): ...

            def _fit(self): ...

            @classmethod
            def load(cls): ...

        assert overridden(Bad, CellTypeClassifier) == ["load", "predict"]
