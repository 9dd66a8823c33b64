"""Models on the Hugging Face hub: files beside a model, and the commit of a model with its card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sctab.cards._card import ModelCard, read_card
from sctab.cards._download import CONFIG, README
from sctab.io import MODEL_FILES, commit_folder, strict_json, temporary_directory

_FROM_CARD = {"MODEL_CARD.md"}
"""Files that the hub has under another name."""


def upload_model(
    directory: Path,
    repo: str,
    *,
    message: str = "",
    revision: str | None = None,
    private: bool = False,
    draft: bool = False,
    tag: str | None = None,
) -> str:
    """Commit a model directory to the hub, with its card as `README.md`.

    Parameters
    ----------
    directory
        Directory of a model or an ensemble.
    repo, message, revision, private, tag
        As for :func:`sctab.io.commit_folder`.
    draft
        Commit a model whose card is not complete.

    Returns
    -------
    Hash of the commit, which is the `revision` to load.

    Raises
    ------
    SettingError
        If the card is not complete, unless `draft` is true.
    ModelNotFoundError, ModelFormatError
        If the model cannot be read.
    OutputError
        If the hub cannot be reached, or refuses the commit.
    """
    card = read_card(directory)
    card.require_complete(draft=draft)
    with temporary_directory("sctab-hub-") as folder:
        staged = folder / repo.rpartition("/")[2]
        staged.mkdir()
        for path in (*directory.glob("*"), *directory.glob("member_*/*")):
            if path.is_file() and path.name in MODEL_FILES - _FROM_CARD:
                target = staged / path.relative_to(directory)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, target)
        (staged / README).write_text(read_card(staged).to_markdown(), encoding="utf-8", newline="\n")
        strict_json.write(staged / CONFIG, config_of(card))
        title = message or f"Add {card.spec.summary.rstrip('; ')}"
        return commit_folder(staged, repo, message=title, revision=revision, private=private, tag=tag)


def config_of(card: ModelCard) -> dict[str, Any]:
    """Content of `config.json`, by which the hub counts downloads.

    Parameters
    ----------
    card
        Card of the model.
    """
    spec = card.spec
    return {
        "library_name": "sctab",
        "model_class": spec.model_class,
        "n_members": card.n_members,
        "n_genes": len(spec.features),
        "labels": list(spec.labels.names),
        "label_ids": list(spec.labels.ids),
        "sctab_version": spec.versions.get("sctab"),
        "sha256": card.sha256,
    }
