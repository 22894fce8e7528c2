"""PTUPCDR: personalized bridges for cross-domain, cold-start recommendation. It imports no orchestrator.

The names exported here are the public interface: they stay as they are within a minor version; all else may move. Each
is loaded when it is first used, so that importing the package needs neither torch nor numba.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptupcdr_core.errors import PtupcdrError as PtupcdrError
    from ptupcdr_core.serving.bundle import Bundle as Bundle
    from ptupcdr_core.serving.bundle import NewPeople as NewPeople
    from ptupcdr_core.serving.deployed import Recommendation as Recommendation
    from ptupcdr_core.serving.deployed import deployed_bundle as deployed_bundle
    from ptupcdr_core.serving.deployed import recommend as recommend
    from ptupcdr_core.serving.deployed import recommend_new as recommend_new
    from ptupcdr_core.settings import Settings as Settings
    from ptupcdr_core.store.catalog_file import load_catalog as load_catalog
    from ptupcdr_core.store.home import Home as Home

_PLACES = {
    "Bundle": "serving.bundle",
    "Home": "store.home",
    "NewPeople": "serving.bundle",
    "PtupcdrError": "errors",
    "Recommendation": "serving.deployed",
    "Settings": "settings",
    "deployed_bundle": "serving.deployed",
    "load_catalog": "store.catalog_file",
    "recommend": "serving.deployed",
    "recommend_new": "serving.deployed",
}

__all__ = [*_PLACES, "__version__"]

try:
    __version__ = version("ptupcdr-dagster")
except PackageNotFoundError:  # a copy of the package alone, as it travels with a served model
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
