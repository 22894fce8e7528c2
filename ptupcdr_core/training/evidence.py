"""The one rule that decides whether an added part of a model is used: people it was not fitted to must show a gain.

A part is compared with the model without it on the same held-out users, in pairs. It is used where the mean gain is
enough standard errors above zero; Student's t asks for more when the users are few. The rule's error rates, on planted
and heavy-tailed gains, are in ``tests/core/test_evidence.py``.

Shapes: R held-out users.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

STANDARD_ERRORS = 2.0
"""In 100 cases, a useless part is used at most 3.5 times, and the best of four useless ones 9 times; a part whose true
gain is four standard errors is missed at most 7 times."""

Losses = NDArray[np.floating]
K = TypeVar("K")


@dataclass(frozen=True)
class Evidence:
    """The evidence of held-out users about a part.

    Args:
        gain: mean over users of the loss without the part less the loss with it; positive where the part helps.
        standard_error: of that mean; infinite for fewer than two users.
        users: R.
        needed: standard errors that the gain had to reach, Student's t already counted in.
    """

    gain: float
    standard_error: float
    users: int
    needed: float

    @property
    def certainty(self) -> float:
        """The gain in standard errors; 0 where there is neither gain nor error."""
        if self.gain == 0:
            return 0.0
        return self.gain / self.standard_error if self.standard_error > 0 else float(np.copysign(np.inf, self.gain))

    @property
    def earned(self) -> bool:
        """Whether the part is to be used."""
        return self.gain > 0 and self.certainty >= self.needed


def earns_its_place(
    losses_without: Losses, losses_with: Losses, *, standard_errors: float = STANDARD_ERRORS
) -> Evidence:
    """Compare a model with and without a part on the same held-out users.

    Args:
        losses_without: (R,) loss of each user; what is lower is better (1 - NDCG of a list, for instance). Where users
            count by their ratings, the sum over them.
        losses_with: (R,) the same users' losses with the part.
        standard_errors: the gain that is needed, in standard errors, if users are many.

    Raises:
        ValueError: the losses are not of the same users, or one is missing (NaN).
    """
    if losses_without.shape != losses_with.shape or losses_without.ndim != 1:
        raise ValueError(f"losses of the same users are compared: shapes {losses_without.shape}, {losses_with.shape}")
    gains = losses_without.astype(np.float64) - losses_with
    if np.isnan(gains).any():
        raise ValueError("a user has no loss: measure both models on every user")
    users = len(gains)
    if users < 2:
        return Evidence(float(gains.sum()), float("inf"), users, standard_errors)
    needed = float(t.isf(norm.sf(standard_errors), users - 1))
    return Evidence(float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(users)), users, needed)


def best_that_earns(
    losses_without: Losses, candidates: Mapping[K, Losses], *, standard_errors: float = STANDARD_ERRORS
) -> tuple[K | None, Evidence]:
    """The candidate with the lowest mean loss, if it is better by enough; else None. Also the evidence.

    Args:
        losses_without: (R,) loss of each user without any of them.
        candidates: (R,) losses by candidate, at least one.
        standard_errors: as for ``earns_its_place``.
    """
    best = min(candidates, key=lambda name: float(candidates[name].mean(dtype=np.float64)))
    evidence = earns_its_place(losses_without, candidates[best], standard_errors=standard_errors)
    return (best if evidence.earned else None), evidence


FOLDS = 5
"""Folds of held-out users: each is judged with the candidate that is best for the others."""


def judged_by_others(losses: Losses) -> tuple[int, Losses]:
    """The candidate with the lowest loss, and (R,) each user's loss with the one that *other* users would choose.

    So trying several candidates does not look like a gain by itself, as it does in ``best_that_earns``.

    Args:
        losses: (K, R) of K candidates.
    """
    fold = np.arange(losses.shape[1]) % FOLDS
    judged = np.empty(losses.shape[1])
    for k in range(FOLDS):
        own = fold == k
        judged[own] = losses[losses[:, ~own].sum(1).argmin(), own]
    return int(losses.sum(1).argmin()), judged
