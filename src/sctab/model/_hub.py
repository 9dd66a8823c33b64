"""Models on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, Self

from sctab.cards import CardFacts, CardFile, download_model, read_card, read_facts, upload_model, write_card_file
from sctab.io import temporary_directory


class HubModel:
    """A model that can be pushed to the hub and loaded from it. It has `load` and `save`."""

    @classmethod
    def from_pretrained(cls, repo: str, *, revision: str | None = None, **kwargs: Any) -> Self:
        """Load a model from the Hugging Face hub.

        It is downloaded into the cache of `huggingface_hub` once; only the files of a model are, never a pickle.

        Parameters
        ----------
        repo
            `organisation/name`.
        revision
            Branch, tag or commit. Provide one: without it the newest commit is used, with a warning, and the model may change.
        **kwargs
            Passed to :meth:`load`.

        Raises
        ------
        MissingDependencyError
            If `huggingface_hub` is not installed.
        ModelNotFoundError
            If there is no such repository or revision, or if it is not accessible.
        DownloadError
            If it cannot be downloaded.
        ModelFormatError
            If it is not a model of this class, or is damaged.

        Examples
        --------
        >>> from sctab.model import SCTAB
        >>> model = SCTAB.from_pretrained("my-institute/lung", revision="v2")  # doctest: +SKIP
        """
        loaded: Self = cls.load(download_model(repo, revision), **kwargs)  # type: ignore[attr-defined]
        loaded.name = repo.rpartition("/")[2]  # type: ignore[attr-defined]
        return loaded

    def push_to_hub(
        self,
        repo: str,
        *,
        facts: CardFacts | Mapping[str, Any] | str | PathLike[str] | None = None,
        message: str = "",
        revision: str | None = None,
        private: bool = False,
        draft: bool = False,
    ) -> str:
        """Commit the model to the Hugging Face hub, with a model card that is written from what was measured.

        Parameters
        ----------
        repo
            `organisation/name`, which is created if there is none.
        facts
            Licence, sources and limits, see :doc:`/cards`, or a YAML file with them.
        message
            Title of the commit.
        revision
            Branch to commit to; by default `main`.
        private
            Nobody else can see the repository, if it is created.
        draft
            Commit a model whose card is not complete.

        Returns
        -------
        Hash of the commit: the `revision` for :meth:`from_pretrained`.

        Raises
        ------
        NotTrainedError
            If the model is not trained.
        MissingDependencyError
            If `huggingface_hub` is not installed.
        SettingError, DataFileError
            If the card is not complete, unless `draft` is true, or if facts cannot be read.
        OutputError
            If the hub cannot be reached, or refuses the commit.

        Examples
        --------
        >>> model.push_to_hub("my-institute/lung", facts="facts.yaml")  # doctest: +SKIP
        """
        declared = None if facts is None else read_facts(facts)
        with temporary_directory("sctab-hub-") as folder:
            path = folder / "model"
            self.save(path)  # type: ignore[attr-defined]
            if declared is not None:
                write_card_file(path, read_card(path).sha256, CardFile(facts=declared))
            return upload_model(path, repo, message=message, revision=revision, private=private, draft=draft)
