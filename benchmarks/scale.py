"""Speed and memory of annotation with a network of the published size, on synthetic counts of up to a million cells.

    uv run python benchmarks/scale.py all --folder DIR [--runs 5]
    uv run python benchmarks/scale.py data --folder DIR [--cells 10000 100000 1000000] [--compression gzip]
    uv run python benchmarks/scale.py model --folder DIR [--members 5]
    uv run python benchmarks/scale.py evaluator --folder DIR [--cells 8192]
    uv run python benchmarks/scale.py stages --folder DIR [--cells 4096] [--precision bfloat16]
    uv run python benchmarks/scale.py annotate --folder DIR [--cells 10000 100000 1000000] [--ensemble]
    uv run python benchmarks/scale.py celltypist --folder DIR [--cells 10000 100000]
    uv run python benchmarks/scale.py trust --folder DIR --data FOLDER [--cells 100000 300000] [--models linear sctab]

Each makes what it needs of the data and of the models, and takes what is in the folder already; without `--folder` that is temporary. Cells
have some 2,000 detected genes of 20,000, in another order than the 19,331 of the model. Weights are random, but the statistics of the norms
are those of the data and the mask keeps 1 % of the genes, as trained masks do, so that time and memory are those of a trained model. Labels
are random. Processes that are measured end to end run one at a time and alternate.

`trust` is about real models, which keep what promised terms and unseen types need: they learn `pbmc_zheng_facs.h5ad` of `FOLDER`, see
docs/benchmarks.md, and annotate a file of its cells, drawn with replacement, of whose counts each keeps nine in ten.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest import mock

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from _measure import Usage, environment, head, machine, row, spread, watch
from anndata.io import write_elem
from numpy.typing import NDArray
from scipy import sparse

if TYPE_CHECKING:  # the environment of CellTypist has neither
    import torch

    from sctab.data._query import InputRecipe
    from sctab.inference._block_predictor import BlockPredictor
    from sctab.model import SCTAB, DeepEnsemble
    from sctab.nn import TabNet
    from sctab.nn.fast._sparse import Precision

GENES = np.array([f"ENSG{i:011d}" for i in range(20_000)])
MODEL_GENES = np.random.default_rng(3).permutation(len(GENES))[:19_331]
"""Model genes among them, in the order of the model."""
N_TYPES = 20
N_LABELS = 164
SUPPORT = 200
"""Genes that the mask keeps, on average: 1 %, as trained masks do."""
CONFIDENCE = 0.9
"""Probability of a cell's first type, in the median."""
RAREST = 0.01
"""Smallest variance of a gene. Of those that a thousand cells rarely express nothing is known, and a trained network rarely uses them."""
BLOCK = 4096
"""Cells that are drawn and written at a time."""
BATCH = 1024
"""Cells that the evaluator takes at a time, as it does by default."""
FEW = 128
"""Cells at a time with which the dense network is fastest."""
N_EXACT = 2048
"""Cells whose probabilities are compared."""
START_UP_CELLS = 512
CHUNK = 65_536
"""Values in a chunk of the file."""
PART = 10_000
"""Cells that CellTypist gets at a time where it does not get all."""
BYTES_PER_CELL = 18 * len(MODEL_GENES)
"""Memory of CellTypist per cell, as measured: dense numbers of 8 bytes, a copy of them, and counts."""
WHOLE = "all of it, by the evaluator"
AT_ONCE = "CellTypist, all cells at once"
Block = tuple[sparse.csr_matrix, sparse.csr_matrix]
"""Counts of cells, and their covariates."""
Timed = tuple[float, NDArray[np.float32]]
"""Seconds, and probabilities."""


# ------------------------------------------------------------------------------------------------------------------ data


def make_cells(folder: Path, n_cells: int, compression: str | None = None) -> Path:
    """A file of counts as CSR, float32; it is made block by block where it does not exist."""
    path = folder / f"cells_{n_cells}{'_' + compression if compression else ''}.h5ad"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    base = rng.lognormal(0, 2.1, size=len(GENES))
    profiles = base * rng.gamma(2.0, 0.5, size=(N_TYPES, len(GENES)))
    profiles /= profiles.sum(axis=1, keepdims=True)
    donors = pd.Categorical([f"donor {d}" for d in np.random.default_rng(1).integers(20, size=n_cells)])
    unfinished = path.with_suffix(".unfinished")
    with h5py.File(unfinished, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(file, "obs", pd.DataFrame({"donor_id": donors}, index=[f"cell {i}" for i in range(n_cells)]))
        write_elem(file, "var", pd.DataFrame(index=GENES))
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            write_elem(file, name, {})
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_cells, len(GENES)]})
        options: dict[str, Any] = {"maxshape": (None,), "chunks": (CHUNK,), "compression": compression}
        for name, dtype in (("data", np.float32), ("indices", np.int32)):
            group.create_dataset(name, shape=(0,), dtype=dtype, **options)
        indptr = np.zeros(n_cells + 1, dtype=np.int64)
        for start in range(0, n_cells, BLOCK):
            block = draw_cells(profiles, min(BLOCK, n_cells - start), np.random.default_rng([1, start]))
            indptr[start + 1 : start + BLOCK + 1] = indptr[start] + block.indptr[1:]
            for name in ("data", "indices"):
                group[name].resize(indptr[start] + block.nnz, axis=0)
                group[name][indptr[start] :] = getattr(block, name)
        fits = indptr[-1] <= np.iinfo(np.int32).max
        group.create_dataset("indptr", data=indptr.astype(np.int32) if fits else indptr)
    unfinished.rename(path)
    return path


def draw_cells(profiles: NDArray[np.float64], n_cells: int, rng: np.random.Generator) -> sparse.csr_matrix:
    """Counts of cells of random types: of each a Poisson number of molecules, which are independent draws from the type's profile.

    To draw all molecules of a type at once, in a random order, and to deal them out to its cells is the same and takes a fifth of the time.
    """
    types = rng.integers(N_TYPES, size=n_cells)
    n_molecules = rng.poisson(rng.lognormal(np.log(4300), 0.3, size=n_cells))
    order, parts = [], []
    for kind, profile in enumerate(profiles):
        cells = np.flatnonzero(types == kind)
        genes = np.repeat(np.arange(len(GENES)), rng.multinomial(n_molecules[cells].sum(), profile))
        rng.shuffle(genes)
        places = np.repeat(np.arange(len(cells)) * len(GENES), n_molecules[cells]) + genes
        counts = np.bincount(places, minlength=len(cells) * len(GENES)).astype(np.float32)
        parts.append(sparse.csr_matrix(counts.reshape(len(cells), len(GENES))))
        order.append(cells)
    return sparse.csr_matrix(sparse.vstack(parts, format="csr")[np.argsort(np.concatenate(order))])


def data(folder: Path, sizes: Sequence[int], compression: str | None) -> None:
    """Make the files and print what is in them."""
    head("### Data", "cells", "genes", "detected genes per cell", "molecules per cell", "size (GB)")
    for n_cells in sizes:
        path = make_cells(folder, n_cells, compression)
        with h5py.File(path) as file:
            n_stored, n_some = len(file["X/data"]), min(n_cells, BLOCK)
            molecules = file["X/data"][: file["X/indptr"][n_some]].sum() / n_some
        row(n_cells, len(GENES), f"{n_stored / n_cells:.0f}", f"{molecules:.0f}", f"{path.stat().st_size / 1e9:.2f}")


# ---------------------------------------------------------------------------------------------------------------- models


def make_models(folder: Path, n_members: int = 5) -> tuple[Path, Path]:
    """Directories of a model and of an ensemble, whose first member it is; they are made where they do not exist."""
    from sctab.model import DeepEnsemble

    model, ensemble = folder / "model", folder / f"ensemble_{n_members}"
    if not (model.exists() and ensemble.exists()):
        cells = ad.read_h5ad(make_cells(folder, 1024 + 256))
        members = [make_model(cells.X, seed) for seed in range(n_members)]
        members[0].save(model, overwrite=True)
        DeepEnsemble.from_members(members).save(ensemble, overwrite=True)
    return model, ensemble


def make_model(counts: sparse.csr_matrix, seed: int) -> SCTAB:
    """An SCTAB of the published size with random weights, the statistics of 1,024 cells, and masks that are sparse on the others."""
    import torch
    from entmax import entmax15

    from sctab.data import FeatureSpace, Normalization, normalise
    from sctab.inference import NO_SETUP, ModelSpec, build_network
    from sctab.model import SCTAB
    from sctab.ontology import LabelSpace

    settings = SCTAB.paper_settings()["model"]
    spec = ModelSpec(
        model_class="SCTAB",
        architecture={name: value for name, value in settings.items() if name != "n_top_genes"},
        features=FeatureSpace(ids=tuple(GENES[MODEL_GENES].tolist()), symbols=("",) * len(MODEL_GENES)),
        labels=LabelSpace(tuple(f"type {i}" for i in range(N_LABELS)), (None,) * N_LABELS),
        normalization=Normalization(),
        description="Random weights, to measure speed with.",
        setup=NO_SETUP,
    ).with_training({})
    values = torch.from_numpy(normalise(sparse.csr_matrix(counts[:, MODEL_GENES]), spec.normalization).toarray())
    model = SCTAB(spec=spec)
    torch.manual_seed(seed)
    network = model.module = build_network(spec)
    known, others = values[:1024], values[1024:]
    with torch.no_grad():
        take_statistics(network, known)
        logits = logits_of_mask(network, others)
        sharpness = balance(
            0.05, 5.0, lambda scale: (entmax15(logits * scale, dim=1, k=1024) > 0).sum(dim=1).float().mean() < SUPPORT
        )
        network.attentive_transformers[0].norm.bn.weight *= sharpness
        take_statistics(network, known)
        logits = network(others).logits
        network.classifier.weight *= balance(
            1.0, 100.0, lambda scale: (logits * scale).softmax(dim=1).amax(dim=1).median() > CONFIDENCE
        )
    model.is_trained_ = True
    return model


def take_statistics(network: TabNet, values: torch.Tensor) -> None:
    """Give the norms the statistics of some cells, those of genes at least `RAREST`."""
    from torch import nn

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    network.input_norm(values)
    network.input_norm.running_var.clamp_(min=RAREST)
    network.input_norm.eval()
    network(values)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def logits_of_mask(network: TabNet, values: torch.Tensor) -> torch.Tensor:
    """Input of 1.5-entmax, `(n_obs, n_vars)`."""
    attention = network.attentive_transformers[0]
    first = network.splitter(network.input_norm(values), network.shared)
    return attention.norm(attention.linear(first[:, network.n_d :]))


def balance(low: float, high: float, is_too_large: Callable[[float], object]) -> float:
    """Smallest value that is too large, by bisection."""
    for _ in range(12):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if is_too_large(middle) else (middle, high)
    return low


def model(folder: Path, n_members: int) -> None:
    """Make the models and print how sparse their masks are, on cells that they were not made from."""
    import torch

    _, ensemble = load(folder, n_members)
    recipe, blocks = open_cells(ensemble, make_cells(folder, BATCH))
    dense = next(dense_batches(recipe, blocks))
    head("### Models", "member", "genes in the mask, mean", "5 % to 95 % of the cells", "fraction of the model's genes", "MB")
    for i, member in enumerate(ensemble.members):
        with torch.inference_mode():
            support = (member.module(dense).masks[0] > 0).sum(dim=1).float()
        low, high = (support.quantile(share).item() for share in (0.05, 0.95))
        size = sum(tensor.nbytes for tensor in member.module.state_dict().values()) / 1e6
        row(i, f"{support.mean():.0f}", f"{low:.0f} to {high:.0f}", f"{support.mean() / len(MODEL_GENES):.2%}", f"{size:.1f}")


def load(folder: Path, n_members: int = 5) -> tuple[SCTAB, DeepEnsemble]:
    """The model and the ensemble, on the CPU."""
    from sctab.model import SCTAB, DeepEnsemble

    path, ensemble_path = make_models(folder, n_members)
    return SCTAB.load(path, accelerator="cpu"), DeepEnsemble.load(ensemble_path, accelerator="cpu")


def open_cells(model: SCTAB | DeepEnsemble, path: Path) -> tuple[InputRecipe, list[Block]]:
    """Recipe for the model input of a file, and all of its cells in memory."""
    query = model.predictor.open_query(ad.read_h5ad(path))
    return query.recipe, list(query.read(query.ranges(BLOCK)))


def batches(blocks: Sequence[Block], size: int = BATCH) -> Iterator[tuple[sparse.csr_matrix, sparse.csr_matrix, slice]]:
    """Arguments of :meth:`InputRecipe.apply`, for `size` cells at a time."""
    for counts, known in blocks:
        for start in range(0, counts.shape[0], size):
            yield counts, known, slice(start, min(start + size, counts.shape[0]))


def dense_batches(recipe: InputRecipe, blocks: Sequence[Block], size: int = FEW) -> Iterator[torch.Tensor]:
    """Normalised expression of the cells, `size` of them at a time."""
    import torch

    for batch in batches(blocks, size):
        yield torch.from_numpy(recipe.apply(*batch)[0].toarray())


# ------------------------------------------------------------------------------------------------------------- evaluator


def evaluator(folder: Path, n_cells: int, n_runs: int) -> None:
    """Compare the dense network with the evaluator, in one process, one after the other in every run."""
    import torch

    single, ensemble = load(folder)
    recipe, blocks = open_cells(single, make_cells(folder, n_cells))
    full_sort = partial(time_with_full_sort, single.module, recipe)
    ways: dict[str, Callable[[Sequence[Block]], Timed]] = {
        **{
            f"dense network, mask by a full sort, {size} cells at a time": partial(full_sort, size)
            for size in (BATCH, BATCH // 2, FEW)
        },
        f"dense network, {FEW} cells at a time": partial(time_dense, single.module, recipe, FEW),
        "evaluator, float32": partial(time_evaluator, single.predictor.block_predictor(precision="float32"), recipe),
        "evaluator, bfloat16": partial(time_evaluator, single.predictor.block_predictor(precision="bfloat16"), recipe),
        "evaluator of five, float32": partial(time_evaluator, ensemble.predictor.block_predictor(precision="float32"), recipe),
    }
    for time_it in ways.values():  # compiles, and makes buffers
        time_it([(counts[:BATCH], known[:BATCH]) for counts, known in blocks[:1]])
    seconds: dict[str, list[float]] = defaultdict(list)
    probabilities = {}
    for _ in range(n_runs):
        for name, time_it in ways.items():
            taken, probabilities[name] = time_it(blocks)
            seconds[name].append(taken)

    letters = dict(zip(ways, "ABCDEFG", strict=True))
    head(
        f"### BlockPredictor\n\n{n_cells} cells in memory, {n_runs} runs, {torch.get_num_threads()} threads. All of them go from counts to "
        f"probabilities, the evaluator {BATCH} cells at a time. The columns on the right are how many times as fast it is, in the same "
        "run: median, and range.",
        *("", "", "cells/s, median", "smallest", "largest"),
        *(f"× {letter}" for letter in letters.values()),
    )
    for name, of_runs in seconds.items():
        speeds = [n_cells / taken for taken in of_runs]
        ratios = [
            spread([other / taken for other, taken in zip(seconds[others], of_runs, strict=True)], 2) if others != name else "1"
            for others in ways
        ]
        row(letters[name], name, *(f"{of(speeds):,.0f}" for of in (median, min, max)), *ratios)
    fives = [five / one for five, one in zip(seconds["evaluator of five, float32"], seconds["evaluator, float32"], strict=True)]
    print(f"\nFive members take {spread(fives, 2)} times as long as one.")

    expected = probabilities[f"dense network, {FEW} cells at a time"][:N_EXACT]
    probabilities["dense network, double precision"] = exact_probabilities(single.module, recipe, blocks)
    largest = np.sort(expected, axis=1)
    head(
        f"The dense network's probability of the first type is {np.median(largest[:, -1]):.2f} in the median, and "
        f"{np.median(largest[:, -1] - largest[:, -2]):.2f} more than that of the second. By how much others differ from it, with random "
        f"weights, on the first {N_EXACT} cells:",
        *("", "largest difference of a probability", "mean over cells of a cell's largest", "equal labels"),
    )
    for name in ("dense network, double precision", "evaluator, float32", "evaluator, bfloat16"):
        differences = np.abs(probabilities[name][:N_EXACT] - expected).max(axis=1)
        equal = (probabilities[name][:N_EXACT].argmax(axis=1) == expected.argmax(axis=1)).mean()
        row(name, f"{differences.max():.1e}", f"{differences.mean():.1e}", f"{equal:.2%}")


def time_dense(network: TabNet, recipe: InputRecipe, size: int, blocks: Sequence[Block]) -> Timed:
    """The network on dense blocks, from counts."""
    import torch

    start = time.perf_counter()
    with torch.inference_mode():
        parts = [network(dense).logits.softmax(dim=1).numpy() for dense in dense_batches(recipe, blocks, size)]
    return time.perf_counter() - start, np.concatenate(parts)


def exact_probabilities(network: TabNet, recipe: InputRecipe, blocks: Sequence[Block]) -> NDArray[np.float64]:
    """Network output for the first cells in double precision, to measure rounding error."""
    import torch

    exact = copy.deepcopy(network).double()
    parts: list[NDArray[np.float64]] = []
    with torch.inference_mode():
        for dense in dense_batches(recipe, blocks):
            parts.append(exact(dense.double()).logits.softmax(dim=1).numpy())
            if sum(map(len, parts)) >= N_EXACT:
                break
    return np.concatenate(parts)[:N_EXACT]


def time_with_full_sort(network: TabNet, recipe: InputRecipe, size: int, blocks: Sequence[Block]) -> Timed:
    """The same with masks by a full sort."""
    with full_sort():
        return time_dense(network, recipe, size, blocks)


def full_sort() -> AbstractContextManager[Any]:
    """Have networks compute 1.5-entmax as the published implementation does, with a sort of all logits."""
    from entmax import entmax15

    from sctab.nn import _tabnet

    return mock.patch.dict(_tabnet._MASKS, entmax=partial(entmax15, dim=-1))


def time_evaluator(of_model: BlockPredictor, recipe: InputRecipe, blocks: Sequence[Block]) -> Timed:
    """The evaluator on blocks of counts."""
    from sctab.inference import decide

    start = time.perf_counter()
    parts = [decide(part).probabilities for part in of_model.predict_blocks(recipe, blocks)]
    return time.perf_counter() - start, np.concatenate(parts)


# ---------------------------------------------------------------------------------------------------------------- stages


def stages(folder: Path, n_cells: int, n_runs: int, precision: Precision) -> None:
    """Time per stage for a cell in one thread, compared with a matrix product of the same arithmetic."""
    import torch

    from sctab.nn import sparse_network
    from sctab.nn.fast._parts import SparseRows

    torch.set_num_threads(1)
    model, _ = load(folder)
    whole = model.predictor.block_predictor(precision=precision)
    recipe, blocks = open_cells(model, make_cells(folder, n_cells))
    network: Any = sparse_network(model.module, precision=precision)
    first, attend, second = network.splitter, network.attention[0], network.transformers[0]
    rest_of_first, rest_of_second = copy.copy(first), copy.copy(second)

    def logits_of(attention: torch.Tensor) -> None:
        for _ in attend._logits(attention, None):
            pass

    def evaluate_in(seconds: dict[str, float]) -> tuple[int, int]:
        def timed(stage: str, function: Callable[..., Any], *arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            seconds[stage] += time.perf_counter() - start
            return result

        n_values = n_kept = 0
        for batch in batches(blocks):
            values, _ = timed("align and scale", recipe.apply, *batch)
            rows = timed("order by tile", SparseRows.of, values, network.device)
            sums = timed("first layer", first.table, rows, network.input.scale)
            rest_of_first.table = partial(_given, sums)
            attention = timed("rest of the first transformer", rest_of_first, rows, None)[:, -attend.n_a :].contiguous()
            timed("mask logits", logits_of, attention)
            kept, _ = timed("mask", attend, attention, rows, network.input, None)
            sums = timed("masked first layer", second.table, kept, network.ones)
            rest_of_second.table = partial(_given, sums)
            embedding = timed("rest of the second transformer", rest_of_second, kept, None)[:, : network.n_d].relu()
            timed("classifier and softmax", lambda x: network.classifier(x).softmax(dim=1), embedding)
            timed(WHOLE, whole.evaluate, recipe, batch[:2], batch[2])
            n_values, n_kept = n_values + values.nnz, n_kept + len(kept.columns)
        seconds["mask"] -= seconds["mask logits"]  # it makes them, a part of the cells at a time
        return n_values, n_kept

    with torch.inference_mode():
        n_values, n_kept = (count / n_cells for count in evaluate_in(defaultdict(float)))  # compiles
        runs: list[dict[str, float]] = [defaultdict(float) for _ in range(n_runs)]
        for seconds in runs:
            evaluate_in(seconds)
        speed = matrix_speed()
    width = first.table.table.shape[1]
    operations = {
        "align and scale": 3 * n_values,
        "first layer": 2 * n_values * width,
        "rest of the first transformer": sum(2 * layer.weight.numel() for layer in first.layers),
        "mask logits": 2 * attend.weight.numel(),
        "mask": 2 * len(MODEL_GENES),
        "masked first layer": 2 * n_kept * width,
        "rest of the second transformer": sum(2 * layer.weight.numel() for layer in second.layers),
        "classifier and softmax": 2 * model.module.classifier.weight.numel(),
    }
    micros = {stage: median(seconds[stage] for seconds in runs) / n_cells * 1e6 for stage in runs[0]}
    total = sum(taken for stage, taken in micros.items() if stage != WHOLE)
    head(
        f"### Stages\n\n{n_cells} cells, {n_runs} runs, weights in {precision}, one thread, {BATCH} cells at a time; {n_values:.0f} values "
        f"per cell, {n_kept:.0f} of its genes in the mask. A product of matrices, 512 × 192 by 192 × 384 in float32, runs at "
        f"{speed / 1e9:.0f} GFLOP/s. For the mask, the sum with the bias and one comparison per logit are counted.",
        *("stage", "µs per cell", "share", "operations", "µs at the speed of a product", "times as long"),
    )
    for stage, taken in [(stage, taken) for stage, taken in micros.items() if stage != WHOLE] + [("sum", total)]:
        count = sum(operations.values()) if stage == "sum" else operations.get(stage, 0)
        ideal = count / speed * 1e6
        row(stage, f"{taken:.1f}", f"{taken / total:.0%}", f"{count:,.0f}", f"{ideal:.2f}", f"{taken / ideal:.1f}" if count else "")
    row(WHOLE, f"{micros[WHOLE]:.1f}", f"{micros[WHOLE] / total:.0%}", "", "", "")


def _given(result: Any, *_: Any) -> Any:
    return result


def matrix_speed() -> float:
    """Floating-point operations per second in products of the size of a layer, in the threads that PyTorch uses now."""
    import torch

    left, right = torch.rand(512, 192), torch.rand(192, 384)
    out = left @ right
    seconds = []
    for _ in range(300):
        start = time.perf_counter()
        torch.mm(left, right, out=out)
        seconds.append(time.perf_counter() - start)
    return 2 * left.numel() * right.shape[1] / median(seconds)


# ------------------------------------------------------------------------------------------------------- whole processes


def annotate_command(cells: Path, model: Path, output: Path) -> list[object]:
    """`sctab annotate`, as users call it."""
    program = [sys.executable, "-c", "from sctab.cli import main; main()", "annotate"]
    return [*program, cells, "--model", model, "--output", output, "--overwrite"]


def runs_for(n_cells: int, n_runs: int | None) -> int:
    """Requested number of runs, or five; one for a large file."""
    return n_runs or (5 if n_cells <= 100_000 else 1)


def annotate(folder: Path, sizes: Sequence[int], compression: str | None, n_runs: int | None, *, with_ensemble: bool) -> None:
    """Time and memory of `sctab annotate`, from the start of the process to its end."""
    path, ensemble = make_models(folder)
    models = {1: path} | ({5: ensemble} if with_ensemble else {})
    files = {n_cells: make_cells(folder, n_cells, compression) for n_cells in (START_UP_CELLS, *sizes)}

    def measure(n_cells: int) -> dict[int, list[Usage | None]]:
        used: dict[int, list[Usage | None]] = {members: [] for members in models}
        for _ in range(runs_for(n_cells, n_runs)):
            for members, of_model in models.items():
                used[members].append(watch(annotate_command(files[n_cells], of_model, folder / "labels.parquet")))
        return used

    watch(annotate_command(files[START_UP_CELLS], path, folder / "labels.parquet"))  # compiles, and reads libraries from disk
    start_up = measure(START_UP_CELLS)
    head(
        "### `sctab annotate`\n\nFrom the start of the process to its end, labels written as Parquet. Start-up is the time for "
        f"{START_UP_CELLS} cells. A file may be in the system's cache after its first run.",
        *("cells", "members", "seconds", "cells/s", "cells/s without start-up", "peak memory (GB)"),
    )
    for n_cells in (START_UP_CELLS, *sizes):
        for members, used in (start_up if n_cells == START_UP_CELLS else measure(n_cells)).items():
            row(n_cells, members, *summary(n_cells, used, start_up[members]))


def rate(n_cells: int, seconds: float) -> str:
    """Cells per second, or nothing where a difference of times is lost in their noise."""
    return f"{n_cells / seconds:,.0f}" if seconds > 0 else "?"


def summary(n_cells: int, used: Sequence[Usage | None], start_up: Sequence[Usage | None]) -> list[str]:
    """Seconds, cells/s, cells/s without start-up and peak memory."""
    done, first = ([usage for usage in usages if usage is not None] for usages in (used, start_up))
    if len(done) < len(used) or not done:
        return ["out of memory", "", "", ""]
    middle = median(usage.seconds for usage in done)
    net = middle - median(usage.seconds for usage in first)
    return [
        spread([usage.seconds for usage in done], 2),
        f"{n_cells / middle:,.0f}",
        rate(n_cells, net) if n_cells > START_UP_CELLS else "",
        f"{max(usage.peak for usage in done) / 1e9:.2f}",
    ]


# ----------------------------------------------------------------------------------------------------------------- trust


def make_drawn_cells(folder: Path, data: Path, n_cells: int) -> Path:
    """A file of cells of a reference, drawn with replacement and thinned; it is made block by block where it does not exist."""
    path = folder / f"drawn_{n_cells}.h5ad"
    if path.exists():
        return path
    reference = ad.read_h5ad(data / "pbmc_zheng_facs.h5ad")
    counts, parts = sparse.csr_matrix(reference.X), []
    for start in range(0, n_cells, BLOCK):
        rng = np.random.default_rng([2, start])
        block = counts[rng.integers(counts.shape[0], size=min(BLOCK, n_cells - start))]
        block.data = rng.binomial(block.data.astype(np.int64), 0.9).astype(np.float32)
        block.eliminate_zeros()
        parts.append(block)
    obs = pd.DataFrame(index=[f"cell {i}" for i in range(n_cells)])
    unfinished = path.with_suffix(".unfinished")
    ad.AnnData(sparse.vstack(parts, format="csr"), obs=obs, var=reference.var).write_h5ad(unfinished)
    unfinished.rename(path)
    return path


def make_trained_model(folder: Path, data: Path, name: str) -> Path:
    """A calibrated model of a reference, trained for some epochs: speed does not depend on their number."""
    from sctab.model import model_by_name

    path = folder / f"trained_{name}"
    if not path.exists():
        reference = ad.read_h5ad(data / "pbmc_zheng_facs.h5ad")
        cls = model_by_name(name)
        cls.setup_anndata(reference, "cell_type_coarse")
        model = cls(reference)
        model.train(max_epochs=20 if name == "linear" else 5, accelerator="cpu", enable_progress_bar=False)
        model.save(path)
    return path


def trust(folder: Path, data: Path, sizes: Sequence[int], names: Sequence[str], n_runs: int | None) -> None:
    """Time and memory of `sctab annotate` with and without promised terms and unseen types, one after the other in every run."""
    asked: dict[str, list[object]] = {
        "labels": [],
        "terms": ["--accepted-error", 0.1],
        "terms and unseen types": ["--accepted-error", 0.1, "--unseen-fdr", 0.1, "--force"],
    }
    models = {name: make_trained_model(folder, data, name) for name in names}
    files = {n_cells: make_drawn_cells(folder, data, n_cells) for n_cells in (START_UP_CELLS, *sizes)}
    head(
        "### With promised terms and unseen types\n\nFrom the start of the process to its end, labels written as Parquet. Start-up is the "
        f"time for {START_UP_CELLS} cells, with the same options. Speed is relative to labels alone, by processor seconds, which other "
        "processes on the machine change less than seconds.",
        *(
            "model",
            "cells",
            "",
            "seconds",
            "processor seconds",
            "without start-up",
            "peak memory (GB)",
            "speed",
            "without start-up",
        ),
    )
    for name, model in models.items():
        start_up: dict[str, float] = {}
        for n_cells, path in files.items():
            command = annotate_command(path, model, folder / "labels.parquet")
            if n_cells == START_UP_CELLS:
                watch([*command, *asked["terms and unseen types"]])  # compiles, and reads libraries from disk
            used: dict[str, list[Usage]] = {each: [] for each in asked}
            for _ in range(n_runs or (3 if n_cells <= 100_000 else 1)):
                for each, options in asked.items():
                    used[each] += [usage for usage in [watch([*command, *options])] if usage is not None]
            taken = {each: median(usage.cpu for usage in of) for each, of in used.items()}
            start_up = start_up or taken
            net = {each: cpu - start_up[each] for each, cpu in taken.items()}
            for each, of in used.items():
                speeds = [f"{taken['labels'] / taken[each]:.0%}", f"{net['labels'] / net[each]:.0%}" if net[each] > 0 else ""]
                seconds, peak = spread([usage.seconds for usage in of], 1), max(usage.peak for usage in of) / 1e9
                row(name, n_cells, each, seconds, f"{taken[each]:.1f}", f"{net[each]:.1f}", f"{peak:.2f}", *speeds)


# ------------------------------------------------------------------------------------------------------------ CellTypist


def celltypist(folder: Path, sizes: Sequence[int], compression: str | None, n_runs: int | None) -> None:
    """Time and memory of CellTypist beside those of `sctab annotate`, on the same cells, one after the other in every run."""
    from sctab.benchmark._peers import PEERS, default_environments, make_environment

    python = make_environment(PEERS["celltypist"], default_environments())
    own = {"CELLTYPIST_FOLDER": str(folder / "celltypist")}  # it makes one, and that in the user's home by default
    path, _ = make_models(folder)
    peer, labels, answer = folder / "celltypist.pkl", folder / "labels.parquet", folder / "celltypist.json"
    files = {n_cells: make_cells(folder, n_cells, compression) for n_cells in (START_UP_CELLS, *sizes)}
    if not peer.exists():
        subprocess.run([python, __file__, "make-celltypist", files[START_UP_CELLS], peer], check=True, env=environment(**own))
    inner: dict[str, list[float]] = defaultdict(list)

    def measure(n_cells: int) -> dict[str, list[Usage | None]]:
        inner.clear()
        used: dict[str, list[Usage | None]] = defaultdict(list)
        parts = {AT_ONCE: n_cells} | ({f"CellTypist, {PART:,} at a time": PART} if n_cells > PART else {})
        for _ in range(runs_for(n_cells, n_runs)):
            used["sctab"].append(watch(annotate_command(files[n_cells], path, labels)))
            for name, part in parts.items():
                fits = part * BYTES_PER_CELL < available_memory()
                command = [python, __file__, "run-celltypist", files[n_cells], peer, folder / "peer.parquet", answer, part]
                used[name].append(watch(command, **own) if fits else None)
                if used[name][-1] is not None:
                    inner[name].append(json.loads(answer.read_text(encoding="utf-8"))["seconds"])
        return used

    for _ in range(2):  # the first compiles, and reads libraries from disk
        start_up = measure(START_UP_CELLS)
    of_few = median(inner[AT_ONCE])
    versions = json.loads(answer.read_text(encoding="utf-8"))["versions"]
    head(
        f"### CellTypist\n\nThe time is from the start of the process to its end: reading, normalising to 10,000 counts, log1p, labels and "
        f"their probability, and writing these as Parquet; start-up is the time for {START_UP_CELLS} cells. `celltypist.annotate` alone "
        "is without reading, normalising and writing; every call compares the names of genes first, which takes as long for few cells as "
        f"for many. Same {N_LABELS} types and {len(MODEL_GENES):,} genes, no majority voting; "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}. Out of memory: it was killed, or not started because it "
        f"would take more than there is ({BYTES_PER_CELL / 1e3:.0f} kB per cell).",
        *("cells", "", "seconds", "cells/s", "cells/s without start-up", "peak memory (GB)"),
        *("`celltypist.annotate` alone (s)", "cells/s", f"cells/s less its time for {START_UP_CELLS}"),
    )
    for n_cells in sizes:
        for name, used in measure(n_cells).items():
            taken = inner.get(name, [])
            columns = [""] * 3
            if taken:
                columns = [spread(taken, 2), f"{n_cells / median(taken):,.0f}", rate(n_cells, median(taken) - of_few)]
            row(n_cells, name, *summary(n_cells, used, start_up.get(name, start_up[AT_ONCE])), *columns)


def available_memory() -> float:
    """Bytes that processes can get without swapping."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return float("inf")


def make_celltypist(cells: Path, path: Path) -> None:
    """A CellTypist model with random weights and the scale of some cells; in its environment, for its environment."""
    import celltypist
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    classifier = LogisticRegression()
    classifier.classes_ = np.array([f"type {i}" for i in range(N_LABELS)], dtype=object)
    classifier.coef_ = rng.normal(0, 0.01, size=(N_LABELS, len(MODEL_GENES)))
    classifier.intercept_ = rng.normal(-3, 1, size=N_LABELS)
    classifier.n_features_in_ = len(MODEL_GENES)
    classifier.features = GENES[MODEL_GENES].astype(object)
    scaler = StandardScaler().fit(read_normalised(cells)[:, classifier.features].X.toarray())
    description = {"date": "", "details": "random weights", "url": "", "source": "", "version": "", "number_celltypes": N_LABELS}
    celltypist.models.Model(classifier, scaler, description).write(str(path))


def run_celltypist(cells: Path, model: Path, output: Path, answer: Path, part: int) -> None:
    """Annotate cells in batches, and record the cost; in the environment of CellTypist."""
    import celltypist
    import sklearn

    adata = read_normalised(cells)
    loaded = celltypist.models.Model.load(str(model))
    start = time.perf_counter()
    labels, probabilities = [], []
    for at in range(0, adata.n_obs, part):
        result = celltypist.annotate(adata if part >= adata.n_obs else adata[at : at + part].copy(), model=loaded)
        labels.append(result.predicted_labels["predicted_labels"].astype(str))
        probabilities.append(result.probability_matrix.max(axis=1))
    seconds = time.perf_counter() - start
    pd.DataFrame({"label": pd.concat(labels), "confidence": pd.concat(probabilities)}).to_parquet(output)
    versions = {"CellTypist": celltypist.__version__, "scikit-learn": sklearn.__version__, "NumPy": np.__version__}
    answer.write_text(json.dumps({"seconds": seconds, "versions": versions}), encoding="utf-8")


def read_normalised(path: Path) -> ad.AnnData:
    """Cells as CellTypist requires them."""
    import scanpy as sc

    adata = ad.read_h5ad(path)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


# ------------------------------------------------------------------------------------------------------------------ main


def everything(arguments: argparse.Namespace) -> None:
    """Every part in a process of its own, in order."""
    shared = ["--folder", arguments.folder, *(["--runs", arguments.runs] if arguments.runs else [])]
    compressed = ["--compression", arguments.compression] if arguments.compression else []
    sizes, small = arguments.cells, [n_cells for n_cells in arguments.cells if n_cells <= 100_000]
    parts: list[list[object]] = [
        ["data", "--cells", *sizes, *compressed],
        ["model"],
        ["evaluator", "--cells", min(8192, min(sizes))],
        ["stages", "--cells", min(4096, min(sizes))],
        ["stages", "--cells", min(4096, min(sizes)), "--precision", "bfloat16"],
        ["annotate", "--cells", *sizes, *compressed, "--ensemble"],
        *([["celltypist", "--cells", *small, *compressed]] if small else []),
    ]
    for part in parts:
        command = [sys.executable, __file__, *part, *shared, "--without-machine"]
        subprocess.run([str(word) for word in command], check=True)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The part to run, and its options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--folder", type=Path, help="where data and models are kept; by default nowhere")
    shared.add_argument("--runs", type=int, help="by default 5, and of whole processes on more than 100,000 cells 1")
    shared.add_argument("--without-machine", action="store_true", help=argparse.SUPPRESS)
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("--compression", choices=("gzip", "lzf"), help="of the files; by default none")
    parts = parser.add_subparsers(dest="part", required=True)
    for name, default, text in (
        ("all", [10_000, 100_000, 1_000_000], "all that follow, in order, as one report"),
        ("data", [10_000, 100_000, 1_000_000], "make the files"),
        ("annotate", [10_000, 100_000, 1_000_000], "`sctab annotate` as a whole"),
        ("celltypist", [10_000, 100_000], "CellTypist beside `sctab annotate`"),
    ):
        part = parts.add_parser(name, parents=[shared, files], help=text)
        part.add_argument("--cells", type=int, nargs="+", default=default)
        if name == "annotate":
            part.add_argument("--ensemble", action="store_true", help="an ensemble of five too")
    part = parts.add_parser("trust", parents=[shared], help="`sctab annotate` with promised terms and unseen types")
    part.add_argument("--data", type=Path, required=True, help="folder of the data sets of docs/benchmarks.md")
    part.add_argument("--cells", type=int, nargs="+", default=[100_000, 300_000])
    part.add_argument("--models", nargs="+", default=["linear", "sctab"])
    part = parts.add_parser("model", parents=[shared], help="make the models")
    part.add_argument("--members", type=int, default=5)
    for name, n_cells, text in (
        ("evaluator", 8192, "the evaluator beside the dense network"),
        ("stages", 4096, "where the time goes"),
    ):
        part = parts.add_parser(name, parents=[shared], help=text)
        part.add_argument("--cells", type=int, default=n_cells)
        if name == "stages":
            part.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    return parser.parse_args(words)


def main() -> None:
    """Run the requested parts."""
    arguments = parse()
    with tempfile.TemporaryDirectory() as temporary:
        arguments.folder = (arguments.folder or Path(temporary)).absolute()
        arguments.folder.mkdir(parents=True, exist_ok=True)
        if not arguments.without_machine:
            print(f"## Speed and memory\n\n{machine()}", flush=True)
        run(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Run one part."""
    folder, n_runs = arguments.folder, arguments.runs
    match arguments.part:
        case "all":
            everything(arguments)
        case "data":
            data(folder, arguments.cells, arguments.compression)
        case "model":
            model(folder, arguments.members)
        case "evaluator":
            evaluator(folder, arguments.cells, n_runs or 5)
        case "stages":
            stages(folder, arguments.cells, n_runs or 5, arguments.precision)
        case "annotate":
            annotate(folder, arguments.cells, arguments.compression, n_runs, with_ensemble=arguments.ensemble)
        case "trust":
            trust(folder, arguments.data, arguments.cells, arguments.models, n_runs)
        case "celltypist":
            celltypist(folder, arguments.cells, arguments.compression, n_runs)


if __name__ == "__main__":
    if sys.argv[1:2] == ["make-celltypist"]:  # in the environment of CellTypist
        make_celltypist(*map(Path, sys.argv[2:]))
    elif sys.argv[1:2] == ["run-celltypist"]:
        run_celltypist(*map(Path, sys.argv[2:6]), int(sys.argv[6]))
    else:
        main()
