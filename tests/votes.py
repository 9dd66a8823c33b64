"""Annotated cells whose probabilities are worked by hand."""

import numpy as np
import pandas as pd
from anndata import AnnData

from sctab.inference import Terms
from sctab.ontology import CellOntology, LabelSpace

CD4, CD8, B, MONOCYTE = "CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell", "B cell", "monocyte"
LABELS = LabelSpace(
    names=(CD4, CD8, B, MONOCYTE),
    ids=("CL:0000624", "CL:0000625", "CL:0000236", "CL:0000576"),
    ontology_version=CellOntology.embedded_versions()[0],
)
CELLS = {
    CD4: (0.7, 0.2, 0.1, 0.0),
    CD8: (0.2, 0.7, 0.0, 0.1),
    B: (0.0, 0.0, 1.0, 0.0),
    MONOCYTE: (0.0, 0.1, 0.0, 0.9),
    "": (np.nan,) * 4,
}


def annotated(labels, *, groups=None, terms=None, accepted_error=0.1, hierarchy=None, key="sctab"):
    """Cells as `tl.annotate` leaves them: `labels` are their own, `""` for a cell that was not measured; `None` is no term."""
    names = [f"cell_{number}" for number in range(len(labels))]
    own = pd.Categorical([label or None for label in labels], categories=list(LABELS.names))
    adata = AnnData(np.zeros((len(labels), 1), dtype=np.float32), obs=pd.DataFrame({f"{key}_label": own}, index=names))
    values = np.array([CELLS[label] for label in labels], dtype=np.float32)
    adata.obsm[f"{key}_probabilities"] = pd.DataFrame(values, index=names, columns=list(LABELS.names))
    run = {
        "model": {"ontology_version": LABELS.ontology_version},
        "labels": {"names": np.array(LABELS.names), "ids": np.array(LABELS.ids)},
    }
    if groups is not None:
        adata.obs["leiden"] = pd.Categorical(groups)
    if terms is not None:
        known = Terms.of(LABELS, hierarchy)
        id_of = dict(zip(known.names, known.ids, strict=True))
        adata.obs[f"{key}_term"] = pd.Categorical(terms, categories=list(known.names))
        adata.obs[f"{key}_term_id"] = pd.Categorical([id_of.get(term) for term in terms])
        run["promise"] = {"accepted_error": accepted_error, "unit": "donor", "n_units": 9, "terms": list(known.names)}
    adata.uns[key] = run
    return adata
