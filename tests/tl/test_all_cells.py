import numpy as np

from sctab.inference import Decision
from sctab.tl._all_cells import codes_of_all, decisions_on_all

ROWS = np.array([3, 0, 4])


def parts():
    for start, stop in ((0, 2), (2, 3)):
        codes = np.arange(start, stop, dtype=np.int32)
        yield (
            start,
            stop,
            Decision(
                codes, codes / np.float32(10), np.ones(len(codes), dtype=bool), np.tile(codes[:, None], (1, 2)) * np.float32(1)
            ),
        )


def test_other_cells_were_not_measured():
    found = list(decisions_on_all(parts(), ROWS, 5, 4))
    assert [(start, stop) for start, stop, _ in found] == [(0, 4), (4, 5)]
    whole = Decision.join([decision for _, _, decision in found])
    assert whole.codes.tolist() == [1, -1, -1, 0, 2]
    assert whole.measured.tolist() == [True, False, False, True, True]
    np.testing.assert_allclose(whole.column(whole.confidence), [0.1, np.nan, np.nan, 0, 0.2])
    assert np.isnan(whole.column(whole.probabilities)[1:3]).all()
    assert whole.latent is None


def test_the_same_order():
    found = list(decisions_on_all(parts(), None, 3, 1))
    assert [(start, stop) for start, stop, _ in found] == [(0, 2), (2, 3)]


def test_codes():
    assert codes_of_all(np.array([5, 6, 7]), ROWS, 5).tolist() == [6, -1, -1, 5, 7]
    assert codes_of_all(np.array([5, 6, 7]), None, 3).tolist() == [5, 6, 7]
