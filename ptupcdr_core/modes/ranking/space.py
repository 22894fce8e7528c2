"""Source users' coordinates for ranking: their factors, how much they rated, and when they were active.

What people take depends on which items are known while they are active. So the shares of a user's source ratings that
fall into each of the source domain's periods are coordinates too.

The factors of several source domains are joined side by side (``training.beside``). Where a user has no rating in one
of them, its coordinates are at their mean, since nothing is known; factors of zero would say that the user has no
taste.

Shapes: R users, N ratings, M ratings that are left out, S source items, D factors of a user (of B source domains all of
them), T periods, X = D + T + 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.blocks import Blocks
from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.kernels.whitened import Whitening
from ptupcdr_core.training.als import fold_in_whitened, whitened
from ptupcdr_core.training.folding import Places, taken_without, without_users
from ptupcdr_core.training.implicit import REGULARIZATION, UNOBSERVED_WEIGHT, ImplicitFactors

PERIODS = 12
"""Most periods; each holds about as many source ratings."""
QUANTILES = np.arange(1, PERIODS) / PERIODS
PERIOD_SCALE = 4.0
"""Makes a period's coordinate about as large as a factor's, which has unit size: most users have few periods."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class RankingSpace:
    """The source side of ranking as training defined it, for its users and for people who come later.

    Args:
        factors: of the source domain.
        period_ends: (T-1,) float64, where a period ends and the next begins, in the source's unit of time; T = 0 where
            the source has no times.
        centers: (X,) float32, subtracted from each coordinate.
        scales: (X,) float32, multiplies it then; the last coordinate is the constant 1.
        blocks: the items of B source domains.
    """

    kind: ClassVar[str] = "ranking"
    factors: ImplicitFactors
    period_ends: Floats
    centers: Floats
    scales: Floats
    blocks: Blocks

    @classmethod
    def of(cls, factors: ImplicitFactors, ratings: Ratings, blocks: Blocks | None = None) -> "RankingSpace":
        """Center and scale by the users of the source domain.

        Args:
            factors: trained on the ratings.
            ratings: of the source, with their times if it has any.
            blocks: the items of several source domains; None: of one.
        """
        ends, users = period_ends(ratings.times), len(factors.user_embedding) - 1
        blocks = blocks or Blocks((len(factors.item_embedding) - 1,))
        plain = cls(factors, ends, np.zeros(1, np.float32), np.ones(1, np.float32), blocks)
        everybody = plain.raw(factors.user_embedding, ratings, users)
        told = np.unique(ratings.users)
        known, present = everybody[told], blocks.counts(ratings.users, ratings.items, users)[told] > 0
        size = factors.user_embedding.shape[1]
        centers, squares = known.mean(0, dtype=np.float64), np.empty(size)
        for block, columns in enumerate(np.split(np.arange(size), len(blocks))):
            own = known[present[:, block]][:, columns]
            centers[columns] = own.mean(0, dtype=np.float64)
            squares[columns] = np.square(own, dtype=np.float64).mean()
        return plain.scaled(factors, centers, squares, float(known[:, size].std(dtype=np.float64)))

    def scaled(self, factors: ImplicitFactors, centers: Doubles, squares: Doubles, deviation: float) -> "RankingSpace":
        """The same space, centered and scaled by statistics of its users' coordinates.

        Args:
            factors: of the source domain.
            centers: (X,) the mean of each coordinate.
            squares: (D,) the mean square of a factor, over the factors of its domain.
            deviation: of the log of the number of ratings.
        """
        size = len(squares)
        scales = np.full(len(centers), PERIOD_SCALE)
        scales[:size] = 1 / np.sqrt(np.maximum(squares, 1e-12))
        scales[size] = 1 / max(deviation, 1e-6)
        centers, scales[-1] = np.append(centers[:-1], 0), 1
        return replace(self, factors=factors, centers=centers.astype(np.float32), scales=scales.astype(np.float32))

    def tensors(self) -> dict[str, Floats]:
        """All that folding in needs, by name; without users' vectors."""
        return without_users(self.checkpoint())

    def checkpoint(self) -> dict[str, Floats]:
        """Return everything by name, as a checkpoint stores it."""
        own = {"period_ends": self.period_ends, "centers": self.centers, "scales": self.scales}
        several = {"blocks": np.array(self.blocks.sizes)} if len(self.blocks) > 1 else {}
        return self.factors.tensors() | own | several

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Self:
        """Make the space that ``tensors()`` described."""
        factors = ImplicitFactors.from_tensors(tensors)
        sizes = tensors.get("blocks", [len(factors.item_embedding) - 1])
        blocks = Blocks(tuple(int(size) for size in sizes))
        return cls(factors, tensors["period_ends"], tensors["centers"], tensors["scales"], blocks)

    def without_users(self) -> Self:
        """The same space, without the table of its users' factors: all that folding in needs."""
        return replace(self, factors=replace(self.factors, user_embedding=self.factors.user_embedding[:1].copy()))

    @property
    def size(self) -> int:
        """D."""
        return int(self.factors.item_embedding.shape[1])

    @cached_property
    def history_vectors(self) -> Floats:
        """(S+1, D) item factors as the meta network reads them, in the unit of the users' coordinates."""
        return np.asarray(self.factors.item_embedding * self.scales[: self.size], np.float32)

    @cached_property
    def _white_items(self) -> Whitening:
        """The item factors as folding in reads them: people come a few at a time, with the same items."""
        return whitened(self.factors.item_embedding, REGULARIZATION, UNOBSERVED_WEIGHT)

    def source_vectors(self, ratings: Ratings) -> Floats:
        """(U+1, X) float32 vectors of the users that the factors were trained on."""
        users = len(self.factors.user_embedding) - 1
        return self._vectors(self.raw(self.factors.user_embedding, ratings, users), self._counts(ratings, users))

    def fold_in(self, ratings: Ratings, user_count: int) -> Floats:
        """(R+1, X) float32 source vectors of users 1..R with these ratings (see ``training.folding.SourceSpace``)."""
        rows = compress(ratings.users, ratings.items, np.ones(len(ratings), np.float32), user_count)
        embeddings = fold_in_whitened(rows, self._white_items)
        return self._vectors(self.raw(embeddings, ratings, user_count), self._counts(ratings, user_count))

    def leave_out(self, ratings: Ratings, user_count: int, places: Places) -> Floats:
        """(M, X) float32: each place's user as if that rating were not there (see ``training.folding.SourceSpace``)."""
        users = ratings.users[places]
        embeddings = taken_without(ratings, self._white_items, user_count, places)
        rated = np.bincount(ratings.users, minlength=user_count + 1).astype(np.float32)[users] - 1
        periods = self._periods(ratings)
        counts = self._period_counts(ratings, periods, user_count)[users]
        if counts.shape[1]:
            counts[np.arange(len(places)), periods[places]] -= 1
        own = self._counts(ratings, user_count)[users]
        own[np.arange(len(places)), self.blocks.of_items[ratings.items[places]]] -= 1
        return self._vectors(_coordinates(embeddings, rated, counts), own)

    def raw(self, embeddings: Floats, ratings: Ratings, user_count: int) -> Floats:
        """(R+1, X) coordinates as they are before they are centered and scaled, of users 1..R with these ratings."""
        rated = np.bincount(ratings.users, minlength=user_count + 1).astype(np.float32)
        return _coordinates(embeddings, rated, self._period_counts(ratings, self._periods(ratings), user_count))

    def _counts(self, ratings: Ratings, user_count: int) -> Floats:
        """(R+1, B) ratings of each user in each source domain."""
        return self.blocks.counts(ratings.users, ratings.items, user_count)

    def _vectors(self, raw: Floats, counts: Floats) -> Floats:
        vectors = np.asarray((raw - self.centers) * self.scales, np.float32)
        if len(self.blocks) > 1:
            vectors[:, : self.size] *= np.repeat(counts > 0, self.size // len(self.blocks), axis=1)
        return vectors

    def _periods(self, ratings: Ratings) -> np.ndarray:
        """(N,) each rating's period; an unknown time counts as the latest, which is now."""
        if ratings.times is None:
            return np.full(len(ratings), len(self.period_ends))
        return np.searchsorted(self.period_ends, ratings.times, side="left")

    def _period_counts(self, ratings: Ratings, periods: np.ndarray, user_count: int) -> Floats:
        """(R+1, T) float32 ratings of each user in each period."""
        count = len(self.period_ends) + 1 if len(self.period_ends) else 0
        if not count:
            return np.zeros((user_count + 1, 0), np.float32)
        flat = np.bincount(ratings.users * np.int64(count) + periods, minlength=(user_count + 1) * count)
        return np.asarray(flat.reshape(-1, count), np.float32)


def _coordinates(embeddings: Floats, rated: Floats, periods: Floats) -> Floats:
    """(R, X): factors, log of the number of ratings, shares of the periods, and 1."""
    shares = periods / np.maximum(periods.sum(1, keepdims=True), 1)
    columns = [embeddings, np.log1p(rated)[:, None], shares, np.ones((len(rated), 1), np.float32)]
    return np.asarray(np.hstack(columns), np.float32)


def period_ends(times: Floats | None) -> Floats:
    """Quantiles of the times, each once; none where there are not two different times."""
    known = np.zeros(0) if times is None else times[np.isfinite(times)]
    if not len(known):
        return np.zeros(0, np.float32)
    return period_ends_of(np.quantile(known, QUANTILES, method="inverted_cdf"), known.min(), known.max())


def period_ends_of(quantiles: Floats, first: np.floating, last: np.floating) -> Floats:
    """The same from the times' ``QUANTILES``, and the first and last time."""
    ends = np.unique(quantiles)
    return np.asarray(ends[ends < last] if first < last else ends[:0], np.float32)
