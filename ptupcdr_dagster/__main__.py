"""The program ``ptupcdr``: Ctrl-C ends it with a clear message, even while it is still importing its modules."""

import atexit
import os
import sys

from ptupcdr_dagster.running.interrupts import send_lost_interrupts_again

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    send_lost_interrupts_again()
    # As the interpreter ends, DuckDB's binding lists leaked objects on standard error. By then every message of ours
    # is out, so standard error can be closed.
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
    try:
        from ptupcdr_dagster.cli import app

        app(prog_name="ptupcdr")
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer's exit code, wherever the interrupt arrived
            print("ptupcdr: interrupted", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print("ptupcdr: interrupted", file=sys.stderr, flush=True)
        # Not sys.exit: if an extension module was interrupted while it loaded, Python would die by the signal itself.
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
