"""What is told of another library's errors."""

import pytest

from ptupcdr_core.errors import first_line


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no such column\nat line 3"), "no such column"),
        (TimeoutError(), "TimeoutError"),
        (OSError(""), "OSError"),
    ],
)
def test_the_first_line_of_an_error_or_its_name(error: Exception, told: str) -> None:
    assert first_line(error) == told
