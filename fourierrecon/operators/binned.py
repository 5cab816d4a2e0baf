"""A tilt series with its images in memory, binned by a whole number: iterations need not transform full images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine import preprocess
from fourierrecon.engine.coverage import Mask
from fourierrecon.engine.fft import fast_length
from fourierrecon.engine.grey_ramp import without_ramp
from fourierrecon.engine.preprocess import CONTINUATION, ImageGrid
from fourierrecon.geometry.ctf_depth import depth_rows
from fourierrecon.geometry.displacement import scaled
from fourierrecon.geometry.projection import rotation_centre
from fourierrecon.geometry.region import Region
from fourierrecon.runtime.arrays import Complex
from fourierrecon.runtime.memory import Workspace
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries


def in_memory(
    series: TiltSeries, region: Region, *, keep_mean: bool, flatten: bool = False, n_threads: int
) -> tuple[TiltSeries, Region, NDArray[np.float32]]:
    """Load the images without their means, and bin them by the whole part of the region's binning.

    Parameters
    ----------
    series, region
        Tilt series and region.
    keep_mean
        Leave the means.
    flatten
        Take a grey ramp off each image.
    n_threads
        Number of threads.

    Returns
    -------
    series, region, images
        The same specimen and voxels in units of the binned pixels; pixels are samples of the band-limited image.
    """
    step = int(region.binning + 1e-6)
    height, width = series.image_shape
    border = int(np.ceil(CONTINUATION * step / step)) * step if step > 1 else 0
    padded = fast_length((height + 2 * border) / step) * step, fast_length((width + 2 * border) / step) * step
    grid = ImageGrid(border, padded, (padded[0] // step, padded[1] // step), step > 1)
    masks = preprocess.image_masks(series.image_shape, grid, Mask(-float(border), float(max(border, 1))), False)
    shape = -(-height // step), -(-width // step)
    images = np.empty((series.n_tilts, *shape), np.float32)

    def load(workspace: Workspace, tilt: int) -> None:
        image = preprocess.load_image(series, tilt, keep_mean=keep_mean)
        image = without_ramp(image) if flatten else image
        level = 0.0 if keep_mean else preprocess.mean_level(image, None)
        if step == 1:
            np.subtract(image, np.float32(level), out=images[tilt])
            return
        shared: dict[object, Complex] = {}
        prepared = preprocess.prepare_image(
            image, grid, masks, level, [], float(step), workspace, shared=shared, share=0, odd=True
        )
        first = border // step
        images[tilt] = prepared[first : first + shape[0], first : first + shape[1]]

    for_each(series.n_tilts, load, state=Workspace, n_threads=n_threads)
    projections = series.projections.copy()
    # with the depths along the beams, from the point that the defocus belongs to
    projections[:, 2] = depth_rows(series)
    projections[:, :3, 3] /= step
    x, y, z = (c / step for c in region.origin)
    centre_x, centre_y, centre_z = (float(c) / step for c in rotation_centre(series))
    # the size does not matter to a projector
    small = replace(
        series, images=images, projections=projections, pixel_size=series.pixel_size * step, size=None, pivot=None,
        middle=None, rotation_centre=(centre_x, centre_y, centre_z),
        local=None if series.local is None else scaled(series.local, step),
    )  # fmt: skip
    return small, replace(region, origin=(x, y, z), binning=region.binning / step), images
