"""Evidence on given labels."""

import pandas as pd
import pytest

from sctab.tl._evidence import labels_of


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(["B", None, "nan", 1.5, "-"]),
        pd.Series(pd.Categorical(["B", None, "nan", 1.5, "-"])),
    ],
)
def test_given_labels_as_strings(values):
    assert labels_of(values).where(lambda labels: labels.notna(), None).tolist() == ["B", None, None, "1.5", None]


def test_a_column_of_missing_values():
    assert labels_of(pd.Series([None, float("nan")])).isna().all()
