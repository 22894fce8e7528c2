"""Several source domains as one: one numbering of all items, in which a domain's items follow each other.

Shapes: I items, R users, N ratings, B domains.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ptupcdr_core.arrays import Floats, Index


@dataclass(frozen=True)
class Blocks:
    """Which items belong to which domain.

    Args:
        sizes: (B,) how many items each domain has.
    """

    sizes: tuple[int, ...]

    def __len__(self) -> int:
        """Return B."""
        return len(self.sizes)

    @cached_property
    def of_items(self) -> Index:
        """(I+1,) int32, the domain of each item, from 0; the padding has none, and counts as the first's."""
        return np.repeat(np.arange(len(self), dtype=np.int32), (self.sizes[0] + 1, *self.sizes[1:]))

    @property
    def starts(self) -> list[int]:
        """(B,) number of items before each domain's first."""
        return [sum(self.sizes[:block]) for block in range(len(self))]

    def counts(self, users: Index, items: Index, user_count: int) -> Floats:
        """(R+1, B) float32, how many of the (N,) ratings of users 1..R are of each domain's items."""
        flat = np.bincount(users * np.int64(len(self)) + self.of_items[items], minlength=(user_count + 1) * len(self))
        return np.asarray(flat.reshape(-1, len(self)), np.float32)
