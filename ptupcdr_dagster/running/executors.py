"""Where the steps of a run are executed, as PTUPCDR_EXECUTOR says."""

from collections.abc import Mapping

import dagster as dg

from ptupcdr_core.errors import PtupcdrError

IN_PROCESS = "in_process"
MULTIPROCESS = "multiprocess"

# Each step is forked from a server that has these loaded; without it every step would import them anew.
PRELOADED = ("ptupcdr_dagster.definitions", "mlflow", "torch", "ptupcdr_dagster.checks.validation")


def chosen_executor(environment: Mapping[str, str]) -> dg.ExecutorDefinition:
    """``in_process`` (default; quickest, since the stages keep the cores busy by themselves) or ``multiprocess``.

    Chosen by the environment, because Dagster ignores run configuration that asks for another configured executor.

    Raises:
        PtupcdrError: PTUPCDR_EXECUTOR is neither.
    """
    chosen = environment.get("PTUPCDR_EXECUTOR", "").strip() or IN_PROCESS
    if chosen == IN_PROCESS:
        return dg.in_process_executor
    if chosen == MULTIPROCESS:
        return dg.multiprocess_executor.configured(
            {"start_method": {"forkserver": {"preload_modules": list(PRELOADED)}}}
        )
    raise PtupcdrError(f"PTUPCDR_EXECUTOR={chosen}: expected {IN_PROCESS} or {MULTIPROCESS}")
