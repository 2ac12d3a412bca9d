"""Instructions of the processor for compiled loops that Numba has no function for."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array


@intrinsic
def root(typing: Any, number: Any) -> Any:
    """Return the square root of a float64, rounded correctly, without a call."""

    def generated(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function = builder.module.declare_intrinsic("llvm.sqrt", [ir.DoubleType()])
        return builder.call(function, values)

    return types.float64(types.float64), generated


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the line of the cache that holds an element, which may be behind an array's end."""

    def generated(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        data = make_array(signature.args[0])(context, builder, values[0]).data
        place = builder.bitcast(builder.gep(data, [values[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        read_to_nearest_data = (ir.Constant(number, n) for n in (0, 3, 1))
        builder.call(function, [place, *read_to_nearest_data])
        return context.get_dummy_value()

    return types.void(array, index), generated
