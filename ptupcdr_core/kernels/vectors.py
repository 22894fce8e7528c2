"""What the compiled loops need from the machine: vectors of numbers, aligned tables, prefetching, no reference counts.

numba leaves LLVM's straight-line vectorizer off, and arrays that might overlap keep short loops from being vectorized.
So a row is loaded as ``Lanes``, one value with all the row's numbers, on which arithmetic works::

    coordinates = constant(10)                            # outside, in Python
    u, v = load(users, 7, 0, coordinates), load(items, 3, 0, coordinates)
    store(users, 7, 0, u - rate * total(u * v) * v)       # in a compiled loop

An epoch of Adam takes 0.04 s this way, and took 0.40 s with loops over the coordinates. Clearing short rows with
``row[:] = 0``, which calls another function for a few numbers, took as long again as all else; zeros made by ``spread``
are stored like other lanes. Ratings in random order wait for memory at every row: without ``prefetch`` it would take
0.10 s. (1.66 million ratings of 124,000 users and 50,000 items, D = 10, one thread of a shared AMD EPYC.)

Python calls a ``loop``, and a loop calls what is ``inlined``. If it called another loop, that one would exist twice,
alone and as the caller's copy, each vectorized in its own way. Which one runs would depend on whether the loop was just
compiled or read from the cache, and the last bits of every weight would depend on it too.

Neither counts references. By default numba counts the users of an array, at many views, calls and branches, by
instructions that lock the memory bus; a row's work waits for the counter, and two threads for each other. With it the
exact search for recommendations took 0.41 s, without it takes 0.27 s. Without the counts nothing can be allocated, so a
loop's workspace is an argument.

All undocumented parts of numba are used in this module alone, and checked by tests/core/test_numba.py:

- the option ``_nrt`` of ``njit``, which leaves its runtime out (``PTUPCDR_COUNT_REFERENCES=1`` leaves it in: the same
  numbers, slower, and compiled anew by every process);
- the option ``forceinline`` of ``njit``;
- the typing of operators (``AbstractTemplate``, ``infer_global``, ``signature``), ``cgutils``, and llvmlite's
  instructions on vectors: ``numba.extending`` teaches operators by other compiled functions only;
- LLVM's own functions by their names: ``sqrt``, ``vector.reduce.fadd`` and ``.fmax``, ``prefetch``.
"""

import operator
import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numpy.typing import NDArray

FAST = {"contract", "reassoc", "nsz", "arcp"}  # infinities and NaN keep their meaning
CACHE_LINE = 64  # bytes
LINE = CACHE_LINE // 4  # float32 numbers
INDEX = ir.IntType(32)

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

Constant = tuple[int, ...]
"""A number known when a loop is compiled, as the length of a tuple, which is part of its type."""


TRIED = "0.68"
"""The minor version of numba that all this was tested with."""
VARIABLE = "PTUPCDR_COUNT_REFERENCES"
COUNTED = os.environ.get(VARIABLE, "") == "1"
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": COUNTED}


def loop(*, fastmath: set[str] | None = None) -> Callable[[Kernel], Kernel]:
    """Compile a function that Python calls, or read it from the cache."""
    # The cache does not distinguish this option.
    compiled: Callable[[Kernel], Kernel] = numba.njit(cache=not COUNTED, fastmath=fastmath or False, **OPTIONS)
    return compiled


def inlined(*, fastmath: set[str] | None = None) -> Callable[[Kernel], Kernel]:
    """Compile a function that is inlined into the loops that call it."""
    compiled: Callable[[Kernel], Kernel] = numba.njit(forceinline=True, fastmath=fastmath or False, **OPTIONS)
    return compiled


def constant(number: int) -> Constant:
    """Make a number known to the compiler; in a compiled loop it is the ``len`` of this."""
    return (0,) * number


def aligned_zeros(rows: int, columns: int) -> NDArray[np.float32]:
    """Return zeros (rows, columns) that start on a cache line, so that a row of 16 numbers fills exactly one."""
    buffer = np.zeros(rows * columns * 4 + CACHE_LINE, np.uint8)
    start = -buffer.ctypes.data % CACHE_LINE
    return buffer[start : start + rows * columns * 4].view(np.float32).reshape(rows, columns)


def _address(context: Any, builder: Any, array_type: Any, array: Any, row: Any, column: Any) -> Any:
    """Emit the address of array[row, column], without checking bounds."""
    view = context.make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, array_type, view, [row, column])  # type: ignore[no-untyped-call]


class Lanes(types.Type):
    """Several numbers of one type, loaded at once; to LLVM a vector, which it divides into registers."""

    def __init__(self, dtype: types.Float, count: int) -> None:
        """Name the type by what it holds."""
        self.dtype, self.count = dtype, count
        super().__init__(name=f"Lanes({dtype}, {count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, lanes: Lanes) -> None:
        super().__init__(dmm, lanes, ir.VectorType(dmm.lookup(lanes.dtype).get_value_type(), lanes.count))  # type: ignore[no-untyped-call]


def _load(context: Any, array: Any, row: Any, column: Any, count: Any) -> Any:
    """Read array[row, column : column + count].

    Args:
        context: given by numba.
        array: two-dimensional and contiguous floats.
        row: an integer; no bounds are checked.
        column: an integer.
        count: a ``Constant``.
    """
    lanes = Lanes(array.dtype, count.count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, signature.args[0], *arguments[:3])
        place = builder.bitcast(place, context.get_value_type(lanes).as_pointer())
        return builder.load(place, align=lanes.dtype.bitwidth // 8)

    return lanes(array, types.intp, types.intp, count), generate


def _store(context: Any, array: Any, row: Any, column: Any, lanes: Any) -> Any:
    """Write lanes to array[row, column : column + count]; arguments as for ``load``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *where, value = arguments
        place = builder.bitcast(_address(context, builder, signature.args[0], *where), value.type.as_pointer())
        builder.store(value, place, align=lanes.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, lanes), generate


def _spread(context: Any, number: Any, count: Any) -> Any:
    """Lanes of this number, as many as the ``Constant`` ``count`` says."""
    lanes = Lanes(number, count.count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _repeated(builder, arguments[0], context.get_value_type(lanes))

    return lanes(number, count), generate


def _root(context: Any, lanes: Any) -> Any:
    """The square root of every number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "sqrt", arguments[0].type, arguments, lanes)

    return lanes(lanes), generate


def _total(context: Any, lanes: Any) -> Any:
    """The sum of all numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = context.get_constant(lanes.dtype, -0.0)
        return _call(builder, "vector.reduce.fadd", start.type, [start, *arguments], lanes)

    return lanes.dtype(lanes), generate


def _maximum(context: Any, lanes: Any) -> Any:
    """The highest of all numbers, none of which may be NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = context.get_value_type(lanes.dtype)
        return _call(builder, "vector.reduce.fmax", number, arguments, lanes, {"nnan"})

    return lanes.dtype(lanes), generate


def _widened(context: Any, lanes: Any) -> Any:
    """The same float32 numbers in float64."""
    wide = Lanes(types.float64, lanes.count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(arguments[0], context.get_value_type(wide))

    return wide(lanes), generate


def _call(builder: Any, name: str, result: Any, arguments: Any, lanes: Lanes, promises: Iterable[str] = ()) -> Any:
    """Emit a call of LLVM's function of this name for these lanes; ``promises`` are fast-math flags beside ``FAST``."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    full_name = f"llvm.{name}.v{lanes.count}f{lanes.dtype.bitwidth}"
    function = cgutils.get_or_insert_function(builder.module, kind, full_name)  # type: ignore[no-untyped-call]
    return builder.call(function, arguments, fastmath=sorted(FAST.union(promises)))


def _define_arithmetic(operation: Callable[[Any, Any], Any], instruction: str) -> None:
    """Teach numba an operator between lanes, and between lanes and a number, which then stands for all of them."""

    class Typing(AbstractTemplate):
        def generic(self, arguments: Any, _: Any) -> Any:
            """The result has the lanes' type; None (not this operator) without lanes, or with different ones."""
            found = [argument for argument in arguments if isinstance(argument, Lanes)]
            if not found or any(lanes != found[0] for lanes in found):
                return None
            of = (a if isinstance(a, Lanes) else found[0].dtype for a in arguments)
            return signature(found[0], *of)  # type: ignore[no-untyped-call]

    infer_global(operation)(Typing)  # type: ignore[no-untyped-call]

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = context.get_value_type(signature.return_type)
        operands = [value if value.type == vector else _repeated(builder, value, vector) for value in arguments]
        return getattr(builder, instruction)(*operands, flags=sorted(FAST))

    for kinds in ((Lanes, Lanes), (Lanes, types.Float), (types.Float, Lanes)):
        lower_builtin(operation, *kinds)(lower)  # type: ignore[no-untyped-call]


def _repeated(builder: Any, number: Any, vector: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, INDEX(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(INDEX, vector.count), None))


def _generate_prefetch(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit one prefetch for writing, into all cache levels."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, INDEX, INDEX, INDEX])
    instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
    place = builder.bitcast(_address(context, builder, signature.args[0], *arguments), byte)
    builder.call(instruction, [place, INDEX(1), INDEX(3), INDEX(1)])
    return context.get_dummy_value()


def _prefetch(context: Any, array: Any, row: Any, column: Any) -> Any:
    """Begin to load the cache line of array[row, column], without waiting for it.

    Args:
        context: given by numba.
        array: two-dimensional and contiguous.
        row: an integer; no bounds are checked.
        column: an integer.
    """
    return types.void(array, types.intp, types.intp), _generate_prefetch


for operation, instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_arithmetic(operation, instruction)

load: Any = intrinsic(_load)
store: Any = intrinsic(_store)
spread: Any = intrinsic(_spread)
root: Any = intrinsic(_root)
total: Any = intrinsic(_total)
maximum: Any = intrinsic(_maximum)
widened: Any = intrinsic(_widened)
prefetch: Any = intrinsic(_prefetch)
