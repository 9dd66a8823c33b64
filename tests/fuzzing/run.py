"""Cases of a fuzz run, each in a process of its own: a crash, a hang or a flood of memory ends that process and nothing else."""

import contextlib
import gc
import hashlib
import json
import os
import pickle
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.fuzzing import oracle
from tests.fuzzing.damage import NotApplicableError, damage
from tests.fuzzing.data_files import data_subjects
from tests.fuzzing.models import model_subjects
from tests.fuzzing.oracle import InvalidDataError
from tests.fuzzing.stores import store_subjects
from tests.fuzzing.subject import Subject, warm_up

import sctab

RIGHT = ("refused", "equal", "valid", "anndata")
"""Verdicts that are right: a documented refusal; the answer that intact files give; that of other content which is valid, as anndata reads
it; and what anndata refuses before `sctab` sees it."""
WRONG = ("wrong", "traceback", "signal", "hang", "memory", "changed", "leftover")
"""An answer that is not what the file says; an error of no documented class; a crash; no end; more memory than a small file can need; an
input that is not what it was; something left behind."""
TIMEOUT = 25.0
"""Seconds of processors that a case may take. It may wait twelve times as long: on a busy machine what is alive is slow."""
MEMORY = 2_000
"""Megabytes above what the process has at its start."""


@dataclass(frozen=True)
class Case:
    """What came of one case."""

    number: int
    subject: str
    verdict: str
    damage: str
    detail: str
    seconds: float
    """Of processors."""

    @property
    def is_wrong(self) -> bool:
        """Whether it must not be."""
        return self.verdict in WRONG


class Fuzzer:
    """Runs cases, which their number and a seed decide.

    Parameters
    ----------
    seed
        Of all damage.
    only
        Part of the names of subjects, to run no others.
    jobs
        Cases at a time.
    few
        Damage two layouts of data files and one class of models alone, which takes less time to begin.
    """

    def __init__(self, *, seed: int = 0, only: str = "", jobs: int = 2, few: bool = False) -> None:
        self.seed, self.jobs = seed, jobs
        self._root = Path(tempfile.mkdtemp(prefix="sctab-fuzz-"))
        self.expected: dict[str, object] = {}
        try:
            self.subjects = [subject for subject in _made(self._root, few=few) if only in f"{subject.group} {subject.name}"]
            if not self.subjects:
                raise ValueError(f"No subject has `{only}` in its name.")
        except BaseException:
            self.close()
            raise
        self._order = [subject for subject in self.subjects for _ in range(subject.weight)]
        np.random.default_rng(0).shuffle(self._order)

    def run(self, numbers):
        """Run the cases with these numbers, and give each in order; before them the intact files are read, for what to expect."""
        cases = [(number, self._order[number % len(self._order)]) for number in numbers]
        subjects = [subject for subject in {s.name: s for _, s in cases}.values() if subject.name not in self.expected]
        for subject, case in zip(subjects, self._run([(-1, subject) for subject in subjects], damaged=False), strict=True):
            if case.verdict != "answer":
                raise RuntimeError(f"Intact files are not read: {subject.name}: {case.verdict} {case.detail}")
            self.expected[subject.name] = json.loads(case.detail)
        yield from self._run(cases, damaged=True)

    def close(self) -> None:
        """Remove all files."""
        shutil.rmtree(self._root, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _run(self, cases, *, damaged):
        waiting = list(enumerate(cases))[::-1]
        running: dict[int, _Child] = {}
        done: dict[int, Case] = {}
        given = 0
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    at, (number, subject) = waiting.pop()
                    running[at] = _Child(number, subject, lambda say, n=number, s=subject: self._work(n, s, say, damaged=damaged))
                select.select([child.pipe for child in running.values()], [], [], 0.05)
                for at, child in list(running.items()):
                    if (case := child.look()) is not None:
                        done[at] = case
                        del running[at]
                while given in done:
                    yield done.pop(given)
                    given += 1
        finally:
            for child in running.values():
                child.kill()

    def _work(self, number, subject: Subject, say, *, damaged) -> None:
        """What the process of a case does."""
        folder = Path(tempfile.mkdtemp(prefix="case-", dir=self._root))
        try:
            for entry in subject.files.iterdir():
                shutil.copytree(entry, folder / entry.name) if entry.is_dir() else shutil.copy2(entry, folder / entry.name)
            os.chdir(folder)
            if damaged:
                rng = np.random.default_rng([self.seed, number])
                before = fingerprint(folder)
                for _ in range(20):
                    what = damage(folder / subject.target, subject.kinds, rng)
                    if subject.after is not None:
                        subject.after(folder)
                    if fingerprint(folder) != before:
                        break
                say("damage", what)
            inputs = fingerprint(folder)
            oracle.watch = lambda stage: say("stage", stage)
            say("stage", "reading")
            say(*self._read(subject, folder, say, damaged=damaged))
            allowed = {entry for entry in inputs if not _within(entry, subject.may_leave)}
            after = fingerprint(folder)
            if any(after.get(entry) != inputs[entry] for entry in allowed):
                say("changed", next(entry for entry in sorted(allowed) if after.get(entry) != inputs[entry]))
            if left := [entry for entry in after if "/.sctab-" in f"/{entry}" and ".part" in entry]:
                say("leftover", left[0])
        finally:
            os.chdir("/")
            shutil.rmtree(folder, ignore_errors=True)

    def _read(self, subject, folder, say, *, damaged):
        try:
            answer = json.loads(json.dumps(subject.read(folder)))
        except sctab.SctabError as error:
            return "refused", f"{type(error).__name__}: {error}"
        except SystemExit as ended:
            return ("refused", "exit 2") if ended.code == 2 else ("traceback", f"exit {ended.code}")
        except InvalidDataError as error:
            return "anndata", str(error)
        except MemoryError as error:
            return "memory", f"MemoryError: {error} {place(error)}"
        except BaseException as error:
            return "traceback", f"{type(error).__name__}: {str(error)[:300]} {place(error)}"
        if not damaged:
            if answer is None:  # a copy
                verdict = subject.judge(folder, answer, None)
                return ("answer", "null") if verdict == "valid" else ("wrong", verdict)
            return "answer", json.dumps(answer)
        expected = self.expected[subject.name]
        if answer is not None and answer == expected:
            return "equal", ""
        say("stage", "judging")
        try:
            verdict = subject.judge(folder, answer, expected)
        except InvalidDataError as error:
            return "wrong", f"accepted, but {error}"
        except sctab.SctabError as error:
            return "wrong", f"accepted, but refused when anndata reads it: {type(error).__name__}: {error}"
        return ("valid", "") if verdict == "valid" else ("wrong", verdict)


def _subjects(root: Path, *, few: bool) -> list[Subject]:
    data = data_subjects(root / "data", ("h5ad-csr", "zarr3-sharded")) if few else data_subjects(root / "data")
    models = model_subjects(root / "models", ("linear",)) if few else model_subjects(root / "models")
    return [*data, *models, *store_subjects(root / "stores")]


def _made(root: Path, *, few: bool) -> list[Subject]:
    """Write the intact files in a process of its own, so that no thread of a library is left in this one, and describe them here."""
    described = root / "subjects.pickle"

    def work(say) -> None:
        described.write_bytes(pickle.dumps(_subjects(root, few=few)))
        say("answer", "made")

    child = _Child(0, None, work, timeout=600, memory=10_000)
    while (case := child.look()) is None:
        time.sleep(0.05)
    if case.verdict != "answer":
        raise RuntimeError(f"The intact files could not be written: {case.verdict} {case.detail}")
    warm_up()
    gc.collect()
    gc.freeze()  # pages with objects of this process are then not copied into every child
    return pickle.loads(described.read_bytes())


class _Child:
    """The process of a case, and what it said."""

    def __init__(self, number, subject, work, *, timeout=TIMEOUT, memory=MEMORY) -> None:
        self.number, self.subject = number, subject
        self.timeout, self.memory = timeout, memory
        self.started = time.monotonic()
        self.heard = b""
        self.pipe, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            _live(write, work)
        os.close(write)
        os.set_blocking(self.pipe, False)
        self.base = None
        self.used = 0.0

    def look(self):
        """The case, when it has ended."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.pipe, 1 << 20):
                self.heard += chunk
        pid, status, used = os.wait4(self.pid, os.WNOHANG)
        if pid:
            self.used = used.ru_utime + used.ru_stime
            os.set_blocking(self.pipe, True)
            while chunk := os.read(self.pipe, 1 << 20):
                self.heard += chunk
            os.close(self.pipe)
            return self._case(self._verdict(status))
        size = _resident(self.pid)
        self.base = size if self.base is None else self.base
        if size - self.base > self.memory:
            self.kill()
            return self._case(self._stopped("memory", f"{size - self.base} MB more than at the start"))
        waited = time.monotonic() - self.started
        if waited > self.timeout and (_processor_seconds(self.pid) > self.timeout or waited > 12 * self.timeout):
            self.kill()
            return self._case(self._stopped("hang", f"more than {self.timeout:.0f} s of processors, or {waited:.0f} s"))
        return None

    def kill(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pipe)

    def _said(self):
        return [json.loads(line) for line in self.heard.decode().splitlines() if line.endswith("]")]

    def _verdict(self, status):
        verdicts = [(kind, text) for kind, text in self._said() if kind not in {"damage", "stage"}]
        if os.WIFSIGNALED(status):
            return self._stopped("signal", signal.Signals(os.WTERMSIG(status)).name)
        if not verdicts:
            return "traceback", f"ended with {status} and said nothing"
        return next((each for each in verdicts if each[0] in WRONG), verdicts[0])

    def _stopped(self, verdict, detail):
        """What is wrong, unless it happened in anndata before anything of `sctab` had seen the file."""
        stages = [text for kind, text in self._said() if kind == "stage"]
        return "anndata" if stages == ["reading", "anndata"] else verdict, f"{detail} while {stages[-1:]}"

    def _case(self, verdict):
        what = next((text for kind, text in self._said() if kind == "damage"), "")
        name = self.subject.name if self.subject else ""
        return Case(self.number, name, *verdict[:1], what, verdict[1], self.used)


def _live(write, work) -> None:
    """The whole life of the process of a case."""
    code = 0
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        log = os.open(os.environ.get("SCTAB_FUZZ_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        warnings.simplefilter("ignore")
        soft = (_virtual() + 8_000) << 20
        resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        def say(kind, text) -> None:
            os.write(write, (json.dumps([kind, text]) + "\n").encode())

        try:
            work(say)
        except NotApplicableError as error:
            say("anndata", f"nothing to damage: {error}")
        except BaseException as error:
            traceback.print_exc()
            say("traceback", f"in the harness: {type(error).__name__}: {str(error)[:300]} {place(error, ours='tests/fuzzing')}")
    except BaseException:
        code = 1
    finally:
        os._exit(code)


def place(error, *, ours="src/sctab"):
    """Where in our code an error came from, innermost first."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if ours in frame.filename]
    return " ← ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[::-1][:3])


def fingerprint(folder: Path):
    """A hash of everything in a folder, by relative path. Links are not followed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.is_dir():
            found[name] = "directory"
        else:
            found[name] = "special"
    return found


def _within(entry: str, names) -> bool:
    return any(entry == name or entry.startswith(f"{name}/") for name in names)


def _resident(pid) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() >> 20
    return 0


def _processor_seconds(pid) -> float:
    """Of a process and its children that have ended."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _virtual() -> int:
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() >> 20
    return 64_000


def table(cases) -> str:
    """Counts of verdicts by subject."""
    counts, seconds = {}, Counter()
    for case in cases:
        seconds[case.subject] += case.seconds
        seconds["all"] += case.seconds
        counts.setdefault(case.subject, Counter())[case.verdict] += 1
    verdicts = [name for name in (*RIGHT, *WRONG) if any(count[name] for count in counts.values())]
    lines = [f"{'':40s}{'cases':>7s}{'s/case':>8s}" + "".join(f"{name:>11s}" for name in verdicts)]
    total = sum(counts.values(), Counter())
    for name, count in [*sorted(counts.items()), ("all", total)]:
        lines.append(
            f"{name:40s}{count.total():7d}{seconds[name] / count.total():8.2f}"
            + "".join(f"{count[verdict] or '·':>11}" for verdict in verdicts)
        )
    return "\n".join(lines)
