"""The command line."""

from ptupcdr_dagster.cli.commands import app

__all__ = ["app"]
