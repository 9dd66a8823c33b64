"""Repositories of the Hugging Face hub: folders that are downloaded into its cache, and committed whole."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sctab.errors import DownloadError, ModelNotFoundError, OutputError, Parameter, SettingError, require, warn
from sctab.io._places import is_offline

_LIBRARY = "sctab"


def download_repository(repo: str, revision: str | None, *, files: Sequence[str], offline: bool | None = None) -> Path:
    """Directory of a repository of the hub, in the cache of `huggingface_hub`, which resumes what was cut off.

    Parameters
    ----------
    repo
        `organisation/name`.
    revision
        Branch, tag or commit; without one the newest commit is used, and a warning names it.
    files
        Files to download, as patterns. Others, such as pickles, are left where they are.
    offline
        Use what was downloaded before; by default as `SCTAB_OFFLINE` says.

    Raises
    ------
    MissingDependencyError
        If `huggingface_hub` is not installed.
    ModelNotFoundError
        If there is no such repository or revision, if it is not accessible, or if it was not downloaded before and the network is not used.
    DownloadError
        If it cannot be downloaded.
    SettingError
        If `repo` cannot be the name of a repository.
    """
    hub = require("huggingface_hub", extra="hub")
    without_network = is_offline(offline)
    with _explained(repo, revision):
        path = Path(
            hub.snapshot_download(
                repo,
                revision=revision,
                allow_patterns=list(files),
                local_files_only=without_network,
                endpoint=_endpoint(),
                library_name=_LIBRARY,
                library_version=importlib.metadata.version(_LIBRARY),
            )
        )
    if revision is None:
        warn(
            f"No revision of `{repo}` was given: its newest commit, `{path.name}`, is used. Provide it as ",
            Parameter("revision"),
            f" or name `hf://{repo}@{path.name}`, so that the same model is used tomorrow.",
        )
    return path


def commit_folder(
    folder: Path, repo: str, *, message: str, revision: str | None = None, private: bool = False, tag: str | None = None
) -> str:
    """Add all files of a folder to a repository of the hub in one commit, and create the repository if there is none.

    Parameters
    ----------
    folder
        The folder.
    repo
        `organisation/name`.
    message
        Title of the commit.
    revision
        Branch to commit to; by default `main`.
    private
        Nobody else can see the repository, if it is created.
    tag
        Tag of the commit, which must be new.

    Returns
    -------
    Hash of the commit.

    Raises
    ------
    MissingDependencyError
        If `huggingface_hub` is not installed.
    OutputError
        If the hub cannot be reached, or refuses the commit.
    SettingError
        If `repo` cannot be the name of a repository, or if it has the tag already.
    """
    hub = require("huggingface_hub", extra="hub")
    errors = require("huggingface_hub.errors", extra="hub")
    api = hub.HfApi(endpoint=_endpoint(), library_name=_LIBRARY, library_version=importlib.metadata.version(_LIBRARY))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    operations = [
        hub.CommitOperationAdd(path_in_repo=path.relative_to(folder).as_posix(), path_or_fileobj=str(path)) for path in files
    ]
    commit: Any = None
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        taken = tag is not None and any(each.name == tag for each in api.list_repo_refs(repo).tags)
        if not taken:
            commit = api.create_commit(repo, operations, commit_message=message, revision=revision)
            if tag is not None:
                api.create_tag(repo, tag=tag, revision=commit.oid)
    except errors.HFValidationError as error:
        raise _invalid(repo, error) from error
    except Exception as error:  # the library raises errors of several others
        if commit is not None:
            raise OutputError(
                f"`{repo}` has the commit `{commit.oid}` and did not get the tag `{tag}`: {_line(error)}. Publish the same version again."
            ) from error
        raise OutputError(
            f"`{repo}` could not be committed to `{_shown_endpoint()}`: {_line(error)}. Log in with `hf auth login`, or set "
            "`HF_TOKEN` to a token that may write there. No model was committed."
        ) from error
    if taken:
        raise SettingError(f"`{repo}` has the tag `{tag}` already, and a version never changes. Choose a new one.")
    return str(commit.oid)


@contextmanager
def _explained(repo: str, revision: str | None) -> Iterator[None]:
    errors = require("huggingface_hub.errors", extra="hub")
    try:
        yield
    except errors.HFValidationError as error:
        raise _invalid(repo, error) from error
    except errors.GatedRepoError as error:
        raise ModelNotFoundError(
            f"`{repo}` asks for its terms to be accepted. Accept them at `{_shown_endpoint()}/{repo}`, and log in with `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"There is no repository `{repo}` at `{_shown_endpoint()}`, or it is private. Check the name, or log in with "
            "`hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelNotFoundError(
            f"`{repo}` has no branch, tag or commit `{revision}`. Choose one that `{_shown_endpoint()}/{repo}/commits` lists."
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise ModelNotFoundError(
            f"`{repo}`{f' at `{revision}`' if revision else ''} is not in the cache of the hub, and the hub cannot be reached or the "
            "network is not used (`SCTAB_OFFLINE`, `HF_HUB_OFFLINE`). Download it once with a connection."
        ) from error
    except Exception as error:  # the library raises errors of several others
        raise DownloadError(f"`{repo}` could not be downloaded from `{_shown_endpoint()}`: {_line(error)}. Try again.") from error


def _invalid(repo: str, error: Exception) -> SettingError:
    return SettingError(f"`{repo}` cannot be a repository of the hub: {_line(error)}. Write it as `organisation/name`.")


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _shown_endpoint() -> str:
    return (_endpoint() or str(require("huggingface_hub.constants", extra="hub").ENDPOINT)).rstrip("/")


def _line(error: BaseException) -> str:
    """First line of an error, and that of its cause."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return line if error.__cause__ is None else f"{line} ({_line(error.__cause__)})"
