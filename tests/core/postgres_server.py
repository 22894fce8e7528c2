"""A local PostgreSQL server, made, started and stopped by the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "rhubarb & custard/7"
ESCAPED = "rhubarb%20%26%20custard%2F7"


def programs() -> Path | None:
    """The folder with initdb and postgres of the newest version that Debian's packages have installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@dataclass(frozen=True)
class Postgres:
    """A running server.

    Attributes:
        port: its port on 127.0.0.1.
    """

    port: int

    def address(self, password: str = ESCAPED, user: str = "reader", database: str = "postgres") -> str:
        """Its address, as written in a catalog."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements: str) -> None:
        """Run statements as the owner of everything."""
        import adbc_driver_postgresql.dbapi as postgres

        with postgres.connect(self.address(user="owner"), autocommit=True) as server, server.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@contextmanager
def serving(bin_folder: Path) -> Iterator[Postgres]:
    """A new, empty server with users ``owner`` and ``reader``, who have the password; gone when the block ends."""
    # PostgreSQL refuses to run as root.
    user: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if user:
            for path in (folder, secret):
                shutil.chown(path, **user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        data = folder / "data"
        options = ["-U", "owner", "-A", "scram-sha-256", f"--pwfile={secret}", "-N", "-E", "UTF8", "--locale=C"]
        made = [str(bin_folder / "initdb"), "-D", str(data), *options]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **user)
        quick = ["-c", "fsync=off", "-c", f"unix_socket_directories={folder}", "-c", "listen_addresses=127.0.0.1"]
        with (folder / "log").open("wb") as log:
            command = [str(bin_folder / "postgres"), "-D", str(data), "-p", str(port), *quick]
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **user)
            try:
                ready = [str(bin_folder / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-t", "60"]
                while server.poll() is None and subprocess.run(ready, capture_output=True, check=False).returncode:
                    pass
                if server.poll() is not None:
                    raise RuntimeError((folder / "log").read_text())
                started = Postgres(port)
                started.execute(f"create user reader password '{PASSWORD}'")
                yield started
            finally:
                server.terminate()
                server.wait(timeout=60)
    finally:
        shutil.rmtree(folder)
