"""The engine of torch on a device: a GPU, or the processor where the tests stand in for one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.engines.base import Passes
from ptupcdr_core.engines.torch_adam import BaseModelOnDevice
from ptupcdr_core.engines.torch_bridges import MappingOnDevice, MetaNetworkOnDevice
from ptupcdr_core.engines.torch_least_squares import LeastSquaresOnDevice
from ptupcdr_core.kernels.csr import Csr
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.kernels.meta_network import Rows
from ptupcdr_core.kernels.threads import worked_ahead
from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.models.meta import MetaNetwork

Model_co = TypeVar("Model_co", covariant=True)


@dataclass(frozen=True)
class TorchEngine:
    """See ``Engine``.

    Args:
        device: of all tensors.
    """

    device: torch.device

    @property
    def where(self) -> str:
        """See ``Engine``."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "torch"
        return f"{self.device.type}, {name}"

    def least_squares(
        self, by_user: Csr, by_item: Csr, item_vectors: Floats, users: Ridge, items: Ridge
    ) -> LeastSquaresOnDevice:
        """See ``Engine``."""
        return LeastSquaresOnDevice(by_user, by_item, item_vectors, users, items, self.device)

    def base_model(self, model: BaseModel, ratings: Ratings, passes: Passes) -> Iterator[tuple[float, BaseModel]]:
        """See ``Engine``; the next epoch's order is drawn while one runs."""
        state = BaseModelOnDevice(model, ratings, passes.learning_rate, self.device)
        orders = worked_ahead(lambda _: passes.rng.permutation(len(ratings)), range(passes.epochs), 1)
        return _epochs(state, orders, passes.batch_size)

    def meta_network(
        self, network: MetaNetwork, rows: Rows, penalty: float, passes: Passes
    ) -> Iterator[tuple[float, MetaNetwork]]:
        """See ``Engine``."""
        state = MetaNetworkOnDevice(network, rows, passes.learning_rate, penalty, self.device)
        return _epochs(state, passes.orders(len(rows.users)), passes.batch_size)

    def mapping(self, matrix: Floats, source: Floats, wanted: Floats, passes: Passes) -> Iterator[tuple[float, Floats]]:
        """See ``Engine``."""
        state = MappingOnDevice(matrix, source, wanted, passes.learning_rate, self.device)
        return _epochs(state, passes.orders(len(source)), passes.batch_size)


class _InTraining(Protocol[Model_co]):
    """A model in training on a device, with its rows."""

    def epoch(self, order: NDArray[np.int64], batch_size: int) -> float:
        """As ``MinibatchAdam.epoch``."""

    def model(self) -> Model_co:
        """A copy on the host."""


def _epochs(
    state: _InTraining[Model_co], orders: Iterator[NDArray[np.int64]], batch_size: int
) -> Iterator[tuple[float, Model_co]]:
    for order in orders:
        yield state.epoch(order, batch_size), state.model()
