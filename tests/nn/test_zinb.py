import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import stats

from sctab.nn import ZINB, SparseCounts, ZINBOutput, sparse_zinb_loss, zinb_loss


def _sparse(counts, size_factors):
    positions = torch.nonzero(counts.reshape(-1)).ravel()
    return SparseCounts(positions, counts.reshape(-1)[positions], size_factors)


def test_the_loss_is_that_of_scipy():
    rng = np.random.default_rng(0)
    mean, dispersion, dropout = rng.gamma(1, 3, (5, 7)), rng.gamma(2, 1, (5, 7)), rng.uniform(0.1, 0.9, (5, 7))
    counts, size = rng.poisson(1.0, (5, 7)), rng.gamma(5, 0.2, 5)
    mu = mean * size[:, None]
    likelihood = (1 - dropout) * stats.nbinom.pmf(counts, dispersion, dispersion / (dispersion + mu)) + dropout * (counts == 0)
    tensors = [torch.from_numpy(values.astype(float)) for values in (counts, mean, dispersion, dropout, size)]
    loss = zinb_loss(tensors[0], ZINB(*tensors[1:4]), tensors[4])
    assert float(loss) == pytest.approx(-np.log(likelihood).mean(), rel=1e-8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_obs=st.integers(1, 6), n_vars=st.integers(1, 300), scale=st.sampled_from([0.1, 3.0, 30.0]))
def test_the_sparse_loss_and_its_gradients_are_those_of_the_formula(seed, n_obs, n_vars, scale):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    counts = (draw(n_obs, n_vars) * 4 - 3).round().clamp_min(0)
    size_factors = draw(n_obs).exp()
    both = [[(draw(n_obs, n_vars) * scale).requires_grad_() for _ in range(3)]]
    both.append([output.detach().clone().requires_grad_() for output in both[0]])
    (3 * sparse_zinb_loss(_sparse(counts, size_factors), ZINBOutput(*both[0]))).backward()
    (3 * zinb_loss(counts, ZINB.of(ZINBOutput(*both[1])), size_factors)).backward()
    for ours, formula in zip(*both, strict=True):
        torch.testing.assert_close(ours.grad, formula.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_chunks_and_threads_do_not_change_the_loss(n_threads, monkeypatch):
    monkeypatch.setattr("sctab.nn._zinb._CHUNK", 10)
    torch.manual_seed(0)
    counts, size_factors = torch.randint(0, 3, (7, 5)).double(), torch.rand(7).double() + 0.5
    output = ZINBOutput(*(torch.randn(7, 5).double() for _ in range(3)))
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        loss = sparse_zinb_loss(_sparse(counts, size_factors), output)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(loss, zinb_loss(counts, ZINB.of(output), size_factors))


def test_single_precision_agrees_with_double_precision_for_extreme_outputs():
    torch.manual_seed(0)
    counts, size_factors = torch.randint(0, 50, (20, 30)).double(), torch.rand(20).double() * 5
    output = ZINBOutput(*(torch.randn(20, 30).double() * 20 for _ in range(3)))
    exact = sparse_zinb_loss(_sparse(counts, size_factors), output)
    single = sparse_zinb_loss(_sparse(counts.float(), size_factors.float()), ZINBOutput(*(each.float() for each in output)))
    assert float(single) == pytest.approx(float(exact), rel=1e-4)


def test_gradients_cannot_be_taken_twice():
    output = ZINBOutput(*(torch.zeros(1, 1, requires_grad=True) for _ in range(3)))
    loss = sparse_zinb_loss(_sparse(torch.zeros(1, 1), torch.ones(1)), output)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
