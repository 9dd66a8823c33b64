import numpy as np
import torch

from sctab.data import kept_antibodies

DRAWS = np.random.default_rng(0).random((20_000, 12))


def test_half_of_the_chosen_cells_lose_all_and_the_others_half_on_average():
    kept = kept_antibodies(DRAWS, 0.5).mean(axis=1)
    assert abs((kept == 1).mean() - 0.5 - 0.25 / 11) < 0.01  # with a share near 0, a chosen cell may lose none
    assert abs((kept == 0).mean() - 0.25 - 0.25 / 11) < 0.01
    assert abs(kept.mean() - (0.5 + 0.25 * 0.5)) < 0.01


def test_nothing_and_everything():
    assert kept_antibodies(DRAWS, 0.0).all()
    assert abs((~kept_antibodies(DRAWS, 1.0).any(axis=1)).mean() - 0.5 - 0.5 / 11) < 0.02


def test_tensors_give_the_same():
    np.testing.assert_array_equal(kept_antibodies(torch.from_numpy(DRAWS), 0.3).numpy(), kept_antibodies(DRAWS, 0.3))
