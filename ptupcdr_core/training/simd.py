"""What the compiled loops need from the machine: aligned tables, and two instructions by name.

numba leaves LLVM's straight-line vectorizer off, and arrays that might overlap keep short loops from being vectorized:
written as a loop, ``add_scaled`` stays scalar, and reading a rating in ALS takes twice the time (120 against 62 ns at
D = 10). And ratings in random order wait for memory at every row: with ``prefetch``, an epoch of Adam takes 0.35 s
instead of 0.64 s. (1.66 million ratings of 124,000 users and 50,000 items, one thread of a shared AMD EPYC.)

A function that a compiled loop calls is compiled with ``forceinline``. Otherwise it exists twice, alone and as the
loop's own copy, each vectorized in its own way; which one runs depends on whether the loop was just compiled or read
from the cache, and the last bits of every weight with it.
"""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

LANES = 8
CACHE_LINE = 64  # bytes
LINE = CACHE_LINE // 4  # float32 numbers
INDEX = ir.IntType(32)


def aligned_zeros(rows: int, columns: int) -> NDArray[np.float32]:
    """Return zeros (rows, columns) that start on a cache line, so that a row of 16 numbers fills exactly one."""
    buffer = np.zeros(rows * columns * 4 + CACHE_LINE, np.uint8)
    start = -buffer.ctypes.data % CACHE_LINE
    return buffer[start : start + rows * columns * 4].view(np.float32).reshape(rows, columns)


def _address(context: Any, builder: Any, array_type: Any, array: Any, row: Any, column: Any) -> Any:
    """Emit the address of array[row, column], without checking bounds."""
    view = context.make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, array_type, view, [row, column])  # type: ignore[no-untyped-call]


def _generate_add_scaled(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit load, multiply-add, store on LANES numbers at once."""
    target_type, _, _, source_type, _, _ = signature.args
    target, target_row, scale, source, source_row, start = arguments
    wide, narrow = (ir.VectorType(context.get_value_type(of.dtype), LANES) for of in (target_type, source_type))
    place = _address(context, builder, target_type, target, target_row, start)
    place = builder.bitcast(place, wide.as_pointer())
    values = _address(context, builder, source_type, source, source_row, start)
    values = builder.load(builder.bitcast(values, narrow.as_pointer()), align=source_type.dtype.bitwidth // 8)
    if narrow != wide:
        values = builder.fpext(values, wide)
    undefined = ir.Constant(wide, ir.Undefined)
    scales = builder.insert_element(undefined, scale, INDEX(0))
    scales = builder.shuffle_vector(scales, undefined, ir.Constant(ir.VectorType(INDEX, LANES), None))
    product = builder.fmul(scales, values, flags=("fast",))
    total = builder.fadd(product, builder.load(place, align=target_type.dtype.bitwidth // 8), flags=("fast",))
    builder.store(total, place, align=target_type.dtype.bitwidth // 8)
    return context.get_dummy_value()


def _add_scaled(
    context: Any, target: Any, target_row: Any, scale: Any, source: Any, source_row: Any, start: Any
) -> Any:
    """target[target_row, start : start+LANES] += scale * source[source_row, start : start+LANES].

    Args:
        context: given by numba.
        target: two-dimensional and contiguous floats; the sum is made in their precision.
        target_row: an integer; no bounds are checked.
        scale: a float.
        source: as ``target``, of the same precision or a lower one.
        source_row: an integer.
        start: an integer.
    """
    index = types.intp
    return types.void(target, index, target.dtype, source, index, index), _generate_add_scaled


def _generate_prefetch(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit one prefetch for writing, into all cache levels."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, INDEX, INDEX, INDEX])
    instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
    place = builder.bitcast(_address(context, builder, signature.args[0], *arguments), byte)
    builder.call(instruction, [place, INDEX(1), INDEX(3), INDEX(1)])
    return context.get_dummy_value()


def _prefetch(context: Any, array: Any, row: Any, column: Any) -> Any:
    """Begin to bring the cache line of array[row, column] near, without waiting for it.

    Args:
        context: given by numba.
        array: two-dimensional and contiguous.
        row: an integer; no bounds are checked.
        column: an integer.
    """
    return types.void(array, types.intp, types.intp), _generate_prefetch


add_scaled: Any = intrinsic(_add_scaled)
prefetch: Any = intrinsic(_prefetch)
