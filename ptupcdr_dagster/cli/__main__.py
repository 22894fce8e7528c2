"""``python -m ptupcdr_dagster.cli``: the command line without the installed program."""

from ptupcdr_dagster.cli import app

app()
