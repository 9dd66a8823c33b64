"""What an interrupted training resumes from."""

import numpy as np
import pytest
import torch
from tests.training import make_data, train

from sctab.train import stop_unless
from sctab.train._state import EpochMeans

OPTIONS = {"max_epochs": 5, "schedule": "one-cycle", "gene_dropout": 0.5, "covariate_dropout": 0.5, "weight_decay": 0.1}


def breaks_at(number):
    """Fails in place of a checkpoint, before the state of that epoch is written."""
    written = []

    def write(path):
        written.append(path)
        if len(written) == number:
            raise RuntimeError("broken off")

    return write


def test_means_are_over_cells():
    means = EpochMeans()
    assert means.means() == {}
    means.add(torch.tensor([4.0, 1.0]), {"learning_rate": 1.0})
    means.add(torch.tensor([8.0, 3.0]), {"learning_rate": 1.0})
    assert means.means() == {"train_loss": 7.0, "learning_rate": 1.0}
    assert means.sums == {"train_loss": 28.0, "learning_rate": 4.0, "": 4.0}


def test_means_over_many_batches_are_those_of_all():
    means, losses = EpochMeans(), torch.linspace(0, 1, 1000)
    for loss in losses:
        means.add(torch.stack([loss, torch.tensor(2.0)]), {"learning_rate": float(loss)})
    assert means.sums[""] == 2000
    assert means.means() == pytest.approx({"train_loss": 0.5, "learning_rate": 0.5})


def test_sums_go_on_from_those_that_were_stored():
    means = EpochMeans()
    means.add(torch.tensor([1.0, 1.0]), {})
    means.sums = {"train_loss": 6.0, "": 2.0}
    means.add(torch.tensor([9.0, 2.0]), {})
    assert means.means() == {"train_loss": 6.0}


@pytest.mark.parametrize("more", [{}, {"early_stopping": True, "patience": 5}], ids=["plain", "early stopping"])
def test_a_training_that_was_broken_off_ends_as_if_it_had_not_been(tmp_path, more):
    data = make_data()
    whole = train(data, run_dir=tmp_path / "whole", **OPTIONS | more)

    with pytest.raises(RuntimeError, match="broken off"):
        train(data, run_dir=tmp_path / "part", write=breaks_at(3), **OPTIONS | more)
    again = train(data, run_dir=tmp_path / "part", resume=True, **OPTIONS | more)
    assert 0 < len(again.steps) < len(whole.steps)
    for one, other in zip(whole.steps[-len(again.steps) :], again.steps, strict=True):
        assert one.lr == other.lr
        for gradient, of_other in zip(one.gradients, other.gradients, strict=True):
            assert torch.equal(gradient, of_other)
    assert again.result.best_epoch == whole.result.best_epoch
    assert again.history == whole.history


def test_a_training_that_had_decided_to_end_early_ends(tmp_path):
    data = make_data()
    whole = train(data, run_dir=tmp_path / "run", callbacks=[stop_unless(lambda epoch, _: epoch < 2)], **OPTIONS)
    assert whole.result.epochs == 3
    again = train(data, run_dir=tmp_path / "run", resume=True, **OPTIONS)
    assert again.result.epochs == 3
    assert again.steps == []
    assert again.history == whole.history
    np.testing.assert_array_equal(again.network.linear.weight.detach(), whole.network.linear.weight.detach())


def test_patience_is_not_begun_anew(tmp_path):
    """Validation never changes: the third epoch is the last."""
    data = make_data()
    options = OPTIONS | {"early_stopping": True, "patience": 2, "schedule": "step", "learning_rate": 1e-9}
    whole = train(data, run_dir=tmp_path / "whole", **options)
    assert whole.result.epochs == 3
    with pytest.raises(RuntimeError, match="broken off"):
        train(data, run_dir=tmp_path / "part", write=breaks_at(2), **options)
    again = train(data, run_dir=tmp_path / "part", resume=True, **options)
    assert again.result.epochs == 3
    assert again.history == whole.history
