"""Files that releases of anndata have written: `scripts/make_anndata_fixtures.py` makes them."""

import tarfile
import warnings
from pathlib import Path

import anndata as ad
import numpy as np

FOLDER = Path(__file__).parent / "fixtures" / "anndata"
RELEASES = sorted(path.name.removesuffix(".tar.xz") for path in FOLDER.glob("*.tar.xz"))
FILES = [
    (release, name)
    for release in RELEASES
    for name in ("csr.h5ad", "csc.h5ad", "dense.h5ad", "csr.zarr")
    if (release, name) != ("0.6.22", "csr.zarr")  # which anndata does not read any more
]


def unpack(release, folder):
    """Give the directory that holds the files of a release."""
    with tarfile.open(FOLDER / f"{release}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def read(path):
    """Read what anndata reads, which warns of old layouts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.read_h5ad(path) if path.suffix == ".h5ad" else ad.read_zarr(path)


COPIED = [(release, name, Path(name).suffix) for release, name in FILES if (release, name) != ("0.6.22", "csr.h5ad")]


def same_values(one, other):
    """Equal values, missing ones too; an HDF5 file and a Zarr store give strings of different types."""
    known = one.notna().to_numpy()
    np.testing.assert_array_equal(known, other.notna().to_numpy())
    assert list(one.index) == list(other.index)
    assert list(one[known].astype(object)) == list(other[known].astype(object))
