"""`sctab models`: list, fetch, describe, verify, publish and remove models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import sctab
import sctab.zoo
from sctab.cli._commands import Command, Group
from sctab.cli._options import Debug
from sctab.cli._reporting import ends_on_signals, out, reports_errors
from sctab.errors import SettingError, agreeing
from sctab.io import without_credentials
from sctab.keys import CARD_FILE

EXIT_DAMAGED = 1
"""A model is not what was downloaded."""
_MB = 10**6
_NONE = "0"
"""Version of what has none."""

models_app = typer.Typer(
    name="models",
    cls=Group,
    invoke_without_command=True,
    rich_markup_mode="markdown",
)

Model = Annotated[str, typer.Argument(help="`name@version`, a URL, `zenodo:RECORD`, an archive or a directory.")]
Models = Annotated[list[str], typer.Argument(help="`name@version`, a URL, `zenodo:RECORD`, an archive or a directory.")]
IndexOption = Annotated[
    list[str] | None,
    typer.Option("--index", help="Index to search first: a file, a folder or a URL of one. Can be repeated."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Use what is on this machine alone.")]


@models_app.callback()
@reports_errors
def models(
    context: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Show every version, and published models to import.")] = False,
    tissue: Annotated[str | None, typer.Option(help="Show models of this tissue, such as `lung`.")] = None,
    organism: Annotated[str | None, typer.Option(help="Show models of this species, such as `Homo sapiens`.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Show models with this cell type, by name or Cell Ontology id. Can be repeated.")
    ] = None,
    index: IndexOption = None,
    offline: Offline = False,
    debug: Debug = False,
) -> None:
    """List available models, and what each was trained on; fetch, describe, verify, publish and remove them.

    **Examples**

    `sctab models`

    `sctab models --tissue blood --label "B cell" --all`
    """
    if context.invoked_subcommand is not None:
        if any((all_, tissue, organism, label, index, offline)):
            raise SettingError(f"Write options of `sctab models {context.invoked_subcommand}` after its name.")
        return
    found = sctab.zoo.list_models(
        all=all_, tissue=tissue, organism=organism, labels=label or (), index=index, offline=offline or None
    )
    table = Table(box=None)
    for name in ("name", "version", "state", "MB", "types", "genes", "cells"):
        table.add_column(name, no_wrap=True, overflow="fold")
    for model in found:
        numbers = [_number(number) for number in (model.n_labels or None, model.n_genes, model.n_cells)]
        size = "" if model.entry.size is None else f"{model.entry.size / _MB:,.1f}"
        table.add_row(model.name, model.version, model.state, size, *numbers)
    if found:
        out.print(table)
    for model in found:
        if sentences := _sentences_on(model):
            out.print(f"{model.name}: {sentences}", soft_wrap=True)
    for line in [_import_of(model) for model in found if model.state == "import"]:
        out.print(line, soft_wrap=True)
    if not found:
        out.print("No model fits. Omit a filter, or add an index with `--index`.")
    directory, n_models, n_bytes = sctab.zoo.cache_size()
    if n_models:
        out.print(
            f"Cache: {n_models} {agreeing(n_models, 'model', 'models')}, {n_bytes / _MB:,.1f} MB in `{directory}`.", soft_wrap=True
        )


def _sentences_on(model: sctab.zoo.ModelListing) -> str:
    """Species and tissues, description, and training data."""
    sources = f"Trained on {'; '.join(model.sources)}" if model.sources else ""
    parts = (", ".join(filter(None, (model.entry.organism, *model.entry.tissues))), model.description, sources)
    return " ".join(f"{part.rstrip('.')}." for part in parts if part)


def _import_of(model: sctab.zoo.ModelListing) -> str:
    places = ", ".join(map(without_credentials, model.entry.urls))
    return f"Import `{model.entry.reference}` from {places} with `{model.entry.import_command}`."


def _card_in(directory: Path | None) -> Path | None:
    """File with the card of a model that is on this machine."""
    places = [] if directory is None else [directory / CARD_FILE, directory / "README.md"]
    return next((place for place in places if place.is_file()), None)


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _command(function: Callable[..., Any]) -> Callable[..., Any]:
    return models_app.command(cls=Command)(reports_errors(ends_on_signals(function)))


@_command
def fetch(models: Models, index: IndexOption = None, offline: Offline = False, debug: Debug = False) -> None:
    """Download models into the cache, and print their directories. What was cut off is resumed.

    **Examples**

    `sctab models fetch lung@2.1`

    `sctab models fetch lung --index https://models.example.org/models.json`
    """
    for model in models:
        out.print(str(sctab.zoo.fetch(model, index=index, offline=offline or None)), soft_wrap=True)


@_command
def info(model: Model, index: IndexOption = None, offline: Offline = False, debug: Debug = False) -> None:
    """Describe a model: origin, licence, cell types, data, scores.

    **Example**

    `sctab models info lung@2.1`
    """
    listed = sctab.zoo.info(model, index=index, offline=offline or None)
    entry = listed.entry
    facts: dict[str, Any] = {
        "name": entry.name,
        "version": entry.version if entry.version != _NONE else None,
        "state": listed.state,
        "directory": listed.path,
        "card": _card_in(listed.path),
        "description": entry.description,
        "species": entry.organism,
        "tissues": ", ".join(entry.tissues),
        "licence": entry.license,
        "cell types": _number(listed.n_labels),
        "genes": _number(entry.n_genes),
        "training cells": _number(entry.n_cells),
        "size": None if entry.size is None else f"{entry.size / _MB:,.1f} MB",
        "SHA-256": entry.sha256,
        "index": listed.index,
        "addresses": "\n".join(map(without_credentials, entry.urls)),
        "saved by": None if entry.sctab_version is None else f"sctab {entry.sctab_version}",
        "import": entry.import_command,
    }
    facts |= {f"score {name}": f"{score:.3g}" for name, score in entry.scores.items()}
    for source in entry.sources:
        known = (source.license, source.doi and f"doi:{source.doi}", source.url, source.n_cells and f"{source.n_cells:,} cells")
        facts[f"data {source.name}"] = ", ".join(str(each) for each in known if each)
    facts = {name: str(value) for name, value in facts.items() if value}
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        out.print(f"{name:<{width}}" + value.replace("\n", "\n" + " " * width), soft_wrap=True)
    if entry.labels:
        ids = entry.label_ids or (None,) * len(entry.labels)
        out.print(
            "\n" + "\n".join(f"{term or '-'}  {label}" for label, term in zip(entry.labels, ids, strict=True)), soft_wrap=True
        )


@_command
def verify(
    models: Annotated[list[str] | None, typer.Argument(help="Models to verify; by default all in the cache.")] = None,
    debug: Debug = False,
) -> None:
    """Compare every byte of models with what was downloaded. The exit code is 1 if one is damaged.

    **Examples**

    `sctab models verify`

    `sctab models verify lung@2.1`
    """
    wanted = models or sctab.zoo.cached_sources()
    is_sound = True
    for model in wanted:
        found = sctab.zoo.verify(model)
        is_sound &= found.is_sound
        files = f"{found.n_files} files, {found.n_bytes / _MB:,.1f} MB"
        out.print(f"{model}: {files}: {'sound' if found.is_sound else ' '.join(found.problems)}", soft_wrap=True)
    if not wanted:
        out.print("The cache has no models.")
    if not is_sound:
        out.print("Remove damaged models with `sctab models remove`, and fetch them again.")
        raise typer.Exit(EXIT_DAMAGED)


@_command
def remove(
    models: Annotated[list[str], typer.Argument(help="`name@version`, `name` for all its versions, or what was fetched.")],
    debug: Debug = False,
) -> None:
    """Remove models from the cache.

    **Example**

    `sctab models remove lung@2.1`
    """
    for model in models:
        out.print(f"Removed `{model}`, {sctab.zoo.remove(model) / _MB:,.1f} MB.", soft_wrap=True)


@_command
def prune(
    days: Annotated[float, typer.Option(help="Days without use after which a model is removed; 0 removes all.")] = 90,
    debug: Debug = False,
) -> None:
    """Remove models that were not used for some time, and downloads that were not finished.

    **Example**

    `sctab models prune --days 30`
    """
    removed, freed = sctab.zoo.prune(days=days)
    for source in removed:
        out.print(f"Removed `{source}`.", soft_wrap=True)
    out.print(f"Freed {freed / _MB:,.1f} MB.")


@_command
def publish(
    model: Annotated[str, typer.Argument(help="Directory of a model or an ensemble.")],
    to: Annotated[
        str,
        typer.Option(
            help="Folder, or URL of a folder in an object store, with the index to add it to; or `hf://organisation/name`."
        ),
    ],
    version: Annotated[str, typer.Option(help="Version, numbers separated by dots, such as `2.1`.")],
    name: Annotated[str | None, typer.Option(help="Name in the index; by default that of the directory.")] = None,
    facts: Annotated[Path | None, typer.Option(help="YAML file with licence, sources and limits for the card.")] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Publish a model whose card is not complete.")] = False,
    debug: Debug = False,
) -> None:
    """Add a model to an index: its archive, with a card from what was measured, and its entry.

    **Example**

    `sctab models publish my-model --to zoo --version 1.0 --draft`
    """
    entry = sctab.zoo.publish(model, to, version=version, name=name, facts=facts, draft=draft)
    if to.startswith("hf:"):
        out.print(f"Published version {entry.version}. Use it as `{entry.urls[0]}`.", soft_wrap=True)
        return
    out.print(
        f"Published `{entry.reference}`, {(entry.size or 0) / _MB:,.1f} MB, SHA-256 `{entry.sha256}`. Use it:", soft_wrap=True
    )
    out.print(f"  sctab models fetch {entry.reference} --index {to}", soft_wrap=True)
    out.print(f"  sctab annotate query.h5ad --model {entry.reference} --output annotated.h5ad", soft_wrap=True)
