"""A short fuzz run: damaged files are read rightly or refused in words. `benchmarks/fuzz.py` is the long one."""

import os
import subprocess
import sys

N_CASES = 40


def test_damaged_files_are_refused_or_read_rightly(repository):
    command = [sys.executable, "-m", "tests.fuzzing", "--few", "--n", str(N_CASES), "--seed", "1"]
    done = subprocess.run(command, cwd=repository, env=os.environ, check=False, capture_output=True, text=True)
    print(done.stdout)  # noqa: T201 - the counts
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{N_CASES} cases, 0 wrong" in done.stdout
