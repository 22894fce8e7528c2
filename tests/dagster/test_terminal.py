"""Every command in a real terminal, 80 and 160 columns wide: what a user sees there, and what the log keeps.

Most commands run in forks of a server with all modules loaded, as the pairs of a backfill do, since loading takes
longer than the commands.
"""

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from catalogs import domain_entry, small_catalog, write_domain
from conftest import PAIR
from programs import QUICK, Call, Project
from rich.cells import cell_len
from rich.console import Console

from ptupcdr_core.experiments.readout import read_evaluation
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.cli.printing import print_frame
from ptupcdr_dagster.cli.progress import WorkBar, open_progress

CUT_NUMBER = re.compile(r"(?<!\S)[+-]?\d[\d.,]*…")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COMMANDS = ("backfill", "benchmark", "tune", "evaluate", "recommend", "doctor", "up")
GRID = [
    "--betas",
    "0.2",
    "--seeds",
    "10",
    "20",
    "--base-models",
    "mf",
    "--methods",
    "item_mean",
    "emcdr",
    "--recipes",
    "honest",
    *QUICK,
]


@dataclass(frozen=True)
class Seen:
    """What a terminal was told, live bar included, and how the command ended."""

    code: int | None
    text: str
    width: int

    @property
    def lines(self) -> list[str]:
        """Every text that a line has shown."""
        return [line.rstrip() for line in re.split(r"[\r\n]+", CONTROL.sub("", self.text)) if line.strip()]

    @property
    def said(self) -> list[str]:
        """The lines without the progress bar, which is wiped away in the end."""
        return [line for line in self.lines if "━" not in line]

    def check(self, code: int = 0) -> "Seen":
        """Find nothing that is not meant for the user, nothing too wide, and no number cut in two."""
        shown = "\n".join(self.lines)
        assert self.code == code, shown
        for noise in (
            "DEBUG",
            "INFO",
            "Traceback",
            "Stack Trace",
            "Warning",
            "nanobind",
            "KeyboardInterrupt",
            "Aborted",
        ):
            assert noise not in shown
        assert not CUT_NUMBER.search(shown), shown
        assert "left" not in map(str.strip, self.lines), "the bar takes two lines"
        too_wide = [line for line in self.lines if cell_len(line) > self.width]
        # A path alone, or a command that ends with one, is left whole to be copied.
        assert [
            line for line in too_wide if not re.fullmatch(r"(ptupcdr backfill \S+ --settings-file )?/\S+", line)
        ] == []
        return self


@dataclass(frozen=True)
class Terminal:
    """A terminal of some width for a project's commands."""

    project: Project
    width: int

    def run(self, *arguments: str) -> Seen:
        """Run a command to its end, in a fork of the loaded program."""
        with self._open() as (ours, theirs):
            call = Call(list(arguments), self.project.environment(), [theirs] * 3, terminal=True)
            return Seen(*_watch(ours, lambda told: call.poll()), self.width)

    def run_alone(self, *arguments: str, interrupt: Callable[[int, str], bool] = lambda pid, told: False) -> Seen:
        """Run a command in a new process; press Ctrl-C once ``interrupt`` says so of its id and output."""
        with self._open() as (ours, theirs), open(theirs, "r+b", buffering=0) as device:
            process = subprocess.Popen(
                [sys.executable, "-m", "ptupcdr_dagster", *arguments],
                stdin=device,
                stdout=device,
                stderr=device,
                env=self.project.environment(),
                start_new_session=True,
            )
            pressed = False

            def poll(told: str) -> int | None:
                nonlocal pressed
                if not pressed and interrupt(process.pid, told):
                    pressed = True
                    os.killpg(process.pid, signal.SIGINT)
                return process.poll()

            return Seen(*_watch(ours, poll), self.width)

    @contextmanager
    def _open(self) -> Iterator[tuple[int, str]]:
        ours, theirs = pty.openpty()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, self.width, 0, 0))
            os.set_blocking(ours, False)
            yield ours, os.ttyname(theirs)
        finally:
            os.close(ours)
            os.close(theirs)


def _watch(terminal: int, poll: Callable[[str], int | None]) -> tuple[int, str]:
    told, code, deadline = bytearray(), None, time.monotonic() + 240
    while code is None:
        assert time.monotonic() < deadline, told.decode(errors="replace")
        time.sleep(0.02)
        code = poll(told.decode(errors="replace"))
        with suppress(BlockingIOError):
            while piece := os.read(terminal, 65536):
                told += piece
    return code, told.decode(errors="replace")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("terminal")
    pairs = [("books", "movies"), ("books", "games"), ("movies", "games")]
    catalog = small_catalog(root / "catalog", pairs, extra="\n" + domain_entry("games"))
    write_domain(catalog.with_name("games.csv"), "games", range(1000, 1040))
    return Project(catalog, Home(root / "home"))


@pytest.fixture(scope="module")
def first(project: Project) -> Seen:
    """The backfill that makes the home."""
    return Terminal(project, 80).run("backfill", PAIR, *QUICK)


@pytest.fixture(params=[80, 160])
def terminal(first: Seen, project: Project, request: pytest.FixtureRequest) -> Terminal:
    return Terminal(project, request.param)


def newest_log(project: Project, command: str) -> str:
    return max(
        (project.home.root / "logs").glob(f"{command}-*.log"), key=lambda log: log.stat().st_mtime_ns
    ).read_text()


def test_a_backfill_shows_its_bar_and_its_tables_and_logs_the_rest(first: Seen, project: Project) -> None:
    first.check()
    shown = "\n".join(first.lines)
    for asset in ("source_model", "meta_network", "pair_report"):
        assert f"{PAIR} {asset}" in shown
    assert re.search(r" 13/14 0:\d\d:\d\d 0:\d\d:\d\d left ", shown)
    assert [line for line in first.lines if line.startswith("made ")][:2] != []
    log = newest_log(project, "backfill")
    for promised in ("DEBUG - ingest_domain", "DEBUG - bridge_pair", "RUN_SUCCESS", "ASSET_CHECK_EVALUATION"):
        assert promised in log
    assert "━" not in log


def test_what_is_up_to_date_is_told_in_a_line(first: Seen, project: Project) -> None:
    seen = Terminal(project, 160).run("backfill", PAIR, *QUICK).check()
    told = [line for line in seen.lines if line.startswith(("up to date", "made", "failed"))]
    assert told == ["up to date books", "up to date movies", f"up to date {PAIR}"]


def test_failures_side_by_side_are_told_and_their_traces_logged(first: Seen, project: Project) -> None:
    """Nobody who rated games rated anything else."""
    others = ["books__games", "movies__games"]
    seen = Terminal(project, 80).run("backfill", *others, "--workers", "2", *QUICK).check(1)
    shown = " ".join(seen.said)
    log = Path(shown.partition("The whole log: ")[2]).read_text()
    for pair in others:
        assert f"failed {pair} domain_splits: SplitError: " in shown
        assert pair in log
    assert log.count("Stack Trace:") >= 2


def test_an_evaluation_keeps_its_numbers_whole(terminal: Terminal) -> None:
    shown = "\n".join(terminal.run("evaluate", PAIR).check().lines)
    found = read_evaluation(terminal.project.home, PAIR)
    for name in ("mae", "rmse", "ndcg_at_10", "mrr", "coverage_at_10"):
        for number in found[name].dropna():
            assert re.search(rf"(?<!\S){number:.4f}(?!\S)", shown), name
    assert "recipe calibrated" in shown
    assert "Left out" not in shown


def test_recommendations_keep_ids_and_reasons_together(terminal: Terminal, tmp_path: Path) -> None:
    history = tmp_path / "new.csv"
    history.write_text("user_id,item_id,rating\nann,books-02,5\nann,books-04,5\nbob,books-06,4\n")
    for asked in (["user000"], ["--history", str(history)]):
        seen = terminal.run("recommend", PAIR, *asked, "-k", "3").check()
        rows = [line for line in seen.lines if "movies-" in line]
        assert len(rows) == (3 if asked == ["user000"] else 6)
        for row in rows:
            assert re.search(r"movies-\d\d +-?\d\.\d{4} +\d\.\d +\d+% +bridge +books-\d\d [+-]\d\.\d\d(, |$)", row), row


def test_doctor(terminal: Terminal) -> None:
    assert "14 assets" in "\n".join(terminal.run("doctor").check().lines)


def test_a_benchmark_shows_its_cells(terminal: Terminal) -> None:
    seen = terminal.run("benchmark", PAIR, *GRID).check()
    shown = "\n".join(seen.lines)
    assert len(re.findall(r"item_mean +\d\.\d{4} ± \d\.\d{4} .* \d\.\d{4} ± \d\.\d{4}", shown)) == 1
    assert "ASSET_MATERIALIZATION" in newest_log(terminal.project, "benchmark")


def test_a_search_tells_of_its_trials(terminal: Terminal) -> None:
    seen = terminal.run("tune", PAIR, "--trials", "2", *QUICK).check()
    assert any(re.fullmatch(r"rmse +\d\.\d+ +\d\.\d+", line.strip()) for line in seen.lines)


def test_help_fits(terminal: Terminal) -> None:
    for command in ([], *([name] for name in COMMANDS)):
        assert "Usage: ptupcdr" in "\n".join(terminal.run(*command, "--help").check().lines)


def test_a_process_of_its_own_ends_without_a_word_from_its_libraries(first: Seen, project: Project) -> None:
    assert Terminal(project, 80).run_alone("evaluate", PAIR).check().lines[0].startswith(f"{PAIR}: errors")


def test_ctrl_c_while_the_program_loads_is_one_line(first: Seen, project: Project) -> None:
    def loads(pid: int, told: str) -> bool:
        return "pydantic_core" in Path(f"/proc/{pid}/maps").read_text()

    assert Terminal(project, 80).run_alone("evaluate", PAIR, interrupt=loads).check(130).lines == [
        "ptupcdr: interrupted"
    ]


def test_ctrl_c_in_a_backfill_says_how_it_goes_on(first: Seen, project: Project) -> None:
    seen = Terminal(project, 80).run_alone(
        "backfill", PAIR, "--force", *QUICK, interrupt=lambda pid, told: "raw_ratings" in told
    )
    told = " ".join(seen.check(1).said)
    assert told.count("interrupted") == 1
    assert "ptupcdr: interrupted; what is finished stays, and the next call goes on from there The whole log: /" in told


def test_the_bar_weighs_assets_and_leaves_checks_out() -> None:
    progress = open_progress(Console(file=io.StringIO()))
    task = progress.add_task("", total=None, count="")
    bar = WorkBar(progress, task, {("p", "trained"): 90.0, ("p", "told"): 10.0, ("q", "trained"): 100.0}, timed=True)
    [shown] = progress.tasks
    assert (shown.total, shown.fields["left"], shown.fields["count"]) == (200, 200, "0/3")
    bar.hear("p", "trained_checks", "done")
    bar.hear("p", "trained", "started")
    assert shown.completed == 0
    bar.hear("p", "trained", "done")
    assert (shown.completed, shown.fields["count"]) == (90, "1/3")
    bar.end("p")
    assert (shown.completed, shown.fields["count"]) == (100, "1/3")
    assert 0 < shown.fields["left"] < 100, "it went far quicker than expected"


@pytest.mark.parametrize("width", [40, 80])
def test_a_table_cuts_names_and_leaves_out_columns_but_no_number(width: int) -> None:
    frame = pd.DataFrame(
        {
            "item_id": ["a-very-long-name-of-an-item-that-somebody-chose", "b"],
            "score": [0.123456, 1234.5],
            **{f"measure_{n}_at_10": [0.111111 * n, 0.5] for n in range(1, 9)},
            "reasons": ["one-book +0.25, another-book +0.12", "a-book-with-a-name-that-is-longer-than-any +0.33"],
        }
    )
    written = io.StringIO()
    print_frame(Console(file=written, width=width, force_terminal=True, color_system=None), frame, "items")
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "1234.5000" in written.getvalue()
    assert "…" in written.getvalue()
    assert not CUT_NUMBER.search(written.getvalue())
    assert "+0.33" in written.getvalue()
    if width == 40:
        assert "Left out at this width: " in " ".join(lines)
