"""How a failed run is reported."""

import sqlite3
from contextlib import closing

import dagster as dg

from ptupcdr_core.errors import SourceError
from ptupcdr_dagster.running.partition import _failures


def test_a_failure_is_told_in_our_own_words_where_there_are_any() -> None:
    """Beneath an error with the file and the remedy lies one of a library, which has neither."""

    @dg.op
    def explained() -> None:
        try:
            raise ValueError("invalid state")
        except ValueError as error:
            raise SourceError("books.csv: make its line ends the same") from error

    @dg.op
    def unexplained() -> None:
        try:
            raise ValueError("invalid state")
        except ValueError as error:
            raise RuntimeError("a step failed") from error

    @dg.op
    def on_a_full_disk() -> None:
        with closing(sqlite3.connect(":memory:")) as store:
            store.execute("pragma max_page_count = 1")
            store.execute("create table runs (id)")

    @dg.job
    def failing() -> None:
        explained()
        unexplained()
        on_a_full_disk()

    told = {finding.asset: finding.message for finding in _failures("books", _run(failing))}
    assert told == {
        "explained": "SourceError: books.csv: make its line ends the same",
        "unexplained": "ValueError: invalid state",
        "on_a_full_disk": "a store of runs cannot be used (database or disk is full): free some space, make it "
        "writable, or move it away if it is damaged, and run again; what stood there before is untouched",
    }


def _run(job: dg.JobDefinition) -> dg.ExecuteInProcessResult:
    return job.execute_in_process(raise_on_error=False)
