"""Bridges in closed form: bilinear ridge regressions, their penalty chosen by cross-validation over users.

Shapes: R bridge-training users, N rows, G features of a user, Y coordinates of a target item.

The model of a row of user u is g_u W y, with a user's features g_u and one matrix W (G, Y). The normal equations need
only Σ y yᵀ, Σ y t and Σ t² of each user, so their cost grows with users, not with rows times features.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.models.bridge_rows import BridgeRows

log = logging.getLogger(__name__)
Doubles = NDArray[np.float64]

FOLDS = 5
"""Of the users, for cross-validation."""
SEED = 0
"""Of the users who are drawn; the same ones whatever the training's seed."""
MOST_USERS = 50_000
"""A closed form of some thousand unknowns needs no more users than this; only gradient steps use further ones."""
BLOCK = 512
"""Users whose outer products are held at a time."""


@dataclass(frozen=True)
class UserMoments:
    """What a ridge regression needs of each user's rows.

    Args:
        users: (R,) int32, ascending.
        second: (R, Y, Y) float32, Σ y yᵀ.
        first: (R, Y) float32, Σ y t.
        squares: (R,) float64, Σ t².
        count: N, the rows of all these users.
    """

    users: Index
    second: Floats
    first: Floats
    squares: Doubles
    count: int

    def beyond(self, user_vectors: Floats) -> "UserMoments":
        """The moments of the residuals of t after a prediction û · y, for user vectors û (R, Y)."""
        predicted = np.einsum("ryz,rz->ry", self.second, user_vectors)
        crossed = np.einsum("ry,ry->r", user_vectors, self.first, dtype=np.float64)
        squared = np.einsum("ry,ry->r", user_vectors, predicted, dtype=np.float64)
        return UserMoments(
            self.users, self.second, self.first - predicted, self.squares - 2 * crossed + squared, self.count
        )


@dataclass(frozen=True)
class RidgeChoice:
    """The choices of a ridge regression.

    Args:
        penalty: infinity for a matrix of zeros.
        features: how many of the G features, from the first, are used.
        scale: index of the scale.
    """

    penalty: float
    features: int
    scale: int = 0


@dataclass(frozen=True)
class RidgeFit:
    """A matrix W and how it was chosen.

    Args:
        matrix: (G, Y) float32; zeros when no candidate was better than predicting nothing.
        penalty: the chosen one; infinity when the matrix is zeros.
        features: how many of the G features, from the first, are used; 0 when the matrix is zeros.
        errors: mean squared error over held-out users by (features, penalty), (0, infinity) included; empty where the
            choice was given.
        gains: (R,) how much smaller each held-out user's squared error is than by predicting nothing; zeros where the
            matrix is zeros, None where the choice was given.
        scale: index of the best scale.
    """

    matrix: Floats
    penalty: float
    features: int
    errors: dict[tuple[int, float], float]
    gains: Doubles | None = None
    scale: int = 0


def user_moments(rows: BridgeRows) -> UserMoments:
    """Sum the rows (ordered by user) of each user, or of ``MOST_USERS`` drawn at random if there are more.

    Not of the first ones: users are ordered by their ids, which may say when they came, or from where. The same users
    are drawn every time, and on every engine.
    """
    users, starts = np.unique(rows.users, return_index=True)
    if len(users) > MOST_USERS:
        log.info("the closed-form bridge reads %d of %d bridge users, drawn at random", MOST_USERS, len(users))
        drawn = np.zeros(int(users[-1]) + 1, bool)
        drawn[np.random.default_rng(SEED).permutation(users)[:MOST_USERS]] = True
        kept = drawn[rows.users]
        rows = BridgeRows(rows.users[kept], rows.vectors, rows.pick[kept], rows.wanted[kept])
        users, starts = np.unique(rows.users, return_index=True)
    ends = np.append(starts[1:], len(rows.users))
    size = rows.vectors.shape[1]
    second, first = np.empty((len(users), size, size), np.float32), np.empty((len(users), size), np.float32)
    squares = np.empty(len(users))
    for at in range(0, len(users), BLOCK):
        block = slice(at, at + BLOCK)
        low, high = starts[block][0], ends[block][-1]
        y, t = rows.vectors[rows.pick[low:high]], rows.wanted[low:high]
        second[block] = np.add.reduceat(y[:, :, None] * y[:, None, :], starts[block] - low)
        first[block] = np.add.reduceat(y * t[:, None], starts[block] - low)
        squares[block] = np.add.reduceat(t.astype(np.float64) ** 2, starts[block] - low)
    return UserMoments(users.astype(np.int32), second, first, squares, int(ends[-1]))


def users_read(rows: BridgeRows) -> int:
    """Of how many users ``user_moments`` sums the rows."""
    return min(len(np.unique(rows.users)), MOST_USERS)


def fit_ridge(
    features: Floats,
    moments: UserMoments,
    penalties: Sequence[float],
    *,
    seed: int,
    leading: Sequence[int] = (),
    scales: Sequence[Floats] = (),
    fixed: RidgeChoice | None = None,
) -> RidgeFit:
    """Minimize Σ (t - g_u W y)² + penalty |W / scale|², with the candidate that predicts held-out users best.

    Args:
        features: (R, G) float32, g of each user of the moments.
        moments: the users' rows.
        penalties: candidates; "no bridge at all" is always one more.
        seed: assigns the users to the folds.
        leading: candidates for how many of the features, from the first, to use; empty: all of them.
        scales: candidates (G, Y) for how large each entry of W is expected to be; empty: all ones.
        fixed: an earlier choice to keep; then nobody is held out.
    """
    shape = features.shape[1], moments.first.shape[1]
    scales = scales or [np.ones(shape, np.float32)]
    if fixed is not None:
        return _fit_fixed(features, moments, fixed, scales[fixed.scale])
    fold = _folds(len(moments.users), seed)
    equations = [_normal_equations(features[fold == k], moments, fold == k) for k in range(FOLDS)]
    fits = [_fit_scaled(equations, moments, shape, penalties, leading or shape[:1], scale) for scale in scales]
    place = min(range(len(fits)), key=lambda k: fits[k].errors[fits[k].features, fits[k].penalty])
    best, scale = fits[place], scales[place]
    errors = {candidate: min(fit.errors[candidate] for fit in fits) for candidate in best.errors}
    gains = np.zeros(len(features))
    if best.features:
        gains = _held_out_gains(features, moments, fold, equations, best, scale)
    return RidgeFit(best.matrix, best.penalty, best.features, errors, gains, place)


def _fit_fixed(features: Floats, moments: UserMoments, fixed: RidgeChoice, scale: Floats) -> RidgeFit:
    """The fit to all users with the given choice."""
    matrix = np.zeros_like(scale)
    count = fixed.features if np.isfinite(fixed.penalty) else 0
    if count:
        left, right = _normal_equations(features[:, :count], moments, np.ones(len(moments.users), bool))
        s = scale[:count].reshape(-1).astype(np.float64)
        matrix[:count] = (s * _solve(left * s * s[:, None], right * s, fixed.penalty)).reshape(count, -1)
    return RidgeFit(matrix, fixed.penalty, count, {}, None, fixed.scale)


def _held_out_gains(
    features: Floats,
    moments: UserMoments,
    fold: NDArray[np.int64],
    equations: list[tuple[Doubles, Doubles]],
    fit: RidgeFit,
    scale: Floats,
) -> Doubles:
    """(R,) how much smaller each user's squared error is with the fit to the other folds than when predicting
    nothing."""
    used = slice(0, fit.features * scale.shape[1])
    s = scale.reshape(-1).astype(np.float64)[used]
    left, right = (np.sum([equation[side] for equation in equations], axis=0) for side in (0, 1))
    gains = np.zeros(len(features))
    for k, (lhs, rhs) in enumerate(equations):
        others = (left - lhs)[used, used] * s * s[:, None], (right - rhs)[used] * s
        w = (s * _solve(*others, fit.penalty)).reshape(fit.features, -1)
        predicted = features[fold == k, : fit.features] @ w
        explained = np.einsum("ry,ryz,rz->r", predicted, moments.second[fold == k], predicted, optimize=True)
        gains[fold == k] = 2 * np.einsum("ry,ry->r", predicted, moments.first[fold == k]) - explained
    return gains


def _fit_scaled(
    equations: list[tuple[Doubles, Doubles]],
    moments: UserMoments,
    shape: tuple[int, int],
    penalties: Sequence[float],
    leading: Sequence[int],
    scale: Floats,
) -> RidgeFit:
    """The best penalty and number of features for one scale: a plain ridge in the unknowns W / scale."""
    s = scale.reshape(-1).astype(np.float64)
    scaled = [(lhs * s * s[:, None], rhs * s) for lhs, rhs in equations]
    left = np.sum([lhs for lhs, _ in scaled], axis=0)
    right = np.sum([rhs for _, rhs in scaled], axis=0)
    total = float(moments.squares.sum())
    errors = {(0, float("inf")): total / moments.count}
    errors |= {(count, float(penalty)): total / moments.count for count in leading for penalty in penalties}
    for lhs, rhs in scaled:
        for penalty in penalties:
            whole = _root((left - lhs)[: max(leading) * shape[1], : max(leading) * shape[1]], penalty)
            for count in leading:
                # Features are the outer index: the equations of the first of them, and their root, are leading blocks.
                part = slice(0, count * shape[1])
                w = _solved(whole[part, part], (right - rhs)[part])
                errors[count, float(penalty)] += float(w @ (lhs[part, part] @ w) - 2 * w @ rhs[part]) / moments.count
    count, penalty = min(errors, key=lambda candidate: errors[candidate])
    matrix = np.zeros(shape, np.float32)
    if count:
        part = slice(0, count * shape[1])
        matrix[:count] = (s[part] * _solve(left[part, part], right[part], penalty)).reshape(count, -1)
    return RidgeFit(matrix, penalty, count, errors)


def fit_regression(
    features: Floats, wanted: Floats, penalties: Sequence[float], *, seed: int, fixed: float | None = None
) -> RidgeFit:
    """Minimize Σ |wanted_u - g_u W|² + penalty |W|² over users, with the penalty that predicts held-out users best.

    Args:
        features: (R, G) float32.
        wanted: (R, Y) float32.
        penalties: candidates; "predict nothing" is always one more.
        seed: assigns the users to the folds.
        fixed: an earlier penalty to keep; infinity predicts nothing.
    """
    fold = _folds(len(features), seed)
    x, y = features.astype(np.float64), wanted.astype(np.float64)
    left = [x[fold == k].T @ x[fold == k] for k in range(FOLDS)]
    right = [x[fold == k].T @ y[fold == k] for k in range(FOLDS)]
    size = x.shape[1]
    errors = {(0, float("inf")): float(np.square(y).sum()) / len(y)}
    for penalty in penalties if fixed is None else ():
        ridge = penalty * np.eye(size)
        residuals = (
            y[fold == k] - x[fold == k] @ np.linalg.solve(sum(left) - left[k] + ridge, sum(right) - right[k])
            for k in range(FOLDS)
        )
        errors[size, float(penalty)] = sum(float(np.square(residual).sum()) for residual in residuals) / len(y)
    if fixed is None:
        count, best = min(errors, key=lambda candidate: errors[candidate])
    else:
        count, best = size if np.isfinite(fixed) else 0, fixed
    matrix = np.linalg.solve(sum(left) + best * np.eye(size), sum(right)) if count else np.zeros((size, y.shape[1]))
    return RidgeFit(matrix.astype(np.float32), best, count, errors)


def _folds(users: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(users) % FOLDS


def _normal_equations(features: Floats, moments: UserMoments, members: NDArray[np.bool_]) -> tuple[Doubles, Doubles]:
    """Left (G·Y, G·Y) and right (G·Y,) side over the member users."""
    second, first = moments.second[members], moments.first[members]
    G, Y = features.shape[1], first.shape[1]
    left = np.zeros((G * G, Y * Y))
    for at in range(0, len(features), BLOCK):
        g, s = features[at : at + BLOCK], second[at : at + BLOCK]
        left += (g[:, :, None] * g[:, None, :]).reshape(len(g), -1).T @ s.reshape(len(g), -1)
    right = features.astype(np.float64).T @ first
    return left.reshape(G, G, Y, Y).transpose(0, 2, 1, 3).reshape(G * Y, G * Y), right.reshape(-1)


def _solve(left: Doubles, right: Doubles, penalty: float) -> Doubles:
    return _solved(_root(left, penalty), right)


def _root(left: Doubles, penalty: float) -> torch.Tensor:
    """L, lower triangular, of L Lᵀ = left + penalty I."""
    ridge = torch.from_numpy(left).clone()
    ridge.diagonal().add_(penalty)
    root: torch.Tensor = torch.linalg.cholesky(ridge)
    return root


def _solved(root: torch.Tensor, right: Doubles) -> Doubles:
    return torch.cholesky_solve(torch.from_numpy(right)[:, None], root)[:, 0].numpy()
