"""Half floats become single ones exactly, whatever they are."""

import numpy as np
import pytest

from fourierrecon.runtime.half_floats import to_single


def test_every_half_float_is_exact() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    singles = to_single(halves)
    assert singles.dtype == np.float32
    usual = ~np.isnan(halves)
    np.testing.assert_array_equal(np.isnan(singles), ~usual)
    np.testing.assert_array_equal(singles[usual].view(np.uint32), halves[usual].astype(np.float32).view(np.uint32))


@pytest.mark.parametrize("dtype", ["float16", ">f2", "int16", "float32", ">f4", "uint8"])
def test_parts_and_other_types(dtype: str) -> None:
    values = np.arange(60).reshape(6, 10).astype(dtype)
    for part in (values, values[1:4, 2:7], values.T, values[::2, ::-1]):
        single = to_single(part)
        assert single.flags.c_contiguous
        assert single.dtype == np.float32
        np.testing.assert_array_equal(single, part.astype(np.float32))
