"""The genes of a model as a table."""

import numpy as np
import pandas as pd
from tests.genes import IDS, SYMBOLS

from sctab.data import FeatureSpace, gene_table


def table_of(space, var, importance=None):
    return gene_table(space, space.match(var, importance=importance), var, importance)


def test_says_where_each_gene_was_found():
    space = FeatureSpace(ids=tuple(IDS[:4]), symbols=tuple(SYMBOLS[:4]))
    var = pd.DataFrame({"symbol": [*SYMBOLS[:2], SYMBOLS[3], "ACTB"]}, index=[IDS[0], f"{IDS[1]}.7", "odd", "other"])
    table = table_of(space, var)
    assert table.index.tolist() == SYMBOLS[:4]
    assert table["gene_id"].tolist() == IDS[:4]
    assert table["found"].tolist() == [True, True, False, True]
    assert table["feature"].tolist() == [IDS[0], f"{IDS[1]}.7", "", "odd"]
    assert table["n_features"].tolist() == [1, 1, 0, 1]
    assert space.match(var).sources == ("symbol",)
    assert table["source"].tolist() == ["symbol", "symbol", "", "symbol"]


def test_a_second_source():
    space = FeatureSpace(ids=tuple(IDS[:4]), symbols=tuple(SYMBOLS[:4]))
    var = pd.DataFrame({"symbol": [*SYMBOLS[:2], "?", "ACTB"]}, index=["x", "y", IDS[2], "z"])
    assert table_of(space, var)["source"].tolist() == ["symbol", "symbol", "index", ""]


def test_several_features_of_one_gene_are_counted():
    space = FeatureSpace(ids=tuple(IDS[:2]), symbols=tuple(SYMBOLS[:2]))
    var = pd.DataFrame(index=["x", SYMBOLS[1], f"{SYMBOLS[1]}-1", SYMBOLS[0]])
    table = table_of(space, var)
    assert table["n_features"].to_dict() == {SYMBOLS[0]: 1, SYMBOLS[1]: 2}
    assert table.loc[SYMBOLS[1], "feature"] == SYMBOLS[1]


def test_the_most_important_first_and_the_order_of_the_model_among_equals():
    space = FeatureSpace(ids=("",) * 4, symbols=tuple(SYMBOLS[:4]))
    table = table_of(space, pd.DataFrame(index=SYMBOLS[1:3]), np.array([1.0, 4.0, 1.0, 2.0]))
    assert table.index.tolist() == [SYMBOLS[1], SYMBOLS[3], SYMBOLS[0], SYMBOLS[2]]
    assert table["importance"].tolist() == [0.5, 0.25, 0.125, 0.125]
    assert table["found"].tolist() == [True, False, False, True]


def test_no_importance_at_all_is_no_division():
    space = FeatureSpace(ids=("", ""), symbols=tuple(SYMBOLS[:2]))
    assert table_of(space, pd.DataFrame(index=SYMBOLS[:1]), np.zeros(2))["importance"].tolist() == [0, 0]
