"""Compile the loops before the tests; pytest's workers begin together, and would each compile most of them."""

from pathlib import Path
from tempfile import TemporaryDirectory

from small_lineage import SETTINGS, domains, run, write_ratings

from ptupcdr_core.store.home import Home

if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        files = write_ratings(Path(folder))
        for changed in ({"mode": "both"}, {"recipe": "published", "no_gate": True}):
            home = Home(Path(folder) / str(len(changed)))
            run(home, domains(files), SETTINGS.model_copy(update=changed))
