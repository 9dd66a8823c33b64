"""Corpora, what interrupted runs leave, and published checkpoints, and what reads them."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from tests.fuzzing import damage
from tests.fuzzing.subject import (
    QUIET,
    Subject,
    annotation_of,
    content_of_corpus,
    content_of_model,
    counts_of_blood,
    judge_changed,
    judge_rehashed,
    packaged_model,
    run_command,
)
from tests.published import lightning_checkpoint, published_linear, write_tables

import sctab
from sctab.inference import Journal
from sctab.model import LinearClassifier


def verify_corpus(folder: Path) -> Any:
    run_command("corpus", "verify", folder / "blood.corpus")
    corpus = sctab.corpus.Corpus.open(folder / "blood.corpus")
    content = content_of_corpus(corpus)
    content["measured"] = corpus.is_measured.tolist()
    content["subset"] = corpus.subset(0.5, by="cell").tolist()
    return content


def read_corpus(folder: Path) -> Any:
    run_command("corpus", "info", folder / "blood.corpus")
    return content_of_corpus(sctab.corpus.Corpus.open(folder / "blood.corpus"))


def train_from_corpus(folder: Path) -> Any:
    corpus = sctab.corpus.Corpus.open(folder / "blood.corpus")
    model = LinearClassifier.from_corpus(corpus)
    model.train(calibrate=False, **QUIET)
    model.save(folder / "model")
    return content_of_model(model)


def judge_unverified(folder: Path, answer: Any, _: Any) -> str:
    """Reading alone compares no hashes, but weights must be finite."""
    return "valid" if answer.get("finite", True) else "weights are not finite"


# What an interrupted run leaves


def resume_annotation(query: Path, folder: Path) -> Any:
    sctab.tl.annotate_files(query, packaged_model(), output=folder / "labels.csv", block_size=20, resume=True)
    table = pd.read_csv(folder / "labels.csv", index_col=0, keep_default_na=False)
    return annotation_of(table, table.index)


def resume_training(folder: Path) -> Any:
    model = _model_in_training(folder / "run", resume=True)
    return {part: content_of_model(model)[part] for part in ("class", "labels", "genes", "weights", "finite")}


class _Ended(Callback):
    """Ends a training when its second epoch begins."""

    def on_train_epoch_start(self, trainer: Any, _: Any) -> None:
        if trainer.current_epoch == 1:
            raise InterruptedError


def _model_in_training(run_dir: Path, *, resume: bool) -> Any:
    adata = counts_of_blood()
    del adata.raw, adata.layers["lognorm"]
    LinearClassifier.setup_anndata(adata, "cell_type", donor_key="donor_id")
    model = LinearClassifier(adata)
    model.train(
        calibrate=False, **QUIET | {"max_epochs": 2}, run_dir=run_dir, resume=resume, callbacks=[] if resume else [_Ended()]
    )
    return model


# Published checkpoints


def import_published(folder: Path) -> Any:
    model = sctab.zoo.import_checkpoint(
        folder / "best.ckpt", genes=folder / "var.parquet", labels=folder / "cell_type.parquet", output=folder / "imported"
    )
    return content_of_model(model)


def judge_imported(folder: Path, answer: Any, expected: Any) -> str:
    """What stands beside the weights names the file, which is another one."""
    parts = [part for part in ("class", "labels", "genes", "weights") if answer[part] != expected[part]]
    return f"imported with other {', '.join(parts)}" if parts else "valid"


def store_subjects(root: Path) -> list[Subject]:
    subjects = []
    # a corpus
    files = root / "corpus"
    files.mkdir(parents=True)
    adata = counts_of_blood()
    del adata.raw, adata.layers["lognorm"]
    adata.write_h5ad(root / "source.h5ad")
    (root / "blood.yaml").write_text(
        yaml.safe_dump({"sources": ["source.h5ad"], "labels_key": "cell_type", "donor_key": "donor_id"})
    )
    sctab.corpus.build(root / "blood.yaml", files / "blood.corpus", shard_size=20, n_jobs=1)
    for name, read, judge, weight in (
        ("corpus verify", verify_corpus, judge_changed, 20),
        ("corpus info, read", read_corpus, judge_unverified, 10),
        ("train from corpus", train_from_corpus, judge_unverified, 8),
    ):
        subjects.append(Subject(f"store: {name}", "store", files, "blood.corpus", damage.STORE, read, judge, weight=weight))
    # a journal of an annotation
    files = root / "journal"
    files.mkdir()
    counts_of_blood().write_h5ad(root / "query.h5ad")
    with patch.object(Journal, "remove", lambda _: None):
        sctab.tl.annotate_files(root / "query.h5ad", packaged_model(), output=files / "labels.csv", block_size=20)
    (files / "labels.csv").unlink()
    next((files / "labels.csv.parts").glob("part-*-000000000020-*")).unlink()
    read = partial(resume_annotation, root / "query.h5ad")
    subjects.append(
        Subject(
            "journal: resume",
            "store",
            files,
            "labels.csv.parts",
            (*damage.DIRECTORY, *[damage.edit_json] * 4),
            read,
            judge_changed,
            may_leave=("labels.csv.parts",),
            weight=14,
        )
    )
    # the state of a training
    files = root / "state"
    files.mkdir()
    with suppress(InterruptedError):
        _model_in_training(files / "run", resume=False)
    state = next((files / "run").rglob("state.safetensors")).relative_to(files)
    kinds = (*damage.BYTES, damage.special_file, *[damage.edit_header] * 3, *[damage.edit_tensor] * 3)
    subjects.append(
        Subject(
            "state: resume training",
            "store",
            files,
            str(state),
            kinds,
            resume_training,
            judge_changed,
            may_leave=("run",),
            weight=7,
        )
    )
    # a published checkpoint
    files = root / "published"
    files.mkdir()
    write_tables(files)
    torch.save(lightning_checkpoint(*published_linear()), files / "best.ckpt")
    subjects.append(
        Subject(
            "checkpoint: import",
            "store",
            files,
            "best.ckpt",
            (*damage.BYTES, damage.special_file),
            import_published,
            judge_imported,
            weight=6,
        )
    )
    for table in ("var.parquet", "cell_type.parquet"):
        subjects.append(
            Subject(
                f"{table}: import",
                "store",
                files,
                table,
                (*damage.BYTES, damage.special_file),
                import_published,
                judge_rehashed,
                weight=2,
            )
        )
    return subjects
