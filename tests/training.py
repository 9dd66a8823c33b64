"""A network and an optimiser that record a training, and a small reference as arrays."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from scipy import sparse
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from sctab.data import Covariate, FeatureSpace, Normalization
from sctab.inference import ModelSpec
from sctab.ontology import LabelSpace
from sctab.train import TrainingSettings, fit_network
from sctab.train._memory import MemoryData
from sctab.train._reference import content_hash

N_CLASSES = 3
N_GENES = 12
SETTINGS = {
    "max_epochs": 3,
    "learning_rate": 0.01,
    "early_stopping": False,
    "patience": 2,
    "batch_size": 16,
    "weight_decay": 0.0,
    "schedule": "step",
    "gene_dropout": 0.0,
    "class_weights": False,
    "covariate_dropout": 0.0,
    "gradient_clip": 1e6,
    "loss": "cross-entropy",
}
"""Nothing that changes a cell or a step; a test says what it adds."""


def make_data(n_obs=80, *, n_genes=N_GENES, child_matrix=None, n_categories=4, n_unlabeled=5):
    """Cells that have a count of every gene, and most of the gene of their own class; the first ones have no label."""
    rng = np.random.default_rng(0)
    labels = rng.choice(N_CLASSES, size=n_obs, p=[0.6, 0.25, 0.15])
    counts = rng.poisson(5, size=(n_obs, n_genes)) + 1
    counts[np.arange(n_obs), labels] += 30
    counts *= rng.integers(1, 4, size=(n_obs, 1))
    labels[:n_unlabeled] = -1
    stored = sparse.csr_matrix(counts.astype(np.float32))
    return MemoryData(
        labels=labels,
        donors=np.arange(n_obs) % 4,
        n_classes=N_CLASSES,
        covariates=sparse.csr_matrix(np.ones((n_obs, n_categories), dtype=np.float32)),
        child_matrix=np.eye(N_CLASSES, dtype=bool) if child_matrix is None else np.array(child_matrix),
        blocks=lambda _: iter([stored]),
        content=lambda: content_hash(stored.indptr, stored.indices, stored.data),
    )


def spec_of(data):
    """The description of a model of such data."""
    n_genes = data.counts.shape[1]
    names = tuple(f"type {i}" for i in range(data.n_classes))
    return ModelSpec(
        model_class="Recorder",
        architecture={},
        features=FeatureSpace(ids=("",) * n_genes, symbols=tuple(f"G{i}" for i in range(n_genes))),
        labels=LabelSpace(names, (None,) * len(names)),
        normalization=Normalization(target_sum=100.0),
        covariates=(Covariate("tissue", tuple(f"t{i}" for i in range(data.covariates.shape[1]))),),
    )


class Recorder(nn.Module):
    """A linear network that keeps what reaches it."""

    def __init__(self, data):
        super().__init__()
        self.linear = nn.Linear(data.counts.shape[1] + data.covariates.shape[1], data.n_classes)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            nn.init.normal_(self.linear.weight, std=0.1)
            nn.init.normal_(self.linear.bias, std=0.1)
        self.inputs = {True: [], False: []}
        """Batches of training and of validation."""

    def forward(self, values):
        self.inputs[self.training].append(values.detach().clone())
        return SimpleNamespace(logits=self.linear(values))


class Watch(Callback):
    """Keeps the batches that are trained on, as counts, covariates and labels, and the weights after every validation."""

    def __init__(self):
        self.batches, self.weights = [], []

    def on_train_batch_start(self, _trainer, _plan, batch, _index):
        self.batches.append(tuple(part.clone() for part in batch))

    def on_validation_end(self, _trainer, plan):
        self.weights.append({name: value.clone() for name, value in plan.network.state_dict().items()})


@contextmanager
def recorded_steps():
    """The options of the optimiser at each step, and the gradients that it used."""
    steps = []

    def record(optimizer, *_):
        (group,) = optimizer.param_groups
        gradients = [parameter.grad.clone() for parameter in group["params"]]
        steps.append(SimpleNamespace(kind=type(optimizer), gradients=gradients, lr=group["lr"], weight_decay=group["weight_decay"]))

    hook = register_optimizer_step_post_hook(record)
    try:
        yield steps
    finally:
        hook.remove()


def run(plan, batches, **options):
    """Train by Lightning as it is."""
    path = options.pop("ckpt_path", None)
    quiet = {"num_sanity_val_steps": 0, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", **(options | quiet))
    trainer.fit(plan, batches, ckpt_path=path)
    return trainer


def train(data, network=None, *, callbacks=(), penalty=None, run_dir=None, resume=False, write=lambda _: None, **settings):
    """Train a recorder and give all that was seen."""
    network = Recorder(data) if network is None else network
    watch, trainers = Watch(), []

    def run_and_keep(*args, **options):
        trainers.append(run(*args, **options))
        return trainers[-1]

    with torch.random.fork_rng(), recorded_steps() as steps:
        torch.manual_seed(1)
        result = fit_network(
            network,
            spec_of(data),
            data,
            TrainingSettings(**SETTINGS | settings),
            run=run_and_keep,
            write_checkpoint=write,
            penalty=penalty,
            callbacks=[watch, *callbacks],
            run_dir=run_dir,
            resume=resume,
            enable_progress_bar=False,
        )
    return SimpleNamespace(
        network=network,
        result=result,
        steps=steps,
        batches=watch.batches,
        weights=watch.weights,
        history={name: table[name].tolist() for name, table in trainers[-1].logger.history.items()},
        trained_on=network.inputs[True],
        validated_on=network.inputs[False],
    )


def normalised(counts, target_sum=100.0):
    """Counts of cells on the scale of the model, in float64."""
    counts = np.asarray(counts, dtype=float)
    totals = counts.sum(axis=1, keepdims=True)
    return np.log1p(counts * target_sum / np.where(totals == 0, 1, totals))
