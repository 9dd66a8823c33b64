"""Compare what is in a wheel and in a source archive with the working tree: `python .ci/contents.py FOLDER`."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
NEEDED = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "PKG-INFO", "README.md", "SECURITY.md", "pyproject.toml"}
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
LARGEST = 8_000_000
"""Bytes of an archive."""


def source_files(folder: str) -> set[str]:
    """Files of a folder of the working tree, by their path from its root, without what Python and others leave there."""
    paths = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts and path.suffix != ".pyc"}


def problems_of_wheel(path: Path) -> list[str]:
    """Give what a wheel has too much or too little."""
    with zipfile.ZipFile(path) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    information = "-".join(path.name.split("-")[:2]) + ".dist-info"
    expected = {str(PurePosixPath(name).relative_to("src")) for name in source_files("src/sctab")}
    return differences(path.name, names, expected | {f"{information}/{name}" for name in METADATA})


def problems_of_source(path: Path) -> list[str]:
    """Give what a source archive has too little, and where it unpacks to."""
    with tarfile.open(path) as archive:
        names = {member.name for member in archive.getmembers() if member.isfile()}
    root = path.name.removesuffix(".tar.gz")
    expected = {f"{root}/{name}" for name in NEEDED | source_files("src") | source_files("tests")}
    return differences(path.name, {name for name in names if name in expected or not name.startswith(f"{root}/")}, expected)


def differences(archive: str, found: set[str], expected: set[str]) -> list[str]:
    """Name what two sets of files do not have in common."""
    lacking = [f"{archive} lacks {name}" for name in sorted(expected - found)]
    return lacking + [f"{archive} has {name}" for name in sorted(found - expected)]


def main() -> int:
    """Print what is wrong; 1 where something is."""
    folder = Path(sys.argv[1])
    wheels, sources = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    found = [] if len(wheels) == len(sources) == 1 else [f"{folder} has {len(wheels)} wheels and {len(sources)} source archives"]
    found += [problem for path in wheels for problem in problems_of_wheel(path)]
    found += [problem for path in sources for problem in problems_of_source(path)]
    found += [f"{path.name} has {path.stat().st_size} bytes" for path in wheels + sources if path.stat().st_size > LARGEST]
    for line in found or [f"{path.name}: {path.stat().st_size} bytes, all that belongs in it" for path in wheels + sources]:
        print(line)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
