"""The meta network's training as one compiled loop: forward, hand-written gradients, Adam.

On small networks autograd's bookkeeping costs several times the arithmetic (``training.gradient`` has the mathematics
and measured times; the tests hold a loop in torch against this one). Each user of a batch is computed once however many
ratings it has there, only real history positions are, and hidden units that are off are skipped.

Shapes: B batch, R distinct users of a batch, P their history positions together, D embedding size, H hidden units,
X by Y the bridge, L history length.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.pair_data import Floats, Index
from ptupcdr_core.training.adam_kernels import BETA1, BETA2, EPSILON, FAST


class Weights(NamedTuple):
    """The meta network's weights, or their gradients or moments; all contiguous, so that inner loops run along rows.

    Args:
        attention: (D, D), output by input.
        attention_bias: (1, D).
        importance: (1, D).
        hidden: (D, H), input by output.
        hidden_bias: (1, H).
        out: (H, X·Y), input by output.
        out_bias: (1, X·Y).
    """

    attention: Floats
    attention_bias: Floats
    importance: Floats
    hidden: Floats
    hidden_bias: Floats
    out: Floats
    out_bias: Floats


class Rows(NamedTuple):
    """The task-oriented rows and what they point into; see ``training.task.BridgeTask``."""

    users: Index
    pick: NDArray[np.integer]
    wanted: Floats
    histories: Index
    history_vectors: Floats
    source_vectors: Floats
    item_vectors: Floats


@numba.njit(nogil=True, forceinline=True, error_model="numpy", fastmath=FAST)
def _attend(weights: Weights, position: Floats, hidden: Floats, scores: Floats, count: int) -> None:
    """Importance of each position: scores = importance · relu(attention · position + bias); keeps the hidden units."""
    scores[:count] = 0
    for e in range(hidden.shape[0]):
        unit = hidden[e]
        for p in range(count):
            unit[p] = weights.attention_bias[0, e]
        for d in range(position.shape[0]):
            weight, coordinate = weights.attention[e, d], position[d]
            for p in range(count):
                unit[p] += weight * coordinate[p]
        weight = weights.importance[0, e]
        for p in range(count):
            unit[p] = max(unit[p], np.float32(0))
            scores[p] += weight * unit[p]


@numba.njit(nogil=True, forceinline=True, error_model="numpy", fastmath=FAST)
def _attend_backward(
    weights: Weights, gradients: Weights, position: Floats, hidden: Floats, slopes: Floats, count: int
) -> None:
    """Add the attention's gradients; ``slopes`` are those of the scores."""
    for e in range(hidden.shape[0]):
        unit = hidden[e]
        weight = weights.importance[0, e]
        total, bias = np.float32(0), np.float32(0)
        for p in range(count):
            total += slopes[p] * unit[p]
            unit[p] = slopes[p] * weight if unit[p] > 0 else np.float32(0)
            bias += unit[p]
        gradients.importance[0, e] += total
        gradients.attention_bias[0, e] += bias
        for d in range(position.shape[0]):
            coordinate = position[d]
            slope = np.float32(0)
            for p in range(count):
                slope += unit[p] * coordinate[p]
            gradients.attention[e, d] += slope


@numba.njit(nogil=True, forceinline=True, error_model="numpy", fastmath=FAST)
def _softmax(scores: Floats, begin: int, end: int) -> None:
    highest = scores[begin]
    for p in range(begin, end):
        highest = max(highest, scores[p])
    total = np.float32(0)
    for p in range(begin, end):
        scores[p] = np.exp(scores[p] - highest)
        total += scores[p]
    for p in range(begin, end):
        scores[p] /= total


@numba.njit(nogil=True, forceinline=True, error_model="numpy", fastmath=FAST)
def _add_scaled(target: Floats, scale: np.float32, source: Floats) -> None:
    for k in range(len(target)):
        target[k] += scale * source[k]


@numba.njit(nogil=True, forceinline=True, error_model="numpy", fastmath=FAST)
def _dot(a: Floats, b: Floats) -> np.float32:
    total = np.float32(0)
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@numba.njit(nogil=True, forceinline=True, error_model="numpy", fastmath=FAST)
def _adam(weights: Floats, gradients: Floats, first: Floats, second: Floats, step: int, learning_rate: float) -> None:
    """One step of Adam on one array; clears the gradients."""
    start2 = np.sqrt(1 - BETA2**step)
    rate = np.float32(learning_rate * start2 / (1 - BETA1**step))
    epsilon = np.float32(EPSILON * start2)
    for row in range(weights.shape[0]):
        w, g, m, v = weights[row], gradients[row], first[row], second[row]
        for k in range(len(w)):
            m[k] = np.float32(BETA1) * m[k] + np.float32(1 - BETA1) * g[k]
            v[k] = np.float32(BETA2) * v[k] + np.float32(1 - BETA2) * g[k] * g[k]
            w[k] -= rate * m[k] / (np.sqrt(v[k]) + epsilon)
            g[k] = 0


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def train(
    weights: Weights, gradients: Weights, first: Weights, second: Weights, steps: int, rows: Rows,
    order: NDArray[np.int64], batch_size: int, learning_rate: float, penalty: float,
) -> float:  # fmt: skip
    """Pass once over the rows in ``order``; return the sum over rows of squared error plus penalty · |W|².

    Args:
        weights: changed in place.
        gradients: zeros, left as zeros.
        first: Adam's first moments, changed in place.
        second: Adam's second moments, changed in place.
        steps: made before this epoch.
        rows: every user has at least one history item.
        order: (N,) the rows in their order.
        batch_size: B.
        learning_rate: Adam's.
        penalty: of each row's squared bridge, in the mean of a batch.
    """
    D, H, XY = weights.attention.shape[0], weights.hidden.shape[1], weights.out.shape[1]
    X, Y = rows.source_vectors.shape[1], rows.item_vectors.shape[1]
    most = min(batch_size, len(order))
    positions = most * rows.histories.shape[1]
    position, attended = np.empty((D, positions), np.float32), np.empty((D, positions), np.float32)
    attention, starts = np.empty(positions, np.float32), np.empty(most + 1, np.int64)
    users, counts, slots = np.empty(most, np.int32), np.empty(most, np.float32), np.empty(most, np.int32)
    slot_of = np.full(len(rows.histories), -1, np.int32)
    profile, units = np.empty((most, D), np.float32), np.empty((most, H), np.float32)
    bridge, bridge_slope = np.empty((most, XY), np.float32), np.empty(XY, np.float32)
    bridged, bridged_slope = np.empty((most, Y), np.float32), np.empty((most, Y), np.float32)
    profile_slope = np.empty(D, np.float32)
    loss = 0.0
    for begin in range(0, len(order), batch_size):
        end = min(begin + batch_size, len(order))
        scale = np.float32(2 / (end - begin))
        # Distinct users, and the history vectors of each, coordinate by coordinate.
        R = P = 0
        for k in range(begin, end):
            user = rows.users[order[k]]
            if slot_of[user] < 0:
                slot_of[user], users[R], counts[R], starts[R] = R, user, 0, P
                for place in range(rows.histories.shape[1]):
                    item = rows.histories[user, place]
                    if item == 0:
                        break
                    for d in range(D):
                        position[d, P] = rows.history_vectors[item, d]
                    P += 1
                R += 1
            slots[k - begin] = slot_of[user]
            counts[slot_of[user]] += 1
        starts[R] = P
        # Forward: attention, profile, hidden units, bridge, bridged embedding.
        _attend(weights, position, attended, attention, P)
        bridged[:R], bridged_slope[:R] = 0, 0
        for r in range(R):
            slot_of[users[r]] = -1
            _softmax(attention, starts[r], starts[r + 1])
            for d in range(D):
                profile[r, d] = _dot(attention[starts[r] : starts[r + 1]], position[d, starts[r] : starts[r + 1]])
            units[r] = weights.hidden_bias[0]
            for d in range(D):
                _add_scaled(units[r], profile[r, d], weights.hidden[d])
            bridge[r] = weights.out_bias[0]
            for h in range(H):
                if units[r, h] > 0:
                    _add_scaled(bridge[r], units[r, h], weights.out[h])
            for x in range(X):
                _add_scaled(bridged[r], rows.source_vectors[users[r], x], bridge[r, x * Y : (x + 1) * Y])
        for k in range(begin, end):
            row, slot = order[k], slots[k - begin]
            vector = rows.item_vectors[rows.pick[row]]
            error = _dot(bridged[slot], vector) - rows.wanted[row]
            loss += np.float64(error) ** 2
            _add_scaled(bridged_slope[slot], scale * error, vector)
        # Backward, in the opposite order.
        for r in range(R):
            weight = np.float32(penalty) * counts[r]
            if weight > 0:
                loss += weight * _dot(bridge[r], bridge[r])
            for x in range(X):
                for y in range(Y):
                    z = x * Y + y
                    bridge_slope[z] = (
                        rows.source_vectors[users[r], x] * bridged_slope[r, y] + scale * weight * bridge[r, z]
                    )
            _add_scaled(gradients.out_bias[0], np.float32(1), bridge_slope)
            profile_slope[:] = 0
            for h in range(H):
                if units[r, h] > 0:
                    _add_scaled(gradients.out[h], units[r, h], bridge_slope)
                    slope = _dot(bridge_slope, weights.out[h])
                    gradients.hidden_bias[0, h] += slope
                    for d in range(D):
                        gradients.hidden[d, h] += slope * profile[r, d]
                        profile_slope[d] += slope * weights.hidden[d, h]
            # Through the softmax: a position's slope is its attention times what it says beyond the profile.
            mean = _dot(profile_slope, profile[r])
            for p in range(starts[r], starts[r + 1]):
                said = np.float32(0)
                for d in range(D):
                    said += profile_slope[d] * position[d, p]
                attention[p] *= said - mean
        _attend_backward(weights, gradients, position, attended, attention, P)
        steps += 1
        _adam(weights.attention, gradients.attention, first.attention, second.attention, steps, learning_rate)
        _adam(weights.attention_bias, gradients.attention_bias, first.attention_bias, second.attention_bias, steps,
              learning_rate)  # fmt: skip
        _adam(weights.importance, gradients.importance, first.importance, second.importance, steps, learning_rate)
        _adam(weights.hidden, gradients.hidden, first.hidden, second.hidden, steps, learning_rate)
        _adam(weights.hidden_bias, gradients.hidden_bias, first.hidden_bias, second.hidden_bias, steps, learning_rate)
        _adam(weights.out, gradients.out, first.out, second.out, steps, learning_rate)
        _adam(weights.out_bias, gradients.out_bias, first.out_bias, second.out_bias, steps, learning_rate)
    return loss
