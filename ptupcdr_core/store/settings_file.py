"""Settings as a TOML file: ``embedding_size = 16``, one line a setting; those left out keep their defaults."""

import json
import tomllib
from pathlib import Path
from typing import Any

from ptupcdr_core.errors import SettingsError
from ptupcdr_core.settings import EVALUATED, Settings
from ptupcdr_core.store import formats
from ptupcdr_core.store.replacing import replaced


def read_settings_file(path: Path) -> dict[str, Any]:
    """The settings in a file; their values are checked by ``Settings`` only.

    Raises:
        SettingsError: it cannot be read, is not TOML, of another format, or sets something that is not a setting.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: not a readable TOML file of settings ({error})") from error
    remedy = "write it again with `ptupcdr tune`, or leave out the line `format` where it was written by hand"
    found = entries.pop("format", formats.SETTINGS_FILE)
    if refused := formats.refusal("settings", path, found, formats.SETTINGS_FILE, remedy):
        raise SettingsError(refused)
    unknown = sorted(entries.keys() - Settings.model_fields.keys())
    if unknown:
        known = ", ".join(Settings.model_fields)
        raise SettingsError(f"{path}: unknown setting {', '.join(unknown)}; expected some of: {known}")
    return entries


def write_settings_file(path: Path, settings: Settings, comment: str) -> None:
    """Write settings, whole or not at all; None, which TOML does not have, is left out, as it is always the default.

    Args:
        path: the file; folders above it are made.
        settings: those that decide models and what is measured of them are written; those of deployment and of the
            stored lists are left to the reader.
        comment: one or more lines for its head.

    Raises:
        StorageError: it cannot be written; the old file stays.
    """
    lines = [*(f"# {line}" for line in comment.splitlines()), f"format = {formats.SETTINGS_FILE}"]
    for name, value in settings.deciding(*EVALUATED).items():
        if value is not None:
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    with replaced(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
