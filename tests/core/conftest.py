"""A small pair with all its stages run, made once for all tests that only read it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import hypothesis
import numba
import pytest
from small_lineage import SETTINGS, domains, run, write_ratings

from ptupcdr_core.kernels import csr
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home

pytest.register_assert_rewrite("engine_contract")

# A slow example on a busy machine is not the code's fault.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")


@dataclass(frozen=True)
class Lineage:
    """A run of all stages: where its results are, and the stages' reports."""

    home: Home
    files: Path
    settings: Settings
    reports: dict[str, StageReport]


@pytest.fixture(scope="session")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> Lineage:
    """A run with the calibrated recipe; tests must not write to it."""
    files = write_ratings(tmp_path_factory.mktemp("ratings"))
    home, settings = Home(tmp_path_factory.mktemp("home")), SETTINGS
    return Lineage(home, files, settings, run(home, domains(files), settings))


@pytest.fixture(scope="session")
def published_lineage(lineage: Lineage, tmp_path_factory: pytest.TempPathFactory) -> Lineage:
    """The same ratings in the published recipe."""
    home, settings = (
        Home(tmp_path_factory.mktemp("published")),
        SETTINGS.model_copy(update={"recipe": "published", "no_gate": True}),
    )
    return Lineage(home, lineage.files, settings, run(home, domains(lineage.files), settings))


@pytest.fixture
def use_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets how many threads the loops use (at most as many as there are cores), even for little work."""
    monkeypatch.setattr(csr, "LEAST_WORK", 0)
    before, config = numba.get_num_threads(), cast(Any, numba.config)
    yield lambda threads: numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))
    numba.set_num_threads(before)
