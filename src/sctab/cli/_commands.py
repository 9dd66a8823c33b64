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
    "members": ("n_members",),
    "jobs": ("n_jobs", "n_threads"),
    "fraction_by": ("by",),
    "dask_scheduler": ("client",),
}
"""Parameters of functions that commands call differently."""


def _show_flags(parameters: list[Any]) -> list[Any]:
    """Let flags have no value in the help, `--help` included."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
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
            options[each] = f"--{name.replace('_', '-')}"
    return options
