"""Findings on a query, made up."""

import numpy as np
import pandas as pd

from sctab.pp import QueryCheck

TYPES = pd.DataFrame(
    {
        "n_cells": [900, 100],
        "coverage": [0.951, np.nan],
        "n_informative": [20, 0],
        "n_found": [19, 0],
        "missing": ["CD79A", ""],
        "confused_with": ["", ""],
    },
    index=pd.Index(["B cell", "T cell"], name="label"),
)
GENES = pd.DataFrame({"found": [True, True, False], "importance": [0.6, 0.3, 0.1]}, index=pd.Index(list("abc"), name="gene"))
CELLS = pd.DataFrame(
    {"median": [800.0, 400.0], "reference": [1000.0, np.nan], "ratio": [0.8, np.nan]},
    index=pd.Index(["counts", "genes"], name="of"),
)
CHECK = QueryCheck(
    model="blood",
    n_obs=1200,
    n_vars=2000,
    matrix={"name": "X", "content": "counts"},
    species={"query": "human", "model": "human"},
    names={"id_type": "symbols", "sources": ["index"]},
    coverage=0.9,
    n_antibodies=0,
    n_ignored=0,
    genes=GENES,
    types=TYPES,
    cells=CELLS,
    n_empty=3,
    n_unmeasured=4,
    n_sampled=1000,
    shift=0.61,
    unseen_fdr=0.1,
    fraction_unseen=0.02,
    is_refused=False,
    is_learned=np.arange(1200) < 12,
    n_learned=12,
    leakage={"expected_recall": 1.0, "false_positive_rate": 0.002},
    promise={"accepted_error": 0.1, "holds": True, "distance": 0.01, "limit": 0.05, "unit": "donor", "n_units": 12, "note": ""},
    verdict="Ready to annotate, with 1 warning.",
    warnings=("The first warning.",),
)
