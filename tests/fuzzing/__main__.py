"""Run cases of the fuzz run, and say what came of them: `python -m tests.fuzzing --n 4000 --seed 0`."""

import argparse
import sys
import time
from contextlib import suppress

from tests.fuzzing.run import Fuzzer, table


def main(arguments=None) -> int:
    """Run what is asked for; 1 where a case went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=4000, help="cases to run")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--case", type=int, default=None, help="run this one alone")
    parser.add_argument("--seed", type=int, default=0, help="of all damage")
    parser.add_argument("--only", default="", help="part of the names of what is read, such as `data`, `zarr2` or `: load`")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("--few", action="store_true", help="two layouts of data files and one class of models alone")
    chosen = parser.parse_args(arguments)
    say = sys.stdout.write
    started = time.monotonic()
    numbers = [chosen.case] if chosen.case is not None else range(chosen.first, chosen.first + chosen.n)
    cases = []
    with suppress(KeyboardInterrupt), Fuzzer(seed=chosen.seed, only=chosen.only, jobs=chosen.jobs, few=chosen.few) as fuzzer:
        say(f"{len(fuzzer.subjects)} subjects after {time.monotonic() - started:.0f} s\n")
        for case in fuzzer.run(numbers):
            cases.append(case)
            if case.is_wrong or chosen.case is not None:
                only = (f" --only '{chosen.only}'" if chosen.only else "") + (" --few" if chosen.few else "")
                say(f"\n{case.verdict.upper()} {case.subject}\n  {case.damage}\n  {case.detail}\n")
                say(f"  --seed {chosen.seed}{only} --case {case.number}\n")
                sys.stdout.flush()
    n_wrong = sum(case.is_wrong for case in cases)
    say(f"\n{table(cases)}\n\n{len(cases)} cases, {n_wrong} wrong, {time.monotonic() - started:.0f} s, seed {chosen.seed}\n")
    return int(n_wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
