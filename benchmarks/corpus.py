"""Speed and memory of building a corpus of many files, and of reading it in training, on synthetic counts.

    uv run python benchmarks/corpus.py data --folder DIR [--cells 50000 500000]
    uv run python benchmarks/corpus.py build --folder DIR [--cells 50000 500000] [--runs N]
    uv run python benchmarks/corpus.py kill --folder DIR [--cells 50000] [--times 3]
    uv run python benchmarks/corpus.py loader --folder DIR [--cells 50000 500000] [--runs 3]
    uv run python benchmarks/corpus.py train --folder DIR [--cells 50000 500000]
    uv run python benchmarks/corpus.py kill-training --folder DIR [--cells 50000] [--times 3]
    uv run python benchmarks/corpus.py human --folder DIR [--seeds 0 1 2]

The last one is on real data: the studies of `human.yaml`, see there. Each makes what it needs and takes what is in the folder already. A
corpus of N cells is in `DIR/N`: 25 files `cells/*.h5ad`, `corpus.yaml`, and `store`, once it is built. Cells have some 2,000 detected genes
of 19,331, 60 types and 200 donors, of whom a file has eight. Every file has 85 to 100 % of the genes in an order of its own, as CSR,
compressed as `adata.write_h5ad(path, compression="gzip")` does. Files are in the system's cache when they are read, as far as memory goes.
Processes that are measured run one at a time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice, product, repeat
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np
import pandas as pd
from _measure import Usage, environment, head, machine, row, spread, watch
from anndata.io import write_elem
from numpy.typing import NDArray

GENES = np.array([f"ENSG{i:011d}" for i in range(19_331)])
N_TYPES, N_DONORS, N_FILES = 60, 200, 25
DONORS_PER_FILE = N_DONORS // N_FILES
BLOCK = 64
"""Cells that are drawn and written at a time."""
CHUNK = 65_536
"""Values in a chunk of a file."""
START_UP_CELLS = 2500
"""Cells of a corpus whose build is start-up: importing libraries, and matching the genes of as many files."""
BATCH = 2048
"""Cells in a batch of training."""
BATCHES_BACKED = 10
"""Batches that are read from a backed file, which takes long."""
TRAINING = "train"
STEPS = 8
"""Steps of the published network."""
HUMAN_GENES = 2000
"""Genes that models of the real studies learn from at most, so that it does not take hours."""
HUMAN = Path(__file__).with_name("human.yaml")
SETTINGS = ((512, 32), (256, 32), (64, 128))
"""Cells in a row that are read together, and how many such are in memory at a time."""
PIPELINES = {"zarr-python": "zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs": "zarrs.ZarrsCodecPipeline"}
"""Decoder of the store."""
DECLARATION = """\
sources: [cells]
labels_key: cell_type
donor_key: donor_id
assay_key: assay
tissue_key: tissue
features: union
"""

# ------------------------------------------------------------------------------------------------------------------ data


def make_sources(folder: Path, n_cells: int) -> Path:
    """The declaration of a corpus; it and its files are made where they do not exist."""
    place = folder / str(n_cells)
    cells, declaration = place / "cells", place / "corpus.yaml"
    if not declaration.exists():
        cells.mkdir(parents=True, exist_ok=True)
        bounds = np.linspace(0, n_cells, N_FILES + 1).astype(int)
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            list(pool.map(make_file, repeat(cells), range(N_FILES), np.diff(bounds).tolist()))
        declaration.write_text(DECLARATION, encoding="utf-8")
    return declaration


def make_file(folder: Path, number: int, n_cells: int) -> None:
    """One of the files, block by block, where it does not exist."""
    path = folder / f"study_{number:02}.h5ad"
    if path.exists():
        return
    rng = np.random.default_rng([2, number])
    genes = rng.permutation(len(GENES))[: round(len(GENES) * rng.uniform(0.85, 1.0))]
    types, donors = rng.integers(N_TYPES, size=n_cells), rng.integers(DONORS_PER_FILE, size=n_cells)
    names = {
        "cell_type": [f"type {kind}" for kind in types],
        "donor_id": [f"donor {number * DONORS_PER_FILE + donor}" for donor in donors],
        "assay": [("10x 3' v2", "10x 3' v3")[number % 2]] * n_cells,
        "tissue": [("blood", "lung", "liver")[number % 3]] * n_cells,
    }
    obs = pd.DataFrame(
        {key: pd.Categorical(values) for key, values in names.items()}, index=[f"{number}-{i}" for i in range(n_cells)]
    )
    obs["is_primary_data"] = True
    profiles = type_profiles()[:, genes]
    of_donors = rng.gamma(20, 1 / 20, size=(DONORS_PER_FILE, len(genes))).astype(np.float32)
    unfinished = path.with_suffix(".unfinished")
    with h5py.File(unfinished, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(file, "obs", obs)
        write_elem(file, "var", pd.DataFrame(index=GENES[genes]))
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            write_elem(file, name, {})
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_cells, len(genes)]})
        for name, dtype in (("data", np.float32), ("indices", np.int32)):
            group.create_dataset(name, shape=(0,), dtype=dtype, maxshape=(None,), chunks=(CHUNK,), compression="gzip")
        waiting: dict[str, list[NDArray[Any]]] = {"data": [], "indices": []}
        lengths = []
        for start in range(0, n_cells, BLOCK):
            at = slice(start, start + BLOCK)
            expected = profiles[types[at]] * of_donors[donors[at]]
            expected *= rng.lognormal(np.log(5300), 0.3, size=(len(expected), 1)).astype(np.float32)
            counts, columns, of_cells = draw(expected, rng)
            lengths.append(of_cells)
            waiting["data"].append(counts)
            waiting["indices"].append(columns)
            append(group, waiting, last=at.stop >= n_cells)
        group.create_dataset("indptr", data=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]))
    unfinished.rename(path)


def type_profiles() -> NDArray[np.float32]:
    """Fractions of the genes in the molecules of each type, `(n_types, n_genes)`: lognormal, times a gamma factor for each type."""
    rng = np.random.default_rng(0)
    profiles = rng.lognormal(0, 2.1, size=len(GENES)) * rng.gamma(2.0, 0.5, size=(N_TYPES, len(GENES)))
    return (profiles / profiles.sum(axis=1, keepdims=True)).astype(np.float32)


def draw(
    expected: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    """Poisson counts above zero, their columns, and how many each row has.

    A count is of events in so much time: there is one where the first, after an exponential time, is not too late. What follows in the time
    that is left is Poisson again, so that nothing is drawn of what stays zero but one exponential number.
    """
    expected -= rng.standard_exponential(expected.shape, dtype=np.float32)
    rows, columns = np.nonzero(expected > 0)
    counts = 1 + rng.poisson(expected[rows, columns])
    return counts.astype(np.float32), columns.astype(np.int32), np.bincount(rows, minlength=len(expected))


def append(group: h5py.Group, waiting: dict[str, list[NDArray[Any]]], *, last: bool) -> None:
    """Append whole chunks, which are then compressed once, and at last the rest."""
    for name, parts in waiting.items():
        values = np.concatenate(parts)
        n_written = len(values) if last else len(values) // CHUNK * CHUNK
        dataset = group[name]
        at = len(dataset)
        dataset.resize(at + n_written, axis=0)
        dataset[at:] = values[:n_written]
        waiting[name] = [values[n_written:]]


def size_of(path: Path) -> int:
    """Bytes of all files in a directory."""
    return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())


def data(folder: Path, sizes: Sequence[int]) -> None:
    """Make the files and print what is in them."""
    head("### Data", "cells", "files", "detected genes per cell", "molecules per cell", "size (GB)", "uncompressed (GB)", "seconds")
    for n_cells in sizes:
        start = time.perf_counter()
        cells = make_sources(folder, n_cells).parent / "cells"
        seconds = time.perf_counter() - start
        n_stored, molecules, n_some = 0, 0.0, 0
        for path in sorted(cells.glob("*.h5ad")):
            with h5py.File(path) as file:
                n_stored += len(file["X/data"])
                some = file["X/indptr"][: BLOCK + 1]
                molecules, n_some = molecules + file["X/data"][: some[-1]].sum(), n_some + len(some) - 1
        detected = f"{n_stored / n_cells:.0f}"
        row(
            n_cells,
            N_FILES,
            detected,
            f"{molecules / n_some:.0f}",
            f"{size_of(cells) / 1e9:.2f}",
            f"{n_stored * 8 / 1e9:.2f}",
            f"{seconds:.0f}",
        )


# ----------------------------------------------------------------------------------------------------------------- build


def sctab(*words: object) -> list[object]:
    """A command of `sctab`, as users call it."""
    return [sys.executable, "-c", "from sctab.cli import main; main()", *words]


def build_command(declaration: Path, output: Path, *, resume: bool = False) -> list[object]:
    """`sctab corpus build`."""
    return sctab("corpus", "build", declaration, "--output", output, *(["--resume"] if resume else []))


def measured(command: Sequence[object]) -> Usage:
    """Resources of a command that must succeed."""
    usage = watch(command)
    if usage is None:
        raise SystemExit(f"Out of memory: {' '.join(map(str, command))}")
    return usage


def build_store(folder: Path, n_cells: int) -> Usage:
    """Build a store again."""
    declaration = make_sources(folder, n_cells)
    store = declaration.with_name("store")
    for old in (store, store.with_name("store.unfinished")):
        shutil.rmtree(old, ignore_errors=True)
    return measured(build_command(declaration, store))


def make_store(folder: Path, n_cells: int) -> Path:
    """A store; it is built where it does not exist."""
    store = folder / str(n_cells) / "store"
    if not store.exists():
        build_store(folder, n_cells)
    return store


def build(folder: Path, sizes: Sequence[int], n_runs: int) -> None:
    """Time and memory of `sctab corpus build`, from the start of the process to its end."""
    for n_cells in (START_UP_CELLS, *sizes):
        make_sources(folder, n_cells)
    build_store(folder, START_UP_CELLS)  # compiles, and reads libraries from disk
    start_up = [build_store(folder, START_UP_CELLS) for _ in range(n_runs)]
    wall, cpu = (median(getattr(usage, name) for usage in start_up) for name in ("seconds", "cpu"))
    used: dict[int, list[Usage]] = {n_cells: [] for n_cells in sizes}
    for _ in range(n_runs):
        for n_cells in sizes:
            used[n_cells].append(build_store(folder, n_cells))
    head(
        f"### `sctab corpus build`\n\nFrom the start of the process to its end. Start-up is the time for "
        f"{START_UP_CELLS:,} cells in as many files: {wall:.1f} s, and {cpu:.1f} s of processors. Every store was "
        "then verified by `sctab corpus verify`.",
        *("cells", "seconds", "seconds of processors", "µs per cell", "µs per cell without start-up"),
        *("processor µs per cell", "without start-up", "peak memory (GB)", "sources (GB)", "store (GB)"),
    )
    per_cell: dict[int, list[float]] = {}
    for n_cells, usages in used.items():
        seconds, processors = [usage.seconds for usage in usages], [usage.cpu for usage in usages]
        place = folder / str(n_cells)
        measured(sctab("corpus", "verify", place / "store"))
        per_cell[n_cells] = [
            of / n_cells * 1e6 for of in (median(seconds), median(seconds) - wall, median(processors), median(processors) - cpu)
        ]
        row(
            f"{n_cells:,}",
            spread(seconds),
            spread(processors),
            *(f"{of:.0f}" for of in per_cell[n_cells]),
            f"{max(usage.peak for usage in usages) / 1e9:.2f}",
            f"{size_of(place / 'cells') / 1e9:.2f}",
            f"{size_of(place / 'store') / 1e9:.2f}",
        )
    small, large = min(sizes), max(sizes)
    if small < large:
        ratios = (of_large / of_small for of_small, of_large in zip(per_cell[small], per_cell[large], strict=True))
        row(f"{large:,} : {small:,}", "", "", *(f"{ratio:.2f}" for ratio in ratios), "", "", "")


# ------------------------------------------------------------------------------------------------------------------ kill


def kill(folder: Path, n_cells: int, n_times: int) -> None:
    """Kill a build again and again, resume it every time, and compare the result with the store of one that was left alone."""
    whole = build_store(folder, n_cells)
    declaration = make_sources(folder, n_cells)
    output = declaration.with_name("store_of_killed")
    work = output.with_name(f"{output.name}.unfinished")
    for old in (output, work):
        shutil.rmtree(old, ignore_errors=True)
    rng = np.random.default_rng(0)
    head(
        f"### A build that is killed\n\n{n_cells:,} cells; left alone it takes {whole.seconds:.1f} s.",
        *("run", "killed after (s)", "sources inspected", "sources read", "parts written"),
    )
    for number in range(1, n_times + 1):
        after = rng.uniform(0.3, 0.9) * whole.seconds
        was_killed = kill_after(after, build_command(declaration, output, resume=number > 1))
        row(number, f"{after:.1f}" if was_killed else "it was done before", *progress(work))
        if not was_killed:
            break
    if not output.exists():
        last = measured(build_command(declaration, output, resume=True))
        row("last", f"done in {last.seconds:.1f}", "", "", "")
    measured(sctab("corpus", "verify", output))
    print(
        f"\n{compare(declaration.with_name('store'), output):,} cells are the same as in the store of the build that was left alone."
    )


def kill_after(seconds: float, command: Sequence[object]) -> bool:
    """Start a command and kill it; whether it was still running."""
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen([str(part) for part in command], env=environment(), start_new_session=True, **quiet)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    if process.returncode:
        raise SystemExit(f"It failed: {' '.join(map(str, command))}")
    return False


def progress(work: Path) -> list[int]:
    """Progress of unfinished work."""
    return [len(list(work.glob(pattern))) for pattern in ("contents/*.json", "pieces/*[0-9]", "store/*.zarr/dataset_*")]


def compare(one: Path, other: Path) -> int:
    """Number of cells in two stores, which must be identical."""
    from sctab.corpus import Corpus

    first, second = Corpus.open(one), Corpus.open(other)
    for split in first.manifest["splits"]:
        columns = ("label", "donor", "source", "row", "hash")
        pd.testing.assert_frame_equal(first.codes(split, columns), second.codes(split, columns))
    return first.n_obs


# ---------------------------------------------------------------------------------------------------------------- loader


def backed(folder: Path, n_cells: int) -> Iterator[int]:
    """Cells in batches of scvi-tools' `AnnDataLoader` on one backed file, at random."""
    import anndata as ad
    from scvi.data import AnnDataManager
    from scvi.data.fields import CategoricalObsField, LayerField
    from scvi.dataloaders import AnnDataLoader

    adata = ad.read_h5ad(make_sources(folder, n_cells).parent / "cells" / "study_00.h5ad", backed="r")
    manager = AnnDataManager(fields=[LayerField("X", None), CategoricalObsField("labels", "cell_type")])
    manager.register_fields(adata)
    return (len(batch["X"]) for batch in islice(AnnDataLoader(manager, batch_size=BATCH, shuffle=True), BATCHES_BACKED))


def annbatch_alone(folder: Path, n_cells: int, chunk_size: int, n_chunks: int, pipeline: str) -> Iterator[int]:
    """Cells in batches of annbatch on the training split: sparse tensors and a table of labels."""
    import annbatch
    import zarr

    from sctab.corpus import Corpus

    zarr.config.set({"codec_pipeline.path": PIPELINES[pipeline]})  # of this process
    batches = annbatch.Loader(
        batch_size=BATCH,
        chunk_size=chunk_size,
        preload_nchunks=n_chunks,
        shuffle=True,
        preload_to_gpu=False,
        to="torch",
        rng=np.random.default_rng(0),
    )
    batches.use_collection(Corpus.open(make_store(folder, n_cells)).collection(TRAINING))
    return (batch["X"].shape[0] for batch in batches)


def streamed(folder: Path, n_cells: int) -> Iterator[int]:
    """Cells in the batches that a network of `sctab` gets, with labels, before they are made dense."""
    from sctab.model import LinearClassifier

    model = LinearClassifier.from_corpus(make_store(folder, n_cells), n_top_genes="all")
    data, settings = model._reference.data(model.spec), model._default_training(model._reference.n_obs)
    batches = data.batches(data.split(settings), BATCH, 0).train_dataloader()
    return (len(labels) for _, _, labels in batches)


def ways(folder: Path, n_cells: int) -> dict[str, Callable[[], Iterator[int]]]:
    """Loaders under comparison, by name; each runs in a process of its own."""
    found: dict[str, Callable[[], Iterator[int]]] = {
        "`AnnDataLoader`, one backed `.h5ad`": partial(backed, folder, n_cells),
        "sctab": partial(streamed, folder, n_cells),
    }
    for (chunk_size, n_chunks), pipeline in product(SETTINGS, PIPELINES):
        name = f"annbatch, {n_chunks} × {chunk_size} cells, {pipeline}"
        found[name] = partial(annbatch_alone, folder, n_cells, chunk_size, n_chunks, pipeline)
    return found


def read_all(batches: Iterator[int], answer: Path) -> None:
    """Read batches to their end, and write down how many cells they had and what that took."""
    start, start_cpu = time.perf_counter(), time.process_time()
    n_cells = next(batches)
    first = time.perf_counter() - start
    n_cells += sum(batches)
    values = {"cells": n_cells, "seconds": time.perf_counter() - start, "cpu": time.process_time() - start_cpu, "first": first}
    answer.write_text(json.dumps(values), encoding="utf-8")


def loader(folder: Path, sizes: Sequence[int], n_runs: int) -> None:
    """Speed and memory of reading an epoch of the training split in batches."""
    answer = folder / "loader.json"
    for n_cells in sizes:
        make_store(folder, n_cells)
        names = list(ways(folder, n_cells))
        used: dict[str, list[tuple[Usage, dict[str, float]]]] = {name: [] for name in names}
        for _ in range(n_runs):
            for name in names:
                usage = measured([sys.executable, __file__, "read", folder, n_cells, name, answer])
                used[name].append((usage, json.loads(answer.read_text(encoding="utf-8"))))
        head(
            f"### Reading {n_cells:,} cells in training\n\nShuffled batches of {BATCH:,} cells, from disk to tensors: the training split, "
            f"or of a backed file {BATCHES_BACKED} batches. Each in a process of its own, whose peak memory that is.",
            *("", "cells read", "cells/s", "processor µs per cell", "to the first batch (s)", "peak memory (GB)"),
        )
        for name, found in used.items():
            values = [value for _, value in found]
            row(
                name,
                f"{values[0]['cells']:,}",
                spread([value["cells"] / value["seconds"] for value in values], 0),
                spread([value["cpu"] / value["cells"] * 1e6 for value in values], 0),
                spread([value["first"] for value in values], 2),
                f"{max(usage.peak for usage, _ in found) / 1e9:.2f}",
            )


# -------------------------------------------------------------------------------------------------------------- training


def train(folder: Path, sizes: Sequence[int]) -> None:
    """Peak memory of training on corpora of different sizes: an epoch of a linear model, and some steps of the published network."""
    head(
        f"### Training\n\nWhole processes, batches of {BATCH:,} cells, the published settings. `linear` learns for an epoch of the "
        "largest, and for as many steps, which are more epochs, of a smaller one: the C library takes some hundred steps until it asks for "
        f"no more memory. `sctab` takes {STEPS} steps, since an epoch takes long on a CPU, and validates on as many batches.",
        *("model", "cells in the corpus", "seconds", "peak memory (GB)", "of that with the fewest cells"),
    )
    for name in ("linear", "sctab"):
        fewest = 0
        for n_cells in sizes:
            n_epochs = round(max(sizes) / n_cells) if name == "linear" else 1
            usage = measured([sys.executable, __file__, "learn", make_store(folder, n_cells), name, n_epochs])
            fewest = fewest or usage.peak
            row(name, f"{n_cells:,}", f"{usage.seconds:.0f}", f"{usage.peak / 1e9:.2f}", f"{usage.peak / fewest:.3f}")


def learn(store: Path, name: str, n_epochs: int) -> None:
    """Measurements."""
    from sctab.model import model_by_name

    cls = model_by_name(name)
    settings = cls.paper_settings()  # type: ignore[union-attr]
    model = cls.from_corpus(store, **settings["model"])
    steps = {} if name == "linear" else {"limit_train_batches": STEPS, "limit_val_batches": STEPS}
    model.train(
        **settings["train"] | {"max_epochs": n_epochs},
        refit=False,
        calibrate=False,
        accelerator="cpu",
        enable_progress_bar=False,
        **steps,
    )


def kill_training(folder: Path, n_cells: int, n_times: int) -> None:
    """Kill a training again and again, resume it every time, and compare the model with that of one that was left alone."""
    from safetensors.numpy import load_file

    store = make_store(folder, n_cells)
    outputs = [store.with_name(name) for name in ("model", "model_of_killed")]
    for output in outputs:
        shutil.rmtree(output, ignore_errors=True)
        shutil.rmtree(f"{output}.run", ignore_errors=True)

    def command(output: Path) -> list[object]:
        how = ["--model", "linear", "--paper-settings", "--max-epochs", 4, "--accelerator", "cpu", "--resume"]
        return sctab("train", "--corpus", store, "--output", output, *how)

    whole = measured(command(outputs[0]))
    rng = np.random.default_rng(0)
    title = f"### A training that is killed\n\n{n_cells:,} cells; left alone it takes {whole.seconds:.0f} s."
    head(title, "run", "killed after (s)", "epochs done")
    for number in range(1, n_times + 1):
        after = rng.uniform(0.4, 0.8) * whole.seconds
        was_killed = kill_after(after, command(outputs[1]))
        epochs = len(list(Path(f"{outputs[1]}.run").glob("checkpoints/*")))
        row(number, f"{after:.1f}" if was_killed else "it was done before", epochs)
        if not was_killed:
            break
    if not outputs[1].exists():
        row("last", f"done in {measured(command(outputs[1])).seconds:.1f}", 4)
    one, other = (load_file(output / "model.safetensors") for output in outputs)
    differing = [name for name, weights in one.items() if not np.array_equal(weights, other[name])]
    print(
        f"\n{len(one) - len(differing)} of {len(one)} arrays of weights are the same as those of the training that was left alone."
    )


def human(folder: Path, seeds: Sequence[int]) -> None:
    """Learn four studies with different genes, and annotate the cells of three donors that were held out."""
    from sctab.corpus import Corpus
    from sctab.metrics import accuracy, correct_predictions, macro_f1
    from sctab.model import SCTAB, LinearClassifier
    from sctab.train._labels import subtypes

    head(
        "### Four studies of human blood and cell lines, scored on three held-out donors of Kang et al.\n\nMedian over seeds (smallest to "
        "largest). A subtype of the truth is right, since other studies have finer labels than that of the donors.",
        *("genes", "model", "cells × genes", "accuracy", "macro F1"),
    )
    for features in ("union", "intersection"):
        store = folder / f"human_{features}"
        if not store.exists():
            measured(sctab("corpus", "build", HUMAN, "--features", features, "--output", store))
        corpus = Corpus.open(store)
        test = corpus.to_anndata("test")
        truth = test.obs["label"].astype(str).to_numpy()
        for cls in (LinearClassifier, SCTAB):
            scores = []
            for seed in seeds:
                model = cls.from_corpus(corpus, n_top_genes=HUMAN_GENES)
                model.train(calibrate=False, seed=seed, accelerator="cpu", enable_progress_bar=False)
                named = model.predict(test, layer="X").astype(str)
                named = correct_predictions(truth, named, model.spec.labels.names, subtypes(model.spec.labels))
                scores.append((accuracy(truth, named), macro_f1(truth, named)))
            size = f"{corpus.n_obs:,} × {corpus.n_vars:,}"
            row(features, cls.__name__, size, *(spread(values, 3) for values in zip(*scores, strict=True)))


# ------------------------------------------------------------------------------------------------------------------ main


def parse() -> argparse.Namespace:
    """The part to run, and its options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--folder", type=Path, required=True, help="where sources and stores are kept")
    parts = parser.add_subparsers(dest="part", required=True)
    for name, sizes, text in (
        ("data", [50_000, 500_000], "make the sources"),
        ("build", [50_000, 500_000], "`sctab corpus build` as a whole"),
        ("kill", [50_000], "builds that are killed and continue"),
        ("loader", [50_000, 500_000], "reading in training"),
        ("train", [50_000, 500_000], "memory of training"),
        ("kill-training", [50_000], "trainings that are killed and continue"),
        ("human", [], "four real studies"),
    ):
        part = parts.add_parser(name, parents=[shared], help=text)
        part.add_argument("--cells", type=int, nargs="+", default=sizes)
        if name in {"build", "loader"}:
            part.add_argument("--runs", type=int, default=1 if name == "build" else 3)
        if name == "human":
            part.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        if name in {"kill", "kill-training"}:
            part.add_argument("--times", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Run the requested parts."""
    arguments = parse()
    folder: Path = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    print(f"## Corpora\n\n{machine()}", flush=True)
    match arguments.part:
        case "data":
            data(folder, arguments.cells)
        case "build":
            build(folder, arguments.cells, arguments.runs)
        case "kill":
            for n_cells in arguments.cells:
                kill(folder, n_cells, arguments.times)
        case "train":
            train(folder, arguments.cells)
        case "kill-training":
            for n_cells in arguments.cells:
                kill_training(folder, n_cells, arguments.times)
        case "human":
            human(folder, arguments.seeds)
        case "loader":
            loader(folder, arguments.cells, arguments.runs)


if __name__ == "__main__":
    if sys.argv[1:2] == ["read"]:  # in a process of its own
        place, size, way, answer = sys.argv[2:]
        read_all(ways(Path(place), int(size))[way](), Path(answer))
    elif sys.argv[1:2] == ["learn"]:
        learn(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        main()
