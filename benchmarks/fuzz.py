"""Damage thousands of data files, models and corpora, and see that each is read rightly or refused in words.

    uv run python benchmarks/fuzz.py [--n 4000] [--seed 0] [--only NAME] [--jobs 2] [--case NUMBER]

Every case takes an intact file or directory, damages it in one way that its number and the seed decide, and has it read in a process of its
own. It prints how often each verdict was given, and for each case that went wrong how to run it alone. What is damaged and how is in
`tests/fuzzing/`, and a short run of it is among the tests.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # threads do not survive in the process of a case
os.environ["NUMBA_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fuzzing.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
