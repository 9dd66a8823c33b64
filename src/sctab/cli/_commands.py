"""Commands whose help shows flags as flags, and the options that parameters of functions are to a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

SAME = {
    "label_map": ("label_ids",),
    "covariate_key": ("categorical_covariate_keys",),
    "group_key": ("group_keys",),
    "key": ("keys",),
    "members": ("n_members",),
    "jobs": ("n_jobs", "n_threads"),
    "fraction_by": ("by",),
    "format_": ("format",),
    "dask_scheduler": ("client",),
}
"""Parameters of functions that commands call differently."""


_PANELS = {
    "Data": "labels_key donor_key dataset_key layer modality protein_modality protein_layer unlabeled_category label_map covariate_key "
    "gene_id_key gene_symbol_key sample_key group_key only_known label_hierarchy metadata data_file batch_key",
    "Corpus": "corpus fraction fraction_by",
    "Model": "model settings paper_settings members loss augment n_clusters n_top_genes n_latent sigma gamma published ae_weights",
    "Trust": "accepted_error labels vote calibrate fingerprints sketch adapt force unseen_fdr answer",
    "Training": "pretrain_epochs max_epochs batch_size update_interval tolerance n_neighbors resolution community n_init validation_split "
    "train_size n_trials timeout seed",
    "Run": "accelerator devices precision backend jobs resume run_dir keep_checkpoints logs logger storage block_size min_gene_coverage "
    "dask_scheduler n_bootstrap",
    "Output": "format_ output csv report multiqc genes_table figures mappings set_name n_genes save_model ae_weight_file "
    "final_latent_file predict_label_file key_added overwrite",
    "Other": "debug help",
}
"""Options of long commands by their panel in the help."""
_FEW = 12
"""Options up to which one panel is enough."""


def _show_flags(parameters: list[Any]) -> list[Any]:
    """Let flags have no value in the help, `--help` included, and the options of a long command stand in panels."""
    panels = {name: panel for panel, names in _PANELS.items() for name in names.split()} if len(parameters) > _FEW else {}
    if not any(parameter.name == "max_epochs" for parameter in parameters):  # a command that trains nothing
        panels = {name: "Run" if panel == "Training" else panel for name, panel in panels.items()}
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
        if parameter.param_type_name == "option" and parameter.name in panels:
            parameter.rich_help_panel = panels[parameter.name]
    return parameters


class Command(TyperCommand):
    """A command whose help shows flags without a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options and arguments."""
        return _show_flags(super().get_params(ctx))


class Group(TyperGroup):
    """Several commands, whose help shows flags without a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options and arguments."""
        return _show_flags(super().get_params(ctx))


def options_of(command: Callable[..., Any]) -> Mapping[str, str]:
    """Return the option of each parameter, of the command and of the functions that it calls, by the name of the parameter."""
    options = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        kinds = getattr(parameter.annotation, "__metadata__", ())
        if any(isinstance(kind, typer.models.ArgumentInfo) for kind in kinds):
            continue
        for each in (name, *SAME.get(name, ())):
            options[each] = f"--{name.rstrip('_').replace('_', '-')}"
    return options
