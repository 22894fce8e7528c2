"""Ctrl-C where Python cannot let it through is sent again.

A signal's handler runs between any two instructions, so also inside of what the interpreter calls on its own: weak
references' callbacks and finalizers. Whatever is raised there is printed and forgotten (SQLAlchemy's callbacks made one
interrupt in eight be lost so), and what the user wanted to stop would run to its end.
"""

import os
import signal
import sys
import threading

SECONDS = 0.05  # until it is sent again: the callback has returned by then
RAISED = {"KeyboardInterrupt", "DagsterExecutionInterruptedError"}  # by name: dagster takes long to load


def send_lost_interrupts_again() -> None:
    """From now on, in this process."""
    sys.unraisablehook = _hear


def _hear(lost: "sys.UnraisableHookArgs") -> None:
    if lost.exc_type.__name__ in RAISED:
        again = threading.Timer(SECONDS, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)
