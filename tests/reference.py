"""A small reference with counts, markers, donors and realistic gene names, made for tests."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

TYPES = ("B cell", "T cell", "monocyte")
N_GENES = 60


def make_reference(n_obs=240, *, seed=0, n_donors=4):
    """Poisson counts in which each type has ten marker genes; genes have symbols in the index and Ensembl ids in a column."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_obs) % len(TYPES)
    rates = np.full((n_obs, N_GENES), 0.4)
    for label in range(len(TYPES)):
        rates[np.ix_(labels == label, range(10 * label, 10 * label + 10))] = 3.0
    depth = rng.uniform(0.5, 2, size=(n_obs, 1))
    counts = rng.poisson(rates * depth).astype(np.float32)
    return AnnData(
        X=sparse.csr_matrix(counts),
        obs=pd.DataFrame(
            {
                "cell_type": pd.Categorical(np.asarray(TYPES)[labels]),
                "donor_id": pd.Categorical([f"donor_{i}" for i in (np.arange(n_obs) // len(TYPES)) % n_donors]),
            },
            index=[f"cell_{i}" for i in range(n_obs)],
        ),
        var=pd.DataFrame(
            {"ensembl_id": [f"ENSG{i:011d}" for i in range(N_GENES)]},
            index=[f"GENE{chr(65 + i // 26)}{chr(65 + i % 26)}" for i in range(N_GENES)],
        ),
    )


LABEL_MAPS = {
    "two columns": "DC2\tCL:0002399\ncluster 7\t\n",
    "SSSOM": (
        "#mapping_set_id: https://example.org/mine\n"
        "subject_id\tsubject_label\tpredicate_id\tobject_id\tmapping_justification\n"
        "x:2\tcluster 7\tskos:exactMatch\tsssom:NoTermFound\tsemapv:ManualMappingCuration\n"
        "x:1\tDC2\tskos:exactMatch\tCL:0002399\tsemapv:ManualMappingCuration\n"
    ),
}
"""The same ids of two labels in the forms that are understood."""


def with_labels_of_authors(adata):
    """The same cells with two labels that have no id by themselves."""
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"B cell": "DC2", "T cell": "cluster 7"})
    return adata
