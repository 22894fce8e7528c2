"""The server around the application."""

from collections.abc import Sequence

import uvicorn
from rich.console import Console

from ptupcdr_core.settings import Search
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import Home, catalog_path_from_environment
from ptupcdr_dagster.cli.printing import say
from ptupcdr_dagster.cli.services import refuse_taken
from ptupcdr_dagster.service.app import make_app
from ptupcdr_dagster.service.deployed import Deployed

KEEP_ALIVE, BACKLOG = 5, 256
"""Seconds that an idle connection is kept open; how many connections may wait."""


def run(home: Home, pairs: Sequence[str], host: str, port: int, kind: Search, most_bytes: int) -> None:
    """Serve until Ctrl-C or a termination.

    Raises:
        PtupcdrError: the port is taken, or nothing is deployed for a pair.
    """
    refuse_taken(host, port, "--port")
    console = Console(stderr=True)
    catalog = load_catalog(catalog_path_from_environment())
    served = {pair: Deployed(home, pair, kind, catalog.domain(catalog.pair(pair).target)) for pair in pairs}
    app = make_app(served, most_bytes)
    shown = "127.0.0.1" if host == "0.0.0.0" else host  # nosec B104 # asked for by --host, never the default
    say(console, f"Serving {', '.join(pairs)} on http://{shown}:{port}/docs; Ctrl-C stops it.")
    uvicorn.run(
        app, host=host, port=port, log_level="warning", timeout_keep_alive=KEEP_ALIVE, backlog=BACKLOG,
        server_header=False,
    )  # fmt: skip
