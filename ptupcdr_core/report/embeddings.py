"""The paper's picture: where the bridge puts people in the target domain, and where their own target ratings do.

Shapes: R users, N ratings, Y coordinates of a target vector.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Index
from ptupcdr_core.report.drawing import Picture, figure, finish
from ptupcdr_core.report.facts import Facts
from ptupcdr_core.report.style import style
from ptupcdr_core.training.validation import Bridge

MOST_USERS = 200
"""Three points each: t-SNE lays out 600 in about a second, and more are hard to tell apart."""
FEWEST_USERS = 5
"""With fewer test users there is no picture."""
FEWEST_RATINGS = 5
"""With fewer, a person's own target embedding says little."""
PRIOR_RATINGS = 5.0
"""Average ratings that pull an own embedding towards the mean target user."""
SEED = 0

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Embedded:
    """Test users as seen from both sides, in coordinates whose distance is a difference of predicted stars.

    Args:
        users: (R,) their indices.
        own: (R, Y) from their held-out target ratings.
        bridged: (R, Y) by method, from their source history.
    """

    users: Index
    own: Doubles
    bridged: dict[str, Doubles]

    def nearer_than_others(self, method: str) -> float:
        """The mean fraction of the other users' own embeddings that are farther from a bridged one than its user's.

        0.5 is chance, 1 is perfect.
        """
        bridged = self.bridged[method]
        squares = (bridged**2).sum(1)[:, None] + (self.own**2).sum(1)[None, :] - 2 * bridged @ self.own.T
        own = np.diag(squares)[:, None]
        others = len(self.users) - 1
        # The user's own column is neither farther nor, but for ties, equally far.
        return float((((squares > own).sum(1) + ((squares == own).sum(1) - 1) / 2) / others).mean())

    def spread(self, method: str) -> float:
        """The root mean square distance of bridged embeddings from their mean, divided by that of the own ones."""
        return float(_radius(self.bridged[method]) / max(_radius(self.own), 1e-12))


def embed(facts: Facts) -> Embedded | None:
    """Bridge some test users, and place them by their target ratings; None where there are too few, or all lie at one
    point."""
    test, task = facts.data.target_test, facts.task
    counts = np.bincount(test.users, minlength=facts.data.user_count + 1)
    users = np.flatnonzero(counts >= FEWEST_RATINGS).astype(np.int32)
    if len(users) < FEWEST_USERS:
        return None
    users = np.sort(np.random.default_rng(SEED).permutation(users)[:MOST_USERS])
    moment = _second_moment(facts)
    root = _square_root(moment)
    bridges: dict[str, Bridge] = {"emcdr": facts.bridges.emcdr, "ptupcdr": facts.bridges.personal}
    bridged = {name: bridge.embed(task, users) @ root for name, bridge in bridges.items()}
    own = _fold_in(facts, users, moment) @ root
    # t-SNE divides by the width of what it lays out; a width of 0 ends the process.
    return Embedded(users, own, bridged) if np.ptp([own, *bridged.values()], axis=(0, 1)).any() else None


def _second_moment(facts: Facts) -> Doubles:
    """(Y, Y) of the target items' vectors, each item counting as often as it was rated."""
    vectors = facts.task.target.vectors.astype(np.float64)
    counts = np.bincount(facts.data.target_train.items, minlength=len(vectors)).astype(np.float64)
    moment: Doubles = (vectors * counts[:, None]).T @ vectors / counts.sum()
    moment += 1e-6 * np.trace(moment) / len(moment) * np.eye(len(moment))
    return moment


def _square_root(moment: Doubles) -> Doubles:
    values, vectors = np.linalg.eigh(moment)
    root: Doubles = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return root


def _fold_in(facts: Facts, users: Index, moment: Doubles) -> Doubles:
    """(R, Y) the users' vectors by least squares on their held-out ratings, with the item vectors fixed.

    ``PRIOR_RATINGS`` average ratings pull each towards the mean target user.
    """
    test, target = facts.data.target_test, facts.task.target
    middle = facts.task.target_user_vectors[facts.task.bridge_users].mean(0, dtype=np.float64)
    own = np.empty((len(users), len(moment)))
    order = np.argsort(test.users, kind="stable")
    starts = np.searchsorted(test.users[order], users)
    ends = np.searchsorted(test.users[order], users, side="right")
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        rows = order[start:end]
        vectors = target.vectors[test.items[rows]].astype(np.float64)
        left = test.stars[rows] - target.offset[test.items[rows]] - vectors @ middle
        own[row] = middle + np.linalg.solve(vectors.T @ vectors + PRIOR_RATINGS * moment, vectors.T @ left)
    return own


def picture(embedded: Embedded) -> Picture:
    """Both sides laid out by one t-SNE, one panel a method."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    count, methods = len(embedded.users), list(embedded.bridged)
    points = np.concatenate([embedded.own, *embedded.bridged.values()])
    perplexity = min(30.0, (len(points) - 1) / 3)
    # One thread takes 1.3 s; several wait for each other at each of 500 steps, and take 16 s once anything else runs.
    with threadpool_limits(1):
        places = TSNE(perplexity=perplexity, init="pca", max_iter=500, random_state=SEED).fit_transform(points)
    parts = np.split(places, len(methods) + 1)
    drawn = figure(4.2)
    for axes, method, part in zip(drawn.subplots(1, len(methods), squeeze=False)[0], methods, parts[1:], strict=True):
        axes.scatter(*parts[0].T, s=16, color="#8a8a8a", marker="o", linewidths=0, alpha=0.7, label="own ratings")
        bridged = f"bridged by {style(method).name}"
        axes.scatter(*part.T, s=22, color=style(method).color, marker="+", linewidths=1.1, label=bridged)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, handletextpad=0.1, markerscale=1.6)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("#cccccc")
    return finish(drawn, "embeddings", f"t-SNE of {count} test users' own and bridged target embeddings")


def _radius(points: Doubles) -> float:
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))
