"""Write small models with the code of every format version, and what they predict for stored cells: `tests/fixtures/models`.

`python scripts/make_model_fixtures.py` writes all versions, `python scripts/make_model_fixtures.py 2` those of one. The code is the last
commit that wrote a version, for the last version the first; it runs with the libraries of this environment. Existing fixtures are never
replaced: a model that was stored once has to load as it is.
"""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).resolve().parents[1]
TARGET = REPOSITORY / "tests" / "fixtures" / "models"
COMMITS = {1: "88f5046^", 2: "c91d088^", 3: "a98636b^", 4: "a98636b"}
"""Code that wrote each format version."""
N_CELLS = 6
"""Cells of a stored query."""
QUICK = {"max_epochs": 3, "enable_progress_bar": False}
SMALL = {"encoder": (8, 4), "n_latent": 2, "sigma": 1.0}


def genes_with_types(n_obs=240):
    """Give counts of 40 genes in cells of three types, four donors and two tissues."""
    import numpy as np
    import pandas as pd
    from anndata import AnnData

    rng = np.random.default_rng(0)
    label = np.arange(n_obs) % 3
    rates = np.full((n_obs, 40), 0.4)
    for each in range(3):
        rates[np.ix_(label == each, range(10 * each, 10 * each + 10))] = 3.0
    obs = {
        "cell_type": np.asarray(["B cell", "T cell", "monocyte"])[label],
        "donor_id": [f"donor_{i}" for i in label * 0 + np.arange(n_obs) // 3 % 4],
        "tissue": np.where(np.arange(n_obs) % 2, "blood", "lung"),
    }
    names = [f"GENE{chr(65 + i // 26)}{chr(65 + i % 26)}" for i in range(40)]
    ids = pd.DataFrame({"ensembl_id": [f"ENSG{i:011d}" for i in range(40)]}, index=names)
    counts = rng.poisson(rates * rng.uniform(0.5, 2, (n_obs, 1))).astype("float32")
    return AnnData(counts, obs=pd.DataFrame(obs, index=[f"cell_{i}" for i in range(n_obs)]), var=ids)


def cells_with_proteins(n_obs=240):
    """Give the same cells with counts of four antibodies, of which three are those of the types."""
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

    rna, rng = genes_with_types(n_obs), np.random.default_rng(1)
    counts = rng.poisson(3, (n_obs, 4)).astype("float32")
    for each, antibody in enumerate((1, 0, 2)):
        counts[np.arange(n_obs) % 3 == each, antibody] += 60
    prot = AnnData(counts, obs=rna.obs[[]].copy(), var=pd.DataFrame(index=["CD3", "CD19", "CD14", "CD45RA"]))
    obs, rna.obs = rna.obs, rna.obs[[]].copy()
    mdata = MuData({"rna": rna, "prot": prot})
    mdata.obs = mdata.obs.join(obs)
    return mdata


def write_models(version, folder):
    """Train, save, predict; it runs with the code of `version`."""
    import numpy as np

    from sctab import model as classes, zoo

    warnings.simplefilter("ignore")
    kinds = {
        "linear": (classes.LinearClassifier, {}),
        "mlp": (classes.MLPClassifier, {"n_layers": 1, "n_hidden": 4}),
        "sctab": (classes.SCTAB, {"n_d": 2, "n_a": 2}),
        "xgboost": (classes.XGBoostClassifier, {}),
    }
    cells = genes_with_types() if version < 4 else cells_with_proteins()
    query = cells[:N_CELLS].copy()
    for name, (kind, settings) in kinds.items():
        set_up(kind, cells, name)
        model = kind(cells, **settings)
        model.train(**{**QUICK, "accelerator": "cpu"} if name != "xgboost" else QUICK)
        store(model, query, folder / name)
    ensemble = classes.DeepEnsemble(classes.LinearClassifier, n_members=2)
    set_up(ensemble, cells, "ensemble")
    ensemble.train(**QUICK, accelerator="cpu")
    store(ensemble, query, folder / "ensemble")
    if version >= 3:
        single = genes_with_types()
        classes.SCDeepCluster.setup_anndata(single)
        clusters = classes.SCDeepCluster(single, **SMALL, n_clusters=3)
        clusters.train(pretrain_epochs=5, max_epochs=5, tolerance=0.05, batch_size=32, enable_progress_bar=False)
        store(clusters, single[:N_CELLS].copy(), folder / "scdeepcluster")
    write_query(query, folder / "query.json")
    print(f"version {version}: {np.sum([f.stat().st_size for f in folder.rglob('*') if f.is_file()])} bytes", zoo.__name__)


def set_up(kind, cells, name):
    """Tell a class where labels, donors and, of networks of genes alone, tissues are."""
    keys = {"donor_key": "donor_id"}
    if hasattr(cells, "mod"):
        kind.setup_mudata(cells, "cell_type", modalities={"rna": "rna", "protein": "prot"}, **keys)
    else:
        kind.setup_anndata(cells, "cell_type", **keys, **({"categorical_covariate_keys": ["tissue"]} if name == "sctab" else {}))


def store(model, query, path):
    """Save a model, and beside it what it predicts: probabilities, or of a clustering its soft assignment."""
    model.save(path)
    found = model.predict(query, soft=True)
    values = found.to_numpy(dtype=float).tolist()
    path.with_suffix(".json").write_text(json.dumps({"labels": list(map(str, found.columns)), "probabilities": values}) + "\n")


def write_query(query, path):
    """Write the cells as plain values."""
    parts = dict(query.mod) if hasattr(query, "mod") else {"rna": query}
    values = {name: {"features": list(part.var_names), "counts": part.X.astype(int).tolist()} for name, part in parts.items()}
    path.write_text(json.dumps({"obs": {"tissue": list(map(str, query.obs["tissue"]))}, **values}) + "\n")


def main():
    """Check out the code of each version, and write with it what is missing."""
    for version in [int(each) for each in sys.argv[1:]] or COMMITS:
        folder = TARGET / f"format_{version}"
        if folder.exists():
            print(f"`{folder}` exists and is not replaced.")
            continue
        with TemporaryDirectory() as scratch:
            subprocess.run(
                ["git", "-C", REPOSITORY, "worktree", "add", "-q", "--detach", f"{scratch}/code", COMMITS[version]], check=True
            )
            try:
                folder.mkdir(parents=True)
                environment = os.environ | {"PYTHONPATH": f"{scratch}/code/src"}
                command = [sys.executable, __file__, "--write", str(version), str(folder)]
                subprocess.run(command, env=environment, cwd=scratch, check=True)
            finally:
                subprocess.run(["git", "-C", REPOSITORY, "worktree", "remove", "--force", f"{scratch}/code"], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_models(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
