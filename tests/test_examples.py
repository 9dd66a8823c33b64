"""Every command that the help, the README and the documentation show runs, on cells of a real dataset."""

from __future__ import annotations

import re
import shlex
import shutil
import tarfile
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scanpy as sc
import torch
import typer
import yaml
from typer.testing import CliRunner

import sctab
from sctab.cli import app
from tests.blood import LAB, counts_of
from tests.cite_seq import cite_seq
from tests.formats import write_scdeepcluster, write_ten_x
from tests.published import lightning_checkpoint, published_tabnet, write_tables

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?:console|bash)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TYPES = ("Dendritic", "CD14+ Monocyte", "CD19+ B", "CD56+ NK")
"""Types of the cells."""
OUTPUTS = (
    *("--output", "--csv", "--labels-table", "--genes-table", "--pairs-table", "--groups-table", "--figures", "--json"),
    *("--report", "--multiqc", "--mappings", "--save-model"),
)
SHORTER = {
    "cluster": ["--pretrain-epochs", "1", "--max-epochs", "2"],
    "train": ["--max-epochs", "1"],
    "tune": ["--max-epochs", "1", "--n-trials", "2"],
    "run": ["--jobs", "1"],
}
"""Options that are added to a command so that it takes seconds."""
REPLACED = {
    "--members 5": "--members 2",  # less work
    "--devices 2": "--devices 1",  # another process that imports everything
    "--labels-key cell_type --layer counts": "--labels-key cell_type --layer counts --model linear",  # one example with `auto` is enough
    " --dask-scheduler tcp://127.0.0.1:8786": "",  # of a benchmark, which starts a cluster of its own
    "--accelerator gpu": "--accelerator cpu",
    "s3://bucket/*.zarr": "zarrs/*.zarr",
    "https://models.example.org/models.json": "zoo",
    "s3://bucket/zoo": "zoo",
    "--model lung@2.1": "--model my-model",
    "val_f1_macro_epoch=41_val_f1_macro=0.847.ckpt": "best.ckpt",
}
"""Parts of commands that need time, a GPU or the network, and what they are replaced with."""


def commands() -> dict[str, str]:
    """Each command that is shown, and where."""
    found: dict[str, str] = {}
    for path, command in _commands(typer.main.get_command(app)):
        for example in re.findall(r"^\s*`(sctab [^`]+)`", command.callback.__doc__, re.MULTILINE):
            found.setdefault(example, f"{path} --help")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line.removeprefix("$ ") for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
        inline = [code for code in re.findall(r"(?<!`)`(sctab \w[^`\n]*)`", FENCE.sub("", text)) if "--output" in code]
        for line in (*lines, *inline):
            if line.startswith("sctab "):
                found.setdefault(re.sub(r"\s+# .*", "", line), page.name)
    return found


def _commands(command, path: str = "sctab") -> Iterator[tuple[str, object]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{path} {name}")
    if not hasattr(command, "commands"):
        yield path, command


@cache
def cells() -> ad.AnnData:
    """Blood cells of four types, with the columns that examples name; donors are made up."""
    with warnings.catch_warnings(action="ignore"):
        adata = sc.datasets.pbmc68k_reduced()
    adata = adata.raw.to_adata()[adata.obs["bulk_labels"].isin(TYPES)].copy()
    numbers = np.arange(adata.n_obs)
    adata.obs = adata.obs[["phase"]].assign(
        cell_type=adata.obs["bulk_labels"].astype(str).astype("category"),
        donor_id=np.array([f"donor {i}" for i in range(8)])[numbers % 8],
        tissue=np.array(["blood", "spleen"])[numbers // 8 % 2],
        assay=np.array(["10x 3' v2", "10x 3' v3"])[numbers // 16 % 2],
        leiden=adata.obs["louvain"].astype(str).astype("category"),
    )
    adata.layers["counts"] = counts_of(adata.X)
    return adata


class Inputs:
    """Inputs of the examples by name, each made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> Path:
        """Path of an input, which is not to be changed."""
        path = self.folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings(action="ignore", category=sctab.SctabWarning):  # of labels whose ids are looked up
                MAKE[name](path, self)
        return path

    def copy(self, name: str, target: Path) -> None:
        """Copy an input to where a command looks for it."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source := self.get(name)).is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)


def _some_cells(start: int) -> Callable[[Path, Inputs], None]:
    def write(path: Path, _inputs: Inputs) -> None:
        some = cells()[start::2].copy()
        some.write_zarr(path) if path.suffix == ".zarr" else some.write_h5ad(path)

    return write


def _several(suffix: str) -> Callable[[Path, Inputs], None]:
    def write(path: Path, inputs: Inputs) -> None:
        path.mkdir()
        for start in range(2):
            _some_cells(start)(path / f"run{start + 1}{suffix}", inputs)

    return write


def _ten_x(path: Path, _inputs: Inputs) -> None:
    write_ten_x(cells()[1::2].copy(), path)


def _outs(path: Path, inputs: Inputs) -> None:
    path.mkdir()
    shutil.copy(inputs.get("filtered_feature_bc_matrix.h5"), path)


def _model(path: Path, _inputs: Inputs) -> None:
    reference = cells()[::2].copy()
    sctab.model.LinearClassifier.setup_anndata(reference, "cell_type", donor_key="donor_id")
    model = sctab.model.LinearClassifier(reference)
    model.train(max_epochs=20, accelerator="cpu", enable_progress_bar=False, sketch=40)
    model.save(path)


def _zoo(path: Path, inputs: Inputs) -> None:
    sctab.zoo.publish(inputs.get("my-model"), path, name="lung", version="2.1", draft=True)


def _annotated(path: Path, inputs: Inputs) -> None:
    adata = cells()[1::2].copy()
    sctab.tl.annotate(adata, inputs.get("my-model"))
    adata.write_h5ad(path)


def _labelled(path: Path, _inputs: Inputs) -> None:
    adata = cells()[1::2].copy()
    known = adata.obs["cell_type"].astype(str)
    names = {
        "azimuth_fine": ("dendritic cell", "CD14-positive monocyte", "B cell", "natural killer cell"),
        "predicted_labels": ("DC", "Monocytes", "B cells", "NK cells"),
        "sctab_label": ("dendritic cell", "monocyte", "naive B cell", "natural killer cell"),
    }
    for column, of_type in names.items():
        adata.obs[column] = known.map(dict(zip(TYPES, of_type, strict=True))).astype("category")
    adata.obs["author_label"] = adata.obs["cell_type"]
    adata.write_h5ad(path)


def _label_map(path: Path, _inputs: Inputs) -> None:
    ids = ("CL:0000451", "CL:0001054", "CL:0000236", "CL:0000623")
    path.write_text("".join(f"{name}\t{term}\n" for name, term in zip(TYPES, ids, strict=True)), encoding="utf-8")


def _expected_types(path: Path, _inputs: Inputs) -> None:
    path.write_text("\n".join(TYPES), encoding="utf-8")


def _lab(path: Path, _inputs: Inputs) -> None:
    path.write_text(yaml.safe_dump(LAB), encoding="utf-8")


def _settings(path: Path, _inputs: Inputs) -> None:
    sctab.tuning.Settings("mlp", {"n_hidden": 8}, {"learning_rate": 0.01}).write(path)


def _declaration(path: Path, inputs: Inputs) -> None:
    sources = [str(inputs.get("runs") / f"run{i}.h5ad") for i in (1, 2)]
    path.write_text(f"sources: {sources}\nlabels_key: cell_type\ndonor_key: donor_id\n", encoding="utf-8")


def _corpus(path: Path, inputs: Inputs) -> None:
    sctab.corpus.build(sctab.corpus.CorpusConfig.read(inputs.get("blood.yaml")), path)


def _benchmark(path: Path, inputs: Inputs) -> None:
    path.write_text(
        f"data: {inputs.get('runs')}\nseeds: [0]\nmodels: [{{name: linear, train: {{max_epochs: 1}}}}]\n"
        "tasks: [{name: blood, reference: run1.h5ad, query: run2.h5ad, labels_key: cell_type, split: dataset}]\n",
        encoding="utf-8",
    )


def _benchmark_results(path: Path, inputs: Inputs) -> None:
    sctab.benchmark.run_benchmark(sctab.benchmark.read_config(inputs.get("benchmarks/blood.yaml")), path, n_jobs=1)


def _published_run(path: Path, _inputs: Inputs) -> None:
    path.mkdir()
    network, settings = published_tabnet()
    torch.save(lightning_checkpoint(network, settings), path / "best.ckpt")
    (path / "hparams.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def _published_runs(path: Path, inputs: Inputs) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for run in ("run1", "run2"):
            archive.add(inputs.get("run5"), f"checkpoints/scTab/{run}")


def _published_counts() -> np.ndarray:
    return cells().layers["counts"].toarray()[::2]


def _published_file(path: Path, _inputs: Inputs) -> None:
    write_scdeepcluster(_published_counts(), path, labels=cells().obs["cell_type"].cat.codes.to_numpy()[::2])


def _published_weights(path: Path, _inputs: Inputs) -> None:
    n_genes = int((_published_counts().sum(axis=0) > 0).sum())
    shapes = {
        "encoder.0": (256, n_genes),
        "encoder.2": (64, 256),
        "latent": (32, 64),
        "decoder.0": (64, 32),
        "decoder.2": (256, 64),
    }
    shapes |= dict.fromkeys(("mean", "dispersion", "dropout"), (n_genes, 256))
    generator = torch.Generator().manual_seed(0)
    weights = {f"{layer}.weight": 0.05 * torch.randn(shape, generator=generator) for layer, shape in shapes.items()}
    weights |= {f"{layer}.bias": torch.zeros(shape[0]) for layer, shape in shapes.items()}
    sctab.zoo.export_scdeepcluster(weights, path)


def _published_tables(path: Path, _inputs: Inputs) -> None:
    write_tables(path.parent)


def _cite_seq(n_obs: int, seed: int) -> Callable[[Path, Inputs], None]:
    def write(path: Path, _inputs: Inputs) -> None:
        with warnings.catch_warnings(action="ignore"):  # of pandas, in mudata
            cite_seq(n_obs, seed=seed).write(path)

    return write


def _cite_model(path: Path, _inputs: Inputs) -> None:
    reference = cite_seq(120)
    sctab.model.LinearClassifier.setup_mudata(reference, "cell_type")
    model = sctab.model.LinearClassifier(reference)
    model.train(max_epochs=3, enable_progress_bar=False, calibrate=False)
    model.save(path)


MAKE: dict[str, Callable[[Path, Inputs], None]] = {
    **dict.fromkeys(["query.h5ad", "your.h5ad", "atlas.h5ad", "run1.h5ad"], _some_cells(1)),
    **dict.fromkeys(["reference.h5ad", "atlas.zarr", "run2.h5ad"], _some_cells(0)),
    "cells.h5ad": _labelled,
    "ids.tsv": _label_map,
    "types.txt": _expected_types,
    "lab.yaml": _lab,
    "runs": _several(".h5ad"),
    "zarrs": _several(".zarr"),
    "filtered_feature_bc_matrix.h5": _ten_x,
    "sample/outs": _outs,
    "my-model": _model,
    "zoo": _zoo,
    "reference.h5mu": _cite_seq(120, 0),
    "cells.h5mu": _cite_seq(60, 1),
    "my-cite-model": _cite_model,
    "annotated.h5ad": _annotated,
    **dict.fromkeys(["settings.json", "tuned.json"], _settings),
    "blood.yaml": _declaration,
    "blood.corpus": _corpus,
    "benchmarks/blood.yaml": _benchmark,
    "blood": _benchmark_results,
    "data.h5": _published_file,
    "AE_weights.pth.tar": _published_weights,
    "run5": _published_run,
    "scTab-checkpoints.tar.gz": _published_runs,
    **dict.fromkeys(["var.parquet", "cell_type.parquet"], _published_tables),
}
"""How each input is made."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a Dask cluster."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50) as cluster:
        yield cluster.scheduler_address


def _options(arguments: list[str]) -> dict[str, str]:
    return {name: value for name, value in pairwise(arguments) if name.startswith("--")}


def _runnable() -> dict[str, None]:
    """Commands with the parts that are replaced, each once."""
    found = []
    for example in commands():
        for part, other in REPLACED.items():
            example = example.replace(part, other)
        found.append(example)
    return dict.fromkeys(found)


@pytest.mark.parametrize("example", _runnable(), ids=lambda example: re.sub(r"[^\w.-]+", "-", example)[:120])
def test_example_runs(example: str, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    if "tcp://" in example:
        example = re.sub(r"tcp://\S+", request.getfixturevalue("scheduler"), example)
    arguments = shlex.split(example)[1:]
    if arguments[0] == "models":
        monkeypatch.setenv("SCTAB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("SCTAB_ZOO", str(inputs.get("zoo")))
        sctab.zoo.fetch("lung@2.1")
    written = {value for name, value in _options(arguments).items() if name in OUTPUTS}
    for argument in arguments:
        name = next((name for name in MAKE if argument.rstrip("/") == name or argument.startswith(f"{name}/")), None)
        if name is not None and argument not in written:
            inputs.copy(name, tmp_path / name)
    for command, options in SHORTER.items():
        if command in arguments[:2]:
            arguments += options

    result = CliRunner().invoke(app, [expanded for argument in arguments for expanded in _as_in_a_shell(argument, example)])
    plt.close("all")

    assert result.exit_code == 0, f"{example}\n{result.output}"
    assert result.stdout.strip()
    assert all(Path(path).exists() for path in written), written


def _as_in_a_shell(argument: str, example: str) -> list[str]:
    is_quoted = f"'{argument}'" in example
    return sorted(map(str, Path().glob(argument))) if "*" in argument and not is_quoted else [argument]


def test_examples_are_found_everywhere() -> None:
    places = list(commands().values())
    for name in (
        "annotate",
        "cluster",
        "evaluate",
        "train",
        "tune",
        "import-checkpoint",
        "benchmark run",
        "corpus build",
        "models fetch",
        "models publish",
        "demo",
    ):
        assert f"sctab {name} --help" in places
    assert {"cli.md", "clustering.md", "scale.md", "published.md"} <= {*places}
