"""The training loop, apart from any model class: which epoch is kept, and when a training ends."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from tests.training import SETTINGS, Recorder, make_data, train
from torch import nn

from sctab.train import TrainingSettings, seeded, stop_unless
from sctab.train._loop import KeepBestWeights, _first_settled_epoch, _set_training_mode, without_denormals


@pytest.fixture(scope="module")
def data():
    return make_data()


class Scripted(Recorder):
    """Names so many of the first validation cells rightly in each epoch; the class of a cell is the gene with most counts."""

    def __init__(self, data, n_right):
        super().__init__(data)
        self.n_right = n_right

    def forward(self, values):
        output = super().forward(values)
        if self.training:
            return output
        logits = values[:, :3].clone()
        n_right = self.n_right[len(self.inputs[False]) - 1]
        logits[n_right:] = logits[n_right:].roll(1, dims=1)
        return SimpleNamespace(logits=logits)


def follow(data, n_right, **settings):
    return train(data, Scripted(data, n_right), max_epochs=len(n_right), batch_size=64, **settings)


def macro_f1(data, run, n_right):
    truth = data.labels[run.result.split.validation]
    predicted = truth.copy()
    predicted[n_right:] = (predicted[n_right:] + 1) % 3
    return f1_score(truth, predicted, average="macro")


class TestBestEpoch:
    N_RIGHT = (2, 18, 18, 3, 4, 18, 5, 6, 12, 7)

    def test_is_the_later_of_the_best(self, data):
        run = follow(data, self.N_RIGHT, schedule="step")
        assert run.result.best_epoch == 5
        assert run.result.best_macro_f1 == pytest.approx(macro_f1(data, run, 18))
        self.assert_kept(run, 5)

    def test_of_a_cycle_is_in_its_last_fifth(self, data):
        run = follow(data, self.N_RIGHT, schedule="one-cycle")
        assert run.result.best_epoch == 8
        assert run.result.best_macro_f1 == pytest.approx(macro_f1(data, run, 12))
        self.assert_kept(run, 8)

    @staticmethod
    def assert_kept(run, epoch):
        same = [all(torch.equal(run.network.state_dict()[name], value) for name, value in of.items()) for of in run.weights]
        assert same == [number == epoch for number in range(10)]

    def test_of_a_cycle_that_may_end_early_is_any(self, data):
        run = follow(data, (2, 18, 3, 3, 3), schedule="one-cycle", early_stopping=True, patience=4)
        assert run.result.best_epoch == 1

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"schedule": "one-cycle", "max_epochs": 20}, 16),
            ({"schedule": "one-cycle", "max_epochs": 1}, 0),
            ({"schedule": "one-cycle", "max_epochs": 20, "early_stopping": True}, 0),
            ({"schedule": "step", "max_epochs": 20}, 0),
        ],
        ids=["cycle", "cycle of one", "early stopping", "step"],
    )
    def test_the_first_that_counts(self, options, expected):
        assert _first_settled_epoch(TrainingSettings(**SETTINGS | options)) == expected

    def test_there_is_none_without_validation(self, data):
        run = train(data, train_size=1.0)
        assert run.result.best_epoch is None
        assert run.result.best_macro_f1 is None
        assert run.validated_on == []
        assert len(run.result.split.train) == (data.labels >= 0).sum()
        assert run.result.epochs == 3

    def test_is_taken_up_again(self):
        one, other = KeepBestWeights(first_epoch=1), KeepBestWeights(first_epoch=1)
        plan = SimpleNamespace(network=nn.Linear(2, 1))
        for epoch, value in enumerate((0.9, 0.5, 0.4)):
            one.on_validation_end(
                SimpleNamespace(current_epoch=epoch, callback_metrics={"validation_macro_f1": torch.tensor(value)}), plan
            )
        best = plan.network.weight.clone()
        other.load_state_dict(one.state_dict())
        with torch.no_grad():
            plan.network.weight += 1
        other.on_train_end(None, plan)
        assert (other.epoch, other.value) == (1, 0.5)
        assert torch.equal(plan.network.weight, best)


class TestEnd:
    def test_early_when_validation_does_not_improve(self, data):
        run = follow(data, (3, 18, 18, 4, 5, 6), early_stopping=True, patience=2)
        assert run.result.epochs == 4

    def test_not_while_it_improves(self, data):
        run = follow(data, (2, 5, 8, 11, 14, 18), early_stopping=True, patience=2)
        assert run.result.epochs == 6

    def test_not_without_early_stopping(self, data):
        assert follow(data, (18, 5, 4, 3, 2, 1), early_stopping=False, patience=2).result.epochs == 6

    def test_when_a_caller_says_so(self, data):
        asked = []

        def goes_on(epoch, value):
            asked.append((epoch, value))
            return epoch < 1

        run = follow(data, (18, 5, 4, 3), callbacks=[stop_unless(goes_on)])
        assert asked == [(0, pytest.approx(macro_f1(data, run, 18))), (1, pytest.approx(macro_f1(data, run, 5)))]
        assert run.result.epochs == 2


def test_what_is_frozen_keeps_its_running_statistics():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.Dropout())
    network[1].requires_grad_(requires_grad=False)
    network.eval()
    _set_training_mode(network)
    assert [module.training for module in network] == [True, False, True, True]


def test_seeded_leaves_the_generator_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with seeded(3):
        one = torch.rand(3)
    with seeded(3):
        assert torch.equal(torch.rand(3), one)
    with torch.random.fork_rng(), seeded(4):
        assert not torch.equal(torch.rand(3), one)
    assert torch.equal(torch.rand(2), expected)


def test_denormals_are_zero_within_the_block_and_back_after_it():
    tiny = torch.tensor([torch.finfo(torch.float32).tiny])
    assert (tiny / 2).any()
    with without_denormals():
        assert not (tiny / 2).any()
        with without_denormals():
            pass
        assert not (tiny / 2).any()
    assert (tiny / 2).any()


def test_training_runswithout_denormals(data):
    found = []

    class Look(Recorder):
        def forward(self, values):
            found.append(bool((torch.tensor([torch.finfo(torch.float32).tiny]) / 2).any()))
            return super().forward(values)

    train(data, Look(data), max_epochs=1)
    assert found
    assert not any(found)


def test_the_same_seed_gives_the_same_weights(data):
    one, other = (train(data, gene_dropout=0.5, covariate_dropout=0.5).network.state_dict() for _ in range(2))
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value)
