"""``python -m ptupcdr_dagster.cli``: the command line without its script."""

from ptupcdr_dagster.cli import app

app()
