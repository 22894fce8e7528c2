"""Addresses with secrets in them: where the secrets come from, and what may be shown of an address.

A catalog may write ``https://reader:${SHOP_PASSWORD}@host/books.csv?token=${SHOP_TOKEN}``. The variables are filled in
when somebody connects, and nowhere else; tables, logs, messages and pages get what ``shown`` leaves.
"""

import os
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlsplit

from ptupcdr_core.errors import SourceError

HIDDEN = "***"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_CHECKSUM = re.compile(r"sha256=[0-9A-Fa-f]{64}")


def is_remote(path: str) -> bool:
    """Whether a path is an address (``scheme://…``), not a file of this machine."""
    return _SCHEME.match(path) is not None


def shown(path: str) -> str:
    """A path as it may be shown: an address without user, password and the values of its query."""
    if not is_remote(path):
        return path
    scheme, rest = path.split("://", 1)
    before, _, fragment = rest.partition("#")
    # Up to the last @, wherever it stands: a password may hold a slash that nobody has escaped.
    hidden = f"{HIDDEN}@{rest.rpartition('@')[2]}" if "@" in rest else before
    hidden = hidden.partition("#")[0]
    hidden = re.sub(r"([?&;])([^=&;]*)(=?)[^&;]*", lambda m: f"{m[1]}{m[2] + '=' if m[3] else ''}{HIDDEN}", hidden)
    return f"{scheme}://{hidden}" + (f"#{fragment}" if _CHECKSUM.fullmatch(fragment) else "")


def filled(path: str, environment: Mapping[str, str] | None = None) -> str:
    """An address with its ``${VARIABLES}`` filled in, percent-encoded; a path of this machine stays as it is.

    Raises:
        SourceError: a variable is not set.
    """
    variables = os.environ if environment is None else environment

    def value(found: re.Match[str]) -> str:
        if found[1] not in variables:
            raise SourceError(f"{shown(path)}: the environment variable {found[1]} is not set; set it, or correct path")
        return quote(variables[found[1]], safe="")

    return _VARIABLE.sub(value, path) if is_remote(path) else path


def without_user(path: str) -> str:
    """An address without user and password: who asks does not change what it names."""
    scheme, separator, rest = path.partition("://")
    place, slash, more = rest.partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{more}" if is_remote(path) else path


def scrubbed(text: str, *addresses: str) -> str:
    """A text, such as the message of another library, without the secrets of the (filled) addresses."""
    for secret in sorted({secret for address in addresses for secret in _secrets(address)}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _secrets(address: str) -> set[str]:
    place = address.partition("://")[2]
    found = {part for part in place.rpartition("@")[0].split(":", 1) if "@" in place}
    try:
        found |= {part.partition("=")[2] or part for part in re.split(r"[&;]", urlsplit(address).query)}
    except ValueError:
        found |= {address}  # not an address: all of it is hidden
    # One or two characters would be replaced all over a text, and are no secret.
    return {form for secret in found for form in (secret, unquote(secret)) if len(form) >= 3}
