"""How long a download may take, and how large it, or a file once unpacked, may be: no input may be endless."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ptupcdr_core.errors import SourceError

SECONDS, DOWNLOAD, UNPACKED = "PTUPCDR_DOWNLOAD_SECONDS", "PTUPCDR_DOWNLOAD_LIMIT", "PTUPCDR_UNPACKED_LIMIT"

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"(\d{1,15})\s*([KMGT]?B|)", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """Limits of what is read.

    Args:
        seconds: a download's longest time in all.
        download: a download's largest size, in bytes.
        unpacked: the largest unpacked size of a compressed file, in bytes.
    """

    seconds: float = 4 * 3600
    download: int = 100 * 10**9
    unpacked: int = 200 * 10**9

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Limits":
        """With the limits that ``PTUPCDR_DOWNLOAD_SECONDS``, ``…_DOWNLOAD_LIMIT`` and ``…_UNPACKED_LIMIT`` set.

        Raises:
            SourceError: one of them is not a valid limit.
        """
        given = os.environ if environment is None else environment
        texts = {name: given.get(name, "").strip() for name in (SECONDS, DOWNLOAD, UNPACKED)}
        return cls(
            seconds=_seconds(texts[SECONDS]) if texts[SECONDS] else cls.seconds,
            download=_bytes(DOWNLOAD, texts[DOWNLOAD]) if texts[DOWNLOAD] else cls.download,
            unpacked=_bytes(UNPACKED, texts[UNPACKED]) if texts[UNPACKED] else cls.unpacked,
        )


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d+)?", text) or float(text) == 0:
        raise SourceError(f"{SECONDS}={text}: expected a number of seconds above 0")
    return float(text)


def _bytes(name: str, text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise SourceError(f"{name}={text}: expected a size such as 500MB or 20GB")
    return int(found[1]) * _UNITS[found[2].upper()]
