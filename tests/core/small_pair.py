"""A miniature pair, made in memory: users in every cohort, with planted tastes and harshness."""

import numpy as np

from ptupcdr_core.data.pair_data import PairData, Ratings, Scale
from ptupcdr_core.training.calibrated import fit_calibrated
from ptupcdr_core.training.calibrated_model import CalibratedModel
from ptupcdr_core.training.task import BridgeTask, bridge_task

COHORT_SIZES = {"cold": 8, "test": 8, "validation": 8, "bridge": 30, "target_only": 8}
USERS = sum(COHORT_SIZES.values())
SOURCE_ITEMS, TARGET_ITEMS, HISTORY, TASTE, SIZE = 25, 20, 5, 2, 3
RATINGS_A_USER = 9


def small_pair(seed: int = 0) -> PairData:
    """Users 1..U are in the order of COHORT_SIZES; the first cold and the first bridge user have no history."""
    rng = np.random.default_rng(seed)
    taste, harshness = rng.normal(0, 0.8, (USERS + 1, TASTE)), rng.normal(0, 0.5, USERS + 1)
    cohorts, first = {}, 1
    for name, size in COHORT_SIZES.items():
        cohorts[name] = np.arange(first, first + size, dtype=np.int32)
        first += size
    in_source = np.concatenate([cohorts[name] for name in ("cold", "test", "validation", "bridge")])
    source = _ratings(rng, in_source, SOURCE_ITEMS, taste, harshness)
    target = {
        "train": np.concatenate([cohorts["bridge"], cohorts["target_only"]]),
        "validation": cohorts["validation"],
        "test": cohorts["test"],
    }
    qualities = _qualities(rng, TARGET_ITEMS)
    parts = {name: _ratings(rng, users, TARGET_ITEMS, taste, harshness, qualities) for name, users in target.items()}
    untold = {int(cohorts["cold"][0]), int(cohorts["bridge"][0])}
    histories, history_stars = _histories(source, untold)
    return PairData(
        pair="books__movies",
        user_count=USERS,
        source_item_count=SOURCE_ITEMS,
        target_item_count=TARGET_ITEMS,
        source=source,
        target_train=parts["train"],
        target_validation=parts["validation"],
        target_test=parts["test"],
        cohorts=cohorts,
        histories=histories,
        history_stars=history_stars,
        source_scale=Scale(1, 5),
        target_scale=Scale(1, 5),
        split="miniature",
    )


def calibrated_models(data: PairData, size: int = SIZE) -> tuple[CalibratedModel, CalibratedModel]:
    """Source and target base model of a pair."""
    sides = ((data.source, data.source_item_count), (data.target_train, data.target_item_count))
    source, target = (
        fit_calibrated(ratings, data.user_count, items, size=size, seed=1, on_epoch=lambda epoch, metrics: None)
        for ratings, items in sides
    )
    return source, target


def calibrated_task(data: PairData) -> BridgeTask:
    return bridge_task(data, *calibrated_models(data))


def _qualities(rng: np.random.Generator, items: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(0, 0.4, items + 1), rng.normal(0, 0.8, (items + 1, TASTE))


def _ratings(
    rng: np.random.Generator,
    users: np.ndarray,
    items: int,
    taste: np.ndarray,
    harshness: np.ndarray,
    qualities: tuple[np.ndarray, np.ndarray] | None = None,
) -> Ratings:
    quality, loadings = qualities or _qualities(rng, items)
    u = np.repeat(users, RATINGS_A_USER).astype(np.int32)
    i = np.concatenate([rng.permutation(items)[:RATINGS_A_USER] + 1 for _ in users]).astype(np.int32)
    score = 3.3 + harshness[u] + quality[i] + (taste[u] * loadings[i]).sum(1) + rng.normal(0, 0.3, len(u))
    order = np.lexsort((i, u))
    return Ratings(u[order], i[order], np.clip(np.rint(score), 1, 5).astype(np.float32)[order])


def _histories(source: Ratings, untold: set[int]) -> tuple[np.ndarray, np.ndarray]:
    items, stars = np.zeros((USERS + 1, HISTORY), np.int32), np.zeros((USERS + 1, HISTORY), np.float32)
    for user in set(source.users.tolist()) - untold:
        # Everybody else has a history: a user who rates nothing above 3 gets the first item.
        liked = source.where((source.users == user) & (source.stars > 3))
        liked = liked if len(liked) else source.where(source.users == user).where(np.arange(RATINGS_A_USER) < 1)
        count = min(len(liked), HISTORY)
        items[user, :count], stars[user, :count] = liked.items[-count:], liked.stars[-count:]
    return items, stars
