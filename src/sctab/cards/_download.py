"""Models of the Hugging Face hub, downloaded without anything that is not part of a model."""

from __future__ import annotations

from pathlib import Path

from sctab.io import MODEL_FILES, download_repository

README, CONFIG = "README.md", "config.json"
"""Files that the hub has besides those of a model: its card, and what it counts downloads by."""
_PATTERNS = (README, CONFIG, *sorted(MODEL_FILES), *(f"member_*/{name}" for name in sorted(MODEL_FILES)))


def download_model(repo: str, revision: str | None, *, offline: bool | None = None) -> Path:
    """Directory of a model of the hub; errors as for :func:`sctab.io.download_repository`.

    Parameters
    ----------
    repo, revision, offline
        As in :func:`sctab.io.download_repository`.
    """
    return download_repository(repo, revision, files=_PATTERNS, offline=offline)
