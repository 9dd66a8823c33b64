"""Predictions and speed on a GPU beside those on the CPU, with a network of the published size, in less than eight minutes.

    uv run python benchmarks/accelerator.py --output DIR [--folder DIR] [--parts agreement evaluation …] [--minutes 7.5]
    uv run python benchmarks/accelerator.py --output DIR --toy [--together]

It takes the accelerator that it finds, or the CPU. `agreement` comes first: labels and probabilities of the device are those of the CPU,
within a tolerance. The others measure: `evaluation`, `training` (steps on cells that are on the device already), `trainer` (`train` of a
model on an AnnData in memory), `corpus` (a synthetic one, in a temporary folder) and `boosting`. Every part is a process of its own with a
limit on its time, unless they run `--together`. A measurement that fails gives a row that says so, and the next one is made. Results are in
`accelerator.json` and `accelerator.md`, which are written again after every part. Data and weights are those of `scale.py`, and labels of
cells are random. Time is that of the host from one synchronisation with the device to another, after a warm-up. Memory is the most that
PyTorch had allocated on the device. The exit code is 1 where device and CPU do not agree.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import anndata as ad
import corpus
import numpy as np
import pandas as pd
import scale
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from sctab.data import Normalization, normalise
from sctab.inference import decide, device_of
from sctab.model import SCTAB, DeepEnsemble, XGBoostClassifier
from sctab.nn import TabNet, predict_sparse, sparse_network

TOLERANCE = 1e-3
"""Largest difference of a probability, in single precision: with random weights, rounding alone makes one of 1.5e-4 on the CPU."""
LEAST_GAP = 2 * TOLERANCE
"""Labels of cells whose two most probable types are closer may differ."""
LOSS_TOLERANCE = 5e-3
"""Largest relative difference of losses of the first steps: AdamW makes steps of one size of gradients that are but rounding."""
VERSIONS = ("sctab", "torch", "jax", "numpy", "scipy", "numba", "anndata", "lightning", "scvi-tools", "annbatch", "zarr", "xgboost")
COLUMNS = ("part", "measurement", "cells/s", "range", "seconds", "peak device memory (GiB)", "note")
RESERVE = 5.0
"""Seconds that are left for writing results."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of what is measured."""

    n_drawn: int = 4096
    """Cells that are drawn; more are the same again."""
    n_evaluated: int = 32_768
    n_compared: int = 2048
    n_learned: int = 16_384
    n_corpus: int = 20_000
    n_boosted: int = 4096
    batch: int = 1024
    members: int = 5
    components: int = 64
    rounds: int = 5
    seconds: float = 2.5
    """Time for each measurement, at least three repeats."""
    repeats: int = 50
    """Repeats at most."""
    genes: int = 0
    """Genes; 0 for all."""


TOY = Sizes(
    n_drawn=256,
    n_evaluated=256,
    n_compared=128,
    n_learned=256,
    n_corpus=500,
    n_boosted=256,
    batch=64,
    members=2,
    components=8,
    rounds=2,
    seconds=0.0,
    repeats=3,
    genes=500,
)


@dataclass(frozen=True)
class Row:
    """One measurement."""

    part: str
    measurement: str
    speeds: tuple[float, ...] = ()
    """Cells per second of every repeat."""
    seconds: float | None = None
    """Of one repeat, in the median."""
    peak: float | None = None
    """Memory of the device at most, in GiB."""
    note: str = ""
    agrees: bool | None = None
    """`True` if the device computes what the CPU does; `None` where they are not compared."""

    def columns(self) -> list[str]:
        """The row of a table."""
        speed = f"{median(self.speeds):,.0f}" if self.speeds else ""
        between = f"{min(self.speeds):,.0f} to {max(self.speeds):,.0f}" if len(self.speeds) > 1 else ""
        seconds = "" if self.seconds is None else f"{self.seconds:.4f}"
        peak = "" if self.peak is None else f"{self.peak:.2f}"
        return [self.part, self.measurement, speed, between, seconds, peak, self.note.replace("|", "/").replace("\n", " ")]


class Bench:
    """The device, the data, and the rows of one part.

    Parameters
    ----------
    part
        Its name.
    folder
        Where data and models are.
    sizes
        Sizes of what is measured.
    device
        The accelerator.
    seconds
        Time for the part; what comes later is not measured.
    rows
        File to which rows are added.
    """

    def __init__(self, part: str, folder: Path, sizes: Sizes, device: torch.device, seconds: float, rows: Path) -> None:
        self.part, self.folder, self.sizes, self.device = part, folder, sizes, device
        self._end = time.monotonic() + seconds
        self._rows = rows

    def add(self, row: Row) -> None:
        """Keep a row and print it."""
        with self._rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")
        scale.row(*row.columns())

    def note(self, measurement: str, note: str, **values: Any) -> None:
        """Add a row with a note."""
        self.add(Row(self.part, measurement, note=note, **values))

    @contextmanager
    def guarded(self, measurement: str) -> Iterator[None]:
        """A block that may fail; a row says so."""
        try:
            yield
        except Exception as error:  # whatever a device, its driver or a library raises
            last = traceback.extract_tb(error.__traceback__)[-1]
            first = (str(error).splitlines() or [""])[0]
            kind = "not measured" if isinstance(error, TimeoutError | ImportError) else "failed"
            self.note(measurement, f"{kind}: {type(error).__name__}: {first[:200]} ({Path(last.filename).name}:{last.lineno})")
        finally:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def require_time(self) -> None:
        """Refuse to begin what comes too late."""
        if time.monotonic() > self._end:
            raise TimeoutError("the time for this part is over")

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()

    def forget_peak(self) -> None:
        """Measure memory from here on."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> float | None:
        """GiB of the device that were allocated at a time; `None` where that is not known."""
        return torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else None

    def seconds_of(self, function: Callable[[], object]) -> list[float]:
        """Seconds of repeats, after two that warm up."""
        self.require_time()
        for _ in range(2):
            function()
        self.synchronise()
        self.forget_peak()
        found: list[float] = []
        while len(found) < 3 or (sum(found) < self.sizes.seconds and len(found) < self.sizes.repeats):
            start = time.perf_counter()
            function()
            self.synchronise()
            found.append(time.perf_counter() - start)
        return found

    def measure(self, measurement: str, n_cells: int, function: Callable[[], object], note: str = "") -> None:
        """Add a row with the speed of a function."""
        with self.guarded(measurement):
            found = self.seconds_of(function)
            speeds = tuple(n_cells / taken for taken in found)
            self.add(Row(self.part, measurement, speeds, median(found), self.peak(), note))

    # -------------------------------------------------------------------------------------------------------------- data

    def cells(self, n_cells: int) -> ad.AnnData:
        """Cells of the file, as often as needed; random labels, and donors."""
        drawn = ad.read_h5ad(scale.make_cells(self.folder, self.sizes.n_drawn))[:, scale.GENES[scale.MODEL_GENES]]
        times = -(-n_cells // drawn.n_obs)
        counts = sparse.csr_matrix(sparse.vstack([drawn.X] * times, format="csr")[:n_cells])
        rng = np.random.default_rng(0)
        kinds = np.arange(n_cells) % min(scale.N_LABELS, n_cells // 8)
        obs = pd.DataFrame(
            {
                "cell_type": [f"type {kind}" for kind in rng.permutation(kinds)],
                "donor_id": [f"donor {i % 10}" for i in range(n_cells)],
            },
            index=[f"cell {i}" for i in range(n_cells)],
        )
        return ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=drawn.var_names))

    def network(self, seed: int = 0) -> TabNet:
        """A network of the published architecture, not trained, on the device."""
        torch.manual_seed(seed)
        settings = SCTAB.paper_settings()["model"]
        kept = {name: value for name, value in settings.items() if name not in ("n_top_genes", "lambda_sparse")}
        return TabNet(n_features=len(scale.MODEL_GENES), n_classes=scale.N_LABELS, **kept).to(self.device)

    def batch(self, n_cells: int) -> tuple[Tensor, Tensor]:
        """Normalised expression and labels, on the device."""
        counts = self.cells(min(n_cells, self.sizes.n_drawn)).X
        values = torch.from_numpy(normalise(counts, Normalization()).toarray()).to(self.device)
        values = values.repeat(-(-n_cells // len(values)), 1)[:n_cells]
        return values, torch.arange(n_cells, device=self.device) % scale.N_LABELS

    def mixed(self) -> AbstractContextManager[Any]:
        """Mixed precision."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


# ------------------------------------------------------------------------------------------------------------- agreement


def agreement(bench: Bench) -> None:
    """Predictions and losses of the device beside those of the CPU, and what the device can do."""
    ceilings(bench)
    path, ensemble_path = scale.make_models(bench.folder, bench.sizes.members)
    models: dict[str, tuple[Any, Path]] = {
        "one model": (SCTAB, path),
        f"an ensemble of {bench.sizes.members}": (DeepEnsemble, ensemble_path),
    }
    for name, (cls, where) in models.items():
        with bench.guarded(f"predictions of {name}"):
            compare_predictions(bench, name, cls.load(where, accelerator="cpu"))
    with bench.guarded("losses of three training steps"):
        compare_losses(bench)


def compare_predictions(bench: Bench, name: str, model: Any) -> None:
    """Rows on labels and probabilities."""
    recipe, blocks = scale.open_cells(model, scale.make_cells(bench.folder, bench.sizes.n_compared))
    predictor = model.predictor

    def probabilities(device: str | None = None, precision: Any = "float32", backend: Any = "torch") -> NDArray[np.float32]:
        of_blocks = predictor.block_predictor(precision=precision, device=device, backend=backend)
        return np.concatenate([decide(part).probabilities for part in of_blocks.predict_blocks(recipe, blocks)])

    expected = probabilities()

    def report(what: str, found: NDArray[np.float32], *, exact: bool) -> None:
        largest = float(np.abs(found - expected).max())
        ordered = np.sort(expected, axis=1)
        settled = ordered[:, -1] - ordered[:, -2] > LEAST_GAP
        equal = found.argmax(axis=1) == expected.argmax(axis=1)
        agrees = bool(largest <= TOLERANCE and equal[settled].all()) if exact else None
        verdict = {True: "agrees", False: "DIFFERS", None: "reported only"}[agrees]
        note = f"{verdict}: largest difference of a probability {largest:.1e}"
        note += f" (at most {TOLERANCE:.0e})" if exact else ""
        note += f", equal labels {equal.mean():.2%} of {len(equal)} cells, {int((~equal & settled).sum())} differ clearly"
        bench.note(f"{name}: {what}", note, agrees=agrees)

    device = str(bench.device)
    with (
        loops_of_devices() if device == "cpu" else nullcontext()
    ):  # of other devices than the CPU: there is nothing else to compare
        report("evaluator, float32", probabilities(device), exact=True)
        report("evaluator, bfloat16", probabilities(device, "bfloat16"), exact=False)
    with bench.guarded(f"{name}: JAX"):
        report(f"JAX on {jax_devices()}", probabilities(backend="jax"), exact=True)
    if isinstance(model, DeepEnsemble):
        return
    network = copy.deepcopy(model.module).to(bench.device).eval()

    def dense(context: AbstractContextManager[Any]) -> NDArray[np.float32]:
        with torch.inference_mode(), context:
            batches = scale.dense_batches(recipe, blocks)
            return np.concatenate(
                [network(values.to(bench.device)).logits.float().softmax(dim=1).cpu().numpy() for values in batches]
            )

    report("dense network, float32", dense(nullcontext()), exact=True)
    report("dense network, TensorFloat-32", dense(fast_products()), exact=False)
    report("dense network, mixed bfloat16", dense(bench.mixed()), exact=False)


def jax_devices() -> str:
    """Devices that JAX computes on, such as `1 cuda`."""
    import jax

    devices = jax.devices()
    return f"{len(devices)} {devices[0].platform}"


@contextmanager
def loops_of_devices() -> Iterator[None]:
    """Have the CPU evaluate as other devices do, in PyTorch alone."""
    from sctab.nn.fast import _attention, _parts

    with ExitStack() as stack:
        for module in (_attention, _parts):
            stack.enter_context(mock.patch.object(module, "uses_kernels", return_value=False))
        yield


@contextmanager
def fast_products() -> Iterator[None]:
    """Have matrix products take TensorFloat-32 where there is such."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def compare_losses(bench: Bench) -> None:
    """A row on the first losses of a training, from the same weights on the same cells."""
    values, labels = bench.batch(min(256, bench.sizes.n_drawn))
    network = bench.network()
    losses = []
    for device in (torch.device("cpu"), bench.device):
        step = training_step(copy.deepcopy(network).to(device), values.to(device), labels.to(device))
        losses.append([float(step()) for _ in range(3)])
    difference = max(abs(one / other - 1) for one, other in zip(*losses, strict=True))
    agrees = difference <= LOSS_TOLERANCE
    note = f"{'agrees' if agrees else 'DIFFERS'}: largest relative difference {difference:.1e} (at most {LOSS_TOLERANCE:.0e})"
    bench.note("losses of three training steps", f"{note}; {', '.join(f'{loss:.4f}' for loss in losses[1])}", agrees=agrees)


def ceilings(bench: Bench) -> None:
    """Rows on the speed of a copy and of matrix products, which nothing exceeds."""
    side = 8192 if bench.device.type == "cuda" else 512
    with bench.guarded("copy on the device"):
        source = torch.rand(side * side * 4, device=bench.device)
        target = torch.empty_like(source)
        taken = median(bench.seconds_of(lambda: target.copy_(source)))
        bench.note("copy on the device", f"{2 * source.nbytes / taken / 1e9:,.0f} GB/s, read and written", seconds=taken)
    for name, dtype, context in (
        ("float32", torch.float32, nullcontext()),
        ("TensorFloat-32", torch.float32, fast_products()),
        ("bfloat16", torch.bfloat16, nullcontext()),
    ):
        with bench.guarded(f"matrix product, {name}"), context:
            left, right = (torch.randn(side, side, device=bench.device, dtype=dtype) for _ in range(2))
            taken = median(bench.seconds_of(partial(torch.mm, left, right)))
            bench.note(f"matrix product, {name}", f"{2 * side**3 / taken / 1e12:,.1f} TFLOP/s", seconds=taken)


# ------------------------------------------------------------------------------------------------------------ evaluation


def evaluation(bench: Bench) -> None:
    """Cells per second from counts in memory to probabilities."""
    path, ensemble_path = scale.make_models(bench.folder, bench.sizes.members)
    single, ensemble = SCTAB.load(path, accelerator="cpu"), DeepEnsemble.load(ensemble_path, accelerator="cpu")
    recipe, drawn = scale.open_cells(single, scale.make_cells(bench.folder, bench.sizes.n_drawn))
    n_cells = bench.sizes.n_evaluated
    blocks = drawn * (n_cells // bench.sizes.n_drawn)
    device, batch = str(bench.device), bench.sizes.batch

    def evaluate(model: Any, precision: Any, size: int, where: str | None, backend: Any = "torch") -> Callable[[], object]:
        of_blocks = model.predictor.block_predictor(precision=precision, device=where, backend=backend)
        return lambda: [decide(part).probabilities for part in of_blocks.predict_blocks(recipe, blocks, batch_size=size)]

    for size in (batch, 4 * batch):
        for precision in ("float32", "bfloat16"):
            name = f"evaluator, {precision}, {size} cells at a time"
            bench.measure(name, n_cells, evaluate(single, precision, size, device))
    for precision in ("float32", "bfloat16"):
        name = f"evaluator of {bench.sizes.members} members, {precision}, {batch} cells at a time"
        bench.measure(name, n_cells, evaluate(ensemble, precision, batch, device))

    for name, model in (("JAX", single), (f"JAX of {bench.sizes.members} members", ensemble)):
        with bench.guarded(name):
            bench.measure(
                f"{name}, on {jax_devices()}, {batch} cells at a time", n_cells, evaluate(model, "float32", batch, None, "jax")
            )

    network = copy.deepcopy(single.module).to(bench.device).eval()

    def dense(context: AbstractContextManager[Any]) -> Callable[[], object]:
        def run() -> None:
            with torch.inference_mode(), context:
                for block in scale.batches(drawn, batch):
                    rows = recipe.apply(*block)[0]
                    tensor = torch.sparse_csr_tensor(rows.indptr, rows.indices, rows.data, size=rows.shape, check_invariants=False)
                    network(tensor.to(bench.device).to_dense()).logits.float().softmax(dim=1).cpu()

        return run

    n_drawn = bench.sizes.n_drawn
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        bench.measure(f"dense network, full sort, {batch} cells at a time", n_drawn, dense(scale_context(scale.full_sort)))
        bench.measure(f"dense network, {batch} cells at a time", n_drawn, dense(nullcontext()))
        bench.measure(f"dense network, mixed bfloat16, {batch} cells at a time", n_drawn, dense(scale_context(bench.mixed)))

    # Where the time goes
    bench.measure(
        "alignment and normalisation alone, on the CPU in one thread",
        n_drawn,
        lambda: [recipe.apply(*block) for block in scale.batches(drawn, batch)],
    )
    ready = [recipe.apply(*block)[0] for block in scale.batches(drawn, batch)]
    for precision in ("float32", "bfloat16"):
        with bench.guarded(f"network of the evaluator alone, {precision}"):
            fast = sparse_network(network, precision=precision)
            bench.measure(
                f"network of the evaluator alone, {precision}, rows from memory, one thread",
                n_drawn,
                lambda: [predict_sparse([fast], rows)[0].logits.cpu() for rows in ready],  # noqa: B023 - called at once
            )
    if bench.device.type != "cpu":
        few = drawn[:1]
        bench.sizes = replace(bench.sizes, seconds=1.0)
        of_blocks = single.predictor.block_predictor()
        bench.measure(
            f"evaluator on the CPU, {torch.get_num_threads()} threads",
            sum(block.shape[0] for block, _ in few),
            lambda: [decide(part).probabilities for part in of_blocks.predict_blocks(recipe, few, batch_size=batch // 4)],
        )


def scale_context(make: Callable[[], AbstractContextManager[Any]]) -> AbstractContextManager[Any]:
    """A context that can be entered again and again."""

    class Again:
        def __enter__(self) -> None:
            self.context = make()
            self.context.__enter__()

        def __exit__(self, *error: Any) -> None:
            self.context.__exit__(*error)

    return Again()


# -------------------------------------------------------------------------------------------------------------- training


def training_step(
    network: nn.Module,
    values: Tensor,
    labels: Tensor,
    *,
    context: AbstractContextManager[Any] | None = None,
    fused: bool | None = None,
) -> Callable[[], Tensor]:
    """A step of the published training: cross-entropy, mask penalty, clipped gradients, AdamW."""
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.05, fused=fused)

    def step() -> Tensor:
        optimizer.zero_grad()
        with context or nullcontext():
            output = network(values)
            loss = nn.functional.cross_entropy(output.logits.float(), labels) - 1e-5 * output.mask_loss
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


class NewtonEntmax(torch.autograd.Function):
    """1.5-entmax by Newton's method, without a sort and without waiting for the device."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        """Compute the mask."""
        from sctab.nn.fast._attention import sparse_mask

        mask = sparse_mask(logits, is_entmax=True)
        ctx.save_for_backward(mask)
        return mask

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The gradient of the logits."""
        (mask,) = ctx.saved_tensors
        root = mask.sqrt()
        weighted = gradient * root
        return weighted - weighted.sum(dim=1, keepdim=True) / root.sum(dim=1, keepdim=True) * root


def newton() -> AbstractContextManager[Any]:
    """Have networks compute their masks by Newton's method."""
    from sctab.nn import _tabnet

    return mock.patch.dict(_tabnet._MASKS, entmax=NewtonEntmax.apply)


def training(bench: Bench) -> None:
    """Steps on cells that are on the device already."""
    batch = bench.sizes.batch
    values, labels = bench.batch(batch)
    ours: Callable[[], AbstractContextManager[Any]] = nullcontext
    ways: list[
        tuple[str, Callable[[], AbstractContextManager[Any]], Callable[[], AbstractContextManager[Any]] | None, bool | None]
    ] = [
        ("published: full sort", scale.full_sort, None, None),
        ("ours", ours, None, None),
        ("published: full sort, mixed bfloat16", scale.full_sort, bench.mixed, None),
        ("ours, mixed bfloat16", ours, bench.mixed, None),
        ("ours, TensorFloat-32", ours, fast_products, None),
        ("ours, fused AdamW", ours, None, True),
        ("mask by Newton's method, TensorFloat-32", newton, fast_products, None),
        ("mask by Newton's method, mixed bfloat16, fused AdamW", newton, bench.mixed, True),
    ]
    for name, mask, precision, fused in ways:
        with bench.guarded(name), mask():
            step = training_step(
                bench.network(), values, labels, context=None if precision is None else scale_context(precision), fused=fused
            )
            bench.measure(f"step of {batch} cells, {name}", batch, step)

    from entmax import entmax15 as sorting

    from sctab.nn._entmax import entmax15

    logits = torch.randn(batch, len(scale.MODEL_GENES), device=bench.device, requires_grad=True)
    gradient = torch.randn_like(logits)
    masks: dict[str, Callable[[Tensor], Tensor]] = {
        "full sort": partial(sorting, dim=-1),
        "ours": entmax15,
        "Newton's method": NewtonEntmax.apply,
    }
    for name, mask in masks.items():
        bench.measure(f"mask and its gradient alone, {name}", batch, lambda: mask(logits).backward(gradient))  # noqa: B023
    with bench.guarded("mask, Newton's method beside a full sort"), torch.no_grad():
        largest = float((masks["full sort"](logits) - masks["Newton's method"](logits)).abs().max())
        bench.note("mask, Newton's method beside a full sort", f"largest difference {largest:.1e}")


# --------------------------------------------------------------------------------------------------------------- trainer


class Epochs(Callback):
    """Seconds of the training steps of every epoch."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.seconds: list[float] = []
        self._start = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        """Begin."""
        self.bench.synchronise()
        self._start = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, _plan: Any, _outputs: Any, _batch: Any, index: int) -> None:
        """End with the last batch."""
        if index == trainer.num_training_batches - 1:
            self.bench.synchronise()
            self.seconds.append(time.perf_counter() - self._start)


class Waits(Callback):
    """Places at which the host waits for the device, from the second step on."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.n_steps = 0
        self._stack = ExitStack()

    def _found(self, message: Any, *_: Any, **__: Any) -> None:
        if "synchroniz" in str(message):
            frames = [frame for frame in traceback.extract_stack()[:-1] if "warnings" not in frame.filename]
            last = [f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-3:]]
            self.places[" > ".join(last)] = self.places.get(" > ".join(last), 0) + 1

    def on_train_batch_start(self, _trainer: Any, _plan: Any, _batch: Any, index: int) -> None:
        """Begin with the second step."""
        if index == 1:
            self._stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("always")
            warnings.showwarning = self._found
            torch.cuda.set_sync_debug_mode("warn")

    def on_train_batch_end(self, trainer: Any, _plan: Any, _outputs: Any, _batch: Any, index: int) -> None:
        """End with the last step."""
        self.n_steps += index >= 1
        if index == trainer.num_training_batches - 1:
            torch.cuda.set_sync_debug_mode("default")
            self._stack.close()


def options(bench: Bench, **more: Any) -> dict[str, Any]:
    """The published settings of a training, on the device."""
    accelerator = {"cuda": "gpu"}.get(bench.device.type, bench.device.type)
    published = SCTAB.paper_settings()["train"] | {"batch_size": bench.sizes.batch, "max_epochs": 4, "refit": False}
    common = {"validation_split": "stratified", "early_stopping": False, "patience": 10, "calibrate": False}
    return {**published, **common, "accelerator": accelerator, "devices": 1, "enable_progress_bar": False, **more}


def measure_training(bench: Bench, name: str, model: Any, **more: Any) -> None:
    """A row with the speed of the steps of `model.train`, without validation and set-up."""
    with bench.guarded(name):
        bench.require_time()
        epochs = Epochs(bench)
        bench.forget_peak()
        start = time.perf_counter()
        model.train(**options(bench, callbacks=[epochs], **more))
        whole = time.perf_counter() - start
        n_cells = len(model.train_indices)
        speeds = tuple(n_cells / taken for taken in epochs.seconds[1:])
        note = f"{n_cells} cells an epoch, validation and set-up not counted; all of `train` took {whole:.1f} s"
        bench.add(Row(bench.part, name, speeds, median(epochs.seconds[1:]), bench.peak(), note))


def trainer(bench: Bench) -> None:
    """`model.train` on an AnnData in memory."""
    adata = bench.cells(bench.sizes.n_learned)
    published = SCTAB.paper_settings()["model"]
    for name, precision, context in (
        ("float32", "32-true", nullcontext()),
        ("mixed bfloat16", "bf16-mixed", nullcontext()),
        ("TensorFloat-32", "32-true", fast_products()),
    ):
        with bench.guarded(name), context:
            SCTAB.setup_anndata(adata, "cell_type")
            measure_training(
                bench, f"`train`, batches of {bench.sizes.batch}, {name}", SCTAB(adata, **published), precision=precision
            )
    if bench.device.type == "cuda":
        with bench.guarded("waits for the device"):
            bench.require_time()
            waits = Waits()
            SCTAB.setup_anndata(adata, "cell_type")
            model = SCTAB(adata, **published)
            try:
                model.train(**options(bench, callbacks=[waits], max_epochs=1, train_size=1.0))
            finally:
                torch.cuda.set_sync_debug_mode("default")
            n_waits = sum(waits.places.values()) / max(waits.n_steps, 1)
            places = "; ".join(f"{count / max(waits.n_steps, 1):.1f} at {place}" for place, count in waits.places.items())
            bench.note("waits for the device", f"{n_waits:.1f} per step: {places}"[:1500])
    with bench.guarded("ensemble"):
        bench.require_time()
        ensemble = DeepEnsemble(SCTAB, bench.sizes.members, **published)
        ensemble.setup_anndata(adata, "cell_type")
        bench.forget_peak()
        start = time.perf_counter()
        ensemble.train(**options(bench, max_epochs=2))
        taken = time.perf_counter() - start
        name = f"ensemble of {bench.sizes.members}, members one after another, 2 epochs each"
        note = "all of `train`: set-up, validation and gene importance of each too; cells × members × epochs per second"
        bench.add(Row(bench.part, name, (2 * bench.sizes.members * adata.n_obs / taken,), taken, bench.peak(), note))


# ---------------------------------------------------------------------------------------------------------------- corpus


def streaming(bench: Bench) -> None:
    """Build a corpus, read it, and train from it."""
    import sctab.corpus

    n_cells, batch = bench.sizes.n_corpus, bench.sizes.batch
    with bench.guarded("synthetic files"):
        start = time.perf_counter()
        declaration = corpus.make_sources(bench.folder, n_cells)
        bench.note("synthetic files", f"{n_cells} cells in {corpus.N_FILES} files", seconds=time.perf_counter() - start)
    store = declaration.with_name("store")
    with bench.guarded("`sctab.corpus.build`"):
        if not store.exists():
            start = time.perf_counter()
            sctab.corpus.build(declaration, store, n_jobs=min(os.cpu_count() or 1, 8))
            taken = time.perf_counter() - start
            bench.add(Row(bench.part, "`sctab.corpus.build`", (n_cells / taken,), taken, note="on the CPU"))
    published = SCTAB.paper_settings()["model"]
    model = SCTAB.from_corpus(store, **published)
    data = model._reference.data(model.spec)
    module = data.batches(data.split(model._default_training(model._reference.n_obs)), batch, 0)
    loader = module.train_dataloader()
    n_read = module.n_train

    def read(use: Callable[[Any], object]) -> None:
        for each in loader:
            use(each)

    def make_dense(each: Any) -> None:
        module.on_after_batch_transfer(tuple(part.to(bench.device) for part in each), 0)

    bench.measure(f"loader, batches of {batch}, sparse in memory", n_read, lambda: read(lambda _: None))
    bench.measure(f"loader, batches of {batch}, dense on the device", n_read, lambda: read(make_dense))
    for name, precision in (("float32", "32-true"), ("mixed bfloat16", "bf16-mixed")):
        with bench.guarded(name):
            options_of_corpus = {"precision": precision, "validation_split": None}
            measure_training(
                bench,
                f"`train` from the corpus, batches of {batch}, {name}",
                SCTAB.from_corpus(store, **published),
                **options_of_corpus,
            )


# -------------------------------------------------------------------------------------------------------------- boosting


def boosting(bench: Bench) -> None:
    """Boosted trees on the CPU and on the device."""
    with bench.guarded("`xgboost`"):
        import xgboost  # type: ignore[import-untyped,unused-ignore]

        built = xgboost.build_info().get("USE_CUDA", False)
        adata = bench.cells(bench.sizes.n_boosted)
        for accelerator in ("cpu", "cuda"):
            name = f"`XGBoostClassifier`, {accelerator}"
            if accelerator == "cuda" and not (built and bench.device.type == "cuda"):
                bench.note(name, "not measured: " + ("there is no CUDA device" if built else "this build of XGBoost has no CUDA"))
                continue
            with bench.guarded(name):
                bench.require_time()
                XGBoostClassifier.setup_anndata(adata, "cell_type")
                model = XGBoostClassifier(adata, n_top_genes="all", n_components=bench.sizes.components, max_depth=6)
                start = time.perf_counter()
                model.train(
                    bench.sizes.rounds,
                    accelerator=accelerator,
                    validation_split="stratified",
                    early_stopping=False,
                    refit=False,
                    enable_progress_bar=False,
                )
                taken = time.perf_counter() - start
                note = (
                    f"{bench.sizes.rounds} rounds, {bench.sizes.components} components; all of `train`; cells × rounds per second"
                )
                bench.add(Row(bench.part, name, (bench.sizes.rounds * adata.n_obs / taken,), taken, note=note))


# ------------------------------------------------------------------------------------------------------------------ main


def prepare(bench: Bench) -> None:
    """Make cells and models."""
    for n_cells in sorted({bench.sizes.n_drawn, bench.sizes.n_compared}):
        scale.make_cells(bench.folder, n_cells)
    start = time.perf_counter()
    scale.make_models(bench.folder, bench.sizes.members)
    note = f"{len(scale.MODEL_GENES)} genes, {scale.N_LABELS} types, {bench.sizes.members} models"
    bench.note("models with random weights", note, seconds=time.perf_counter() - start)


PARTS: dict[str, tuple[Callable[[Bench], None], float]] = {
    "prepare": (prepare, 120),
    "agreement": (agreement, 60),
    "evaluation": (evaluation, 80),
    "training": (training, 70),
    "trainer": (trainer, 100),
    "corpus": (streaming, 90),
    "boosting": (boosting, 40),
}
"""Functions, and seconds of each at most."""


@contextmanager
def sized(sizes: Sizes) -> Iterator[None]:
    """Have data and models of the other benchmarks fewer genes for a block."""
    if not sizes.genes:
        yield
        return
    genes = scale.GENES[: sizes.genes + 50]
    with ExitStack() as stack:
        for module, name, value in (
            (scale, "GENES", genes),
            (scale, "MODEL_GENES", np.random.default_rng(3).permutation(len(genes))[: sizes.genes]),
            (scale, "N_LABELS", 20),
            (scale, "SUPPORT", 20),
            (corpus, "GENES", corpus.GENES[: sizes.genes]),
            (corpus, "N_FILES", 5),
        ):
            stack.enter_context(mock.patch.object(module, name, value))
        yield


def run_part(name: str, folder: Path, sizes: Sizes, accelerator: str, seconds: float, rows: Path) -> None:
    """Run one part in this process; a row says so if it fails."""
    bench = Bench(name, folder, sizes, device_of(accelerator), seconds, rows)
    with sized(sizes), bench.guarded("all of it"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        PARTS[name][0](bench)


def run_apart(name: str, arguments: argparse.Namespace, seconds: float, rows: Path) -> None:
    """Run one part in a process of its own, which is killed when its time is over; a row says so."""
    command = [sys.executable, __file__, "--part", name, "--folder", arguments.folder, "--rows", rows, "--minutes", seconds / 60]
    command += ["--accelerator", arguments.accelerator, *(["--toy"] if arguments.toy else [])]
    note = ""
    try:
        done = subprocess.run([str(word) for word in command], timeout=seconds + 15, check=False)
        if done.returncode:
            note = f"failed: the process ended with {done.returncode}"
    except subprocess.TimeoutExpired:
        note = f"stopped after {seconds + 15:.0f} s; later measurements of this part are missing"
    if note:
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(Row(name, "all of it", note=note))) + "\n")
        scale.row(*Row(name, "all of it", note=note).columns())


def machine(accelerator: str) -> dict[str, Any]:
    """Device, driver and versions."""
    device = device_of(accelerator)
    found: dict[str, Any] = {"device": str(device), "python": platform.python_version(), "cpu": scale.machine()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        driver = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, check=False
        )
        found |= {
            "name": properties.name,
            "memory (GiB)": round(properties.total_memory / 2**30, 1),
            "multiprocessors": properties.multi_processor_count,
            "driver": driver.stdout.strip() or "unknown",
            "CUDA": torch.version.cuda,
        }
    for name in VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def read_rows(path: Path) -> list[Row]:
    """Rows that parts have written."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Row(**{**(values := json.loads(line)), "speeds": tuple(values["speeds"])}) for line in lines]


def write_results(output: Path, facts: dict[str, Any], rows: Sequence[Row], taken: dict[str, float]) -> None:
    """Write JSON and Markdown."""
    output.mkdir(parents=True, exist_ok=True)
    content = {"machine": facts, "seconds": taken, "columns": COLUMNS, "rows": [asdict(row) for row in rows]}
    (output / "accelerator.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    lines = [", ".join(f"{name} {value}" for name, value in facts.items()), ""]
    table = [list(COLUMNS), ["---"] * len(COLUMNS), *(row.columns() for row in rows)]
    lines += ["| " + " | ".join(columns) + " |" for columns in table]
    lines += ["", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in taken.items())]
    (output / "accelerator.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(), help="directory for `accelerator.json` and `accelerator.md`")
    parser.add_argument("--folder", type=Path, help="where data and models are kept; by default nowhere")
    parser.add_argument("--parts", nargs="+", choices=[name for name in PARTS if name != "prepare"], default=list(PARTS)[1:])
    parser.add_argument("--accelerator", default="auto", help="`auto`, `cpu`, `gpu` or `mps`")
    parser.add_argument("--minutes", type=float, default=7.5, help="for all of it")
    parser.add_argument("--toy", action="store_true", help="few cells and genes, to see that everything runs")
    parser.add_argument("--together", action="store_true", help="all parts in this process")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the parts; the exit code is 1 where device and CPU do not agree."""
    arguments = parse(words)
    sizes = TOY if arguments.toy else Sizes()
    if arguments.part:
        run_part(arguments.part, arguments.folder, sizes, arguments.accelerator, arguments.minutes * 60, arguments.rows)
        return 0
    end = time.monotonic() + arguments.minutes * 60
    with tempfile.TemporaryDirectory() as temporary:
        arguments.folder = (arguments.folder or Path(temporary)).absolute()
        arguments.folder.mkdir(parents=True, exist_ok=True)
        path = Path(temporary) / "rows.jsonl"
        facts = {"date": datetime.now(UTC).isoformat(timespec="seconds"), **machine(arguments.accelerator)}
        print(json.dumps(facts, indent=1), flush=True)
        scale.head("### Accelerator", *COLUMNS)
        taken: dict[str, float] = {}
        for name in ("prepare", *arguments.parts):
            seconds = min(PARTS[name][1], end - time.monotonic() - RESERVE - 15)
            start = time.monotonic()
            if arguments.together:
                run_part(name, arguments.folder, sizes, arguments.accelerator, seconds, path)
            elif seconds > 0:
                run_apart(name, arguments, seconds, path)
            else:
                path.open("a", encoding="utf-8").write(
                    json.dumps(asdict(Row(name, "all of it", note="not measured: no time left"))) + "\n"
                )
            taken[name] = time.monotonic() - start
            write_results(arguments.output, facts, read_rows(path), taken)
        return int(any(row.agrees is False for row in read_rows(path)))


if __name__ == "__main__":
    sys.exit(main())
