"""Write the same small data with many releases of anndata, each in an environment that uv makes: `tests/fixtures/anndata`.

`python scripts/make_anndata_fixtures.py` writes all, `python scripts/make_anndata_fixtures.py 0.7.8` those of one release. Every kind of
column that a release can write is in its files. The part that writes runs on Python 3.7 too.
"""

import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

TARGET = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "anndata"
RELEASES = {
    "0.6.22": ("3.7", "anndata==0.6.22.post1", "numpy<1.22", "pandas<1", "h5py<3", "scipy<1.6", "zarr<2.13"),
    "0.7.8": ("3.8", "anndata==0.7.8", "numpy<1.24", "pandas<1.4", "h5py<3.8", "scipy<1.9", "zarr<2.13"),
    "0.8.0": ("3.8", "anndata==0.8.0", "numpy<1.24", "pandas<2", "h5py<3.9", "scipy<1.10", "zarr<2.14"),
    "0.9.2": ("3.8", "anndata==0.9.2", "numpy<1.24", "pandas<2.1", "h5py<3.11", "scipy<1.11", "zarr<2.17"),
    "0.10.9": ("3.11", "anndata==0.10.9", "numpy<2", "pandas<2.3", "scipy<1.14", "zarr<2.18", "numcodecs<0.16"),
    "0.11.4": ("3.11", "anndata==0.11.4", "numpy<2.3", "pandas<2.3", "zarr<3"),
    "0.12.6": ("3.12", "anndata==0.12.6", "numpy<2.4", "pandas<3", "zarr>=3"),
    "0.13.4": ("3.13", "anndata==0.13.4", "pandas>=3", "zarr>=3"),
}
"""For each release, the Python and the libraries of its time."""
SYMBOLS = ("CD3D", "MS4A1", "NKG7", "LYZ", "GNLY", "CD79A", "CD14", "FCGR3A", "ACTB", "B2M")
LABELS = ("B cell", "natural killer cell", "CD14-positive monocyte")


def columns():
    """Give columns of `obs` for 24 cells, one for each kind."""
    import numpy as np
    import pandas as pd

    number = np.arange(24)
    return {
        "cell_type": lambda: pd.Categorical(np.asarray(LABELS)[number % 3]),
        "donor_id": lambda: [f"D{i}" for i in number // 3 % 4],
        "unsorted": lambda: pd.Categorical.from_codes(number % 3, ["zeta", "alpha", "middle"]),
        "unused": lambda: pd.Categorical(["a" if i % 2 else "c" for i in number], categories=["a", "b", "c"]),
        "ordered": lambda: pd.Categorical(["low" if i % 2 else "high" for i in number], categories=["low", "high"], ordered=True),
        "partly_known": lambda: pd.Categorical([None if i % 5 == 0 else "xy"[i % 2] for i in number]),
        "of_one": lambda: pd.Categorical(["alone"] * 24),
        "of_none": lambda: pd.Categorical([None] * 24, categories=["never"]),
        "cluster": lambda: pd.Categorical(number % 4),
        "resolution": lambda: pd.Categorical((number % 3) / 2),
        "is_kept": lambda: pd.Categorical(number % 2 == 0),
        "barcode": lambda: [f"cell {i}" for i in number],
        "partly_text": lambda: [None if i == 3 else f"t{i}" for i in number],
        "unicode_ä細": lambda: ["Zellé" if i % 2 else "細胞" for i in number],
        "with/slash": lambda: number * 2,
        "flag": lambda: number % 3 == 0,
        "int8": lambda: number.astype("int8"),
        "int64": lambda: number * 10**12,
        "uint32": lambda: number.astype("uint32"),
        "float32": lambda: (number / 3).astype("float32"),
        "float64": lambda: np.where(number == 4, np.nan, number / 7),
        "nullable_int": lambda: pd.array([None if i == 2 else i for i in number.tolist()], dtype="Int64"),
        "nullable_flag": lambda: pd.array([None if i == 2 else i % 2 == 0 for i in number.tolist()], dtype="boolean"),
        "nullable_text": lambda: pd.array([None if i == 2 else f"s{i}" for i in number.tolist()], dtype="string"),
        "full_text": lambda: pd.array([f"s{i % 5}" for i in number], dtype="string"),
    }


def write(path):
    """Write the data with the anndata that is installed, and what it can write of the columns."""
    import anndata as ad
    import numpy as np
    import pandas as pd
    from scipy import sparse

    warnings.simplefilter("ignore")
    if hasattr(ad, "settings") and "allow_write_nullable_strings" in dir(ad.settings):
        ad.settings.allow_write_nullable_strings = True
    rng = np.random.RandomState(0)
    counts = rng.poisson(1.5, size=(24, len(SYMBOLS))).astype(np.float32)
    counts[:, 0] += 1

    def of(obs, storage="csr", *, full=True):
        names = pd.Index([f"cell-{i}" for i in range(24)])
        var = {
            "name": pd.Categorical(list("xyxyxyxyxy")),
            "text": [f"gene {i}" for i in range(10)],
            "highly_variable": np.arange(10) % 2 == 0,
            "mean": np.arange(10) / 3,
        }
        X = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}[storage](counts)
        adata = ad.AnnData(X, obs=pd.DataFrame(obs, index=names), var=pd.DataFrame(var, index=list(SYMBOLS)))
        if full:
            adata.raw = adata.copy()
            adata.layers["doubled"] = sparse.csr_matrix(2 * counts)
            adata = adata[:, :8].copy()
            adata.uns["title"] = "small"
            adata.obsm["X_pca"] = counts[:, :2].astype(float)
        return adata

    def save(adata, path):
        if str(path).endswith(".h5ad"):
            adata.write_h5ad(str(path)) if hasattr(adata, "write_h5ad") else adata.write(str(path))
        else:
            adata.write_zarr(str(path), chunks=adata.shape)

    with TemporaryDirectory() as folder:
        obs = {}
        for suffix in (".h5ad", ".zarr"):
            obs[suffix] = {}
            for number, (name, make) in enumerate(columns().items()):
                try:
                    save(of({name: make()}, full=False), Path(folder) / (str(number) + suffix))
                except Exception as error:
                    print(path.name, "cannot write", name, "to", suffix, type(error).__name__)
                else:
                    obs[suffix][name] = make()
        files = Path(folder) / "files"
        files.mkdir()
        save(of(obs[".h5ad"]), files / "csr.h5ad")
        for storage in ("csc", "dense"):
            adata = of({name: obs[".h5ad"][name] for name in ("cell_type", "donor_id", "partly_known")}, storage)
            adata.obs.index.name = "cell"
            adata.var.index.name = "gene"
            save(adata, files / (storage + ".h5ad"))
        save(of(obs[".zarr"]), files / "csr.zarr")
        shutil.make_archive(str(path), "xztar", str(files))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(Path(sys.argv[2]))
    else:
        for release in sys.argv[1:] or RELEASES:
            python, *libraries = RELEASES[release]
            TARGET.mkdir(parents=True, exist_ok=True)
            environment = ["uv", "run", "--isolated", "--no-project", "--python", python]
            with_libraries = [part for library in libraries for part in ("--with", library)]
            subprocess.run([*environment, *with_libraries, "python", __file__, "--write", str(TARGET / release)], check=True)
