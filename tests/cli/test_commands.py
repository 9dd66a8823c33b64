"""Commands as their help and their messages show them: flags, options, defaults, and what is meant."""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer.main
from anndata import AnnData
from tests.reference import make_reference
from typer.testing import CliRunner

import sctab
from sctab.cli import app
from sctab.cli._commands import options_of
from sctab.model import CellTypeClassifier


def commands(group=None, names=()):
    """Every command by its words."""
    group = typer.main.get_command(app) if group is None else group
    found = {}
    for name, command in group.commands.items():
        found |= commands(command, (*names, name)) if hasattr(command, "commands") else {" ".join((*names, name)): command}
    return found


COMMANDS = commands()
TRAIN_OF_MISSING = "train missing.h5ad --labels-key cell_type --max-epochs 1 --model linear --output n"
TRAIN = "train reference.h5ad --labels-key cell_type --output m"
WRONG_KEY = r"^`labels_key='celltype'` is not in `adata.obs`\. Did you mean `cell_type`\? Columns:"


def run(*arguments, **environment):
    return CliRunner(env={name: str(value) for name, value in environment.items()}).invoke(app, [str(each) for each in arguments])


@pytest.mark.parametrize("name", ["", *COMMANDS])
@pytest.mark.parametrize("columns", [80, 120])
def test_flags_have_no_value_in_the_help(name, columns):
    result = run(*name.split(), "--help", COLUMNS=columns, TERMINAL_WIDTH=columns)
    assert result.exit_code == 0, result.output
    assert "bool" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= columns


@pytest.mark.parametrize("name", ["annotate", "cluster", "evaluate", "train", "tune"])
def test_options_of_long_commands_stand_in_panels(name):
    shown = run(name, "--help", COLUMNS=100, TERMINAL_WIDTH=100).stdout
    panels = re.findall(r"^╭─ (\w+) ─", shown, flags=re.MULTILINE)
    assert {"Data", "Run", "Output"} <= set(panels)
    assert panels[-1] == "Other"
    assert "Options" not in panels
    assert ("Training" in panels) == ("--max-epochs" in shown)
    other = shown[shown.index("─ Other ─") :].split("╰")[0]
    assert set(re.findall(r"--[a-z-]+", other)) == {"--debug", "--help"}


@pytest.mark.parametrize("name", COMMANDS)
def test_messages_know_the_options_that_there_are(name):
    command = COMMANDS[name]
    options = {each.name: each.opts[0] for each in command.params if each.param_type_name == "option" and each.name != "help"}
    known = options_of(inspect.unwrap(command.callback))
    assert {parameter: known[parameter] for parameter in options} == options
    assert set(known.values()) == set(options.values())


@pytest.mark.parametrize(
    ("name", "functions"),
    {
        "annotate": [sctab.tl.annotate_files, sctab.tl.annotate],
        "check": [sctab.pp.check],
        "cluster": [sctab.tl.cluster, sctab.model.SCDeepCluster, sctab.model.SCDeepCluster.train, sctab.train.ClusteringSettings],
        "evaluate": [sctab.tl.evaluate],
        "train": [CellTypeClassifier.train, CellTypeClassifier.setup_anndata, CellTypeClassifier.from_corpus],
        "tune": [sctab.tuning.tune, sctab.tuning.tune_from_corpus],
        "import-checkpoint": [sctab.zoo.import_checkpoint],
        "corpus build": [sctab.corpus.build],
    }.items(),
)
def test_defaults_are_those_of_python(name, functions):
    """An option without a default leaves it to the function."""
    of_command = inspect.signature(inspect.unwrap(COMMANDS[name].callback)).parameters
    options = options_of(inspect.unwrap(COMMANDS[name].callback))
    compared = set()
    for function in functions:
        for parameter in inspect.signature(function).parameters.values():
            option = options.get(parameter.name)
            given = None if option is None else of_command[option.removeprefix("--").replace("-", "_")].default
            if parameter.default in (inspect.Parameter.empty, None) or given is None:
                continue
            compared.add(parameter.name)
            assert given == parameter.default, (
                f"`{option}` is {given!r}, and {function.__name__}({parameter.name}=) {parameter.default!r}"
            )
    assert compared, "nothing was compared"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    adata = make_reference(90)
    adata.layers["counts"] = adata.X.copy()
    adata.write_h5ad(folder / "reference.h5ad")
    missing = adata.copy()
    is_first = np.arange(90) == 0
    missing.obs["donor_id"] = pd.Categorical(missing.obs["donor_id"].astype(object).mask(is_first, None))
    missing.obs["cell_type"] = pd.Categorical(missing.obs["cell_type"].astype(object).mask(is_first, "nan"))
    missing.write_h5ad(folder / "missing.h5ad")
    AnnData(-adata.X.toarray(), obs=adata.obs, var=adata.var).write_h5ad(folder / "negative.h5ad")
    return folder


class TestMessages:
    """What functions say of their parameters, commands say of their options."""

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ("train reference.h5ad --labels-key celltype --output m", "`--labels-key celltype` is not in `obs`. Did you mean `cell_type`?"),
            (f"{TRAIN} --donor-key donor", "`--donor-key donor` is not in `obs`. Did you mean"),
            (f"{TRAIN} --seed -1", "'--seed': Input should be greater than or equal to 0"),
            (f"{TRAIN} --accelerator mps", "`--accelerator mps` is not in this machine"),
            ("annotate reference.h5ad --output o.csv --min-gene-coverage 50", "`--min-gene-coverage 50.0` must be between 0 and 1."),
            (f"{TRAIN} --layer count", "`--layer count` is not in the data. Did you mean `counts`?"),
            (f"{TRAIN} --covariate-key Tissue", "`--covariate-key Tissue` is not in `obs`."),
            (f"{TRAIN} --gene-id-key ids", "`--gene-id-key ids` is not in `var`."),
            (f"{TRAIN} --model liner", "`--model liner` is not a model class. Did you mean `linear`?"),
            (f"{TRAIN} --model mlp --batch-size 1", "`--batch-size 1` must be at least 2"),
            (f"{TRAIN} --model mlp --loss x", "`--loss x` must be `auto`"),
            (f"{TRAIN} --model linear --augment", "`--augment` needs donors. Set `--donor-key`"),
            (f"{TRAIN} --model mlp --jobs 0 --members 2", "`--jobs 0` must be at least 1."),
            (f"{TRAIN} --model mlp --members 1", "`--members 1` must be at least 2."),
            (f"{TRAIN} --model mlp --keep-checkpoints 3", "`--keep-checkpoints 3` must be"),
            ("train missing.h5ad --labels-key cell_type --donor-key donor_id --output m", "or omit `--donor-key`."),
            (TRAIN_OF_MISSING, "Say so with `--unlabeled-category nan`"),
            ("train negative.h5ad --labels-key cell_type --output m", "for example as `--layer counts` or in `raw`."),
            ("tune reference.h5ad --labels-key cell_type --n-trials 0 --output s.json", "`--n-trials 0` must be at least 1."),
            ("tune reference.h5ad --labels-key cell_type --train-size 2 --output s.json", "`--train-size 2.0` must be above 0 and below 1"),
            ("tune reference.h5ad --labels-key cell_type --model mpl --output s.json", "Did you mean `mlp`?"),
            ("annotate reference.h5ad --csv a.csv --batch-size 0", "`--batch-size 0` must be at least 1."),
            ("annotate reference.h5ad --csv a.csv --unseen-fdr 2", "`--unseen-fdr 2.0` must be between 0 and 1"),
            ("annotate reference.h5ad --csv a.csv --block-size 0", "`--block-size 0` must be at least 1."),
            ("annotate reference.h5ad --csv a.csv --key-added a/b", "`--key-added a/b` cannot be the name of something in a file."),
            ("annotate reference.h5ad --csv a.csv --accelerator tpu", "`--accelerator tpu` is not known."),
            ("annotate reference.h5ad --csv a.csv --layer count", "`--layer count` is not in the data. Did you mean `counts`?"),
            ("annotate reference.h5ad --csv a.csv --model pmbc", "There is no model `pmbc`"),
            ("annotate negative.h5ad --csv a.csv", "for example as `--layer counts` or in `raw`."),
            ("evaluate reference.h5ad --labels-key cell_type", "Run `sctab annotate query.h5ad --output annotated.h5ad` first."),
        ],
    )  # fmt: skip
    def test_speak_of_options(self, files, monkeypatch, arguments, said):
        monkeypatch.chdir(files)
        result = run(*arguments.split(), *(["--accelerator", "cpu"] if "--max-epochs" in arguments else []))
        assert said in " ".join(result.stderr.split()), result.output
        assert not re.search(r"`\w+=|adata|sctab\.tl|setup_anndata|None`", result.stderr)

    @pytest.mark.parametrize(
        ("typed", "meant"), [("pmbc", "pbmc"), ("./my-modle", "./my-model"), ("my_model", "my-model"), ("nothing", None)]
    )
    def test_a_model_that_was_meant(self, tmp_path, monkeypatch, typed, meant):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "my-model").mkdir()
        (tmp_path / "my-model/model.json").write_text("{}")
        with pytest.raises(sctab.ModelNotFoundError) as error:
            sctab.zoo.load(typed)
        found = re.search(r"Did you mean `(.*?)`\?", str(error.value))
        assert (found and found[1].removeprefix("./")) == (meant and meant.removeprefix("./"))

    def test_functions_speak_of_parameters(self):
        with pytest.raises(sctab.KeyNotFoundError, match=WRONG_KEY):
            sctab.model.SCTAB.setup_anndata(make_reference(90), "celltype")
        adata = make_reference(90)
        sctab.model.SCTAB.setup_anndata(adata, "cell_type")
        model = sctab.model.SCTAB(adata)
        with pytest.raises(sctab.SettingError, match=r"`learning_rat` cannot be set for `SCTAB`\. Did you mean `learning_rate`\?"):
            model.train(learning_rat=0.1)


PYTHON_ONLY = ("get/", "pl/", "pp/", "tl/_variance.py", "sampling/", "ontology/_sources.py", "model/_base.py", "model/_described.py",
               "model/_prediction.py", "model/_training.py", "model/_network_model.py", "model/_cluster_training.py",
               "model/_scdeepcluster.py", "data/_adata.py")  # fmt: skip
"""Code whose messages no command shows: it is not called, or only with what cannot be wrong."""
HAS_NO_WORD = {
    "data/_joint.py": "a MuData in memory; commands read files",
    "data/_roles.py": "antibodies alone are annotated in Python only",
    "inference/_jax_model.py": "a function of JAX; commands have none",
    "data/genes/_match.py": "genes in rows, or of another species: the file has to be changed, which no command does",
    "inference/_ensemble_files.py": "a function for one model was called with an ensemble; commands take both",
    "inference/_storage.py": "a model is saved again in Python only",
    "io/_formats.py": "the beginning of an expression, which is taken apart",
    "cards/_content.py": "models are trained again and cards are written in Python, too",
    "cards/_file.py": "cards are written in Python only",
    "train/_labels.py": "bytes are decoded, and new types added to a model, in Python only",
    "train/_reference_checks.py": "a file is never a view",
}
"""Files whose messages may be in Python, and why."""
IN_PYTHON = re.compile(r"`adata\b|`sctab\.(tl|pp|pl|get|model|zoo)\.|`model\.[a-z_]+\(|=True`|`[a-z_]+='|`[a-z_]+=…`")


def messages_in_python(path):
    """Strings with code in Python, other than docstrings and parts that commands write otherwise."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out = set()
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or (isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"Either", "place"}):
            left_out |= {id(part) for part in ast.walk(node)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in left_out
        and IN_PYTHON.search(node.value)
    ]


def test_messages_that_commands_show_are_not_in_python():
    root = Path(sctab.__file__).parent
    files = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*.py"))}
    found = {name: said for name, path in files.items() if not name.startswith(PYTHON_ONLY) and (said := messages_in_python(path))}
    assert {name: said for name, said in found.items() if name not in HAS_NO_WORD} == {}
    assert set(HAS_NO_WORD) <= set(found), "an exception that is not needed any more"


def test_a_message_in_python_is_found(tmp_path):
    code = 'raise SettingError("Call `sctab.tl.annotate(adata)`.", place("obs"), Either("`adata.obs`", "`obs`"))'
    (tmp_path / "module.py").write_text(code, encoding="utf-8")
    assert messages_in_python(tmp_path / "module.py") == ["Call `sctab.tl.annotate(adata)`."]
