"""Files in the format of the published ones, made for tests: the networks are not ours."""

import pandas as pd
import torch
import yaml
from pytorch_tabnet.tab_network import TabNetNoEmbeddings
from torch import nn

LABELS = ("B cell", "T cell", "monocyte", "natural killer cell")
N_GENES = 40


def published_tabnet(*, seed=0, n_d=6, n_a=5, n_steps=1, n_shared=2, n_independent=1, gamma=1.3, mask_type="entmax"):
    """A TabNet of pytorch-tabnet, from which scTab was made, and its hyperparameters."""
    settings = {"n_d": n_d, "n_a": n_a, "n_steps": n_steps, "n_shared": n_shared, "n_independent": n_independent, "gamma": gamma}
    settings |= {"mask_type": mask_type, "virtual_batch_size": 64, "epsilon": 1e-15, "momentum": 0.02}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = TabNetNoEmbeddings(N_GENES, len(LABELS), group_attention_matrix=torch.eye(N_GENES), **settings)
        del network.initial_bn  # pytorch-tabnet has a second one that it does not use
        _settle(network)
    return network.eval(), settings | {"lambda_sparse": 1e-5}


def published_linear(*, seed=0):
    """A linear map, and its hyperparameters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(N_GENES, len(LABELS)), {}


class PublishedPerceptron(nn.Module):
    """Numbered layers in `encoder`, and a linear map behind them."""

    def __init__(self, n_hidden, hidden_size, dropout):
        super().__init__()
        layers = []
        for i in range(n_hidden):
            layers += [
                nn.Linear(hidden_size if i else N_GENES, hidden_size),
                nn.BatchNorm1d(hidden_size),
                nn.SiLU(),
                nn.Dropout(dropout),
            ]
        self.encoder = nn.Sequential(*layers)
        self.linear = nn.Linear(hidden_size, len(LABELS))

    def forward(self, x):
        return self.linear(self.encoder(x))


def published_mlp(*, seed=0, n_hidden=2, hidden_size=7):
    """A perceptron, and its hyperparameters."""
    settings = {"n_hidden": n_hidden, "hidden_size": hidden_size, "dropout": 0.1}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = PublishedPerceptron(**settings)
        _settle(network)
    return network.eval(), settings


def _settle(network):
    """Move weights, running means and variances of batch norms away from where they start."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.uniform_(module.running_mean, 0, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)


def hyper_parameters(settings):
    """What Lightning stores of the arguments of a model: numbers, and the classes of optimiser and schedule."""
    return {
        "gene_dim": N_GENES,
        "type_dim": len(LABELS),
        "batch_size": 2048,
        "optimizer": torch.optim.AdamW,
        "lr_scheduler": torch.optim.lr_scheduler.StepLR,
        "lr_scheduler_kwargs": {"step_size": 1, "gamma": 0.9, "verbose": True},
        **settings,
    }


def lightning_checkpoint(network, settings, **buffers):
    """The content of a checkpoint that Lightning saves."""
    weights = {f"classifier.{name}": tensor.clone() for name, tensor in network.state_dict().items()}
    return {
        "epoch": 41,
        "global_step": 1000,
        "pytorch-lightning_version": "2.0.1",
        "state_dict": {
            "class_weights": torch.ones(len(LABELS)),
            "child_lookup": torch.eye(len(LABELS)).long(),
            **buffers,
            **weights,
        },
        "loops": {},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_f1_macro'}": {"best_model_score": torch.tensor(0.847)}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(1000, 10)}}, "param_groups": []}],
        "lr_schedulers": [{"step_size": 1, "_last_lr": [0.002]}],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper_parameters(settings),
    }


def write_tables(folder):
    """Genes and labels: `var.parquet` and `cell_type.parquet`."""
    ids = [f"ENSG{i:011d}" for i in range(N_GENES)]
    symbols = [f"GENE{chr(65 + i // 26)}{chr(65 + i % 26)}" for i in range(N_GENES)]
    pd.DataFrame({"feature_id": ids, "feature_name": symbols}).to_parquet(folder / "var.parquet")
    pd.DataFrame({"label": LABELS}).to_parquet(folder / "cell_type.parquet")
    return {"genes": folder / "var.parquet", "labels": folder / "cell_type.parquet"}


HIERARCHICAL = {
    "linear": (published_linear, "val_f1_macro_epoch=1_val_f1_macro=0.802.ckpt"),
    "mlp": (published_mlp, "val_f1_macro_epoch=1_val_f1_macro=0.798.ckpt"),
    "tabnet": (published_tabnet, "val_f1_macro_epoch=0_val_f1_macro=0.789.ckpt"),
}
"""Networks of the paper on hierarchical cross-entropy, and names of their best checkpoints."""


def write_hierarchical(folder, *, n_versions=1):
    """Runs in the layout of the paper on hierarchical cross-entropy (Zenodo 17211022), and their networks."""
    below = torch.eye(len(LABELS))
    networks = {}
    for kind, (make, best) in HIERARCHICAL.items():
        for version in range(n_versions):
            network, settings = make(seed=version)
            hierarchical = {"use_hierarchical_loss": True, "augment_training_data": kind != "linear", "train_set_size": 10}
            # a transposed view, as the published code registers it, whose numbers do not lie in the order of its shape
            content = lightning_checkpoint(network, settings | hierarchical, child_lookup_transposed=below.transpose(0, 1))
            if kind != "linear":
                content["state_dict"]["augmentations"] = torch.zeros(3, N_GENES)
            run = folder / f"cxg_2023_05_15_{kind}_hierarchical_loss" / "default" / f"version_{version}"
            (run / "checkpoints").mkdir(parents=True)
            torch.save(content, run / "checkpoints" / best)
            plain = {
                key: value for key, value in content["hyper_parameters"].items() if isinstance(value, bool | int | float | str)
            }
            (run / "hparams.yaml").write_text(yaml.safe_dump(plain))
            (run / "parameters.json").write_text("{}")
            networks.setdefault(kind, []).append(network)
    return networks
