"""What Windows and macOS do not have is not needed: neither to import any module, nor to annotate."""

import ast
import re
import subprocess
import sys

import pytest
import scanpy as sc

from sctab import keys

POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
"""Modules of the standard library that Windows lacks (Python documentation, *Unix-specific services*)."""
POSIX_NAMES = {
    "os": {
        *("chown", "chroot", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups", "getloadavg"),
        *("getpgid", "getpgrp", "getpriority", "getsid", "getuid", "killpg", "lchown", "mkfifo", "mknod", "nice", "O_CLOEXEC"),
        *(
            "O_DIRECTORY",
            "O_NOFOLLOW",
            "O_NONBLOCK",
            "posix_fadvise",
            "posix_fallocate",
            "posix_spawn",
            "pread",
            "preadv",
            "pwrite",
        ),
        *(
            "pwritev",
            "register_at_fork",
            "sched_getaffinity",
            "sched_setaffinity",
            "sched_yield",
            "sendfile",
            "setpgid",
            "setpriority",
        ),
        *("setsid", "statvfs", "sync", "sysconf", "uname", "wait", "wait3", "wait4", "WNOHANG"),
    },
    "signal": {
        *("alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "siginterrupt", "sigpending", "sigwait"),
        *("SIGALRM", "SIGBUS", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP"),
        *("SIGUSR1", "SIGUSR2"),
    },
    "time": {"tzset"},
}
"""Names that these modules lack on Windows (Python documentation, *Availability*); `O_DIRECTORY` and some others on macOS, too."""

WITHOUT_THEM = """
import importlib, os, signal, sys, time

for library in LIBRARIES:  # they ask themselves where they are
    importlib.import_module(library)
names, modules = POSIX
for module, lacking in names.items():
    for name in lacking:
        if hasattr(sys.modules[module], name) and name not in KEPT:
            delattr(sys.modules[module], name)
for module in modules:
    sys.modules[module] = None  # an import of it raises
"""
IMPORTS = """
import pkgutil, sctab

for module in pkgutil.walk_packages(sctab.__path__, "sctab."):
    if ".peers.peer_" not in module.name:
        importlib.import_module(module.name)
print("imported")
"""
ANNOTATES = """
import anndata, sctab

adata = anndata.read_h5ad(sys.argv[1])
sctab.tl.annotate(adata)
for output in ("labels.csv", "annotated.h5ad", "annotated.zarr"):
    for _ in range(2):  # the second replaces the first
        sctab.tl.annotate_files(sys.argv[1], output=f"{sys.argv[2]}/{output}", overwrite=True)
copy = anndata.read_h5ad(f"{sys.argv[2]}/annotated.h5ad")
assert list(copy.obs["sctab_label"]) == list(adata.obs["sctab_label"])
print(adata.obs["sctab_label"].notna().sum())
"""


KEPT = {"O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "sched_getaffinity", "sendfile"}
"""What `filelock`, `os` and `shutil` use here without asking."""
LIBRARIES = ["anndata", "filelock", "h5py", "numba", "pyarrow.parquet", "torch", "zarr"]


def run(program, *arguments, libraries=()):
    """Last line that a program prints where nothing of POSIX is left but what libraries have taken."""
    prelude = WITHOUT_THEM.replace("POSIX", repr((POSIX_NAMES, POSIX_MODULES)))
    prelude = prelude.replace("LIBRARIES", repr([*LIBRARIES, *libraries])).replace("KEPT", repr(KEPT))
    command = [sys.executable, "-W", "ignore", "-c", prelude + program, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_every_module_is_imported():
    training = ("joblib", "lightning.pytorch", "matplotlib.pyplot", "scanpy", "scvi.model", "sklearn", "typer")
    assert run(IMPORTS, libraries=training) == "imported"


@pytest.mark.filterwarnings("ignore")
def test_objects_and_files_are_annotated(tmp_path):
    adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
    adata.write_h5ad(tmp_path / "query.h5ad")
    assert run(ANNOTATES, tmp_path / "query.h5ad", tmp_path) == str(adata.n_obs)


FORBIDDEN = re.compile(r'[<>:"/\\\\|?*\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
"""What no name of a file can have on Windows (Microsoft, *Naming Files, Paths, and Namespaces*)."""


@pytest.mark.parametrize("name", sorted(value for name, value in vars(keys).items() if name.endswith("_FILE")))
def test_names_of_files_are_valid_everywhere(name):
    assert FORBIDDEN.search(name) is None
    assert FORBIDDEN.search("a:b")
    assert FORBIDDEN.search("aux.txt")


def unguarded(source):
    """Uses of what Windows lacks, besides those that ask first: `hasattr(os, "x")`, `getattr(os, "x", …)`."""
    tree = ast.parse(source)
    asked = {
        (ast.unparse(node.args[0]), node.args[1].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hasattr" and isinstance(node.args[1], ast.Constant)
    }
    if ("os", "killpg") in asked:
        asked.add(("signal", "SIGKILL"))  # what it sends
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in POSIX_MODULES]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            lacking = POSIX_NAMES.get(node.module, set())
            found += [node.module] * (node.module in POSIX_MODULES)
            found += [f"{node.module}.{alias.name}" for alias in node.names if alias.name in lacking]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = node.value.id, node.attr
            if node.attr in POSIX_NAMES.get(name[0], set()) and name not in asked:
                found.append(".".join(name))
    return found


def test_the_source_asks_before_it_uses_what_others_lack(source_root):
    found = {path.relative_to(source_root).as_posix(): unguarded(path.read_text("utf-8")) for path in source_root.rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import resource", ["resource"]),
        ("def f():\n    from fcntl import flock", ["fcntl"]),
        ("import os\nos.fork()", ["os.fork"]),
        ("from os import geteuid", ["os.geteuid"]),
        ("import signal\nsignal.signal(signal.SIGHUP, f)", ["signal.SIGHUP"]),
        ("import os\nx = hasattr(os, 'geteuid') and os.geteuid()", []),
        ("import signal\nx = getattr(signal, 'SIGHUP', signal.SIGTERM)", []),
        ("import os\nif hasattr(os, 'killpg'):\n    os.killpg(0, signal.SIGKILL)", []),
        ("import os\nif hasattr(os, 'fork'):\n    os.killpg(0, 9)", ["os.killpg"]),
        ("import os, json\nos.replace(a, b)", []),
    ],
)
def test_what_is_found(source, found):
    assert unguarded(source) == found
