"""TabNet against the numbers of the published implementation, and against its own definition."""

import copy
import json

import entmax
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from pytorch_tabnet.tab_network import TabNetNoEmbeddings
from scipy import sparse
from tests.tensors import as_tensor

from sctab.data import Normalization, normalise
from sctab.nn import TabNet, _tabnet, cross_entropy, from_published

ARCHITECTURE = {"n_d": 32, "n_a": 16, "n_shared": 3, "n_independent": 2, "n_steps": 1, "virtual_batch_size": 64}
LAMBDA_SPARSE = 1e-5


@pytest.fixture(scope="module")
def oracle(oracle_path):
    checkpoint = next(oracle_path.glob("*.ckpt"))
    with torch.serialization.safe_globals([torch.optim.AdamW, torch.optim.lr_scheduler.StepLR]):
        weights = torch.load(checkpoint, weights_only=True, map_location="cpu")["state_dict"]
    numbers = dict(np.load(oracle_path / "expected.npz")) | dict(np.load(oracle_path / "expected_training.npz"))
    counts = sparse.csr_matrix(
        (numbers["counts_data"], numbers["counts_indices"], numbers["counts_indptr"]), shape=numbers["shape"]
    )
    numbers["gradient_norms"] = json.loads((oracle_path / "gradient_norms.json").read_text())
    numbers["weights"] = weights
    numbers["values"] = torch.from_numpy(normalise(counts, Normalization()).toarray())
    return numbers


@pytest.fixture
def network(oracle):
    network = TabNet(1500, 12, **ARCHITECTURE)
    network.load_state_dict(from_published(oracle["weights"], n_shared=3))
    return network


@pytest.mark.usefixtures("one_thread")
class TestOracle:
    """The published numbers are float32 and carry rounding of their own, which only the same order of sums reproduces."""

    def test_evaluation(self, oracle, network):
        with torch.inference_mode():
            output = network.eval()(oracle["values"])
        close = {"rtol": 0, "atol": 1e-5}
        np.testing.assert_allclose(output.logits, oracle["logits"], **close)
        np.testing.assert_allclose(output.logits.softmax(dim=1), oracle["probabilities"], **close)
        np.testing.assert_allclose(output.embedding, oracle["embedding"], **close)
        np.testing.assert_allclose(output.masks[0][:32], oracle["mask_step0"], **close)

    def test_explanation(self, oracle, network):
        weights, logits = network.eval().explain(oracle["values"])
        np.testing.assert_allclose(weights[:32], oracle["explain"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(logits, oracle["logits"], rtol=0, atol=1e-5)

    @pytest.mark.parametrize("is_sparse", [False, True])
    def test_training(self, oracle, network, is_sparse, monkeypatch):
        monkeypatch.setattr(_tabnet, "FEWEST_VALUES", 0)
        monkeypatch.setattr(_tabnet, "MOST_STORED", 1.0)  # of these genes cells have more than usual
        values = as_tensor(sparse.csr_matrix(oracle["values"].numpy()), torch.float32) if is_sparse else oracle["values"]
        assert network.takes_sparse(values) == is_sparse
        output = network.train()(values)
        labels, weights = torch.from_numpy(oracle["true_label"]), oracle["weights"]["class_weights"]
        loss = cross_entropy(output.logits, labels, class_weights=weights) - LAMBDA_SPARSE * output.mask_loss
        # How far the published logits are from exact ones: on another processor, which sums in another order, ours may differ by as much.
        exact = copy.deepcopy(network).double().train()(oracle["values"].double()).logits.detach().numpy()
        rounding = np.abs(exact - oracle["train_logits"]).max()
        assert rounding < 5e-5
        close = {
            "rtol": 0,
            "atol": max(1e-5, rounding) * (2 if is_sparse else 1),
        }  # both are rounded where sums are in another order
        np.testing.assert_allclose(output.logits.detach(), oracle["train_logits"], **close)
        np.testing.assert_allclose(output.logits.detach(), exact, **close)
        assert output.mask_loss.item() == pytest.approx(float(oracle["train_mask_loss"]), abs=1e-5)
        assert loss.item() == pytest.approx(float(oracle["train_loss"]), abs=1e-5)

        loss.backward()
        expected = from_published(oracle["gradient_norms"], n_shared=3)
        norms = {name: parameter.grad.norm().item() for name, parameter in network.named_parameters()}
        assert norms == pytest.approx(expected, rel=1e-4)

    def test_names_outside_the_network_are_left_out(self, oracle):
        assert {"class_weights", "child_lookup", "augmentations"} <= set(oracle["weights"])
        assert set(from_published(oracle["weights"], n_shared=3)) == set(TabNet(1500, 12, **ARCHITECTURE).state_dict())


def reference_forward(network, x):
    """The recursion of the paper written out with torch's primitives, in evaluation mode."""

    def batch_norm(norm, values):
        return (values - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias

    def transform(transformer, values):
        for i, linear in enumerate([*network.shared, *transformer.independent]):
            a, b = batch_norm(transformer.norms[i].bn, values @ linear.weight.T).chunk(2, dim=1)
            values = a * torch.sigmoid(b) if i == 0 else np.sqrt(0.5) * (values + a * torch.sigmoid(b))
        return values

    x = batch_norm(network.input_norm, x)
    out, prior, masks = transform(network.splitter, x), torch.ones_like(x), []
    decision = torch.relu(out[:, : network.n_d]) if network.dense_decision else 0
    for attend, transformer in zip(network.attentive_transformers, network.feature_transformers, strict=True):
        logits = batch_norm(attend.norm.bn, out[:, network.n_d :] @ attend.linear.weight.T) * prior
        masks.append(entmax.entmax_bisect(logits, alpha=1.5 if attend.mask_type == "entmax" else 2.0, dim=1, n_iter=80))
        prior = prior * (network.gamma - masks[-1])
        out = transform(transformer, masks[-1] * x)
        decision = decision + torch.relu(out[:, : network.n_d])
    return decision @ network.classifier.weight.T, decision, masks


@given(
    n_steps=st.integers(1, 3),
    layers=st.tuples(st.integers(0, 2), st.integers(0, 2)).filter(any),
    mask_type=st.sampled_from(["entmax", "sparsemax"]),
    dense_decision=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=25, deadline=None)
def test_every_architecture_follows_the_definition(n_steps, layers, mask_type, dense_decision, seed):
    torch.manual_seed(seed)
    network = TabNet(
        20,
        3,
        n_d=5,
        n_a=4,
        n_shared=layers[0],
        n_independent=layers[1],
        n_steps=n_steps,
        mask_type=mask_type,
        virtual_batch_size=8,
        dense_decision=dense_decision,
    )
    network(torch.rand(32, 20))  # moves the running statistics away from zero and one
    network.double().eval()
    x = torch.rand(6, 20, dtype=torch.float64)
    output = network(x)
    logits, embedding, masks = reference_forward(network, x)
    torch.testing.assert_close(output.logits, logits, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(output.embedding, embedding, rtol=1e-6, atol=1e-6)
    assert len(output.masks) == n_steps
    for mask, expected in zip(output.masks, masks, strict=True):
        torch.testing.assert_close(mask, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(mask.sum(dim=1), torch.ones(6, dtype=torch.float64))
    entropies = [(torch.special.xlogy(mask, mask)).sum(dim=1).mean() for mask in masks]
    torch.testing.assert_close(output.mask_loss, torch.stack(entropies).mean(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("mask_type", ["entmax", "sparsemax"])
@pytest.mark.parametrize(("n_steps", "n_shared", "n_independent"), [(1, 2, 1), (3, 1, 2), (4, 1, 1)])
def test_explanation_is_that_of_another_implementation(n_steps, n_shared, n_independent, mask_type):
    torch.manual_seed(n_steps)
    size = {"n_d": 6, "n_a": 5, "n_steps": n_steps, "n_shared": n_shared, "n_independent": n_independent, "mask_type": mask_type}
    other = TabNetNoEmbeddings(20, 3, **size, virtual_batch_size=8, group_attention_matrix=torch.eye(20))
    for _ in range(5):
        other(torch.randn(32, 20))  # moves the running statistics away from zero and one
    used = (name for name in other.state_dict() if name.startswith(("encoder.", "final_mapping.")))
    weights = {f"classifier.{name}": other.state_dict()[name] for name in used}
    network = TabNet(20, 3, **size).eval()
    network.load_state_dict(from_published(weights, n_shared=n_shared))
    x = torch.randn(9, 20)
    with torch.inference_mode():
        expected, masks = other.eval().forward_masks(x)
    found = network(x)
    torch.testing.assert_close(network.explain(x)[0], expected, rtol=1e-5, atol=1e-5)
    assert len(found.masks) == len(found.decisions) == len(masks) == n_steps
    for step, mask in enumerate(found.masks):
        torch.testing.assert_close(mask, masks[step], rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_steps", [1, 2])
def test_the_dense_decision_is_shared_out_by_what_speaks_for_the_predicted_type(n_steps):
    """The gradient is taken by differences, of the recursion of the paper without its masked steps."""
    torch.manual_seed(n_steps)
    network = TabNet(12, 4, n_d=5, n_a=4, n_shared=1, n_independent=1, n_steps=n_steps, virtual_batch_size=8, dense_decision=True)
    network(torch.rand(32, 12))
    network.double().eval()
    x = torch.rand(6, 12, dtype=torch.float64) * (torch.rand(6, 12) > 0.3)
    with torch.no_grad():
        output = network(x)
        attention = sum(mask * step.sum(dim=1, keepdim=True) for mask, step in zip(output.masks, output.decisions, strict=True))
        steps, network.attentive_transformers = network.attentive_transformers, torch.nn.ModuleList()
        transformers, network.feature_transformers = network.feature_transformers, torch.nn.ModuleList()

        def evidence(values):
            logits, dense, _ = reference_forward(network, values)
            return (logits - logits.mean(dim=1, keepdim=True))[torch.arange(6), output.logits.argmax(dim=1)], dense

        nudges = 1e-6 * torch.eye(12, dtype=torch.float64)
        gradient = torch.stack([(evidence(x + nudge)[0] - evidence(x - nudge)[0]) / 2e-6 for nudge in nudges], dim=1)
        speaks_for = (x * gradient).clamp(min=0)
        of_dense = speaks_for / speaks_for.sum(dim=1, keepdim=True) * evidence(x)[1].sum(dim=1, keepdim=True)
        network.attentive_transformers, network.feature_transformers = steps, transformers
    weights, logits = network.explain(x)
    torch.testing.assert_close(weights, attention + of_dense, rtol=0, atol=1e-6)
    torch.testing.assert_close(weights.sum(dim=1), output.embedding.sum(dim=1))
    torch.testing.assert_close(logits, output.logits)
    assert not weights.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("mask_type", ["entmax", "sparsemax"])
def test_masks_sum_to_one_in_mixed_precision(mask_type):
    torch.manual_seed(0)
    network = TabNet(n_features=2000, n_classes=3, n_steps=2, mask_type=mask_type)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        masks = network(torch.rand(64, 2000)).masks
    for mask in masks:
        torch.testing.assert_close(mask.sum(dim=1), torch.ones(64))


def test_shared_layers_are_shared_and_norms_are_not():
    network = TabNet(10, 2, n_d=3, n_a=2, n_shared=2, n_independent=1, n_steps=2)
    names = [name for name, _ in network.named_parameters()]
    assert sum(name.startswith("shared.") for name in names) == 2
    norms = [network.splitter.norms, *(transformer.norms for transformer in network.feature_transformers)]
    assert [len(of_one) for of_one in norms] == [3, 3, 3]
    assert len({id(norm) for of_one in norms for norm in of_one}) == 9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_steps": 0}, "`n_steps=0` must be between 1 and 1000"),
        ({"n_shared": 0, "n_independent": 0}, "cannot both be zero"),
        ({"mask_type": "softmax"}, "`mask_type='softmax'` is unknown"),
    ],
)
def test_impossible_architectures_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TabNet(10, 2, **settings)
