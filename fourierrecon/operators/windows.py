"""Images, the grid that they are prepared on, and windows of that: pairs of maps, each the adjoint of the other.

Unlike for a reconstruction, an image is not continued beyond its border: outside of it nothing is known, so that what a
volume projects there does not count.
"""

from __future__ import annotations

import numpy as np

from fourierrecon.engine import fft, preprocess
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.preprocess import SURROUNDINGS, ImageFilter
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.memory import Workspace


def window_shape(plan: Plan, i: int) -> tuple[int, int]:
    """Give the shape ``(n_a, n_b)`` of the window of the i-th tilt in use."""
    size = np.ptp(plan.windows[i], axis=0)
    a = int(plan.along[i])
    return int(size[a]), int(size[1 - a])


def cut_window(plan: Plan, i: int, prepared: Real) -> Real:
    """Cut the window of the i-th tilt in use out of its prepared image."""
    start, stop = plan.windows[i]
    return preprocess.cut_window(prepared, start, stop, bool(plan.along[i] == 0), plan.window_margin)


def place_window(plan: Plan, i: int, window: Real, prepared: Real) -> None:
    """Add a window to the prepared image where it was cut: the adjoint of cutting. The window is changed."""
    start, stop = plan.windows[i]
    part = window.T if plan.along[i] == 0 else window
    for axis, fade in enumerate(preprocess.window_fades(start, stop, prepared.shape, plan.window_margin)):
        if fade is not None:
            part *= fade[:, None] if axis == 0 else fade[None, :]
    prepared[start[1] : stop[1], start[0] : stop[0]] += part


class PreparedImages:
    """Maps images ``(height, width)`` to prepared ones, and back.

    Parameters
    ----------
    plan
        Gives grid and mask.
    image_shape
        ``(height, width)``, px.
    binning
        Voxel over px.
    """

    def __init__(self, plan: Plan, image_shape: tuple[int, int], binning: float) -> None:
        self._plan, self._shape, self._binning = plan, image_shape, binning
        height, width = image_shape
        self.mask: Real = np.ones((1, 1), np.float32)
        # images that are not filtered have no surroundings
        self._fades = _border_fades(plan) if plan.sampling.filters else []
        if plan.mask.start >= 0:
            self.mask = plan.mask.weights(np.arange(height, dtype=float), np.arange(width, dtype=float), image_shape)

    @property
    def shape(self) -> tuple[int, int]:
        """Of a prepared image."""
        return self._plan.sampling.sampled

    def prepare(self, image: Real, filters: list[ImageFilter], workspace: Workspace) -> Real:
        """Mask, pad, filter and bin an image; the result lies in the workspace."""
        grid = self._plan.sampling
        (height, width), (rows, columns) = grid.padded, grid.sampled
        b = grid.border
        inner = slice(b, b + self._shape[0]), slice(b, b + self._shape[1])
        prepared: Real = workspace.array("padded", (rows, columns), np.float32)
        if not grid.filters:
            np.multiply(image, self.mask, out=prepared[inner])
            return prepared
        padded = workspace.array("padded rows", (b + self._shape[0], width), np.float32)
        np.multiply(image, self.mask, out=padded[inner])
        spectrum = fft.real_forward(padded, width, workspace)[:, : columns // 2 + 1]
        full = workspace.array("full", (height, columns // 2 + 1), np.complex64)
        full[: len(spectrum)] = spectrum
        full[len(spectrum) :] = 0
        fft.transform(full, 0, backward=False)
        kept = workspace.array("kept", (rows, columns // 2 + 1), np.complex64)
        upper = grid.upper_rows
        kept[:upper], kept[upper:] = full[:upper], full[height - (rows - upper) :]
        self._filter(kept, filters)
        fft.transform(kept, 0, backward=True)
        fft.real_backward(kept, 1, columns, prepared)
        self._fade(prepared)
        return prepared

    def finish(self, prepared: Real, filters: list[ImageFilter], workspace: Workspace, out: Real) -> None:
        """Filter a prepared image, bring it to the pixels, and mask: the adjoint of preparing. It is changed."""
        grid = self._plan.sampling
        (height, width), (rows, columns) = grid.padded, grid.sampled
        b = grid.border
        inner = slice(b, b + self._shape[0]), slice(b, b + self._shape[1])
        if grid.filters:
            self._fade(prepared)
            half = columns // 2 + 1
            kept = workspace.array("kept", (rows, half), np.complex64)
            kept[...] = fft.real_forward(prepared, columns, workspace)
            # half spectra stand for whole ones on both grids: only the last column of an even length counts once
            kept[:, half - 1] *= _share(columns, width)
            fft.transform(kept, 0, backward=False)
            self._filter(kept, filters)
            full = workspace.array("full", (height, width // 2 + 1), np.complex64)
            full[...] = 0
            upper = grid.upper_rows
            full[:upper, :half], full[height - (rows - upper) :, :half] = kept[:upper], kept[upper:]
            fft.transform(full, 0, backward=True)
            whole = workspace.array("whole image", (b + self._shape[0], width), np.float32)
            fft.real_backward(full[: len(whole)], 1, width, whole)
            prepared = whole
        np.multiply(prepared[inner], self.mask, out=out)

    def _fade(self, prepared: Real) -> None:
        """Fade out towards the end of the surroundings, where what a volume projects is cut off."""
        for fade, axis in zip(self._fades, (1, 0), strict=True):
            prepared *= np.expand_dims(fade, axis)

    def _filter(self, kept: Complex, filters: list[ImageFilter]) -> None:
        grid = self._plan.sampling
        height, width = grid.padded
        fx, fy = grid.frequencies(self._binning)
        for image_filter in filters:
            kept *= image_filter(fx, fy)
        kept *= np.float32(1 / (height * width))


def _share(columns: int, width: int) -> np.float32:
    """Give the factor on the last column of a half spectrum that is continued to a longer one."""
    return np.float32(0.5 if columns % 2 == 0 and columns < width else 1.0)


def _border_fades(plan: Plan) -> list[Real]:
    """Weights along y and x of prepared images: the outer half of what surrounds them is a ramp."""
    fades = []
    for n in plan.sampling.sampled:
        width = SURROUNDINGS // 2  # prepared pixels are about as wide as voxels
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(width) + 0.5) / width)
        fade = np.ones(n, np.float32)
        fade[:width] *= ramp
        fade[-width:] *= ramp[::-1]
        fades.append(fade)
    return fades
