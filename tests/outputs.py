"""Outputs of every kind, to write where tests need them."""

import json

import anndata
import numpy as np
import zarr


def contents(directory):
    """Everything below a directory: the bytes of each file, `None` for a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")}


def names_in(directory):
    return sorted(entry.name for entry in directory.iterdir())


def write_file(path):
    path.write_text("new")


def write_model(path, text="new"):
    path.mkdir()
    (path / "model.json").write_text(json.dumps({"format": "sctab-model", "text": text}))
    (path / "model.safetensors").write_bytes(text.encode())


def write_ensemble(path):
    path.mkdir()
    (path / "ensemble.json").write_text(json.dumps({"format": "sctab-ensemble"}))
    for i in range(2):
        write_model(path / f"member_{i}")


def write_store(path, value=1, zarr_format=3):
    adata = anndata.AnnData(np.full((3, 2), value, dtype=np.float32), uns={"words": np.array(["a"])})
    anndata.io.write_elem(zarr.open_group(path, mode="w", zarr_format=zarr_format), "/", adata)


WRITERS = {"file": write_file, "model": write_model, "store": write_store}
