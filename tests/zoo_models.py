"""Models, archives and indices for tests of the zoo."""

import hashlib
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import sctab
from sctab.zoo._archive import pack


def entry_values(**changes):
    """Values of an entry of an index."""
    return {
        "name": "lung",
        "version": "2.1",
        "description": "Cells of the lung",
        "license": "CC-BY-4.0",
        "organism": "Homo sapiens",
        "url": "lung-2.1.tar",
        "size": 10,
        "sha256": "a" * 64,
    } | changes


def small_model(directory):
    """Directory of a small trained model: the packaged one."""
    shutil.copytree(sctab.zoo.packaged_path("pbmc"), directory)
    return directory


def tar_of(directory, path, *, mode="w", inside="model"):
    with tarfile.open(path, mode) as tar:
        tar.add(directory, inside)
    return path


def zip_of(directory, path, *, inside="model/"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for each in sorted(directory.rglob("*")):
            file.write(each, inside + each.relative_to(directory).as_posix())
    return path


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def index_file(path, *entries):
    Path(path).write_text(json.dumps({"format": "sctab-models", "format_version": 1, "models": list(entries)}), encoding="utf-8")
    return path


def hosted(folder, model, *, name="lung", version="2.1", **changes):
    """Pack a model into a folder, and give the values of its entry."""
    archive = folder / f"{name}-{version}.tar"
    pack(model, archive, root=f"{name}-{version}")
    values = {"name": name, "version": version, "url": archive.name, "size": archive.stat().st_size, "sha256": sha256(archive)}
    return entry_values(**values | changes)
