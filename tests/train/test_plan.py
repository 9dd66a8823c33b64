"""What reaches the network, and what the optimiser does."""

import numpy as np
import pytest
import torch
from scipy import sparse
from tests.training import N_GENES, SETTINGS, Recorder, make_data, normalised, train
from torch.nn.utils import clip_grad_norm_
from torch.utils._python_dispatch import TorchDispatchMode

from sctab.data import Normalization
from sctab.train import TrainingSettings
from sctab.train._memory import MemoryData
from sctab.train._plan import TrainingPlan

SUBTYPES = [[True, True, False], [False, True, False], [False, False, True]]
"""Type 1 is a subtype of type 0."""
NORMALIZATION = Normalization(target_sum=100.0)


class OneDifference(MemoryData):
    """Cells whose donors differ in one gene, in one direction."""

    def donor_differences(self, *_):
        vector = np.zeros((1, N_GENES), dtype=np.float32)
        vector[0, 3] = 0.5
        return sparse.csr_matrix(vector)


@pytest.fixture(scope="module")
def data():
    return make_data()


def rows_of(batches):
    return torch.cat(list(batches)).numpy()


def seen(run):
    """Inputs of all training cells, the genes and the covariates apart, and the counts that they were made of."""
    inputs, counts = rows_of(run.trained_on), rows_of(batch[0] for batch in run.batches)
    return inputs[:, : counts.shape[1]], inputs[:, counts.shape[1] :], counts


class TestInputs:
    def test_are_normalised_counts_and_covariates(self, data):
        genes, covariates, counts = seen(train(data))
        np.testing.assert_allclose(genes, normalised(counts), rtol=1e-5)
        assert (covariates == 1).all()

    def test_genes_are_dropped_before_they_are_normalised(self):
        data = make_data(300, n_genes=200)
        genes, _, counts = seen(train(data, gene_dropout=0.8, max_epochs=1))
        dropped = genes == 0
        np.testing.assert_allclose(genes, normalised(np.where(dropped, 0, counts)), rtol=1e-5)
        shares = dropped.mean(axis=1)
        assert shares.mean() == pytest.approx(0.4, abs=0.05)
        assert shares.min() < 0.1
        assert 0.7 < shares.max() < 0.9

    @pytest.mark.parametrize("dropout", [0.0, 0.3, 1.0])
    def test_covariates_are_hidden_from_cells_one_by_one(self, dropout):
        _, covariates, _ = seen(train(make_data(600), covariate_dropout=dropout, max_epochs=1))
        assert set(np.unique(covariates)) <= {0, 1}
        assert 1 - covariates.mean(axis=0) == pytest.approx(dropout, abs=0.08)
        assert (1 - covariates[:, 0]) @ (1 - covariates[:, 1]) / len(covariates) == pytest.approx(dropout**2, abs=0.08)

    def test_have_a_difference_between_donors(self, data):
        run = train(data, augment=True)
        genes, _, counts = seen(run)
        vectors = data.donor_differences(run.result.split, NORMALIZATION, 0).toarray()
        assert len(vectors)
        for cell, of_cell in zip(genes, normalised(counts), strict=True):
            candidates = np.stack([of_cell - vectors, of_cell + vectors]).clip(0, NORMALIZATION.largest)
            assert np.abs(candidates - cell).max(axis=2).min() < 1e-4

    def test_differences_between_donors_are_as_often_added_as_subtracted(self):
        data = OneDifference(**vars(make_data(200)))
        genes, _, counts = seen(train(data, augment=True))
        change = genes - normalised(counts)
        assert np.unique(change[:, 3].round(3)).tolist() == [-0.5, 0.5]
        assert np.mean(change[:, 3] > 0) == pytest.approx(0.5, abs=0.1)
        np.testing.assert_allclose(np.delete(change, 3, axis=1), 0, atol=1e-5)

    def test_validation_has_all_that_is_known_and_nothing_else(self, data):
        run = train(data, gene_dropout=0.9, covariate_dropout=1.0, augment=True, max_epochs=2)
        cells = run.result.split.validation
        expected = np.hstack([normalised(data.counts[cells].toarray()), np.ones((len(cells), 4))])
        np.testing.assert_allclose(rows_of(run.validated_on), np.vstack([expected, expected]), rtol=1e-5)

    def test_training_cells_come_once_in_every_epoch_in_another_order(self, data):
        run = train(data)
        split = run.result.split
        labels = [batch[2] for batch in run.batches]
        assert {int(label) for batch in labels for label in batch} == {0, 1, 2}
        n_batches = -(-len(split.train) // SETTINGS["batch_size"])
        assert len(labels) == 3 * n_batches
        orders = [rows_of(batch[0] for batch in run.batches[i : i + n_batches]) for i in range(0, len(labels), n_batches)]
        expected = np.unique(data.counts[split.train].toarray(), axis=0)
        for order in orders:
            assert len(order) == len(split.train)
            np.testing.assert_array_equal(np.unique(order, axis=0), expected)
        assert not any(np.array_equal(one, other) for one, other in ((orders[0], orders[1]), (orders[1], orders[2])))
        again = train(data)
        np.testing.assert_array_equal(rows_of(again.trained_on), rows_of(run.trained_on))
        other = train(data, seed=1)
        assert not np.array_equal(rows_of(other.trained_on)[:5], rows_of(run.trained_on)[:5])


def plain_loss(logits, labels, settings, weights, subtypes):
    """The loss of one batch, written out."""
    log_p = logits.log_softmax(dim=1)
    own = torch.nn.functional.one_hot(labels, 3).double()
    right = torch.tensor(subtypes)[labels].double() if settings.loss == "hierarchical" else own
    of_label = -((right * log_p.exp()).sum(dim=1)).log()
    spread = -(log_p * weights).mean(dim=1)
    smoothing = settings.label_smoothing
    of_cells = (1 - smoothing) * weights[labels] * of_label + smoothing * spread
    return of_cells.sum() / weights[labels].sum()


def balanced(labels):
    labels = labels[labels >= 0]
    return torch.from_numpy(len(labels) / (3 * np.bincount(labels, minlength=3)))


def plain_training(data, run, settings, *, subtypes, penalty):
    """Weights after the same batches in a loop of PyTorch, in double precision; the losses and the learning rates."""
    network = Recorder(data).double()
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    n_batches = len(run.batches) // settings.max_epochs
    if settings.schedule == "step":
        schedule, every = torch.optim.lr_scheduler.StepLR(optimizer, 1, settings.lr_decay), n_batches
    else:
        schedule, every = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, len(run.batches)), 1
    weights = balanced(data.labels[run.result.split.train]) if settings.class_weights else torch.ones(3, dtype=torch.float64)
    losses, rates = [], []
    for number, (inputs, (_, _, labels)) in enumerate(zip(run.trained_on, run.batches, strict=True), start=1):
        output = network(inputs.double())
        loss = plain_loss(output.logits, labels, settings, weights, subtypes)
        matrix = network.linear.weight
        loss = loss + settings.l1 * matrix.abs().sum() + settings.l2 * (matrix**2).sum() / 2
        if penalty is not None:
            loss = loss + penalty(output)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(network.parameters(), settings.gradient_clip)
        rates.append(optimizer.param_groups[0]["lr"])
        losses.append(float(loss.detach()))
        optimizer.step()
        if number % every == 0 and number < len(run.batches):
            schedule.step()
    return network.linear, losses, rates


class TestSteps:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"weight_decay": 0.5},
            {"class_weights": True},
            {"label_smoothing": 0.3, "class_weights": True},
            {"gradient_clip": 0.05},
            {"l1": 0.1},
            {"l2": 0.5},
            {"lr_decay": 0.3},
            {"schedule": "one-cycle"},
            {"loss": "hierarchical", "class_weights": True},
            {"penalty": lambda output: 0.5 * output.logits.square().mean()},
            {"gene_dropout": 0.5, "covariate_dropout": 0.5, "augment": True},
        ],
        ids=lambda options: ", ".join(options) or "nothing",
    )
    def test_are_those_of_a_plain_loop(self, options):
        penalty = options.get("penalty")
        options = {"learning_rate": 0.05} | {name: value for name, value in options.items() if name != "penalty"}
        data = make_data(child_matrix=SUBTYPES if options.get("loss") == "hierarchical" else None)
        run = train(data, penalty=penalty, train_size=1.0, **options)
        settings = TrainingSettings(**SETTINGS | options)
        expected, losses, rates = plain_training(data, run, settings, subtypes=SUBTYPES, penalty=penalty)
        np.testing.assert_allclose(run.network.linear.weight.detach(), expected.weight.detach(), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(run.network.linear.bias.detach(), expected.bias.detach(), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose([step.lr for step in run.steps], rates, rtol=1e-6)
        assert {(step.kind, step.weight_decay) for step in run.steps} == {(torch.optim.AdamW, settings.weight_decay)}
        sizes = [len(batch[2]) for batch in run.batches]
        for epoch in range(3):
            of_epoch = slice(epoch * len(sizes) // 3, (epoch + 1) * len(sizes) // 3)
            for name, values in (("train_loss", losses), ("learning_rate", rates)):
                assert run.history[name][epoch] == pytest.approx(np.average(values[of_epoch], weights=sizes[of_epoch]), rel=1e-4)

    def test_one_cycle_goes_up_and_down_once(self, data):
        rates = np.array([step.lr for step in train(data, schedule="one-cycle", max_epochs=20).steps])
        peak = rates.argmax()
        assert rates[peak] == pytest.approx(SETTINGS["learning_rate"], rel=1e-6)
        assert peak == pytest.approx(0.3 * len(rates), abs=1.5)
        assert (np.diff(rates[: peak + 1]) > 0).all()
        assert (np.diff(rates[peak:]) < 0).all()
        assert rates[0] == pytest.approx(rates[peak] / 25, rel=1e-6)
        assert rates[-1] < 1e-3 * rates[peak]

    def test_no_gradient_is_longer_than_the_limit(self, data):
        free = [torch.cat([gradient.flatten() for gradient in step.gradients]).norm() for step in train(data).steps]
        limit = float(torch.stack(free).min()) / 2
        cut = [
            torch.cat([gradient.flatten() for gradient in step.gradients]).norm() for step in train(data, gradient_clip=limit).steps
        ]
        np.testing.assert_allclose(cut, limit, rtol=1e-3)

    def test_a_label_that_donors_told_apart_excludes_its_subtype(self):
        """All donors have cells of type 0 and of its subtype 1: `auto` learns them as if they excluded each other."""
        data = make_data(child_matrix=SUBTYPES)
        one, other = train(data, loss="auto"), train(data, loss="cross-entropy")
        np.testing.assert_array_equal(one.network.linear.weight.detach(), other.network.linear.weight.detach())

    def test_a_label_of_donors_without_its_subtypes_is_right_in_them(self):
        data = make_data(child_matrix=SUBTYPES)
        data.donors[:] = 2 * (data.labels == 1) + np.arange(len(data.labels)) % 2
        run = train(data, loss="auto", train_size=1.0, max_epochs=1)
        network = Recorder(data).double()
        inputs, labels = run.trained_on[0].double(), run.batches[0][2]
        log_p = network(inputs).logits.log_softmax(dim=1)
        right = torch.tensor(SUBTYPES)[labels].double()
        of_cells = 0.9 * ((right * log_p.exp()).sum(dim=1)).log() + 0.1 * log_p[torch.arange(len(labels)), labels]
        (-of_cells.mean()).backward()
        for found, parameter in zip(run.steps[0].gradients, network.parameters(), strict=True):
            np.testing.assert_allclose(found, parameter.grad, rtol=1e-3, atol=1e-6)


class WaitsForDevice(TorchDispatchMode):
    """Record the operations whose result, or its shape, the program cannot know before a device is done."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        by_mask = name == "index" and any(part is not None and part.dtype == torch.bool for part in args[1])
        if by_mask or name in {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal"}:
            self.found.append(name)
        return operation(*args, **(kwargs or {}))


class TestWaiting:
    @pytest.mark.parametrize("loss", ["cross-entropy", "hierarchical"])
    def test_a_step_does_not_wait_for_the_device(self, monkeypatch, loss):
        """On a GPU, the host would be idle until all steps so far are computed, and the GPU until the host has prepared the next."""
        waits, step = WaitsForDevice(), TrainingPlan.training_step

        def watched(*args):
            with waits:
                return step(*args)

        monkeypatch.setattr(TrainingPlan, "training_step", watched)
        train(make_data(child_matrix=SUBTYPES), loss=loss, class_weights=True, label_smoothing=0.1, gene_dropout=0.5, max_epochs=1)
        assert waits.found == []

    def test_operations_that_wait_are_found(self):
        with WaitsForDevice() as waits:
            values = torch.arange(3)
            float(values[0]), values[values > 1], values.tolist(), values.nonzero()
        assert set(waits.found) >= {"_local_scalar_dense", "index", "nonzero"}


class TestValidation:
    def test_loss_is_that_of_all_validation_cells_with_class_weights_and_without_smoothing(self, data):
        run = train(data, class_weights=True, label_smoothing=0.4, batch_size=7)
        split = run.result.split
        labels = torch.from_numpy(data.labels[split.validation])
        weights = balanced(data.labels[split.train])
        for epoch, state in enumerate(run.weights):
            network = Recorder(data)
            network.load_state_dict(state)
            inputs = np.hstack([normalised(data.counts[split.validation].toarray()), np.ones((len(labels), 4))])
            with torch.no_grad():
                logits = network.double()(torch.from_numpy(inputs)).logits
            settings = TrainingSettings(**SETTINGS)
            expected = plain_loss(logits, labels, settings, weights, SUBTYPES)
            assert run.history["validation_loss"][epoch] == pytest.approx(float(expected), rel=1e-4)

    def test_weights_of_classes_come_from_training_cells_alone(self, data):
        split = train(data).result.split
        assert not set(split.train) & set(split.validation)
        assert not set(data.donors[split.train]) & set(data.donors[split.validation])
        expected = balanced(data.labels[split.train]).numpy()
        assert not np.allclose(expected, balanced(data.labels).numpy())
        np.testing.assert_allclose(data.class_weights(split), expected, rtol=1e-6)

    def test_there_are_as_many_inputs_as_genes_and_categories(self, data):
        assert train(data, max_epochs=1).trained_on[0].shape[1] == N_GENES + 4
