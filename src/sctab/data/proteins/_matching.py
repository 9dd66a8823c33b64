"""Rule by which the antibodies of a dataset are matched to those of a model.

Names are compared in steps of decreasing confidence; the first step that finds an antibody of the model decides.

1. The names are equal.
2. They are equal once cleaned: without case, `anti-human` and its kind, `ADT_`, `prot_` or `Ab_` in front, `_TotalSeqB`, `-A0063`, `_PROT`
   or a conjugate at the end; see :func:`sctab.data.proteins._names.clean`.
3. They represent one antigen by the table that comes with the package, such as `CD279`, `PD-1` and the gene `PDCD1`. A name is looked up
   as a whole; then what is outside and inside of brackets, or on both sides of a slash, is looked up on its own, without a number at
   its end (`CD3-1`) and without a clone (`CD4-SK3`, `CD3 (UCHT1)`). Where the parts represent two antigens, the name represents none.

Isoforms, such as `CD45`, `CD45RA` and `CD45RO`, and chains, such as `CD8a` and `CD8b`, are different antigens. `CD8` is `CD8a`, which
nearly all antibodies to CD8 recognise. Isotype controls and hashtags match nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sctab.data.proteins._antigens import antigen_of
from sctab.data.proteins._names import clean, is_hashtag, is_isotype


def match_names(model: Sequence[str], query: Sequence[str]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Match names of antibodies.

    Parameters
    ----------
    model
        Names of the model's antibodies.
    query
        Names of the features of a dataset.

    Returns
    -------
    Antibody of the model for each feature, -1 for none, `(n_features,)`; and how it was matched, `""` for none.

    Examples
    --------
    >>> match_names(["CD3", "CD279"], ["PD-1", "CD3_TotalSeqB", "CD19"])
    (array([ 1,  0, -1], dtype=int32), ('same antigen (PD-1 = CD279)', 'same name, cleaned', ''))
    """
    by_name, by_clean, by_antigen = {}, {}, {}
    for i, name in reversed(list(enumerate(model))):  # the first one of each wins
        by_name[name] = i
        by_clean[clean(name)] = i
        if (reading := antigen_of(name)) is not None:
            by_antigen[reading.antigen] = i
    positions = np.full(len(query), -1, dtype=np.int32)
    rules = []
    for feature, name in enumerate(query):
        rule = ""
        if name in by_name:
            positions[feature], rule = by_name[name], "same name"
        elif not name.strip() or is_hashtag(name) or is_isotype(name):
            pass
        elif clean(name) in by_clean:
            positions[feature], rule = by_clean[clean(name)], "same name, cleaned"
        elif (reading := antigen_of(name)) is not None and reading.antigen in by_antigen:
            positions[feature] = i = by_antigen[reading.antigen]
            rule = _rule(name, model[i])
        rules.append(rule)
    return positions, tuple(rules)


def _rule(name: str, model_name: str) -> str:
    reading, of_model = antigen_of(name), antigen_of(model_name)
    if reading is None or of_model is None:
        return ""
    if reading.is_gene:
        return f"gene {reading.part}"
    ours, theirs = reading.part, of_model.part
    return f"same antigen ({ours} = {theirs})" if ours != theirs else f"same antigen ({ours})"
