"""The program ``ptupcdr``: Ctrl-C while it still loads what it is made of ends it as clearly as later."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from ptupcdr_dagster.cli import app

        app(prog_name="ptupcdr")
    except KeyboardInterrupt:
        print("ptupcdr: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
