"""The compiled loops of ``engines.compiled_adam``, whose docstring has the mathematics and the row layout."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.vectors import FAST, LINE, Constant, inlined, load, loop, prefetch, root, spread, store, total

Integers = NDArray[np.int32]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's usual ones, and torch's defaults
MIDDLE = 5  # about half of the moves of skipped steps are made after so many: the ε of that step is used for all
FORGOTTEN = 700  # β1ᵏ < 1e-32: nothing is left of m in float32, and denormal numbers would be slow
MF, GMF, DNN = 0, 1, 2
LAST_STEP, SLOT = -2, -1  # columns of a table's marks
AHEAD = 32  # ratings: time enough for memory to answer, few enough that their rows stay in the first-level cache


class SkippedSteps(NamedTuple):
    """What Adam does to a row in S steps without a gradient, for t and k in 0..S.

    Args:
        correction: c at step first + t.
        epsilon: ε √(1-β2ˢ) at step s = first + t: with it, every step is lr · c · m / (√v + epsilon).
        moves: R at step first + t (up to a constant that its differences cancel).
        decay1: β1ᵏ.
        decay2: β2ᵏ.
        decay: qᵏ.
    """

    correction: NDArray[np.float64]
    epsilon: NDArray[np.float64]
    moves: NDArray[np.float64]
    decay1: NDArray[np.float64]
    decay2: NDArray[np.float64]
    decay: NDArray[np.float64]


class Table(NamedTuple):
    """One side's rows, twice: as numbers, and as integers, which are stored behind a row's numbers.

    Args:
        rows: (R, ...) float32, laid out as ``RowAdam`` says.
        marks: the same memory as int32: the last step of a row, and its slot among the gradients of a batch.
    """

    rows: Floats
    marks: Integers


class Tables(NamedTuple):
    """A base model in training: its users, its items, and the rows of its linear layer."""

    users: Table
    items: Table
    layer: Floats


class Workspace(NamedTuple):
    """Arrays that an epoch writes; the gradients are zero between batches.

    Args:
        touched_users: (B,) int32, the users of a batch.
        touched_items: (B,) int32.
        user_gradients: (B, D) of the touched users.
        item_gradients: (B, D).
        layer_gradient: as the layer's rows.
        hidden: (1, D) a DNN's output.
    """

    touched_users: Integers
    touched_items: Integers
    user_gradients: Floats
    item_gradients: Floats
    layer_gradient: Floats
    hidden: Floats


class Reordered(NamedTuple):
    """Ratings in the order of an epoch: (N,) columns."""

    users: Integers
    items: Integers
    ratings: Floats


def tables(user_rows: Floats, item_rows: Floats, layer: Floats) -> Tables:
    """Both views of the rows."""
    users, items = (Table(rows, rows.view(np.int32)) for rows in (user_rows, item_rows))
    return Tables(users, items, layer)


def workspace(batch_size: int, size: int, layer_rows: int) -> Workspace:
    """A workspace for batches of B ratings, D = ``size``."""
    touched_users, touched_items = np.empty((2, batch_size), np.int32)
    shapes = (batch_size, size), (batch_size, size), (layer_rows, size), (1, size)
    return Workspace(touched_users, touched_items, *(np.zeros(shape, np.float32) for shape in shapes))


def skipped_steps(first: int, steps: int) -> SkippedSteps:
    """Tabulate the closed forms for ``steps`` steps after the first ``first``."""
    k = np.arange(steps + 1)
    q = BETA1 / np.sqrt(BETA2)
    s = np.maximum(first + k, 1)
    start2 = np.sqrt(1 - BETA2**s)
    correction = start2 / (1 - BETA1**s)
    moves = np.zeros_like(correction)
    _accumulate_moves(correction, q, moves)
    lasting = k < FORGOTTEN
    return SkippedSteps(
        correction=correction,
        epsilon=EPSILON * start2,
        moves=moves,
        decay1=np.power(BETA1, k * lasting) * lasting,
        decay2=np.power(BETA2, k),
        decay=np.power(q, k * lasting) * lasting,
    )


@loop()
def _accumulate_moves(correction: NDArray[np.float64], q: float, moves: NDArray[np.float64]) -> None:
    """R[t] = q (c_{t+1} + R[t+1]), backwards from the last, which is zero."""
    for t in range(len(correction) - 2, -1, -1):
        moves[t] = q * (correction[t + 1] + moves[t + 1])


@inlined(fastmath=FAST)
def _catch_up(table: Table, index: int, coordinates: Constant, now: int, rate: float, skipped: SkippedSteps) -> None:
    """Apply to one row the steps since its last gradient."""
    rows, then = table.rows, table.marks[index, LAST_STEP]
    D, k = len(coordinates), now - then
    if k == 0:
        return
    move = np.float32(rate * (skipped.moves[then] - skipped.decay[k] * skipped.moves[now]))
    epsilon = np.float32(skipped.epsilon[min(now, then + MIDDLE)])
    m, v = load(rows, index, D, coordinates), load(rows, index, 2 * D, coordinates)
    store(rows, index, 0, load(rows, index, 0, coordinates) - move * m / (root(v) + epsilon))
    store(rows, index, D, np.float32(skipped.decay1[k]) * m)
    store(rows, index, 2 * D, np.float32(skipped.decay2[k]) * v)


@inlined(fastmath=FAST)
def _step(
    rows: Floats, index: int, coordinates: Constant, gradients: Floats, slot: int, rate: np.float32, epsilon: np.float32
) -> None:
    """One step of Adam on one row; ``rate`` and ``epsilon`` are already corrected for the step. Clears the gradient."""
    D, g = len(coordinates), load(gradients, slot, 0, coordinates)
    m = np.float32(BETA1) * load(rows, index, D, coordinates) + np.float32(1 - BETA1) * g
    v = np.float32(BETA2) * load(rows, index, 2 * D, coordinates) + np.float32(1 - BETA2) * g * g
    store(rows, index, 0, load(rows, index, 0, coordinates) - rate * m / (root(v) + epsilon))
    store(rows, index, D, m)
    store(rows, index, 2 * D, v)
    store(gradients, slot, 0, spread(np.float32(0), coordinates))


@inlined(fastmath=FAST)
def _add(gradients: Floats, slot: int, coordinates: Constant, slope: Any) -> None:
    """Add the slopes of one rating to a row's gradient."""
    store(gradients, slot, 0, load(gradients, slot, 0, coordinates) + slope)


@inlined(fastmath=FAST)
def _accumulate(
    kind: int, coordinates: Constant, model: Tables, user: int, item: int, rating: np.float32, scale: np.float32,
    work: Workspace,
) -> Any:  # fmt: skip
    """Add one rating's gradients of scale/2 · (score - rating)²; return the error."""
    users, items, layer = model.users.rows, model.items.rows, model.layer
    user_slot, item_slot = model.users.marks[user, SLOT], model.items.marks[item, SLOT]
    user_gradients, item_gradients = work.user_gradients, work.item_gradients
    layer_gradient, hidden = work.layer_gradient, work.hidden
    D = len(coordinates)
    u, v = load(users, user, 0, coordinates), load(items, item, 0, coordinates)
    if kind == MF:
        error = total(u * v) - rating
        slope = scale * error
        _add(user_gradients, user_slot, coordinates, slope * v)
        _add(item_gradients, item_slot, coordinates, slope * u)
    elif kind == GMF:
        w = load(layer, 0, 0, coordinates)
        error = total(w * u * v) - rating
        slope = scale * error
        _add(user_gradients, user_slot, coordinates, slope * w * v)
        _add(item_gradients, item_slot, coordinates, slope * w * u)
        _add(layer_gradient, 0, coordinates, slope * u * v)
    else:
        for e in range(D):
            hidden[0, e] = layer[D, e] + total(load(layer, e, 0, coordinates) * u)
        output = load(hidden, 0, 0, coordinates)
        error = total(output * v) - rating
        slope = scale * error
        _add(item_gradients, item_slot, coordinates, slope * output)
        _add(layer_gradient, D, coordinates, slope * v)
        for e in range(D):
            upstream = slope * items[item, e]
            _add(user_gradients, user_slot, coordinates, upstream * load(layer, e, 0, coordinates))
            _add(layer_gradient, e, coordinates, upstream * u)
    return error


@loop()
def train(
    kind: int, coordinates: Constant, model: Tables, ratings: Reordered, batch_size: int, learning_rate: float,
    skipped: SkippedSteps, work: Workspace,
) -> float:  # fmt: skip
    """One epoch; return the sum of squared errors. Compiled once for every D, the length of ``coordinates``."""
    users, items = ratings.users, ratings.items
    user_rows, user_marks = model.users
    item_rows, item_marks = model.items
    user_marks[:, LAST_STEP] = 0
    item_marks[:, LAST_STEP] = 0
    squared_error = 0.0
    steps = len(skipped.moves) - 1
    for step in range(1, steps + 1):
        begin, end = (step - 1) * batch_size, min(step * batch_size, len(users))
        scale = np.float32(2 / (end - begin))
        user_count = item_count = 0
        for k in range(begin, end):
            user, item = users[k], items[k]
            if k + AHEAD < len(users):
                for column in range(0, user_rows.shape[1], LINE):
                    prefetch(user_rows, users[k + AHEAD], column)
                    prefetch(item_rows, items[k + AHEAD], column)
            if user_marks[user, LAST_STEP] != step:
                _catch_up(model.users, user, coordinates, step - 1, learning_rate, skipped)
                user_marks[user, LAST_STEP], user_marks[user, SLOT] = step, user_count
                work.touched_users[user_count] = user
                user_count += 1
            if item_marks[item, LAST_STEP] != step:
                _catch_up(model.items, item, coordinates, step - 1, learning_rate, skipped)
                item_marks[item, LAST_STEP], item_marks[item, SLOT] = step, item_count
                work.touched_items[item_count] = item
                item_count += 1
            error = _accumulate(kind, coordinates, model, user, item, ratings.ratings[k], scale, work)
            squared_error += np.float64(error) ** 2
        rate = np.float32(learning_rate * skipped.correction[step])
        epsilon = np.float32(skipped.epsilon[step])
        for slot in range(user_count):
            _step(user_rows, work.touched_users[slot], coordinates, work.user_gradients, slot, rate, epsilon)
        for slot in range(item_count):
            _step(item_rows, work.touched_items[slot], coordinates, work.item_gradients, slot, rate, epsilon)
        for index in range(len(model.layer)):
            _step(model.layer, index, coordinates, work.layer_gradient, index, rate, epsilon)
    for index in range(len(user_rows)):
        _catch_up(model.users, index, coordinates, steps, learning_rate, skipped)
    for index in range(len(item_rows)):
        _catch_up(model.items, index, coordinates, steps, learning_rate, skipped)
    return squared_error


@loop()
def reorder(order: Integers, users: Integers, items: Integers, ratings: Floats, reordered: Reordered) -> None:
    """Write the ratings in this order; prefetching hides the slow access to memory out of order.

    Args:
        order: (N,) places from 0.
        users: (1, N).
        items: (1, N).
        ratings: (1, N).
        reordered: written.
    """
    for k in range(len(order)):
        if k + AHEAD < len(order):
            place = order[k + AHEAD]
            prefetch(users, 0, place)
            prefetch(items, 0, place)
            prefetch(ratings, 0, place)
        place = order[k]
        reordered.users[k], reordered.items[k] = users[0, place], items[0, place]
        reordered.ratings[k] = ratings[0, place]
