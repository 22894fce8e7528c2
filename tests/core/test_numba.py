"""Canaries: numba behaviour that is not promised still holds. ``kernels.vectors`` uses it, and says why.

Run as a program, this file writes the results of some loops; with PTUPCDR_COUNT_REFERENCES=1, compiled as by default.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError

ROWS = np.arange(32, dtype=np.float32).reshape(4, 8) + 1


@contextmanager
def held(what: str) -> Iterator[None]:
    """Say that it is numba that changed, and where that matters."""
    try:
        yield
    except (AssertionError, AttributeError, ImportError, KeyError, TypeError, NumbaError) as error:
        pytest.fail(
            f"numba changed: {what} ({error!r}); mend ptupcdr_core/kernels/vectors.py, the one place that uses it"
        )


def llvm(function: Callable[..., Any], *arguments: Any, **changes: Any) -> tuple[Any, str]:
    """What a function returns when it is compiled as our loops are, and what LLVM made of it."""
    from ptupcdr_core.kernels.vectors import OPTIONS

    compiled = numba.njit(**{**OPTIONS, **changes})(function)
    found = compiled(*arguments)
    (code,) = compiled.inspect_llvm().values()
    return found, code


def results() -> dict[str, np.ndarray]:
    """Of a counting sort, least squares and an exact search."""
    from ptupcdr_core.kernels.csr import compress
    from ptupcdr_core.kernels.exact_search import highest
    from ptupcdr_core.kernels.least_squares import Ridge
    from ptupcdr_core.training.als import Entries, Plan, als

    rng = np.random.default_rng(0)
    users, items = (rng.integers(1, 41, 500).astype(np.int32) for _ in range(2))
    stars = rng.standard_normal(500, dtype=np.float32)
    p, q = als(Entries(users, items, stars, 40, 40), Plan(10, Ridge(1.0), Ridge(1.0), iterations=2, seed=0))
    found = highest(p, q, stars[: len(q)], 5)
    return {**compress(users, items, stars, 40)._asdict(), "p": p, "q": q, "items": found.items, "scores": found.scores}


def test_the_minor_version_is_the_one_that_was_tried():
    from ptupcdr_core.kernels.vectors import TRIED

    assert numba.__version__.startswith(f"{TRIED}."), (
        f"numba changed: {numba.__version__} is installed, and {TRIED} was tried. If this file's other tests pass and "
        "perf/pipeline.py is no slower, raise TRIED in ptupcdr_core/kernels/vectors.py"
    )


def test_the_runtime_can_be_left_out():
    def each_from_the_last(rows, out):
        before = rows
        for k in range(len(rows)):
            out[k, 0] = before[k, 0] + 1
            before = out

    arguments = ROWS, np.zeros_like(ROWS)
    with held("the option _nrt no longer leaves the counting of references out"):
        assert "NRT_" not in llvm(each_from_the_last, *arguments)[1]
    with held("it counts no references by default, so the option _nrt may go"):
        assert "NRT_incref" in llvm(each_from_the_last, *arguments, _nrt=True)[1]


def test_counting_references_changes_no_number(tmp_path):
    written, home = tmp_path / "results.npz", Path(__file__).parents[2]
    environment = {**os.environ, "PTUPCDR_COUNT_REFERENCES": "1", "PYTHONPATH": str(home)}
    subprocess.run([sys.executable, __file__, str(written)], env=environment, check=True)
    counted = np.load(written)
    assert counted["counted"], "the switch did nothing"
    for name, value in results().items():
        np.testing.assert_array_equal(value, counted[name], err_msg=name)


def test_inlined_functions_become_a_part_of_the_loop():
    with held("the option forceinline no longer inlines"):
        from ptupcdr_core.kernels.vectors import OPTIONS

        def long(rows, k):  # too long for LLVM to copy it several times without being told to
            for n in range(30):
                for place in range(7):
                    rows[k, place] = np.sin(rows[k, place]) * rows[k, place + 1] % 7 + n
                    rows[k, place] = np.cos(rows[k, place]) ** 2.5 % 7 - rows[k, place - 1] % 9

        def calls(**options):
            part = numba.njit(**options, **OPTIONS)(long)

            def whole(rows):
                for k in range(3):
                    part(rows, k)
                for k in range(3):
                    part(rows, 2 - k)

            return [line for line in llvm(whole, ROWS.copy())[1].splitlines() if "call" in line and "4long" in line]

        assert calls()
        assert not calls(forceinline=True)


def test_rows_are_vectors():
    with held("its typing of operators, or llvmlite's vectors, no longer make rows one value"):
        from ptupcdr_core.kernels.vectors import constant, load, maximum, prefetch, root, spread, store, total, widened

        eight = constant(8)

        def arithmetic(rows, wide):
            prefetch(rows, 3, 0)
            u, v = load(rows, 0, 0, eight), load(rows, 1, 0, eight)
            store(rows, 2, 0, (u + v) * np.float32(2) - u / v + spread(np.float32(1), eight))
            store(rows, 3, 0, root(u))
            store(wide, 0, 0, widened(v))
            return total(u), maximum(v)

        rows, wide = ROWS.copy(), np.zeros((1, 8))
        found, code = llvm(arithmetic, rows, wide)
        u, v = ROWS[:2]
        assert found == (u.sum(), v.max())
        np.testing.assert_allclose(rows[2:], [(u + v) * 2 - u / v + 1, np.sqrt(u)], rtol=1e-6)
        np.testing.assert_array_equal(wide[0], v)
    for name in ("llvm.vector.reduce.fadd.v8f32", "llvm.vector.reduce.fmax.v8f32", "llvm.sqrt.v8f32", "llvm.prefetch"):
        with held(f"LLVM no longer knows {name}"):
            assert name in code


if __name__ == "__main__":
    from ptupcdr_core.kernels.vectors import COUNTED

    np.savez(sys.argv[1], counted=COUNTED, **results())
