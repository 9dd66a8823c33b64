"""Models of the Hugging Face hub, by `hf://organisation/name@revision`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sctab import cards


def fetch_from_hub(repo: str, revision: str | None = None, *, offline: bool | None = None) -> Path:
    """Directory of a model of the hub, in the cache of `huggingface_hub`; errors as for :func:`sctab.io.download_repository`.

    Parameters
    ----------
    repo
        `organisation/name`.
    revision
        Branch, tag or commit; without one the newest commit is used, with a warning.
    offline
        Use what was downloaded before; by default as `SCTAB_OFFLINE` says.
    """
    return cards.download_model(repo, revision, offline=offline)


def push(directory: Path, repo: str, **options: Any) -> str:
    """Commit a model directory to the hub, with its card; the hash of the commit. Errors as for :func:`sctab.cards.upload_model`.

    Parameters
    ----------
    directory
        Directory of a model or an ensemble.
    repo, **options
        As in :func:`sctab.cards.upload_model`.
    """
    return cards.upload_model(directory, repo, **options)
