"""The engine of compiled loops (numba), for the processor."""

from collections.abc import Iterator

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.engines.base import Engine, Passes
from ptupcdr_core.engines.compiled_adam import RowAdam, shuffled, train_epoch
from ptupcdr_core.engines.compiled_bridges import MappingAdam, MetaAdam
from ptupcdr_core.kernels.csr import Csr
from ptupcdr_core.kernels.least_squares import Ridge, padded, padded_zeros
from ptupcdr_core.kernels.meta_network import Rows
from ptupcdr_core.kernels.threads import worked_ahead
from ptupcdr_core.kernels.whitened import solve_side
from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.models.meta import MetaNetwork


class CompiledEngine:
    """See ``Engine``. The same numbers in every run, for any number of threads."""

    where = "cpu, compiled loops"

    def least_squares(
        self, by_user: Csr, by_item: Csr, item_vectors: Floats, users: Ridge, items: Ridge
    ) -> "CompiledLeastSquares":
        """See ``Engine``."""
        return CompiledLeastSquares(by_user, by_item, item_vectors, users, items)

    def base_model(self, model: BaseModel, ratings: Ratings, passes: Passes) -> Iterator[tuple[float, BaseModel]]:
        """See ``Engine``; the next epoch's ratings are shuffled while one is trained on."""
        state = RowAdam.start(model)
        in_order = worked_ahead(
            lambda _: shuffled(ratings.users, ratings.items, ratings.stars, passes.rng), range(passes.epochs), 1
        )
        for columns in in_order:
            yield train_epoch(state, *columns, passes.batch_size, passes.learning_rate), state.model()

    def meta_network(
        self, network: MetaNetwork, rows: Rows, penalty: float, passes: Passes
    ) -> Iterator[tuple[float, MetaNetwork]]:
        """See ``Engine``."""
        state = MetaAdam.start(network, rows)
        for order in passes.orders(len(rows.users)):
            yield state.epoch(order, passes.batch_size, passes.learning_rate, penalty), state.network()

    def mapping(self, matrix: Floats, source: Floats, wanted: Floats, passes: Passes) -> Iterator[tuple[float, Floats]]:
        """See ``Engine``."""
        state = MappingAdam(matrix, source, wanted)
        for order in passes.orders(len(source)):
            yield state.epoch(order, passes.batch_size, passes.learning_rate), state.matrix.copy()


class CompiledLeastSquares:
    """See ``LeastSquares``; arguments as for ``Engine.least_squares``."""

    def __init__(self, by_user: Csr, by_item: Csr, item_vectors: Floats, users: Ridge, items: Ridge) -> None:
        """Make both tables."""
        self._by_user, self._by_item, self._ridge = by_user, by_item, (users, items)
        self._size = item_vectors.shape[1]
        self._users = padded_zeros(len(by_user.offsets) - 1, self._size)
        self._items = padded(item_vectors)

    def solve_users(self) -> None:
        """See ``LeastSquares``."""
        solve_side(self._by_user, self._items, self._users, self._size, self._ridge[0])

    def solve_items(self) -> None:
        """See ``LeastSquares``."""
        solve_side(self._by_item, self._users, self._items, self._size, self._ridge[1])

    def vectors(self) -> tuple[Floats, Floats]:
        """See ``LeastSquares``."""
        return self._users[:, : self._size], self._items[:, : self._size]


COMPILED: Engine = CompiledEngine()
"""The default engine."""
