"""One vector instruction for the compiled loops: add a scaled block of LANES numbers to another.

numba leaves LLVM's straight-line vectorizer off, and arrays that might overlap keep short loops from being vectorized:
written as a loop, this stays scalar and ALS takes twice the time (measured: 120 against 62 ns a rating at D = 10).
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

LANES = 8


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit load, multiply-add, store on LANES numbers at once."""
    target_type, _, source_type, _ = signature.args
    target, scale, source, start = arguments
    wide, narrow = (ir.VectorType(context.get_value_type(of.dtype), LANES) for of in (target_type, source_type))

    def pointer(array_type: Any, array: Any, vector: Any) -> Any:
        first = context.make_array(array_type)(context, builder, array).data
        return builder.bitcast(builder.gep(first, [start]), vector.as_pointer())

    def load(place: Any, bits: int) -> Any:
        return builder.load(place, align=bits // 8)

    place = pointer(target_type, target, wide)
    values = load(pointer(source_type, source, narrow), source_type.dtype.bitwidth)
    if narrow != wide:
        values = builder.fpext(values, wide)
    index = ir.IntType(32)
    one = builder.insert_element(ir.Constant(wide, ir.Undefined), scale, index(0))
    scales = builder.shuffle_vector(
        one, ir.Constant(wide, ir.Undefined), ir.Constant(ir.VectorType(index, LANES), None)
    )
    product = builder.fmul(scales, values, flags=("fast",))
    total = builder.fadd(product, load(place, target_type.dtype.bitwidth), flags=("fast",))
    builder.store(total, place, align=target_type.dtype.bitwidth // 8)
    return context.get_dummy_value()


def _add_scaled(context: Any, target: Any, scale: Any, source: Any, start: Any) -> Any:
    """target[start : start+LANES] += scale * source[start : start+LANES], in the precision of ``target``.

    Args:
        context: given by numba.
        target: contiguous floats. Bounds are not checked.
        scale: a float.
        source: contiguous floats, as wide as ``target``'s or narrower.
        start: an integer.
    """
    return types.void(target, target.dtype, source, types.intp), _generate


add_scaled: Any = intrinsic(_add_scaled)
