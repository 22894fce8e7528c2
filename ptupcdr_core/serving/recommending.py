"""Rows of recommendations, each with its reasons: the source items of the history that it rests on most.

Shapes: R users, K items of a list, L history length, S source items, T target items.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.people import People
from ptupcdr_core.kernels.exact_search import Block
from ptupcdr_core.kernels.threads import worked_ahead
from ptupcdr_core.models.bridges import BRIDGE
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.serving.foretelling import Foretelling

REASONS = 3
"""Source items named for a recommendation, at most."""
ROWS = 1 << 13
"""Recommendations that a thread explains at a time. It bounds memory: people's embeddings without each item are
held."""


def explained(
    found: Iterable[Block],
    users: pa.Table,
    people: Callable[[slice], People],
    served: BundledMode,
    foretelling: Foretelling | None = None,
) -> Iterator[pa.Table]:
    """All lists of a search as rows of the table ``recommendations``, a part of the users at a time.

    Args:
        found: the search's blocks.
        users: (R, ...) the users who were searched for, in their order; columns as for ``recommendation_rows``.
        people: gives a block's people.
        served: the mode that serves them.
        foretelling: adds the predicted rating of each; None: adds nothing.
    """

    def parts() -> Iterator[tuple[slice, People, NDArray[np.int64], Floats]]:
        for start, items, scores in found:
            size = max(1, ROWS // max(1, items.shape[1]))
            theirs = people(slice(start, start + len(items)))
            for first in range(0, len(items), size):
                few = slice(first, min(first + size, len(items)))
                yield slice(start + few.start, start + few.stop), theirs[few], items[few], scores[few]

    def rows(part: tuple[slice, People, NDArray[np.int64], Floats]) -> pa.Table:
        block, theirs, items, scores = part
        made = recommendation_rows(users[block], theirs, items, scores, served)
        return made if foretelling is None else foretelling.beside(made, block, np.nonzero(items)[0], served)

    return worked_ahead(rows, parts())


def recommendation_rows(
    users: pa.Table, people: People, items: NDArray[np.int64], scores: Floats, served: BundledMode
) -> pa.Table:
    """The rows of the table ``recommendations`` for R users.

    Args:
        users: columns pair, user_id, cohort, mode, made_by.
        people: the same users.
        items: (R, K) target item indices, best first; 0 where a list is shorter.
        scores: (R, K).
        served: the mode that serves them.

    Returns:
        pair, user_id, cohort, mode, rank, item_id, score, made_by; bridged (whether by the personal bridge); reasons,
        at most ``REASONS`` source items that raise the score, most first, and reason_weights, by how much (see
        ``Part.weights``). An item that lowers the score is no reason to recommend.
    """
    users_at, ranks_at = np.nonzero(items)
    chosen = items[users_at, ranks_at]
    repeated = users.take(pa.array(users_at))
    reasons, weights = _reasons(people, served.part.weights(people, items), users_at, ranks_at, served.source_ids)
    columns = {
        **{name: repeated[name] for name in ("pair", "user_id", "cohort", "mode")},
        "rank": pa.array((ranks_at + 1).astype(np.int32)),
        "item_id": served.target_ids.take(pa.array(chosen)),
        "score": pa.array(served.part.shown(scores[users_at, ranks_at])),
        "made_by": repeated["made_by"],
        "bridged": pc.equal(repeated["made_by"], BRIDGE),
        "reasons": reasons,
        "reason_weights": weights,
    }
    return pa.table(columns)


def _reasons(
    people: People, weights: Floats, users_at: NDArray[np.int64], ranks_at: NDArray[np.int64], source_ids: pa.Array
) -> tuple[pa.Array, pa.Array]:
    """Lists of source item ids and of their weights, one for each row."""
    weights = weights[users_at, ranks_at]
    order = np.argsort(-weights, axis=1, kind="stable")[:, :REASONS]
    weights = np.take_along_axis(weights, order, axis=1)
    items = np.take_along_axis(people.histories[1:][users_at], order, axis=1)
    kept = weights > 0
    ends = pa.array(np.concatenate([[0], kept.sum(1).cumsum()]).astype(np.int32))
    return (
        pa.ListArray.from_arrays(ends, source_ids.take(pa.array(items[kept]))),
        pa.ListArray.from_arrays(ends, pa.array(weights[kept])),
    )
