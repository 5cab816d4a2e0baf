"""FFTs, lengths and the gridding kernel, with either library."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fourierrecon import reconstruct
from fourierrecon.engine import fft
from fourierrecon.engine.fft import fast_length
from fourierrecon.engine.gridding_kernel import GriddingKernel
from fourierrecon.runtime.memory import Workspace
from fourierrecon.weighting import NoWeighting, Weighting, Wiener
from tests.helpers.reference import Geometry, relative_error

WITH_DUCC = find_spec("ducc0") is not None


@pytest.fixture(params=["pyfftw", "ducc0"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pyfftw":
        monkeypatch.setattr(fft, "_ducc", None)
    elif not WITH_DUCC:
        pytest.skip("ducc0 is not installed (the extra `fast`)")
    return str(request.param)


def noise(shape: tuple[int, ...]) -> NDArray[np.complex64]:
    rng = np.random.default_rng(0)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


@given(st.floats(1, 20000))
def test_fast_lengths_are_even_enough_and_near(n: float) -> None:
    length = fast_length(n)
    assert length >= n
    assert length % 2 == 0
    rest = length
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    assert rest == 1
    assert length <= max(2, 1.2 * n + 2)
    assert fast_length(length) == length


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("strided", [False, True])
def test_transforms_are_unnormalised_and_in_place(library: str, axis: int, backward: bool, strided: bool) -> None:
    whole = noise((24, 40))
    data = whole[2:20, 5:35] if strided else whole
    before = whole.copy()
    expected = np.fft.ifft(data, axis=axis) * data.shape[axis] if backward else np.fft.fft(data, axis=axis)
    fft.transform(data, axis, backward=backward)
    np.testing.assert_allclose(data, expected, atol=1e-4)
    if strided:
        before[2:20, 5:35] = data
        np.testing.assert_array_equal(whole, before)


@pytest.mark.parametrize("n_rows", [1, 7, 8, 19])
def test_rows_are_transformed_whatever_their_number(library: str, n_rows: int) -> None:
    rows = noise((n_rows, 30))
    expected = np.fft.ifft(rows, axis=1) * 30
    fft.transform_rows(rows)
    np.testing.assert_allclose(rows, expected, atol=1e-4)


@pytest.mark.parametrize("length", [30, 36, 45])
def test_real_transforms_pad_at_the_end_and_come_back(library: str, length: int) -> None:
    data = noise((28, 30)).real.copy()
    scratch = Workspace()
    spectrum = fft.real_forward(data + 1, length, scratch)  # scratch memory that was used before
    spectrum = fft.real_forward(data, length, scratch)
    np.testing.assert_allclose(spectrum, np.fft.rfft(data, length), atol=1e-4)
    assert spectrum.dtype == np.complex64
    padded = np.zeros((28, length))
    padded[:, :30] = data
    for axis in (0, 1):
        out = np.empty((28, length) if axis else (length, 28), np.float32)
        fft.real_backward(np.ascontiguousarray(spectrum if axis else spectrum.T), axis, length, out)
        np.testing.assert_allclose((out if axis else out.T) / length, padded, atol=1e-5)


def test_threads_do_not_disturb_each_other(library: str) -> None:
    blocks = [noise((16, 48)) * (i + 1) for i in range(12)]
    expected = [np.fft.fft(block, axis=0) for block in blocks]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda b: fft.transform(b, 0, backward=False), blocks))
    for found, wanted in zip(blocks, expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-3)


@pytest.mark.parametrize("weighting", [NoWeighting(), Wiener()], ids=lambda w: w.name)
def test_both_libraries_give_one_volume(monkeypatch: pytest.MonkeyPatch, weighting: Weighting) -> None:
    if not WITH_DUCC:
        pytest.skip("ducc0 is not installed (the extra `fast`)")
    geometry = Geometry((-40.0, 3, 45), (45, 50), 85.3, centre=(20.0, 20, 8), shape=(16, 36, 41), binning=1.3)
    images = np.random.default_rng(0).standard_normal((3, 45, 50)).astype(np.float32)
    volumes = []
    for patched in (False, True):
        if patched:
            monkeypatch.setattr(fft, "_ducc", None)
        volumes.append(reconstruct(geometry.series(images), geometry.region, weighting, ctf=False, n_threads=1).data)
    assert relative_error(volumes[1], volumes[0]) < 5e-6


# -- kernel ----------------------------------------------------------------------------------------------------------

KERNELS = [(4, 1.5), (4, 2.0), (5, 1.25), (6, 1.24), (8, 1.5)]


@pytest.mark.parametrize(("width", "oversampling"), KERNELS)
def test_kernel_has_its_width_and_its_transform(width: int, oversampling: float) -> None:
    kernel = GriddingKernel(width, oversampling)
    x: NDArray[np.float64] = np.linspace(-width, width, 400_001)
    values = kernel.values(x)
    assert kernel.values(np.zeros(1))[0] == pytest.approx(1)
    assert (values[np.abs(x) > width / 2 + 1e-9] == 0).all()
    inner = np.abs(x) < width / 2 - 1e-9  # on the very end it may be either
    np.testing.assert_allclose(values[inner], values[inner][::-1], atol=1e-12)
    for position in (0.0, 0.1, 0.31, 0.5, 0.77):
        integral = (values * np.cos(2 * np.pi * position * x)).sum() * (x[1] - x[0])
        assert kernel.transform(np.array([position]))[0] == pytest.approx(integral, abs=1e-6)


@pytest.mark.parametrize(("width", "oversampling"), KERNELS)
def test_the_table_holds_the_kernel(width: int, oversampling: float) -> None:
    kernel = GriddingKernel(width, oversampling)
    table = kernel.table()
    for row in (0, 1, 100, 255, 256):
        expected = kernel.values(np.arange(width, dtype=np.float64) + row / 256 - width / 2)
        np.testing.assert_allclose(np.asarray(table[row, :width], np.float64), expected, atol=1e-6)
        assert (table[row, width:] == 0).all()


@pytest.mark.parametrize(
    ("width", "oversampling", "tolerance"), [(4, 1.5, 6e-3), (6, 1.24, 1e-3), (6, 1.5, 2e-4), (8, 1.5, 1e-5)]
)
@settings(deadline=None, max_examples=20)
@given(frequency=st.floats(-0.49, 0.49))
def test_gridding_a_frequency_gives_its_wave(
    width: int, oversampling: float, tolerance: float, frequency: float
) -> None:
    # one sample between grid points, spread with the kernel, transformed, deapodised: a plane wave
    n = 30
    grid = fast_length(n * oversampling)
    kernel = GriddingKernel(width, grid / n)
    position = frequency * grid
    cells = np.arange(np.ceil(position - width / 2), np.floor(position + width / 2) + 1)
    x = np.arange(n) - n // 2
    spread = (kernel.values(cells - position)[:, None] * np.exp(2j * np.pi * cells[:, None] * x / grid)).sum(0)
    wave = spread * kernel.deapodisation(n, grid)
    error = np.abs(wave - np.exp(2j * np.pi * frequency * x))
    assert np.sqrt((error**2).mean()) < tolerance
