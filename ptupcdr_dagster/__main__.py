"""The program ``ptupcdr``: Ctrl-C while it still loads what it is made of ends it as clearly as later."""

import atexit
import os
import sys

from ptupcdr_dagster.running.interrupts import send_lost_interrupts_again

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    send_lost_interrupts_again()
    # DuckDB's binding counts the objects that the interpreter leaves behind at its end, and lists them on standard
    # error, after everything that we or a failing program could have to say.
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
    try:
        from ptupcdr_dagster.cli import app

        app(prog_name="ptupcdr")
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer's, wherever in it or in a command the interrupt was heard
            print("ptupcdr: interrupted", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print("ptupcdr: interrupted", file=sys.stderr, flush=True)
        # Not sys.exit: Python ends by the signal itself where an extension module was interrupted while it loaded.
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
