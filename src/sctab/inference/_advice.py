"""Advice on what annotates a query best: a model as it is, refitted, fine-tuned, or one that is trained from scratch.

The rule is drawn from `benchmarks/pretraining.py`, see :doc:`/pretraining`.
"""

from __future__ import annotations

from enum import StrEnum

FEW_GENES = 0.5
"""Coverage below which a model as it is loses more than a model that is trained on some labelled cells."""
ENOUGH_LABELLED = 25
"""Labelled cells of each type that are enough to train on."""
FEW_LABELLED = 5
"""Labelled cells of each type that are enough where few genes are measured."""


class Choice(StrEnum):
    """Model that is expected to annotate a query best."""

    AS_IT_IS = "as it is"
    """The model, with its weights as they are."""
    REFIT = "refit"
    """The model, refitted from its sketch to the genes and cells of the query."""
    FINE_TUNE = "fine-tune"
    """The model, after all of its layers were trained on labelled cells of the query."""
    FROM_SCRATCH = "from scratch"
    """A new model of labelled cells of the query."""


def best_choice(coverage: float, *, has_sketch: bool, n_labelled: float = 0, knows_types: bool = True) -> Choice:
    """Return which model is expected to annotate a query best.

    Parameters
    ----------
    coverage
        Fraction of the importance that the genes of the query carry.
    has_sketch
        The model keeps a sketch of its reference.
    n_labelled
        Labelled cells of the query for each type, by the median.
    knows_types
        The model has learned types of the query.
    """
    if not knows_types:
        return Choice.FROM_SCRATCH
    if has_sketch:
        return Choice.REFIT
    enough = FEW_LABELLED if coverage < FEW_GENES else ENOUGH_LABELLED
    return Choice.FINE_TUNE if n_labelled >= enough else Choice.AS_IT_IS


def few_genes_note() -> str:
    """Sentence for the user of a model without a sketch, on data with few of its genes."""
    return (
        "With so few genes, a model that is refitted to them is more accurate. Train it again with a sketch of its reference "
        f"(`sketch=2000`, `--sketch 2000`), or label {FEW_LABELLED} cells of each type and adapt it to them with "
        "`load_query_data(…, unfrozen=True)`."
    )
