"""Old names work as the new ones do, and warn at the line that uses them."""

import inspect

import pytest

from sctab import SctabError
from sctab._deprecation import renamed_argument, renamed_function
from sctab.benchmark import run_benchmark
from sctab.model import AutoClassifier, DeepEnsemble, LinearClassifier
from sctab.tl import annotate
from sctab.tuning import tune_from_corpus


def add(first, *, second=1):
    """Add two numbers."""
    return first + second


add.__module__ = "sctab.tl._add"
plus = renamed_function("sctab.tl.plus", add, since="0.2", removed_in="0.4")


@renamed_argument("step", "size", since="0.3", removed_in="0.5")
@renamed_argument("count", "n_steps", since="0.2", removed_in="0.4")
def walk(start, *, size=1, n_steps=1):
    """Walk some steps."""
    return start + size * n_steps


def line_of_this_call():
    return inspect.currentframe().f_back.f_lineno


class TestRenamedFunction:
    def test_it_calls_the_new_function(self):
        with pytest.warns(FutureWarning):
            assert plus(2, second=3) == 5

    def test_the_message_has_both_names_and_versions(self):
        message = r"`sctab\.tl\.plus` is deprecated since sctab 0\.2 and will be removed in 0\.4\. Use `sctab\.tl\.add`\."
        with pytest.warns(FutureWarning, match=message):
            plus(2)

    def test_it_points_at_the_caller(self):
        with pytest.warns(FutureWarning) as caught:
            line = line_of_this_call(), plus(2)
        assert [(w.filename, w.lineno) for w in caught] == [(__file__, line[0])]

    def test_it_has_the_old_name_and_the_signature_of_the_new_function(self):
        assert plus.__name__ == plus.__qualname__ == "plus"
        assert inspect.signature(plus) == inspect.signature(add)
        assert inspect.getdoc(plus) == "Deprecated name of `sctab.tl.add`; removed in 0.4."

    def test_a_real_function_is_named_after_its_room(self):
        old = renamed_function("sctab.tl.label", annotate, since="0.2", removed_in="0.4")
        assert "`sctab.tl.annotate`" in inspect.getdoc(old)


class TestRenamedArgument:
    @pytest.mark.filterwarnings("error")
    def test_the_new_name_does_not_warn(self):
        assert walk(1, size=2, n_steps=3) == 7

    @pytest.mark.parametrize(("old", "expected"), [({"step": 5}, 6), ({"count": 4}, 5)], ids=str)
    def test_the_old_name_means_the_new_one(self, old, expected):
        with pytest.warns(FutureWarning, match=f"`{next(iter(old))}` of `walk`") as caught:
            assert walk(1, **old) == expected
        assert len(caught) == 1

    def test_the_message_has_both_names_and_versions(self):
        message = r"`count` of `walk` is deprecated since sctab 0\.2 and will be removed in 0\.4\. Use `n_steps`\."
        with pytest.warns(FutureWarning, match=message):
            walk(1, count=2)

    @pytest.mark.parametrize("old", ["step", "count"])
    def test_it_points_at_the_caller(self, old):
        with pytest.warns(FutureWarning) as caught:
            line = line_of_this_call(), walk(1, **{old: 2})
        assert [(w.filename, w.lineno) for w in caught] == [(__file__, line[0])]

    def test_both_names_are_refused(self):
        with pytest.raises(TypeError, match=r"`walk` got both `step` and `size`, which are one argument\. Use `size` alone\."):
            walk(1, step=2, size=2)

    def test_the_signature_has_the_new_names_only(self):
        assert list(inspect.signature(walk).parameters) == ["start", "size", "n_steps"]
        assert walk.__name__ == "walk"


@pytest.mark.parametrize(
    "function", [LinearClassifier.from_corpus, AutoClassifier.from_corpus, DeepEnsemble.from_corpus, tune_from_corpus]
)
def test_parts_of_a_corpus(function, tmp_path):
    with pytest.warns(FutureWarning, match="The argument .* is deprecated since") as caught, pytest.raises(SctabError):
        function(tmp_path / "missing", subset=0.5, subset_by="cell")
    said = " ".join(str(each.message) for each in caught)
    assert len(caught) == 2
    assert all(f"The argument `{old}` of" in said for old in ("subset", "subset_by"))
    assert all(f"Use `{new}`." in said for new in ("fraction", "fraction_by"))


def test_jobs_of_a_benchmark(tmp_path):
    with pytest.warns(FutureWarning, match="The argument `jobs` of `run_benchmark` .* Use `n_jobs`"), pytest.raises(AttributeError):
        run_benchmark(None, tmp_path / "out", jobs=1)
