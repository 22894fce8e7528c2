"""A Ctrl-C that Python loses is sent again.

A signal handler may run between any two instructions, so also inside callbacks of weak references and finalizers. What
is raised there is printed and forgotten (with SQLAlchemy's callbacks, one interrupt in eight was lost), and the work
that the user wanted to stop would go on.
"""

import os
import signal
import sys
import threading

SECONDS = 0.05  # until it is sent again: the callback has returned by then
RAISED = {"KeyboardInterrupt", "DagsterExecutionInterruptedError"}  # by name: dagster takes long to load


def send_lost_interrupts_again() -> None:
    """Turn this on for the current process."""
    sys.unraisablehook = _hear


def _hear(lost: "sys.UnraisableHookArgs") -> None:
    if lost.exc_type.__name__ in RAISED:
        again = threading.Timer(SECONDS, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)
