"""Tables, against cases worked by hand."""

from dataclasses import replace

import pandas as pd
import pytest

from sctab import SettingError
from sctab.benchmark import Results, comparison, paired_differences, write_report
from sctab.benchmark._report import best_label
from sctab.benchmark._results import _OF_RUN

VALUES = {
    ("a", "one"): [0.8, 0.9],
    ("a", "two"): [0.5, 0.7],
    ("b", "one"): [0.7, 0.9],
    ("b", "two"): [0.7, 0.8],
    ("c", "one"): [0.6, 0.6],
}


def rows(model, task, seed, value, **more):
    return (
        {"task": task, "model": model, "family": model, "kind": "model", "seed": seed, "subset": "", "fraction": 1.0}
        | {
            "metric": "macro_f1",
            "group": "",
            "value": value,
            "seconds": 2.0 * (seed + 1),
            "peak_memory": 1.5e9,
            "kept": "",
        }
        | more
    )


@pytest.fixture
def scores():
    whole = [rows(model, task, seed, value) for (model, task), values in VALUES.items() for seed, value in enumerate(values)]
    part = rows("a", "one", 0, 0.1, subset="donor", fraction=0.5)
    group = rows("a", "one", 0, 0.25, group="donor=x")
    return pd.DataFrame([*whole, part, group])


@pytest.fixture
def results(scores):
    unfinished = pd.DataFrame(
        [{"task": "two", "model": "c", "seed": seed, "fraction": 1.0, "state": "failed", "reason": "x | y"} for seed in (0, 1)]
    )
    empty = pd.DataFrame(columns=[*_OF_RUN])
    return Results(scores, empty, empty, unfinished, None)


def test_mean_and_spread_over_seeds(scores):
    table = comparison(scores)
    assert table.loc[("a", "one"), "mean"] == pytest.approx(0.85)
    assert table.loc[("a", "one"), "sd"] == pytest.approx(0.1 / 2**0.5)
    assert table["seeds"].tolist() == [2] * 5


def test_differences_are_paired(scores):
    table = paired_differences(scores, "a")
    assert set(table["baseline"]) == {"a"}
    assert table.loc[("b", "one"), "mean"] == pytest.approx(-0.05)
    assert table.loc[("b", "one"), "sd"] == pytest.approx(0.1 / 2**0.5)
    assert table.loc[("b", ""), ["mean", "pairs"]].tolist() == pytest.approx([0.05, 4])
    assert table.loc[("c", ""), "pairs"] == 2


def test_by_default_the_best_that_has_done_all_tasks_is_compared_with(scores):
    assert best_label(scores) == "b"
    assert best_label(scores[scores["fraction"] < 1]) is None
    assert set(paired_differences(scores)["baseline"]) == {"b"}
    assert set(paired_differences(scores.assign(model=lambda frame: frame["model"] + "!"))["baseline"]) == {"b!"}
    assert paired_differences(scores[scores["model"] == "c"].iloc[:0]).empty


def test_the_best_has_done_all_tasks(scores):
    better = scores.assign(value=scores["value"].where(scores["model"] != "c", 1.0))
    assert best_label(better) == "b"
    assert best_label(scores.assign(metric="cross_entropy"), "cross_entropy") == "a"


def test_a_baseline_without_a_result_is_said(scores, results, tmp_path):
    with pytest.raises(SettingError, match="`d` has no result to compare with. There are results of `a`, `b`, `c`"):
        paired_differences(scores, "d")
    text = write_report(replace(results, baseline="d"), tmp_path).read_text(encoding="utf-8")
    assert "## Paired differences\n\n`d`, with which the others are to be compared, has no result." in text
    assert "Macro F1 minus that of" not in text


def test_only_parts_have_a_result(scores, results, tmp_path):
    parts = scores[scores["fraction"] < 1]
    text = write_report(replace(results, scores=parts), tmp_path).read_text(encoding="utf-8")
    assert "## Macro F1 by fraction of the donors: one\n\n| model | 50% |" in text
    assert "## Paired differences" not in text


def test_scaling_shows_cross_entropy_too(results, tmp_path):
    more = [
        rows(model, "one", 0, value, subset="donor", fraction=fraction, metric="cross_entropy")
        for model, fraction, value in [("a", 1.0, 0.3), ("a", 0.5, 0.6), ("b", 0.5, 0.5)]
    ]
    scores = pd.concat([results.scores, pd.DataFrame(more)])
    text = write_report(replace(results, scores=scores), tmp_path).read_text(encoding="utf-8")
    assert "## Cross-entropy by fraction of the donors: one\n\n| model | 50% | 100% |" in text
    assert "| a | 0.600 | **0.300** |" in text
    assert "| b | **0.500** |  |" in text


def test_what_auto_kept(results, tmp_path):
    kept = [rows("auto", "one", seed, 0.9, kept=name) for seed, name in enumerate(["linear", "mlp", "linear"])]
    scores = pd.concat([results.scores, pd.DataFrame([*kept, rows("auto", "two", 0, 0.9, kept="sctab")])])
    text = write_report(replace(results, scores=scores), tmp_path).read_text(encoding="utf-8")
    assert "| auto | linear 2×, mlp 1× | sctab 1× |" in text


def test_report(results, tmp_path):
    text = write_report(results, tmp_path, figures={"Comparison": "figures/models.svg"}).read_text(encoding="utf-8")
    assert "| model | one | two |" in text
    assert "| a | **0.850 ± 0.071** | 0.600 ± 0.141 |" in text
    assert "| c | 0.600 ± 0.000 |  |" in text
    assert "| a | +0.050 ± 0.071 | -0.150 ± 0.071 | -0.050 ± 0.129 | 4 |" in text
    assert "| a | 3.0 | 3.0 |" in text
    assert "| a | 1.50 | 1.50 |" in text
    assert "## Macro F1 by group: one" in text
    assert "![Comparison](figures/models.svg)" in text
    assert "| c | failed | 2 | two | x \\| y |" in text
