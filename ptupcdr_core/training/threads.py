"""One thread for linear algebra where more would cost time or change the last bits."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch and the BLAS libraries from dividing a calculation among threads.

    Small batches mostly wait for each other so: 2,000 steps of 64 users took 26 s of two busy cores, and take 0.5 s of
    one. And sums that are divided are rounded otherwise: tables would depend on the number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
