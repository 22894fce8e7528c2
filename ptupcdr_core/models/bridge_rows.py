"""What task-oriented bridges are fitted to, and where they start.

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
        pick: (N,) which of the M vectors is each row's.
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
        bridge: (X, Y) that training starts from and shrinks to: zeros, or the strongest simple baseline.
        expected: candidates (X, Y) for how large each entry's deviation from it may be; used in closed form.
        effects: (X, Y) the same where people and items as such count, and few of their products; used in closed form.
        level: row and column of the entry that moves every prediction alike; used in closed form.
    """

    bridge: Floats
    expected: tuple[Floats, ...] = ()
    effects: Floats | None = None
    level: tuple[int, int] | None = None
