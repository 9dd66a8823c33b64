"""The page of a check, as text and as HTML."""

from dataclasses import replace

import pandas as pd
from tests.checks import CHECK

from sctab.errors import Message, Parameter
from sctab.pp._check_page import page_as_html, page_as_text


def lines_of(check):
    return page_as_text(check).splitlines()


def test_each_finding_has_a_line():
    assert lines_of(CHECK)[:11] == [
        "Check of 1,200 cells with the model `blood`",
        "Ready to annotate, with 1 warning.",
        "",
        "matrix        X holds counts; 2,000 features",
        "species       human",
        "genes         2 of 3 model genes found by symbols (index), which carry 90% of total importance",
        "antibodies    none",
        "empty cells   3 without a count; 4 without a count in model genes",
        "depth         median cell, in these genes: 800 counts (0.80 times the 1,000 of the reference), 400",
        "              detected genes",
        "shift         0.61: a cell of the query is further from all types than a cell of the reference in",
    ]
    text = " ".join(page_as_text(CHECK).split())
    for part in (
        "2.0% of 1,000 sampled cells fit no label, at a false discovery rate of 0.1",
        "12 of 1,200 cells are recognised as training data (2 expected by chance",
        "an error of 0.1 can be promised for a new donor, on average, if of types that the model knows: confidence is 0.010 below",
        "B cell 900 95% 19 of 20",
        "- The first warning.",
    ):
        assert part in text, part


def test_lines_are_at_most_100_columns_wide():
    long = replace(CHECK, warnings=("many words " * 40,), not_checked=("not this " * 30,))
    assert max(map(len, lines_of(long))) <= 100


def test_what_is_not_known_is_left_out():
    check = replace(CHECK, shift=None, fraction_unseen=None, n_learned=None, promise=None, warnings=(), not_checked=("No depth.",))
    text = page_as_text(check)
    for title in ("shift", "unseen types", "leakage", "promise", "Warnings"):
        assert title not in text
    assert "Not checked\n- No depth." in text


def test_messages_are_written_as_asked():
    check = replace(CHECK, warnings=(Message("Set ", Parameter("unseen_fdr", 0.1), "."),))
    assert "- Set `unseen_fdr=0.1`." in page_as_text(check)
    assert "- Set `--unseen-fdr 0.1`." in page_as_text(check, lambda message: message.in_shell({"unseen_fdr": "--unseen-fdr"}))


def test_html_is_escaped():
    check = replace(CHECK, model="<b>", warnings=("a < b",), types=CHECK.types.rename(index={"B cell": "B <i>cell"}))
    page = page_as_html(check)
    assert "<code>&lt;b&gt;</code>" in page
    assert "a &lt; b" in page
    assert "B &lt;i&gt;cell" in page


def test_long_names_and_many_types():
    types = pd.concat([CHECK.types.iloc[[0]]] * 50)
    types.index = [f"a very long name of a cell type of the kidney, number {number}" for number in range(50)]
    text = page_as_text(replace(CHECK, types=types))
    assert "a very long name of a cell type of …" in text
    assert "… and 10 more labels: see `types`." in text
