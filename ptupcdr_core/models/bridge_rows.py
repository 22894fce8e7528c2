"""The rows that task-oriented bridges are fitted to, and the prior that they start from.

Shapes: N training rows, M target item vectors, X coordinates of a source vector, Y coordinates of a target vector.
"""

from dataclasses import dataclass

from ptupcdr_core.arrays import Floats, Index


@dataclass(frozen=True)
class BridgeRows:
    """Ratings of bridge-training users, as rows of task-oriented training, ordered by user.

    Args:
        users: (N,) int32.
        vectors: (M, Y) float32 target item vectors.
        pick: (N,) index of each row's vector among the M.
        wanted: (N,) float32, what û · y should be: the rating less the item's offset.
    """

    users: Index
    vectors: Floats
    pick: Index
    wanted: Floats


@dataclass(frozen=True)
class Prior:
    """What is known of a bridge before it is trained.

    Args:
        bridge: (X, Y) the bridge that training starts from and shrinks towards: zeros, or the strongest simple
            baseline.
        expected: candidates (X, Y) for how large each entry's deviation from it may be; used in closed form.
        effects: (X, Y) the same if only coordinates of people, of items, and a few of their products count; used in
            closed form.
        level: row and column of the entry that shifts all predictions equally; used in closed form.
    """

    bridge: Floats
    expected: tuple[Floats, ...] = ()
    effects: Floats | None = None
    level: tuple[int, int] | None = None
