"""The command `sctab` as `python -m sctab`."""

from sctab.cli import main

if __name__ == "__main__":
    main()
