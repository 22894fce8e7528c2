"""The code version of every stored result, and the settings that it depends on; unchanged, it is not made again.

A version is raised by hand when the code gives other results, and only then. A test records the syntax of the code that
makes each result; it fails when that has changed and nobody has said whether the results have.
"""

from dataclasses import dataclass
from typing import Any

from ptupcdr_core.settings import EVALUATED, Part, Settings


@dataclass(frozen=True)
class Result:
    """What is made by one stage, one cell of a benchmark or one trial of a search.

    Args:
        version: of the code.
        reads: the parts whose settings can change it.
        gridded: whether it holds a whole grid of a benchmark, so that the settings which the grid varies do not count.
    """

    version: int
    reads: tuple[Part, ...] = EVALUATED
    gridded: bool = False

    def relevant(self, settings: Settings) -> dict[str, Any]:
        """The values, as JSON has them, of the settings that can change it."""
        varied = settings.names_varied() if self.gridded else ()
        return {name: value for name, value in settings.deciding(*self.reads).items() if name not in varied}


RESULTS = {
    "raw_ratings": Result(4, ()),
    "domain_splits": Result(5, ("split",)),
    "source_model": Result(9),
    "target_model": Result(9),
    "meta_network": Result(15),
    "bridged_embeddings": Result(4),
    "cold_start_evaluation": Result(6),
    "fine_tuned_embeddings": Result(3),
    "warm_start_evaluation": Result(3),
    "champion": Result(7),
    "deployed_model": Result(8, (*EVALUATED, "deployment")),
    "recommendations": Result(14, ("recommendations",)),
    "pair_report": Result(11),
    "benchmark": Result(7, ("split", "rating", "ranking"), gridded=True),
    "benchmark_cell": Result(6, ("split", "rating")),
    "list_cell": Result(2, ("split", "ranking")),
    "rating_trial": Result(6, ("split", "rating")),
    "ranking_trial": Result(4, ("split", "ranking")),
}
"""By name: of an asset, or of a kind of cell or trial."""
