"""Trees as arrays: what XGBoost predicts from them, and what is never handed to it."""

from dataclasses import replace

import numpy as np
import pytest
import xgboost

from sctab.nn._trees import ARRAYS, Trees

N_FEATURES, N_CLASSES = 5, 3


def grown(**parameters):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, N_FEATURES)).astype(np.float32)
    matrix = xgboost.QuantileDMatrix(values, rng.integers(N_CLASSES, size=300))
    common = {"objective": "multi:softprob", "num_class": N_CLASSES, "verbosity": 0, "nthread": 1}
    return xgboost.train(common | parameters, matrix, 6), values


@pytest.fixture(scope="module")
def booster():
    return grown(max_depth=4)[0]


@pytest.fixture(scope="module")
def trees(booster):
    return Trees.from_ubjson(bytes(booster.save_raw("ubj")))


def back(trees):
    return xgboost.Booster(model_file=trees.to_ubjson(N_FEATURES, N_CLASSES))


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_depth": 4},
        {"max_depth": 1, "alpha": 0.5},
        {"max_depth": 3, "base_score": 0.25},
        {"max_depth": 0, "grow_policy": "lossguide", "max_leaves": 9},
        {"max_depth": 3, "subsample": 0.5, "lambda": 0.0},
        {"max_depth": 6, "gamma": 2.0},
    ],
)
def test_predictions_are_the_same_to_the_last_bit(parameters):
    booster, values = grown(**parameters)
    trees = Trees.from_ubjson(bytes(booster[:4].save_raw("ubj")))
    trees.check(N_FEATURES, N_CLASSES)
    values[::7, 2] = np.nan
    for kind in ("margin", "value"):
        expected = booster[:4].inplace_predict(values, predict_type=kind)
        assert back(trees).inplace_predict(values, predict_type=kind).tobytes() == expected.tobytes()
    assert back(trees).get_score(importance_type="total_gain") == booster[:4].get_score(importance_type="total_gain")


def test_what_is_read_is_what_was_written(trees):
    again = Trees.from_ubjson(bytes(back(trees).save_raw("ubj")))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(trees, name))


def test_boosting_goes_on_from_arrays_as_from_bytes(booster, trees):
    rng = np.random.default_rng(1)
    matrix = xgboost.QuantileDMatrix(rng.normal(size=(200, N_FEATURES)), rng.integers(N_CLASSES, size=200))
    settings = {"objective": "multi:softprob", "num_class": N_CLASSES, "nthread": 1, "verbosity": 0}
    stored = xgboost.Booster(model_file=booster.save_raw("ubj"))
    one, other = (xgboost.train(settings, matrix, 2, xgb_model=start) for start in (stored, back(trees)))
    assert one.num_boosted_rounds() == 8
    assert one.inplace_predict(np.eye(N_FEATURES)).tobytes() == other.inplace_predict(np.eye(N_FEATURES)).tobytes()


def changed(trees, name, place, value):
    array = getattr(trees, name).copy()
    array[place] = value
    return replace(trees, **{name: array})


@pytest.mark.parametrize(
    ("name", "place", "value", "match"),
    [
        ("left", 0, 10**6, "a child that does not follow it"),
        ("left", 0, 0, "a child that does not follow it"),
        ("right", 0, -5, "a child that does not follow it"),
        ("right", 1, 1, "a child that does not follow it"),
        ("left", 0, 2, "one parent"),
        ("left", 0, -1, "a child that does not follow it"),
        ("right", 0, 3, "one parent"),
        ("feature", 0, N_FEATURES, "one of 5"),
        ("feature", 3, -1, "one of 5"),
        ("threshold", 0, np.nan, "NaN or infinite"),
        ("threshold", -1, np.inf, "NaN or infinite"),
        ("gain", 0, np.nan, "NaN or infinite"),
        ("base", 0, np.inf, "NaN or infinite"),
        ("default_left", 0, 2, "nowhere"),
        ("sizes", 0, 0, "number of trees"),
        ("sizes", 0, 2**31 - 1, "number of trees"),
        ("written_by", 0, -1, "added to"),
    ],
)
def test_trees_that_cannot_be_evaluated(trees, name, place, value, match):
    with pytest.raises(ValueError, match=match):
        changed(trees, name, place, value).check(N_FEATURES, N_CLASSES)


@pytest.mark.parametrize("name", [name for name in ARRAYS if name not in {"written_by", "base"}])
def test_arrays_of_another_length(trees, name):
    with pytest.raises(ValueError, match=r"number of trees|differ in length"):
        replace(trees, **{name: getattr(trees, name)[:-1]}).check(N_FEATURES, N_CLASSES)


def test_trees_of_other_classes(trees):
    with pytest.raises(ValueError, match="number of trees"):
        trees.check(N_FEATURES, 4)


def test_damaged_bytes_are_refused_or_become_trees_that_can_be_evaluated(booster):
    """A changed bit may make other trees, which only a hash can tell; none crashes the process."""
    content = bytes(booster.save_raw("ubj"))
    rng = np.random.default_rng(0)
    n_refused = 0
    for flip in rng.choice(8 * len(content), size=150, replace=False):
        damaged = bytearray(content)
        damaged[flip // 8] ^= 1 << (flip % 8)
        try:
            trees = Trees.from_ubjson(bytes(damaged))
            trees.check(N_FEATURES, N_CLASSES)
        except ValueError:
            n_refused += 1
        else:
            back(trees).inplace_predict(np.zeros((2, N_FEATURES), dtype=np.float32))
    assert n_refused > 10


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 10_000, b"{}", b"[$l#L" + b"\x7f" * 8, b"Z", b"[#L" + b"\xff" * 8, b"{L"])
def test_bytes_that_are_no_trees(content):
    with pytest.raises(ValueError, match="^they "):
        Trees.from_ubjson(content)


@pytest.mark.parametrize(
    "parameters", [{"objective": "binary:logistic"}, {"booster": "gblinear"}, {"multi_strategy": "multi_output_tree"}]
)
def test_other_models_of_xgboost(parameters):
    rng = np.random.default_rng(0)
    classes = {} if "objective" in parameters else {"objective": "multi:softprob", "num_class": 2}
    matrix = xgboost.DMatrix(rng.normal(size=(50, 3)), rng.integers(2, size=50))
    booster = xgboost.train({"nthread": 1, "verbosity": 0} | classes | parameters, matrix, 2)
    with pytest.raises(ValueError, match="^(they|there|a tree) "):
        Trees.from_ubjson(bytes(booster.save_raw("ubj")))
