"""Change the source in ways that must not pass, and run the tests that must fail.

Each mutant is a named edit. It is applied to a temporary copy of the repository, never to the working tree.

    uv run python benchmarks/mutants.py                 # all of them, a few minutes
    uv run python benchmarks/mutants.py dropout clip    # those with one of these in their name
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}  # read when libraries are loaded

import shutil
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
COPIED = ("src", "tests", "pyproject.toml", "README.md")
PLAN, LOOP, STATE, BATCHES = (f"tests/train/test_{name}.py" for name in ("plan", "loop", "state", "batches"))
STREAMING, IMPORTANCE = "tests/train/test_streaming.py", "tests/train/test_importance.py"
DECIDE = "tests/inference/test_decide.py"
SCTAB = "tests/model/test_sctab.py::TestTraining::test_masks_pay_for_looking_at_many_genes"
NORMALISE, COVARIATES = "tests/data/test_normalise.py", "tests/data/test_covariates.py"


@dataclass(frozen=True)
class Mutant:
    """One edit."""

    name: str
    path: str
    """Below `src/sctab`."""
    old: str
    """Stands there once."""
    new: str
    tests: str
    """Tests that must fail."""


MUTANTS = [
    Mutant(
        "gene dropout after normalising",
        "train/_plan.py",
        "normalise_tensor(drop_genes(counts, self.settings.gene_dropout), self.normalization)",
        "drop_genes(normalise_tensor(counts, self.normalization), self.settings.gene_dropout)",
        PLAN,
    ),
    Mutant("gene dropout never", "train/_plan.py", "drop_genes(counts, self.settings.gene_dropout)", "counts", PLAN),
    Mutant("gene dropout of half the share", "augmentation.py", "* max_fraction\n", "* max_fraction / 2\n", PLAN),
    Mutant("weight decay always 0", "train/_plan.py", "weight_decay=settings.weight_decay", "weight_decay=0.0", PLAN),
    Mutant(
        "covariate dropout never",
        "train/_plan.py",
        "covariates * (torch.rand_like(covariates) >= self.settings.covariate_dropout)",
        "covariates",
        PLAN,
    ),
    Mutant(
        "covariate dropout of whole cells",
        "train/_plan.py",
        "torch.rand_like(covariates) >=",
        "torch.rand_like(covariates[:, :1]) >=",
        PLAN,
    ),
    Mutant("best epoch among all", "train/_loop.py", "return int(0.8 * settings.max_epochs)", "return 0", LOOP),
    Mutant("best epoch is the first of equals", "train/_loop.py", "value >= self.value", "value > self.value", LOOP),
    Mutant("best epoch is the worst", "train/_loop.py", "value >= self.value", "value <= self.value", LOOP),
    Mutant("best weights not restored", "train/_loop.py", "pl_module.network.load_state_dict(self._weights)", "pass", LOOP),
    Mutant("augmentation never", "train/_plan.py", "if self.differences is not None:", "if False:", PLAN),
    Mutant("augmentation only adds", "augmentation.py", "weights=signs)", "weights=signs.abs())", PLAN),
    Mutant("class weights ignored", "train/_plan.py", '{"class_weights": self.class_weights', '{"class_weights": None', PLAN),
    Mutant(
        "class weights of all cells",
        "train/_reference.py",
        "balanced_class_weights(self.labels[split.train]",
        "balanced_class_weights(self.labels",
        PLAN,
    ),
    Mutant("l1 ignored", "train/_plan.py", "self.settings.l1 * module", "0 * module", PLAN),
    Mutant("l2 without its half", "train/_plan.py", "self.settings.l2 / 2", "self.settings.l2", PLAN),
    Mutant("penalty subtracted", "train/_plan.py", "loss + self.penalty(output)", "loss - self.penalty(output)", PLAN),
    Mutant("diffuse masks rewarded", "model/_sctab.py", "output: -lambda_sparse", "output: lambda_sparse", SCTAB),
    Mutant("label smoothing ignored", "train/_plan.py", "label_smoothing=self.settings.label_smoothing", "label_smoothing=0", PLAN),
    Mutant("fraction of the own label ignored", "train/_plan.py", "own_label = OWN_LABEL if", "own_label = 0.0 if", PLAN),
    Mutant("gradient never clipped", "train/_loop.py", "settings.gradient_clip,", "None,", PLAN),
    Mutant("learning rate does not decay", "train/_plan.py", "gamma=settings.lr_decay", "gamma=1.0", PLAN),
    Mutant("cycle moves by epoch", "train/_plan.py", '"interval": "step"', '"interval": "epoch"', PLAN),
    Mutant(
        "cycle longer than the training",
        "train/_plan.py",
        "max(settings.max_epochs * self",
        "max(2 * settings.max_epochs * self",
        PLAN,
    ),
    Mutant(
        "validation cells in training batches",
        "train/_memory.py",
        "of(split.train, seed)",
        "of(np.concatenate([split.train, split.validation]), seed)",
        PLAN,
    ),
    Mutant("the same order in every epoch", "train/_batches.py", "self._epochs_drawn <= epoch", "self._epochs_drawn == 0", BATCHES),
    Mutant("order without the seed", "train/_batches.py", "manual_seed(seed)", "manual_seed(0)", BATCHES),
    Mutant(
        "what was given is given again",
        "train/_batches.py",
        "self.of_epoch(self._epoch, self._n_given)",
        "self.of_epoch(self._epoch, 0)",
        BATCHES,
    ),
    Mutant("validation in random order", "train/_memory.py", "of(split.validation, None)", "of(split.validation, seed)", PLAN),
    Mutant(
        "validation loss with smoothing",
        "train/_plan.py",
        "self._loss(logits, labels))",
        "self._loss(logits, labels, label_smoothing=0.5))",
        PLAN,
    ),
    Mutant("validation loss of batches", "train/_plan.py", "labels)) * weight, weight]", "labels)), 1.0]", PLAN),
    Mutant("early stopping in the other direction", "train/_loop.py", 'mode="max"', 'mode="min"', LOOP),
    Mutant("patience is one longer", "train/_loop.py", "patience=settings.patience", "patience=settings.patience + 1", LOOP),
    Mutant("frozen layers learn statistics", "train/_loop.py", "module.eval()", "module.train()", LOOP),
    Mutant(
        "early stopping looks after the epoch",
        "train/_loop.py",
        "check_on_train_epoch_end=False",
        "check_on_train_epoch_end=True",
        STATE,
    ),
    Mutant("randomness not resumed", "train/_state.py", "put(state)", "pass", STATE),
    Mutant("decision to stop not resumed", "train/_state.py", "or self._stops", "or False", STATE),
    Mutant("means over batches", "train/_state.py", "value * n_obs", "value", STATE),
    Mutant("chunks in one order", "train/_streaming.py", "np.arange(n_chunks), (epoch,)", "np.arange(n_chunks), (0,)", STREAMING),
    Mutant("windows in one order", "train/_streaming.py", "(epoch, number, lane)", "(number, lane)", STREAMING),
    Mutant(
        "last row not read", "train/_streaming.py", "np.arange(rows[0], rows[-1] + 1)", "np.arange(rows[0], rows[-1])", STREAMING
    ),
    Mutant("importance without expression", "train/_importance.py", "(gradient * values).abs()", "gradient.abs()", IMPORTANCE),
    Mutant("importance with signs", "train/_importance.py", "(gradient * values).abs()", "(gradient * values)", IMPORTANCE),
    Mutant("importance for all types", "train/_importance.py", "logits.max(dim=1).values.sum()", "logits.sum()", IMPORTANCE),
    Mutant("importance with unlabelled cells", "train/_importance.py", "data.labels >= 0", "data.labels >= -1", IMPORTANCE),
    Mutant(
        "largest logit instead of probability",
        "inference/_decide.py",
        "np.nan_to_num(probabilities).argmax(axis=1)",
        "np.nan_to_num(evaluation.logits.mean(axis=1)).argmax(axis=1)",
        DECIDE,
    ),
    Mutant("NaN not refused", "inference/_decide.py", "if not np.isfinite(probabilities[measured]).all()", "if False", DECIDE),
    Mutant(
        "NaN of unmeasured cells refused",
        "inference/_decide.py",
        "np.isfinite(probabilities[measured])",
        "np.isfinite(probabilities)",
        DECIDE,
    ),
    Mutant(
        "unmeasured cells labelled",
        "inference/_decide.py",
        "np.where(measured, np.nan_to_num",
        "np.where(True, np.nan_to_num",
        DECIDE,
    ),
    Mutant("mutual information of the sum", "inference/_decide.py", "sum(axis=1) - expected", "sum(axis=1)", DECIDE),
    Mutant("tensors without logarithm", "data/_normalise.py", "scaled.log1p() if", "scaled if", NORMALISE),
    Mutant("cells without counts are measured", "data/_normalise.py", "shape), totals > 0", "shape), totals >= 0", COVARIATES),
    Mutant(
        "covariates before the genes",
        "data/_covariates.py",
        "sparse.hstack([values, covariates]",
        "sparse.hstack([covariates, values]",
        IMPORTANCE,
    ),
]


def outcome(mutant: Mutant | None, copy: Path, tests: list[str]) -> str:
    """Run tests on the copy with an edit: `killed`, `survived` or `broken`; the copy is as before afterwards."""
    path = copy / "src" / "sctab" / (mutant.path if mutant else "__init__.py")
    source = path.read_text(encoding="utf-8")
    if mutant is not None:
        if source.count(mutant.old) != 1:
            return f"broken: its text is there {source.count(mutant.old)} times"
        path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        process = os.fork()  # libraries are loaded already, `sctab` is not
        if process == 0:
            _test(copy, tests)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    finally:
        path.write_text(source, encoding="utf-8")
    return {0: "survived", 1: "killed"}.get(code, f"broken: pytest ended with {code}, see {copy / 'log'}")


def _test(copy: Path, tests: list[str]) -> None:
    """Run tests in this process, which ends with them."""
    code = 70
    try:
        log = os.open(copy / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(copy)
        sys.path[:0] = [str(copy / "src"), str(copy)]
        options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = int(pytest.main([*options, "--rootdir", str(copy), *tests]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> int:
    """Print a line per mutant; the exit code is 1 when one was not killed."""
    import lightning.pytorch  # noqa: F401
    import scanpy  # noqa: F401
    import scvi.model  # noqa: F401

    warnings.filterwarnings("ignore", message=".*use of fork")  # no thread of the libraries holds a lock here
    sys.dont_write_bytecode = True  # an edit within the same second would not be seen
    words = sys.argv[1:]
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="sctab-mutants-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        tests = sorted({mutant.tests for mutant in chosen})
        if (without := outcome(None, copy, tests)) != "survived":
            print((copy / "log").read_text(encoding="utf-8"))
            print(f"The tests do not pass without a mutant: {without}.")
            return 2
        width = max(len(mutant.name) for mutant in chosen)
        failed = 0
        for mutant in chosen:
            start = time.monotonic()
            found = outcome(mutant, copy, [mutant.tests])
            failed += found != "killed"
            print(f"{mutant.name:<{width}}  {mutant.path:<22}  {time.monotonic() - start:4.0f} s  {found}", flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} killed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
