"""Alternating least squares of this project, of cmfrec and of implicit, with the same ratings, factors and threads.

cmfrec fits what this project fits (biases and factors of explicit ratings), but refits the biases in every iteration.
implicit minimizes another loss (every item that a user did not rate counts as zero), so only its speed is compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numba
import numpy as np
from measure import Cost, measured
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.training.als import Entries, Plan, als
from ptupcdr_core.training.calibrated import damped_means
from ptupcdr_core.training.calibrated_model import REGULARIZATION

ITERATIONS = 10
COMPILED_ON = 100  # a first fit of so few ratings compiles the loops, before anything is measured
LIBRARIES = ("cmfrec", "implicit")

Scores = NDArray[np.floating]


@dataclass(frozen=True)
class Fit:
    """One fit of one domain's ratings.

    Args:
        name: The library.
        cost: The cost of the fit alone.
        rmse: RMSE on the ratings that it was fitted to; None if it does not predict stars.
    """

    name: str
    cost: Cost
    rmse: float | None


def compare(ratings: Ratings, users: int, items: int, size: int) -> list[Fit]:
    """Fit with this project, then with each library that is installed."""
    _ours(ratings.where(np.arange(len(ratings)) < COMPILED_ON), users, items, size)
    fits: dict[str, Callable[[Ratings, int, int, int], tuple[Cost, Scores | None]]] = {"this project": _ours}
    fits |= {name: {"cmfrec": _cmfrec, "implicit": _implicit}[name] for name in LIBRARIES if find_spec(name)}
    found = []
    for name, fit in fits.items():
        cost, scores = fit(ratings, users, items, size)
        error = None if scores is None else float(np.sqrt(np.square(scores - ratings.stars).mean()))
        found.append(Fit(name, cost, error))
    return found


def _ours(ratings: Ratings, users: int, items: int, size: int) -> tuple[Cost, Scores]:
    with measured() as cost:
        mean = np.float32(ratings.stars.mean(dtype=np.float64))
        item_bias = damped_means(ratings.items, ratings.stars - mean, items)
        beyond = ratings.stars - mean - item_bias[ratings.items]
        user_bias = damped_means(ratings.users, beyond, users)
        entries = Entries(ratings.users, ratings.items, beyond - user_bias[ratings.users], users, items)
        ridge = Ridge(REGULARIZATION, weighted=False)
        p, q = als(entries, Plan(size, ridge, ridge, ITERATIONS, seed=0))
    biases = mean + item_bias[ratings.items] + user_bias[ratings.users]
    return cost, biases + np.einsum("nd,nd->n", p[ratings.users], q[ratings.items])


def _cmfrec(ratings: Ratings, users: int, items: int, size: int) -> tuple[Cost, Scores]:
    import pandas as pd
    from cmfrec import CMF

    frame = pd.DataFrame({"UserId": ratings.users - 1, "ItemId": ratings.items - 1, "Rating": ratings.stars})
    model = CMF(
        k=size,
        lambda_=REGULARIZATION,
        niter=ITERATIONS,
        use_cg=False,
        nthreads=numba.get_num_threads(),
        precompute_for_predictions=False,
        handle_interrupt=False,
    )
    with measured() as cost:
        model.fit(frame)
    return cost, model.predict(frame.UserId, frame.ItemId)


def _implicit(ratings: Ratings, users: int, items: int, size: int) -> tuple[Cost, None]:
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits  # a dependency of implicit

    matrix = csr_matrix((ratings.stars, (ratings.users - 1, ratings.items - 1)), (users, items))
    threads = numba.get_num_threads()
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=size, iterations=ITERATIONS, regularization=REGULARIZATION, num_threads=threads
        )
        with measured() as cost:
            model.fit(matrix, show_progress=False)
    return cost, None
