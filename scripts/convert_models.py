"""Write model directories again in the present format: their weights stay what they are.

    uv run python scripts/convert_models.py DIR [DIR ...]

Without a directory it converts the packaged models.
"""

from __future__ import annotations

import argparse
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import sctab
from sctab.keys import SPEC_FILE, WEIGHTS_FILE

PACKAGED = Path(sctab.__file__).parent / "zoo" / "packaged"


def main() -> None:
    """Load, save, and take over the two files of each model; a model card beside them is left alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*")
    for path in parser.parse_args().models or [directory for directory in PACKAGED.iterdir() if (directory / SPEC_FILE).is_file()]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sctab.SctabWarning)
            model = sctab.model.load_model(path, accelerator="cpu")
        with TemporaryDirectory(dir=path.parent) as workplace:
            model.save(Path(workplace, "model"))
            for name in (WEIGHTS_FILE, SPEC_FILE):
                shutil.move(Path(workplace, "model", name), path / name)
        print(f"Wrote {path}.")


if __name__ == "__main__":
    main()
