"""The meta network's training as one compiled loop: forward, hand-written gradients, Adam.

On small networks autograd's bookkeeping costs several times the arithmetic (``training.gradient`` has the mathematics
and measured times; the tests hold a loop in torch against this one). Each user of a batch is computed once, however
many ratings they have there; padded history positions and inactive hidden units are skipped.

Shapes: B batch, R distinct users of a batch, P their history positions together, D embedding size, H hidden units,
X by Y the bridge, r its rank, O numbers written for a user (``models.forms``), L history length.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.kernels.adam import BETA1, BETA2, EPSILON
from ptupcdr_core.kernels.vectors import FAST, inlined, loop


class Weights(NamedTuple):
    """The meta network's weights, or their gradients or moments; all contiguous, so that inner loops run along rows.

    Args:
        attention: (D, D), output by input.
        attention_bias: (1, D).
        importance: (1, D).
        hidden: (D, H), input by output.
        hidden_bias: (1, H).
        out: (H, O), input by output.
        out_bias: (1, O).
        signal: (1, 1), weight of a position's further signal; (1, 0) where attention depends on item vectors alone.
    """

    attention: Floats
    attention_bias: Floats
    importance: Floats
    hidden: Floats
    hidden_bias: Floats
    out: Floats
    out_bias: Floats
    signal: Floats


class State(NamedTuple):
    """A network in training.

    Args:
        weights: changed by every step.
        gradients: zeros between steps.
        first: Adam's first moments.
        second: Adam's second moments.
    """

    weights: Weights
    gradients: Weights
    first: Weights
    second: Weights


class Plan(NamedTuple):
    """How an epoch trains.

    Args:
        batch_size: B.
        learning_rate: Adam's.
        penalty: weight of each row's squared bridge in the mean of a batch.
        form: FULL, LOW_RANK or DIAGONAL.
        rank: r, of the low-rank form.
    """

    batch_size: int
    learning_rate: float
    penalty: float
    form: int
    rank: int


class Rows(NamedTuple):
    """The task-oriented rows and what they point into; see ``training.task.BridgeTask``.

    ``stars`` (U+1, L) is how users rated their histories.
    """

    users: Index
    pick: NDArray[np.integer]
    wanted: Floats
    histories: Index
    history_vectors: Floats
    source_vectors: Floats
    item_vectors: Floats
    stars: Floats


class Workspace(NamedTuple):
    """Arrays that an epoch writes; B is the largest batch, and there are B · L positions.

    Args:
        position: (D, positions) history vectors.
        attended: (D, positions) hidden units of the attention.
        attention: (positions,).
        signal: (positions,).
        starts: (B + 1,) int64, where each user's positions start.
        users: (B,) int32, distinct users.
        counts: (B,) their rows.
        slots: (B,) int32, each row's place among the users.
        slot_of: (U+1,) int32, each user's place among the users of the batch; -1 between batches.
        profile: (B, D).
        units: (B, H).
        written: (B, O).
        written_slope: (O,).
        inner: (B, r).
        bridged: (B, Y).
        bridged_slope: (B, Y).
        profile_slope: (D,).
    """

    position: Floats
    attended: Floats
    attention: Floats
    signal: Floats
    starts: NDArray[np.int64]
    users: Index
    counts: Floats
    slots: Index
    slot_of: Index
    profile: Floats
    units: Floats
    written: Floats
    written_slope: Floats
    inner: Floats
    bridged: Floats
    bridged_slope: Floats
    profile_slope: Floats


def workspace(weights: Weights, rows: Rows, batch_size: int, rank: int) -> Workspace:
    """A workspace for batches of at most B rows."""
    size, hidden, outputs = len(weights.attention), weights.hidden.shape[1], weights.out.shape[1]
    (people, length), target_size = rows.histories.shape, rows.item_vectors.shape[1]
    positions = batch_size * length

    def floats(*shape: int) -> Floats:
        return np.empty(shape, np.float32)

    return Workspace(
        position=floats(size, positions),
        attended=floats(size, positions),
        attention=floats(positions),
        signal=floats(positions),
        starts=np.empty(batch_size + 1, np.int64),
        users=np.empty(batch_size, np.int32),
        counts=floats(batch_size),
        slots=np.empty(batch_size, np.int32),
        slot_of=np.full(people, -1, np.int32),
        profile=floats(batch_size, size),
        units=floats(batch_size, hidden),
        written=floats(batch_size, outputs),
        written_slope=floats(outputs),
        inner=floats(batch_size, rank),
        bridged=floats(batch_size, target_size),
        bridged_slope=floats(batch_size, target_size),
        profile_slope=floats(size),
    )


FULL, LOW_RANK, DIAGONAL = 0, 1, 2


@inlined(fastmath=FAST)
def _attend(weights: Weights, position: Floats, hidden: Floats, scores: Floats, count: int) -> None:
    """Importance of each position: scores = importance · relu(attention · position + bias); the hidden units are
    kept."""
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


@inlined(fastmath=FAST)
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


@inlined(fastmath=FAST)
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


@inlined(fastmath=FAST)
def _add_scaled(target: Floats, scale: np.float32, source: Floats) -> None:
    for k in range(len(target)):
        target[k] += scale * source[k]


@inlined(fastmath=FAST)
def _copy(target: Floats, source: Floats) -> None:
    for k in range(len(target)):
        target[k] = source[k]


@inlined(fastmath=FAST)
def _dot(a: Floats, b: Floats) -> np.float32:
    total = np.float32(0)
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@inlined(fastmath=FAST)
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


@inlined(fastmath=FAST)
def _carry(form: int, rank: int, written: Floats, vector: Floats, inner: Floats, bridged: Floats) -> None:
    """Add u W to ``bridged``; in the low-rank form, keep u A in ``inner``."""
    X, Y = len(vector), len(bridged)
    if form == FULL:
        for x in range(X):
            _add_scaled(bridged, vector[x], written[x * Y : (x + 1) * Y])
    elif form == LOW_RANK:
        inner[:] = 0
        for x in range(X):
            _add_scaled(inner, vector[x], written[x * rank : (x + 1) * rank])
        for k in range(rank):
            _add_scaled(bridged, inner[k], written[X * rank + k * Y : X * rank + (k + 1) * Y])
    else:
        for k in range(len(written)):
            bridged[k] += vector[k] * written[k]


@inlined(fastmath=FAST)
def _carry_backward(
    form: int, rank: int, written: Floats, vector: Floats, inner: Floats, slope: Floats, shrink: np.float32,
    written_slope: Floats,
) -> None:  # fmt: skip
    """Compute the slopes of the written numbers from those of u W; ``shrink`` times W is added to the slopes of W."""
    X, Y = len(vector), len(slope)
    if form == FULL:
        for x in range(X):
            for y in range(Y):
                z = x * Y + y
                written_slope[z] = vector[x] * slope[y] + shrink * written[z]
    elif form == LOW_RANK:
        ends = X * rank
        for k in range(rank):
            start = ends + k * Y
            written_slope[start : start + Y] = 0
            _add_scaled(written_slope[start : start + Y], inner[k], slope)
            through = _dot(slope, written[start : start + Y])
            for x in range(X):
                written_slope[x * rank + k] = vector[x] * through
        if shrink > 0:
            for k in range(rank):
                for j in range(rank):
                    left, right = _products(rank, written, X, Y, k, j)
                    _add_scaled(
                        written_slope[ends + k * Y : ends + (k + 1) * Y],
                        shrink * left,
                        written[ends + j * Y : ends + (j + 1) * Y],
                    )
                    for x in range(X):
                        written_slope[x * rank + k] += shrink * right * written[x * rank + j]
    else:
        for k in range(len(written)):
            written_slope[k] = vector[k] * slope[k] + shrink * written[k]


@inlined(fastmath=FAST)
def _products(rank: int, written: Floats, X: int, Y: int, k: int, j: int) -> tuple[np.float32, np.float32]:
    """Entry (k, j) of Aᵀ A and of B Bᵀ."""
    left, ends = np.float32(0), X * rank
    for x in range(X):
        left += written[x * rank + k] * written[x * rank + j]
    return left, _dot(written[ends + k * Y : ends + (k + 1) * Y], written[ends + j * Y : ends + (j + 1) * Y])


@inlined(fastmath=FAST)
def _squares(form: int, rank: int, written: Floats, X: int, Y: int) -> np.float32:
    """|W|²."""
    if form != LOW_RANK:
        return _dot(written, written)
    total = np.float32(0)
    for k in range(rank):
        for j in range(rank):
            left, right = _products(rank, written, X, Y, k, j)
            total += left * right
    return total


@loop(fastmath=FAST)
def train(
    state: State, steps: int, rows: Rows, signals: Floats, order: NDArray[np.int64], plan: Plan, work: Workspace
) -> float:
    """Pass once over the rows in ``order``; return the sum over rows of squared error plus penalty · |W|².

    Args:
        state: changed in place.
        steps: steps made before this epoch.
        rows: every user has at least one history item.
        signals: (U+1, L) ``MetaNetwork.signal`` of each position; (0, 0) without signals.
        order: (N,) the rows in their order.
        plan: how the epoch trains.
        work: overwritten.
    """
    weights, gradients, first, second = state
    batch_size, learning_rate, penalty, form, rank = plan
    D, H = weights.attention.shape[0], weights.hidden.shape[1]
    X, Y = rows.source_vectors.shape[1], rows.item_vectors.shape[1]
    position, attended, attention, signal = work.position, work.attended, work.attention, work.signal
    starts, users, counts, slots, slot_of = work.starts, work.users, work.counts, work.slots, work.slot_of
    profile, units, inner, bridged = work.profile, work.units, work.inner, work.bridged
    written, written_slope = work.written, work.written_slope
    bridged_slope, profile_slope = work.bridged_slope, work.profile_slope
    signalled = weights.signal.shape[1] > 0
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
                    if signalled:
                        signal[P] = signals[user, place]
                    P += 1
                R += 1
            slots[k - begin] = slot_of[user]
            counts[slot_of[user]] += 1
        starts[R] = P
        # Forward: attention, profile, hidden units, what they write, bridged embedding.
        _attend(weights, position, attended, attention, P)
        if signalled:
            _add_scaled(attention[:P], weights.signal[0, 0], signal[:P])
        bridged[:R], bridged_slope[:R] = 0, 0
        for r in range(R):
            slot_of[users[r]] = -1
            _softmax(attention, starts[r], starts[r + 1])
            for d in range(D):
                profile[r, d] = _dot(attention[starts[r] : starts[r + 1]], position[d, starts[r] : starts[r + 1]])
            _copy(units[r], weights.hidden_bias[0])
            for d in range(D):
                _add_scaled(units[r], profile[r, d], weights.hidden[d])
            _copy(written[r], weights.out_bias[0])
            for h in range(H):
                if units[r, h] > 0:
                    _add_scaled(written[r], units[r, h], weights.out[h])
            _carry(form, rank, written[r], rows.source_vectors[users[r]], inner[r], bridged[r])
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
                loss += weight * _squares(form, rank, written[r], X, Y)
            _carry_backward(
                form, rank, written[r], rows.source_vectors[users[r]], inner[r], bridged_slope[r], scale * weight,
                written_slope,
            )  # fmt: skip
            _add_scaled(gradients.out_bias[0], np.float32(1), written_slope)
            profile_slope[:] = 0
            for h in range(H):
                if units[r, h] > 0:
                    _add_scaled(gradients.out[h], units[r, h], written_slope)
                    slope = _dot(written_slope, weights.out[h])
                    gradients.hidden_bias[0, h] += slope
                    for d in range(D):
                        gradients.hidden[d, h] += slope * profile[r, d]
                        profile_slope[d] += slope * weights.hidden[d, h]
            # Through the softmax: a position's slope is its attention times its own slope less that of the profile.
            mean = _dot(profile_slope, profile[r])
            for p in range(starts[r], starts[r + 1]):
                said = np.float32(0)
                for d in range(D):
                    said += profile_slope[d] * position[d, p]
                attention[p] *= said - mean
        if signalled:
            gradients.signal[0, 0] += _dot(attention[:P], signal[:P])
        _attend_backward(weights, gradients, position, attended, attention, P)
        steps += 1
        for k in range(len(weights)):
            _adam(weights[k], gradients[k], first[k], second[k], steps, learning_rate)
    return loss
