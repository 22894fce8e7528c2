"""Messages about the MLflow server: that it does not answer, and what was sent to it later."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from ptupcdr_core.addresses import shown
from ptupcdr_core.errors import TrackingError
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.cli.printing import say
from ptupcdr_dagster.tracking.stores import kept_mark, server, unanswered


@contextmanager
def server_looked_after(home: Home, console: Console) -> Iterator[None]:
    """Before the block, send what is kept for the server; say once if it fails, before the block or in it."""
    address = server()
    if address is None:
        yield
        return
    reason = unanswered(address)
    if reason is None and kept_mark(home).exists():
        from ptupcdr_dagster.tracking.sending import send_kept

        try:
            say(console, f"sent {send_kept(home)} runs that were kept for the MLflow server {shown(address)}")
        except TrackingError as error:
            reason = str(error)
    if reason is not None:
        say(console, _kept(home, f"does not answer ({reason})", address))
    try:
        yield
    finally:
        if reason is None and kept_mark(home).exists():
            say(console, _kept(home, "stopped answering", address))


def _kept(home: Home, what: str, address: str) -> str:
    return (
        f"The MLflow server {shown(address)} {what}: metrics and models are kept in {home.mlflow}, and sent by the "
        "next run or by `ptupcdr mlflow sync`"
    )
