"""Where a home keeps its bundles: the one just trained, the one that passed the gate, the one that is deployed."""

from pathlib import Path

from ptupcdr_core.store.home import Home

CANDIDATE, CHAMPION, DEPLOYED = "candidate", "champion", "deployed"


def bundle_file(home: Home, kind: str, pair: str) -> Path:
    """The file of a pair's bundle; ``kind`` is ``candidate``, ``champion`` or ``deployed``."""
    return home.bundles / kind / f"{pair}.safetensors"
