"""What is told of a failed run."""

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

    @dg.job
    def failing() -> None:
        explained()
        unexplained()

    told = {finding.asset: finding.message for finding in _failures("books", _run(failing))}
    assert told == {
        "explained": "SourceError: books.csv: make its line ends the same",
        "unexplained": "ValueError: invalid state",
    }


def _run(job: dg.JobDefinition) -> dg.ExecuteInProcessResult:
    return job.execute_in_process(raise_on_error=False)
