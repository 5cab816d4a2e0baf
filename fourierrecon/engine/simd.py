"""Explicit SIMD for the two inner loops of gridding: spread one sample onto w x w cells, gather one from w cells.

LLVM does not vectorise these short loops by itself; written as vector operations they run three times faster.
Rows of the tables hold 8 taps (zeros behind the kernel's width), so rows of a grid must have 8 cells to spare.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_FLOAT = ir.FloatType()
_I32 = ir.IntType(32)


def _data(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.make_array(kind)(context, builder, value=value).data


def _load(builder: Any, base: Any, offset: Any, lanes: int) -> tuple[Any, Any]:
    pointer = builder.bitcast(builder.gep(base, [offset]), ir.VectorType(_FLOAT, lanes).as_pointer())
    value = builder.load(pointer)
    value.align = 4
    return value, pointer


def _splat(builder: Any, scalar: Any, lanes: int) -> Any:
    vector = ir.VectorType(_FLOAT, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(_I32, 0))
    mask = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), mask)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    # fmuladd, not fma: right and fast also on processors without a fused instruction
    lanes = a.type.count if hasattr(a.type, "count") else 0
    name = f"llvm.fmuladd.v{lanes}f32" if lanes else "llvm.fmuladd.f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, [a, b, c])


def _taps(builder: Any, table: Any, offset: Any, fraction: Any, lanes: int) -> Any:
    """Interpolate linearly between two neighbouring rows of a table."""
    low, _ = _load(builder, table, offset, lanes)
    step = ir.Constant(offset.type, lanes)
    high, _ = _load(builder, table, builder.add(offset, step), lanes)
    return _fma(builder, _splat(builder, fraction, lanes), builder.fsub(high, low), low)


def _rows(builder: Any, grid: Any, offset: Any, stride: Any, row: Any, column: Any, width: int) -> None:
    lanes = row.type.count
    for i in range(width):
        at = builder.add(offset, builder.mul(stride, ir.Constant(stride.type, i)))
        old, pointer = _load(builder, grid, at, lanes)
        weight = _splat(builder, builder.extract_element(column, ir.Constant(_I32, i)), lanes)
        store = builder.store(_fma(builder, weight, row, old), pointer)
        store.align = 4


def _pairs(builder: Any, real: Any, imag: Any) -> Any:
    """Give a complex number eight times, real and imaginary parts in turn."""
    pair = ir.VectorType(_FLOAT, 16)
    both = builder.insert_element(ir.Constant(pair, ir.Undefined), real, ir.Constant(_I32, 0))
    both = builder.insert_element(both, imag, ir.Constant(_I32, 1))
    mask = ir.Constant(ir.VectorType(_I32, 16), [0, 1] * 8)
    return builder.shuffle_vector(both, ir.Constant(pair, ir.Undefined), mask)


def _complex_sum(context: Any, builder: Any, total: Any) -> Any:
    """Add up eight complex numbers."""
    for lanes in (8, 4, 2):
        low = ir.Constant(ir.VectorType(_I32, lanes), list(range(lanes)))
        high = ir.Constant(ir.VectorType(_I32, lanes), list(range(lanes, 2 * lanes)))
        total = builder.fadd(builder.shuffle_vector(total, total, low), builder.shuffle_vector(total, total, high))
    result = context.make_complex(builder, types.complex64)
    result.real = builder.extract_element(total, ir.Constant(_I32, 0))
    result.imag = builder.extract_element(total, ir.Constant(_I32, 1))
    return result._getvalue()


@intrinsic  # type: ignore[untyped-decorator]
def flipped(_t: Any, value: Any, number: Any) -> Any:
    """Give a float32 the other sign where a number is odd."""

    def codegen(_context: Any, builder: Any, _sig: Any, values: Any) -> Any:
        bits = builder.bitcast(values[0], _I32)
        odd = builder.shl(builder.trunc(values[1], _I32), ir.Constant(_I32, 31))
        return builder.bitcast(builder.xor(bits, odd), _FLOAT)

    return types.float32(value, number), codegen


def _spread_complex(width: int, args: tuple[Any, ...]) -> tuple[Any, Any]:
    signature = types.void(*args)

    def codegen(context: Any, builder: Any, _sig: Any, values: Any) -> Any:
        grid, offset, stride, table_x, row_x, part_x, table_y, row_y, part_y, real, imag = values
        row = _taps(builder, _data(context, builder, args[3], table_x), row_x, part_x, 16)
        column = _taps(builder, _data(context, builder, args[6], table_y), row_y, part_y, 8)
        sample = _pairs(builder, real, imag)
        base = _data(context, builder, args[0], grid)
        _rows(builder, base, offset, stride, builder.fmul(row, sample), column, width)
        return context.get_dummy_value()

    return signature, codegen


# one intrinsic a width, at module level: numba's cache does not find closures again
@intrinsic  # type: ignore[untyped-decorator]
def spread6(
    _t: Any, g: Any, o: Any, s: Any, tx: Any, rx: Any, px: Any, ty: Any, ry: Any, py: Any, re: Any, im: Any
) -> Any:
    """Add a complex sample, spread over 6 rows of 8 cells, to a grid of interleaved float32."""
    return _spread_complex(6, (g, o, s, tx, rx, px, ty, ry, py, re, im))


@intrinsic  # type: ignore[untyped-decorator]
def spread8(
    _t: Any, g: Any, o: Any, s: Any, tx: Any, rx: Any, px: Any, ty: Any, ry: Any, py: Any, re: Any, im: Any
) -> Any:
    """Add a complex sample, spread over 8 rows of 8 cells, to a grid of interleaved float32."""
    return _spread_complex(8, (g, o, s, tx, rx, px, ty, ry, py, re, im))


@intrinsic  # type: ignore[untyped-decorator]
def spread_weighted4(
    _t: Any, grid: Any, offset: Any, stride: Any, table_x: Any, row_x: Any, part_x: Any, table_y: Any, row_y: Any,
    part_y: Any, real: Any, imag: Any, weight: Any, one: Any,
) -> Any:  # fmt: skip
    """Add a complex sample, its weight and what it counts for, spread over 4 rows of 4 cells of four float32 each."""
    args = (grid, offset, stride, table_x, row_x, part_x, table_y, row_y, part_y, real, imag, weight, one)
    signature = types.void(*args)

    def codegen(context: Any, builder: Any, _sig: Any, values: Any) -> Any:
        base, table_x, table_y = (_data(context, builder, args[i], values[i]) for i in (0, 3, 6))
        taps = _taps(builder, table_x, values[4], values[5], 16)
        column = _taps(builder, table_y, values[7], values[8], 8)
        quad = ir.VectorType(_FLOAT, 4)
        cell = ir.Constant(quad, ir.Undefined)
        for i in range(4):
            cell = builder.insert_element(cell, values[9 + i], ir.Constant(_I32, i))
        mask = ir.Constant(ir.VectorType(_I32, 16), [0, 1, 2, 3] * 4)
        even = builder.fmul(taps, builder.shuffle_vector(cell, ir.Constant(quad, ir.Undefined), mask))
        # the sign of data alternates from row to row, that of weights does not
        odd = builder.fmul(even, ir.Constant(ir.VectorType(_FLOAT, 16), [-1.0, -1.0, 1.0, 1.0] * 4))
        for i in range(4):
            at = builder.add(values[1], builder.mul(values[2], ir.Constant(values[2].type, i)))
            old, pointer = _load(builder, base, at, 16)
            factor = _splat(builder, builder.extract_element(column, ir.Constant(_I32, i)), 16)
            builder.store(_fma(builder, factor, odd if i % 2 else even, old), pointer).align = 4
        return context.get_dummy_value()

    return signature, codegen


@intrinsic  # type: ignore[untyped-decorator]
def gather(_t: Any, row: Any, offset: Any, table: Any, table_row: Any, part: Any) -> Any:
    """Interpolate one complex sample from 8 cells of a row of interleaved float32."""
    args = (row, offset, table, table_row, part)

    def codegen(context: Any, builder: Any, _sig: Any, values: Any) -> Any:
        weights = _taps(builder, _data(context, builder, args[2], values[2]), values[3], values[4], 16)
        cells, _ = _load(builder, _data(context, builder, args[0], values[0]), values[1], 16)
        total = builder.fmul(weights, cells)
        return _complex_sum(context, builder, total)

    return types.complex64(*args), codegen


def _gather_plane(width: int, args: tuple[Any, ...]) -> tuple[Any, Any]:
    signature = types.complex64(*args)

    def codegen(context: Any, builder: Any, _sig: Any, values: Any) -> Any:
        grid, offset, stride, table_x, row_x, part_x, table_y, row_y, part_y = values
        row = _taps(builder, _data(context, builder, args[3], table_x), row_x, part_x, 16)
        column = _taps(builder, _data(context, builder, args[6], table_y), row_y, part_y, 8)
        base = _data(context, builder, args[0], grid)
        total = ir.Constant(ir.VectorType(_FLOAT, 16), [0.0] * 16)
        for i in range(width):
            at = builder.add(offset, builder.mul(stride, ir.Constant(stride.type, i)))
            cells, _ = _load(builder, base, at, 16)
            total = _fma(
                builder, _splat(builder, builder.extract_element(column, ir.Constant(_I32, i)), 16), cells, total
            )
        return _complex_sum(context, builder, builder.fmul(row, total))

    return signature, codegen


@intrinsic  # type: ignore[untyped-decorator]
def gather_plane6(_t: Any, g: Any, o: Any, s: Any, tx: Any, rx: Any, px: Any, ty: Any, ry: Any, py: Any) -> Any:
    """Interpolate a complex sample from 6 rows of 8 cells of interleaved float32: the adjoint of ``spread6``."""
    return _gather_plane(6, (g, o, s, tx, rx, px, ty, ry, py))


@intrinsic  # type: ignore[untyped-decorator]
def gather_plane8(_t: Any, g: Any, o: Any, s: Any, tx: Any, rx: Any, px: Any, ty: Any, ry: Any, py: Any) -> Any:
    """Interpolate a complex sample from 8 rows of 8 cells of interleaved float32: the adjoint of ``spread8``."""
    return _gather_plane(8, (g, o, s, tx, rx, px, ty, ry, py))


@intrinsic  # type: ignore[untyped-decorator]
def spread(_t: Any, row: Any, offset: Any, table: Any, table_row: Any, part: Any, real: Any, imag: Any) -> Any:
    """Add a complex sample, spread over 8 cells, to a row of interleaved float32: the adjoint of ``gather``."""
    args = (row, offset, table, table_row, part, real, imag)
    signature = types.void(*args)

    def codegen(context: Any, builder: Any, _sig: Any, values: Any) -> Any:
        weights = _taps(builder, _data(context, builder, args[2], values[2]), values[3], values[4], 16)
        cells, pointer = _load(builder, _data(context, builder, args[0], values[0]), values[1], 16)
        store = builder.store(_fma(builder, weights, _pairs(builder, values[5], values[6]), cells), pointer)
        store.align = 4
        return context.get_dummy_value()

    return signature, codegen
