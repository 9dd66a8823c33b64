"""What is expected to annotate a query best."""

import pytest

from sctab.inference import Choice, best_choice


@pytest.mark.parametrize(
    ("coverage", "has_sketch", "n_labelled", "knows_types", "expected"),
    [
        (1.0, False, 0, True, Choice.AS_IT_IS),
        (1.0, False, 10, True, Choice.AS_IT_IS),
        (1.0, False, 25, True, Choice.FINE_TUNE),
        (0.3, False, 0, True, Choice.AS_IT_IS),
        (0.3, False, 4, True, Choice.AS_IT_IS),
        (0.3, False, 5, True, Choice.FINE_TUNE),
        (1.0, True, 0, True, Choice.REFIT),
        (0.3, True, 10, True, Choice.REFIT),
        (1.0, True, 100, False, Choice.FROM_SCRATCH),
        (1.0, False, 5, False, Choice.FROM_SCRATCH),
    ],
)
def test_choices(coverage, has_sketch, n_labelled, knows_types, expected):
    assert best_choice(coverage, has_sketch=has_sketch, n_labelled=n_labelled, knows_types=knows_types) == expected
