"""The directory of unfinished work: its lock, its identity and its removal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sctab.corpus._config import CorpusConfig
from sctab.corpus._entry import SourceEntry
from sctab.corpus._features import given_genes
from sctab.corpus._manifest import FORMAT, VERSION
from sctab.corpus.building._stages import ATTEMPT
from sctab.corpus.sources._open import open_source
from sctab.data import FeatureSpace
from sctab.errors import DataFileError, OutputExistsError, Parameter, SettingError, listing, warn
from sctab.io import entries_of, explain, is_url, strict_json, without_credentials, written_beside

_WORK_SUFFIX = ".unfinished"
_RUN = "run.json"
_OURS = re.compile(r"lock|run\.json|left_out\.json|contents|spills|places|parts|store|\.sctab-[0-9a-z_-]+\.part")


def work_directory(output: Path) -> Path:
    """Directory beside `output` for work on it."""
    return output.with_name(output.name + _WORK_SUFFIX)


@contextmanager
def workplace(output: Path, identity: Mapping[str, Any], *, resume: bool) -> Iterator[Path]:
    """Lock the directory of the work on `output`, which is new, or of the same `identity` where it is resumed."""
    work = work_directory(output)
    wanted = json.loads(json.dumps(identity))
    try:
        is_there = work.exists()
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work / "lock", timeout=0):
            if is_there and not resume:
                raise OutputExistsError(
                    f"`{work}` holds the unfinished work on this corpus. Resume it (",
                    Parameter("resume", value=True),
                    "), or delete it.",
                )
            if is_there and (foreign := [path.name for path in entries_of(work) if not _OURS.fullmatch(path.name)]):
                raise OutputExistsError(f"`{work}` holds something else than work on a corpus: {listing(foreign)}. Move it away.")
            if (work / _RUN).exists():
                before = json.loads((work / _RUN).read_text(encoding="utf-8"))
                _require_same(before, wanted, work)
            else:
                with written_beside(work / _RUN) as beside:
                    beside.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
            yield work.absolute()  # workers of a cluster may run in another directory
    except Timeout as error:
        raise OutputExistsError(f"Another process is building `{output}`. Wait until it is done.") from error
    except OSError as error:
        if isinstance(error, (DataFileError, OutputExistsError)) or error.errno is None:
            raise
        raise explain(error, output) from error


def remove_work(work: Path) -> None:
    """Remove what the work has left; files of others are kept."""
    for path in work.iterdir():
        if not _OURS.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    with suppress(OSError):
        work.rmdir()


def require_same_sources(before: Mapping[str, Any], config: CorpusConfig) -> None:
    """Refuse sources that changed while they were read: some of what was taken of them may be of other cells."""
    changed = []
    for entry in config.sources:
        path = absolute(entry).path
        with suppress(DataFileError):
            if before[path] is None or fingerprint_of(entry) == before[path]:
                continue
        changed.append(without_credentials(path))
    if changed:
        raise DataFileError(f"{listing(changed)} changed while the corpus was built. Delete the unfinished work, and rebuild it.")


def states_of(config: CorpusConfig, *, skip_damaged: bool) -> tuple[dict[str, Any], set[str]]:
    """Fingerprint of each source by its path, and the sources that cannot be opened."""
    states: dict[str, Any] = {}
    damaged = set()
    for entry in config.sources:
        try:
            # What cannot be read of `obs` is found now where it is to be left out, and otherwise when it is read.
            states[absolute(entry).path] = fingerprint_of(entry, entry.obs_keys if skip_damaged else ())
        except DataFileError as error:
            if not skip_damaged:
                raise
            warn(error.message, " It is left out.")
            states[absolute(entry).path] = None
            damaged.add(entry.path)
    return states, damaged


def forget_work_without(damaged: set[str], work: Path) -> None:
    """Begin again what was done with other sources: which can be read may be different after an interruption."""
    note = work / "left_out.json"
    before = json.loads(note.read_text(encoding="utf-8")) if note.exists() else []
    if before != sorted(damaged):
        for name in ("spills", "places", "parts", "store"):
            shutil.rmtree(work / name, ignore_errors=True)
        with written_beside(note, overwrite=True) as beside:
            beside.write_text(json.dumps(sorted(damaged)), encoding="utf-8")


def identity_of(config: CorpusConfig, shard_size: int, sources: Mapping[str, Any]) -> dict[str, Any]:
    """Values that decide the corpus: the declaration, and the state of the sources."""
    shown = tuple(replace(entry, path=without_credentials(entry.path)) for entry in map(absolute, config.sources))
    declared = asdict(replace(config, filters=(), features="", sources=shown))
    declared["filters"] = [{rule.name: rule.parameters} for rule in config.filters]
    genes = given_genes(config.features)
    states = {without_credentials(path): state for path, state in sources.items()}
    declared["features"] = genes.to_json() if isinstance(genes, FeatureSpace) else genes
    return {"format": FORMAT, "format_version": VERSION, "config": declared, "shard_size": shard_size, "sources": states}


def hash_of(identity: Mapping[str, Any]) -> str:
    """Hash of the values that decide a corpus, by which a finished one is recognised."""
    return strict_json.digest(json.loads(json.dumps(identity)))


def fingerprint_of(entry: SourceEntry, obs_keys: Sequence[str] = ()) -> dict[str, Any]:
    with closing(open_source(absolute(entry), obs_keys)) as source:
        return source.fingerprint()


def _require_same(before: Mapping[str, Any], wanted: Mapping[str, Any], work: Path) -> None:
    if before == wanted:
        return
    if before.get("config") == wanted["config"] and before.get("shard_size") == wanted["shard_size"]:
        changed = [path for path, state in wanted["sources"].items() if before.get("sources", {}).get(path) != state]
        raise DataFileError(f"{listing(changed)} changed since work on this corpus began. Delete `{work}`, and rebuild it.")
    raise SettingError(f"`{work}` belongs to another corpus. Resume with the same declaration, or delete it.")


def clear_attempts(folder: Path) -> None:
    """Remove what interrupted work has left."""
    for attempt in folder.glob(f"*{ATTEMPT}"):
        shutil.rmtree(attempt, ignore_errors=True)


def absolute(entry: SourceEntry) -> SourceEntry:
    """Source with an absolute path, for a worker that may run in another directory."""
    return entry if is_url(entry.path) else replace(entry, path=str(Path(entry.path).absolute()))
