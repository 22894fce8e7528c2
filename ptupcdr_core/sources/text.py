"""CSV, TSV and JSON lines: rows go into ``staged``, unreadable lines into ``unreadable``."""

import csv
import io
import re
import uuid
from pathlib import Path

import duckdb

from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.columns import listed, wanted
from ptupcdr_core.sources.layout import Layout
from ptupcdr_core.sources.verify import Physical, beginning, compression_of
from ptupcdr_core.sql import file_literal, identifier, literal, statement

Options = dict[str, str | bool]

# A line as one field: a delimiter that text does not have, and no quotes.
_WHOLE_LINES: Options = {"delim": "\x01", "quote": "", "escape": "", "header": False}


def stage_csv(connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout, index: int) -> None:
    """Stage a delimited file; quoted fields may hold delimiters, quotes and line ends.

    Raises:
        SourceError: a column is missing, or a quote is opened and never closed, so that lines would be lost.
    """
    names = layout.header or _header(path, layout.delimiter)
    fields = wanted(layout, names, path)
    places = [f"c{place}" for place in range(len(names))]
    options: Options = {"delim": layout.delimiter, "quote": '"', "escape": '"', "header": layout.header is None}
    if line_end := _line_end(path):
        options["new_line"] = line_end
    scan, rejects = _scan(path, options, places)
    picked = ", ".join(places[names.index(name)] if name else "null" for name in fields)
    connection.execute(f"insert into staged select {index}, {picked}, null from {scan}")  # nosec B608 # quoted
    _note_rejects(connection, rejects, index, path, skipped=int(layout.header is None))


def stage_jsonl(connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout, index: int) -> None:
    """Stage a file of one JSON object a line; numbers become their text.

    Raises:
        SourceError: not one line has the wanted keys.
    """
    names = [name for name in layout.fields if name]
    keys = ", ".join(literal("$." + identifier(name).replace('""', '\\"')) for name in names)
    scan, rejects = _scan(path, _WHOLE_LINES, ["line"])
    picked = ", ".join(f"fields[{names.index(name) + 1}]" if name else "null" for name in layout.fields)
    connection.execute(statement("stage_jsonl").format(index=index, keys=keys, scan=scan, picked=picked))
    _note_rejects(connection, rejects, index, path, skipped=0)
    _require_keys(connection, layout, index, path, scan)


def reconcile(connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout, index: int, seen: Physical) -> None:
    """Compare what was staged with the lines that are physically there.

    Raises:
        SourceError: a line was neither staged nor noted as unreadable.
    """
    found = connection.execute(
        "select (select count(*) from staged where file_index = $1)"
        " + (select count(*) from unreadable where file_index = $1)",
        [index],
    ).fetchall()[0][0] + int(layout.kind == "csv" and layout.header is None)
    if found == seen.lines or (layout.kind == "csv" and seen.quotes and found <= seen.lines):
        return  # with quotes about, a row may go over several lines
    scan, rejects = _scan(path, _WHOLE_LINES, ["line"])
    filled = connection.execute(f"select count(*) from {scan} where trim(line, chr(13)) <> ''").fetchall()[0][0]  # nosec B608 # quoted
    filled += connection.execute(f"select count(distinct line) from {rejects}").fetchall()[0][0]  # nosec B608 # ours
    if layout.kind != "csv" or found != filled:
        raise SourceError(f"{path}: {seen.lines} lines, of which DuckDB read {found}; are its line ends all the same?")


def _header(path: Path, delimiter: str) -> tuple[str, ...]:
    # Read here and not by DuckDB, which guesses whether there is a header, and renames equal names.
    start = io.StringIO(beginning(path).decode("utf-8-sig", errors="replace"), newline="")
    try:
        names = next(csv.reader(start, delimiter=delimiter), [])
    except csv.Error as error:
        raise SourceError(
            f"{path}, line 1: no header line can be read ({error}); is it a text file with a header? Check path and "
            "format of the domain in the catalog"
        ) from error
    if not names:
        raise SourceError(f"{path}: empty, expected a header line; get it anew, or check path in the catalog")
    return tuple(names)


def _line_end(path: Path) -> str | None:
    r"""The first line's end, written as \n; None where none has one. DuckDB would take one within quotes for it."""
    ends = re.finditer(rb'"[^"]*"|(\r\n|\n|\r)', beginning(path))
    return next((found[1].decode().encode("unicode_escape").decode() for found in ends if found[1]), None)


def _scan(path: Path, options: Options, columns: list[str]) -> tuple[str, str]:
    """A scan of a text file, all fields text, and the name of the table for what cannot be read."""
    rejects = f"rejects_{uuid.uuid4().hex}"
    typed = ", ".join(f"{literal(name)}: 'varchar'" for name in columns)
    given = {
        **options,
        "compression": compression_of(path) or "none",
        "rejects_table": rejects,
        "rejects_scan": f"scan_{rejects}",
    }
    rendered = ", ".join(
        f"{key} = {value if isinstance(value, bool) else literal(value)}" for key, value in given.items()
    )
    return (
        f"read_csv({file_literal(path)}, auto_detect = false, store_rejects = true, columns = {{{typed}}}, {rendered})",
        rejects,
    )


def _note_rejects(connection: duckdb.DuckDBPyConnection, rejects: str, index: int, path: Path, skipped: int) -> None:
    swallowed = connection.execute(
        f"select line, csv_line from {rejects} where error_type = 'UNQUOTED VALUE' "  # nosec B608 # ours
        "and contains(trim(csv_line, chr(10) || chr(13)), chr(10)) limit 1"
    ).fetchone()
    if swallowed:
        raise SourceError(
            f"{path}, row {swallowed[0]}: a quote is opened and not closed before a delimiter, and would take the "
            f"lines after it along; mend the line that begins {swallowed[1][:60].strip()!r}"
        )
    connection.execute(statement("note_rejects").format(index=index, rejects=rejects, skipped=skipped))


def _require_keys(connection: duckdb.DuckDBPyConnection, layout: Layout, index: int, path: Path, scan: str) -> None:
    columns = zip(layout.fields, ("user_id", "item_id", "rating", '"timestamp"'), strict=True)
    names, fields = zip(*[(name, column) for name, column in columns if name], strict=True)
    counted = ", ".join(f"count({field})" for field in fields)
    rows, *present = connection.execute(
        f"select count(*), {counted} from staged where file_index = ? and fault is null",  # nosec B608 # ours
        [index],
    ).fetchall()[0]
    missing = [name for name, amount in zip(names, present, strict=True) if rows and not amount]
    if missing:
        first = connection.execute(f"select json_keys(line) from {scan} where try(json_keys(line)) is not null limit 1")  # nosec B608 # quoted
        [keys] = first.fetchone() or [[]]
        raise SourceError(
            f"{path}: no line has the key {', '.join(missing)}; the first has {listed(keys or ['none'])}. "
            "Set columns of the domain in the catalog"
        )
