"""The program, loaded once: reads lines of JSON (terminal device, arguments), forks for each, answers exit codes.

A fork has the device as its controlling terminal and its standard streams, as a program that a shell starts.
"""

import importlib
import json
import os
import sys

from ptupcdr_dagster.__main__ import main
from ptupcdr_dagster.running.executors import PRELOADED


def run(device: str, arguments: list[str]) -> None:
    os.setsid()
    terminal = os.open(device, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(terminal, descriptor)
    sys.stdout.reconfigure(line_buffering=True)  # it was opened on a pipe
    sys.argv = ["ptupcdr", *arguments]
    main()


if __name__ == "__main__":
    for module in ("ptupcdr_dagster.cli.commands", *PRELOADED):
        importlib.import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(*json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
