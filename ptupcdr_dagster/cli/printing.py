"""Output that fits a terminal: lines break between words; in tables, numbers stay whole and long names are cut."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("mae", "rmse", "_of_mean", "log_loss", "score", "mrr", "_at_10", "_at_50", "_low", "_high")
"""Name endings of columns shown with four decimals."""
CONDITIONS = ("recipe", "mode", "beta", "seed", "base_model", "users", "ratings")
"""Columns that are printed above the table if all rows have the same value."""
NARROWEST = 12
"""The fewest characters that a cut name keeps."""
GAP = 2


def say(console: Console, line: str, *, markup: bool = False) -> None:
    """Print a message: wrapped between words on a terminal, one line elsewhere; a long path is never broken."""
    text = Text.from_markup(line) if markup else Text(line)
    for part in _between_words(text, console.width) if console.is_terminal else [text]:
        part.rstrip()
        console.print(part, highlight=False, soft_wrap=True)


def _between_words(text: Text, width: int) -> Iterable[Text]:
    # Rich's own wrapping either breaks a word that is too long or cuts it off.
    start, starts = 0, []
    for word in re.finditer(r"\S+", text.plain):
        if word.start() > start and cell_len(text.plain[start : word.end()]) > width:
            start = word.start()
            starts.append(start)
    return text.divide(starts)


def print_frame(console: Console, frame: "pd.DataFrame", title: str) -> None:
    """Print a table under its title, at most as wide as the console."""
    say(console, f"[italic]{escape(title)}[/]", markup=True)
    if len(frame) > 1:
        same = [name for name in CONDITIONS if name in frame and frame[name].nunique(dropna=False) == 1]
        if same:
            told = ", ".join(f"{name} {_cell(name, frame[name].iloc[0])}" for name in same)
            say(console, told)
        frame = frame.drop(columns=same)
    numeric = {str(name): frame[name].dtype.kind in "if" for name in frame.columns}
    cells = {str(name): [_cell(str(name), value) for value in frame[name]] for name in frame.columns}
    print_columns(console, cells, numeric)


def print_columns(console: Console, cells: dict[str, list[str]], numeric: dict[str, bool]) -> None:
    """Print columns of text; those of numbers are aligned right and never cut.

    If they are too wide, the headings of numbers are folded, then names are cut to no less than `NARROWEST`
    characters, then the last columns of numbers are left out, and named below.
    """
    headers, gap, left_out = {name: name for name in cells}, GAP, list[str]()
    natural = {name: max(map(cell_len, [name, *column])) for name, column in cells.items()}
    if _together(natural, gap) > console.width:
        gap = 1
        headers = {name: _folded(name) if numeric[name] else name for name in cells}
        natural = {name: max(map(cell_len, [*headers[name].split("\n"), *cells[name]])) for name in cells}
    widths = dict(natural)
    for name in reversed(list(cells)):
        if _least(widths, numeric, gap) > console.width and numeric[name]:
            left_out.insert(0, name)
            del widths[name]
    texts = [name for name in widths if not numeric[name]]
    while _together(widths, gap) > console.width and any(widths[name] > NARROWEST for name in texts):
        widths[max(texts, key=widths.__getitem__)] -= 1
    table = Table(box=None, header_style="bold", padding=(0, gap, 0, 0), pad_edge=False)
    for name in widths:
        table.add_column(headers[name], justify="right" if numeric[name] else "left", no_wrap=True, vertical="bottom")
    for row in zip(*[[_cut(cell, widths[name]) for cell in cells[name]] for name in widths], strict=True):
        table.add_row(*row)
    console.print(table, highlight=False)
    if left_out:
        say(console, f"Left out at this width: {', '.join(left_out)}.")


def _cell(name: str, value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) and name.endswith(MEASURES) else str(value)


def _folded(name: str) -> str:
    """``hit_rate_at_10`` over three lines."""
    return name.replace("_at_", "\nat ").replace("_", "\n").replace("\nat\n", "\nat ")


def _together(widths: dict[str, int], gap: int) -> int:
    return sum(widths.values()) + gap * max(0, len(widths) - 1)


def _least(widths: dict[str, int], numeric: dict[str, bool], gap: int) -> int:
    return _together({n: w if numeric[n] else min(w, NARROWEST) for n, w in widths.items()}, gap)


def _cut(text: str, width: int) -> str:
    """As many parts between commas as fit; if even the first is too long, its last word stays whole."""
    if cell_len(text) <= width:
        return text
    parts = text.split(", ")
    for count in range(len(parts) - 1, 0, -1):
        kept = f"{', '.join(parts[:count])}, …"
        if cell_len(kept) <= width:
            return kept
    name, space, end = parts[0].rpartition(" ")
    end = f"…{space}{end}" if space else "…"
    return set_cell_size(name or parts[0], max(0, width - cell_len(end))).rstrip() + end
