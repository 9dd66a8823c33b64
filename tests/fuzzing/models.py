"""Models of every class, and what loads them."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
from safetensors.torch import load_file, save_file
from tests.fuzzing import damage
from tests.fuzzing.subject import (
    QUIET,
    Subject,
    annotation_of,
    content_of_model,
    counts_of_blood,
    judge_changed,
    judge_rehashed,
)

import sctab
from sctab.io import strict_json
from sctab.model import SCTAB, DeepEnsemble, LinearClassifier, MLPClassifier, XGBoostClassifier, load_model


def annotate_with(query: str, folder: Path) -> Any:
    model = load_model(folder / "model", accelerator="cpu")
    adata = ad.read_h5ad(folder / query)
    sctab.tl.annotate(adata, model, min_gene_coverage=0)
    return content_of_model(model) | annotation_of(adata.obs, adata.obs_names)


CLASSES = ("linear", "mlp", "sctab", "xgboost", "ensemble")


def model_subjects(root: Path, names: Sequence[str] = CLASSES) -> list[Subject]:
    root.mkdir(parents=True)
    adata = counts_of_blood()
    del adata.raw, adata.layers["lognorm"]
    query = root / "query.h5ad"
    counts_of_blood(n_obs=16).write_h5ad(query)
    classes = {
        "linear": (LinearClassifier, {}),
        "mlp": (MLPClassifier, {}),
        "sctab": (SCTAB, {"n_d": 4, "n_a": 4}),
        "xgboost": (XGBoostClassifier, {}),
    }
    subjects = []
    for name in names:
        files = root / name
        files.mkdir()
        shutil.copyfile(query, files / "query.h5ad")
        if name == "ensemble":
            model = DeepEnsemble(LinearClassifier, 2)
            model.setup_anndata(adata, "cell_type")
            model.train(calibrate=False, **QUIET)
        else:
            cls, settings = classes[name]
            cls.setup_anndata(adata, "cell_type")
            model = cls(adata, **settings)
            model.train(
                calibrate=False,
                **QUIET if name != "xgboost" else {"max_epochs": 3, "accelerator": "cpu", "seed": 0, "refit": False},
            )
        model.save(files / "model")
        read = partial(annotate_with, "query.h5ad")
        subjects.append(Subject(f"{name}: load, annotate", "model", files, "model", damage.MODEL, read, judge_changed, weight=12))
        subjects.append(
            Subject(
                f"{name}: hashes put right",
                "model",
                files,
                "model",
                (*[damage.edit_json] * 4, damage.edit_header, damage.edit_tensor, damage.edit_tensor),
                read,
                judge_rehashed,
                after=put_hashes_right,
                weight=8,
            )
        )
    files = root / "first-format"
    shutil.copytree(root / names[0], files)
    _as_first_format(files / "model")
    subjects.append(Subject("first format: load, annotate", "model", files, "model", damage.MODEL, read, judge_rehashed, weight=6))
    return subjects


def _as_first_format(model: Path) -> None:
    """Write a model as the first version of the format had it: without a hash of its description."""
    values = json.loads((model / "model.json").read_text(encoding="utf-8"))
    del values["spec_sha256"]
    values["format_version"] = 1
    tensors = load_file(model / "model.safetensors")
    save_file(tensors, model / "model.safetensors", metadata={"model_class": values["model_class"]})
    values["weights"]["sha256"] = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    (model / "model.json").write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")


def put_hashes_right(folder: Path) -> None:
    """Make the hashes in a model directory those of what it holds, as somebody would who changes a model on purpose."""
    for spec in sorted((folder / "model").rglob("model.json")):
        with suppress(ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError):
            _put_right(spec, spec.parent / "model.safetensors")
    listing = folder / "model" / "ensemble.json"
    with suppress(ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError):
        values = json.loads(listing.read_text(encoding="utf-8"))
        values["members"] = [
            json.loads((listing.parent / f"member_{i}" / "model.json").read_text(encoding="utf-8"))["weights"]["sha256"]
            for i in range(len(values["members"]))
        ]
        del values["sha256"]
        listing.write_text(json.dumps(strict_json.with_digest(values)), encoding="utf-8")


def _put_right(spec: Path, weights: Path) -> None:
    values = json.loads(spec.read_text(encoding="utf-8"))
    content = weights.read_bytes()
    values["spec_sha256"] = strict_json.digest(
        {name: value for name, value in values.items() if name not in {"weights", "spec_sha256"}}
    )
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"]["spec_sha256"] = values["spec_sha256"]
    described = json.dumps(header, separators=(",", ":")).encode()
    content = len(described).to_bytes(8, "little") + described + content[8 + size :]
    weights.write_bytes(content)
    values["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    spec.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")
