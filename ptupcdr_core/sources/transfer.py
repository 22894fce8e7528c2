"""One transfer over http(s): bounded in time and size, and continuing what an earlier one has brought."""

import http.client
import logging
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import requests
import urllib3

from ptupcdr_core.addresses import without_user
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.limits import DOWNLOAD, Limits
from ptupcdr_core.store.replacing import writing

CHUNK = 1 << 20
CONNECT_SECONDS, SILENCE_SECONDS = 30.0, 60.0
"""Longest wait for a connection, and for the next bytes."""
_WEB_PAGE = (b"<!doctype html", b"<html")
# Its debug lines would hold the query of every address, and secrets with it.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
_WAIT = {408, 425, 429, 500, 502, 503, 504}
"""Answers after which trying again may help."""


class BrokeOffError(Exception):
    """A transfer ended early; trying again may help."""


@dataclass(frozen=True)
class Part:
    """The part of a file that has been fetched so far, and beside it the server's mark of that version of the file."""

    file: Path

    @property
    def _mark(self) -> Path:
        return self.file.with_name(f"{self.file.name}.version")

    @property
    def size(self) -> int:
        """Bytes that a transfer may continue from."""
        return self.file.stat().st_size if self.file.is_file() and self._mark.is_file() else 0

    @property
    def mark(self) -> str:
        """An ETag, or the time of the last change."""
        return self._mark.read_text(encoding="utf-8")

    def begin(self, mark: str | None) -> None:
        """Remove what came before, and note the version that comes now; without a mark it cannot be continued."""
        self.discard()
        if mark:
            with writing(self._mark):
                self._mark.write_text(mark, encoding="utf-8")

    def keep_if_resumable(self) -> int:
        """Return the bytes to continue from; without a mark, remove them."""
        if not self.size:
            self.discard()
        return self.size

    def discard(self) -> None:
        """Remove it."""
        self.file.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)


def transfer(address: str, part: Part, deadline: float, limits: Limits) -> None:
    """Fetch the rest of a file.

    Args:
        address: with its secrets.
        part: takes the bytes.
        deadline: by ``time.monotonic()``.
        limits: bound the size.

    Raises:
        BrokeOffError: it did not come whole; what came is in the part.
        SourceError: the server refuses it, or it is not an acceptable file.
        StorageError: it cannot be kept.
    """
    have = part.size
    resume = {"Range": f"bytes={have}-", "If-Range": part.mark} if have else {}
    try:
        with requests.Session() as session, closing(_ask(session, address, resume, deadline)) as answer:
            have = _accept(answer, part, have)
            _receive(answer, part, have, deadline, limits)
    except (requests.exceptions.SSLError, requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise SourceError(str(error)) from None
    except requests.exceptions.TooManyRedirects:
        raise SourceError("it is redirected from address to address without end") from None
    except requests.RequestException as error:
        raise BrokeOffError(f"no connection ({_innermost(error)})") from None
    except (urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
        raise BrokeOffError(f"it broke off ({_innermost(error)})") from None
    except ValueError as error:
        raise SourceError(f"{error}; is it an address?") from None


def _ask(session: requests.Session, address: str, headers: dict[str, str], deadline: float) -> requests.Response:
    split = urlsplit(address)
    session.hooks["response"].append(_refuse_other_scheme)
    # A user in the address takes precedence over .netrc, which requests would prefer. It is sent to this server only.
    user = (unquote(split.username or ""), unquote(split.password or "")) if "@" in split.netloc else None
    patience = max(0.1, min(SILENCE_SECONDS, deadline - time.monotonic()))
    return session.get(
        without_user(address),
        # Without compression on the way, which could not be continued.
        headers={"Accept-Encoding": "identity", **headers},
        auth=user,
        stream=True,
        timeout=(min(CONNECT_SECONDS, patience), patience),
    )


def _refuse_other_scheme(answer: requests.Response, *_: Any, **__: Any) -> None:
    if answer.is_redirect:
        now, then = urlsplit(answer.url), urlsplit(urljoin(answer.url, answer.headers["location"]))
        if then.scheme not in ("https", now.scheme):
            raise SourceError(
                f"the server redirects from {now.scheme} to {then.scheme}, which is not followed; if you trust it, "
                "write that address into the catalog"
            )


def _accept(answer: requests.Response, part: Part, have: int) -> int:
    """How many bytes of the part the answer continues after."""
    status = answer.status_code
    if status == 206 and have and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        return have
    if status in (206, 416):
        part.discard()
        raise BrokeOffError("the server does not have the rest of what was kept")
    if status in _WAIT:
        raise BrokeOffError(f"the server answers {status} {answer.reason}")
    if status in (401, 403):
        raise SourceError(
            f"the server answers {status} {answer.reason}: give user and password in ~/.netrc, or as environment "
            "variables in the address (https://${USER}:${PASSWORD}@…, ?token=${TOKEN})"
        )
    if status != 200:
        raise SourceError(f"the server answers {status} {answer.reason}: check the address in the catalog")
    etag = answer.headers.get("ETag", "")
    part.begin(etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified"))
    return 0


def _receive(answer: requests.Response, part: Part, have: int, deadline: float, limits: Limits) -> None:
    length = answer.headers.get("Content-Length", "")
    announced = have + int(length) if length.isdecimal() else None
    if announced is not None and announced > limits.download:
        raise _too_large(f"it has {announced} bytes", limits)
    with writing(part.file), part.file.open("ab" if have else "wb") as file:
        while chunk := answer.raw.read1(CHUNK, decode_content=False):
            if not have:
                _refuse_web_page(answer, chunk)
            have += len(chunk)
            if have > limits.download:
                raise _too_large("more bytes came", limits)
            file.write(chunk)
            if time.monotonic() > deadline:
                raise BrokeOffError(f"it was not complete in time ({have} of {announced or 'unknown'} bytes)")


def _refuse_web_page(answer: requests.Response, start: bytes) -> None:
    kind = answer.headers.get("Content-Type", "").lower()
    if kind.startswith("text/html") or start.lstrip(b"\xef\xbb\xbf \t\r\n")[:20].lower().startswith(_WEB_PAGE):
        raise SourceError(
            "a web page came, not a file: open the address in a browser to see what it says (a sign-in, an error?), "
            "and write the address of the file itself into the catalog; nothing of it was kept"
        )


def _too_large(what: str, limits: Limits) -> SourceError:
    return SourceError(f"{what}, and {limits.download} are allowed; raise {DOWNLOAD} if that is right")


def _innermost(error: BaseException) -> str:
    """The innermost cause: the libraries' own messages hold the address with its query."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error) or type(error).__name__
