"""The `sctab` command."""

from sctab.cli._app import app, main

__all__ = ["app", "main"]
