import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from sctab.nn import cross_entropy, hierarchical_cross_entropy


def test_weighted_cross_entropy_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels, weights = torch.from_numpy(rng.normal(size=(30, 4))), rng.integers(0, 4, 30), rng.uniform(0.5, 2, 4)
    ours = cross_entropy(logits, torch.from_numpy(labels), class_weights=torch.from_numpy(weights))
    expected = log_loss(labels, logits.softmax(dim=1), sample_weight=weights[labels], labels=range(4))
    assert ours.item() == pytest.approx(expected)


def test_cells_without_a_label_do_not_count():
    logits = torch.randn(6, 3, requires_grad=True)
    labels = torch.tensor([0, -1, 2, -1, 1, -1])
    loss = cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(cross_entropy(logits[::2], labels[::2]).item())
    loss.backward()
    assert not logits.grad[1::2].any()


@pytest.mark.parametrize(
    "loss", [cross_entropy, lambda *args, **kwargs: hierarchical_cross_entropy(*args, torch.eye(3) > 0, **kwargs)]
)
def test_it_is_the_same_where_all_cells_are_known_to_have_a_label(loss):
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    options = {"class_weights": torch.tensor([1.0, 2.0, 3.0]), "label_smoothing": 0.1}
    assert torch.equal(loss(logits, labels, all_labeled=True, **options), loss(logits, labels, **options))
    assert loss(logits[:0], labels[:0], all_labeled=True, **options) == 0


def test_a_batch_without_labels_has_no_loss_and_no_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([-1, -1]))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_label_smoothing_mixes_in_the_even_distribution():
    rng = np.random.default_rng(0)
    logits, labels = torch.from_numpy(rng.normal(size=(30, 4))), rng.integers(0, 4, 30)
    targets = 0.8 * np.eye(4)[labels] + 0.2 / 4
    expected = -(targets * logits.log_softmax(dim=1).numpy()).sum(axis=1).mean()
    assert cross_entropy(logits, torch.from_numpy(labels), label_smoothing=0.2).item() == pytest.approx(expected)


class TestHierarchical:
    # 0 is above 1 and 2, 1 above 3; 4 stands alone
    CHILDREN = torch.tensor([[1, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]], dtype=torch.bool)

    @given(seed=st.integers(0, 2**16), weighted=st.booleans())
    def test_it_is_the_cross_entropy_of_summed_probabilities(self, seed, weighted):
        rng = np.random.default_rng(seed)
        logits, labels = rng.normal(scale=3, size=(12, 5)), rng.integers(0, 5, 12)
        weights = rng.uniform(0.5, 2, 5) if weighted else np.ones(5)
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        summed = probabilities @ self.CHILDREN.numpy().T.astype(float)
        expected = np.average(-np.log(summed[np.arange(12), labels]), weights=weights[labels])
        ours = hierarchical_cross_entropy(
            torch.from_numpy(logits),
            torch.from_numpy(labels),
            self.CHILDREN,
            class_weights=torch.from_numpy(weights) if weighted else None,
        )
        assert ours.item() == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
    def test_without_subtypes_it_is_the_plain_loss(self, label_smoothing):
        rng = np.random.default_rng(0)
        logits, labels = torch.from_numpy(rng.normal(size=(30, 4))), torch.from_numpy(rng.integers(-1, 4, 30))
        options = {"class_weights": torch.from_numpy(rng.uniform(0.5, 2, 4)), "label_smoothing": label_smoothing}
        ours = hierarchical_cross_entropy(logits, labels, torch.eye(4, dtype=torch.bool), **options)
        assert ours.item() == pytest.approx(cross_entropy(logits, labels, **options).item())

    @given(share=st.floats(0.05, 0.95), own_label=st.floats(0.05, 1.0))
    def test_what_is_best_for_cells_that_look_alike(self, share, own_label):
        """Of a label and its subtype, minimised numerically, against the formula of the docstring."""
        pair = torch.tensor([[True, True], [False, True]])
        labels = torch.tensor([0, 1])

        def loss(logit):
            logits = torch.tensor([[logit, 0.0]] * 2, dtype=torch.float64)
            weights = torch.tensor([share, 1 - share], dtype=torch.float64)
            return hierarchical_cross_entropy(logits, labels, pair, own_label=own_label, class_weights=weights).item()

        best = 1 / (1 + np.exp(-minimize_scalar(loss, bracket=(-3, 3)).x))
        assert best == pytest.approx(share * own_label / (share * own_label + 1 - share), abs=1e-3)

    def test_with_all_of_the_own_label_it_is_the_plain_loss(self):
        rng = np.random.default_rng(0)
        logits, labels = torch.from_numpy(rng.normal(size=(30, 5))), torch.from_numpy(rng.integers(0, 5, 30))
        ours = hierarchical_cross_entropy(logits, labels, self.CHILDREN, own_label=1.0)
        assert ours.item() == pytest.approx(cross_entropy(logits, labels).item())

    def test_a_probability_too_small_to_write_down_still_has_a_gradient(self):
        logits = torch.tensor([[-400.0, -300.0, -310.0, -320.0, 0.0]], requires_grad=True)
        loss = hierarchical_cross_entropy(logits, torch.tensor([0]), self.CHILDREN)
        loss.backward()
        assert loss.item() == pytest.approx(300, abs=1e-3)
        assert logits.grad[0, 1].item() == pytest.approx(-1, abs=1e-3)
        assert logits.grad[0, 4].item() == pytest.approx(1, abs=1e-3)
        assert logits.grad.isfinite().all()

    def test_a_subtype_is_not_taught_that_it_is_wrong(self):
        logits = torch.tensor([[0.0, 5.0, 0.0, 0.0, 0.0]], requires_grad=True)
        hierarchical_cross_entropy(logits, torch.tensor([0]), self.CHILDREN).backward()
        assert logits.grad[0, 1].item() < 0 < logits.grad[0, 4].item()

    def test_a_batch_without_labels_has_no_loss_and_no_gradient(self):
        logits = torch.randn(2, 5, requires_grad=True)
        loss = hierarchical_cross_entropy(logits, torch.tensor([-1, -1]), self.CHILDREN)
        loss.backward()
        assert loss.item() == 0
        assert not logits.grad.any()
