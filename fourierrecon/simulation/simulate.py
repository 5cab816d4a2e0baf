"""Simulates tilt series of analytic specimens: exact projections, CTF, noise, half stacks.

An image is ``grey - CTF * projection + noise``: dense is dark, as in electron micrographs. Every point has the CTF of
its own depth if that is asked for (:mod:`fourierrecon.simulation.depth`). The world is
0-based with the rotation centre at ``(int(w / 2), int(h / 2), int(d / 2))``, as in RELION 5.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry.displacement import DisplacementField
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.geometry.region import Region
from fourierrecon.simulation.depth import project_with_ctf
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import TILT_ANGLES, apply_ctf, ctf_margin, dose_symmetric_exposures
from fourierrecon.tilt_series import USUAL_HAND, CtfParameters, TiltSeries
from fourierrecon.volume import Volume


class Specimen(Protocol):
    """What can be simulated: :class:`~fourierrecon.simulation.gaussians.Gaussians`, exactly, or
    :class:`~fourierrecon.simulation.voxels.Voxels`.
    """

    def density(self, region: Region, n_threads: int | None = None) -> NDArray[np.float32]:
        """Sample the density at the voxels of a region, ``(z, y, x)``."""
        ...

    def project(
        self, projections: ArrayLike, image_shape: tuple[int, int], n_threads: int | None = None
    ) -> NDArray[np.float32]:
        """Project into images, ``(n_tilts, height, width)``."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Simulation:
    """A simulated tilt series with all that was put in.

    Parameters
    ----------
    series
        The full series, in RELION 5's frame.
    even, odd
        ``(n_tilts, height, width)``, float32: half stacks with independent noise, whose mean is the full
        one.
    truth
        The specimen.
    tilt_axis_angle, x_tilt
        Degrees, ``(n_tilts,)``.
    shifts
        Image shifts ``(x, y)``, px, ``(n_tilts, 2)``.
    """

    series: TiltSeries
    even: NDArray[np.float32]
    odd: NDArray[np.float32]
    truth: Specimen
    tilt_axis_angle: NDArray[np.float64]
    x_tilt: NDArray[np.float64]
    shifts: NDArray[np.float64]

    def truth_volume(self, region: Region) -> Volume:
        """Sample the specimen at the voxels of a region with the sign of the images: dense is dark, negative.

        The region lies in this simulation's frame (0-based, as in RELION 5).
        """
        density = self.truth.density(region)
        np.negative(density, out=density)
        size = self.series.pixel_size
        x, y, z = (float(c) * size for c in region.origin)
        return Volume(density, size * region.binning, (x, y, z), "fourierrecon: simulated specimen")


@dataclass(frozen=True)
class SimulatedSet:
    """The files of a simulation: sets of both versions of RELION on the same stacks, and the truth."""

    relion5: Path
    relion4: Path
    optimisation_set: Path
    truth: Path


def simulate(
    specimen: Specimen,
    size: tuple[int, int, int],
    *,
    image_shape: tuple[int, int] | None = None,
    tilt_angles: Sequence[float] = TILT_ANGLES,
    tilt_axis_angle: ArrayLike = 85.3,
    x_tilt: ArrayLike = 0.0,
    shifts: ArrayLike | None = None,
    pixel_size: float = 10.0,
    ctf: CtfParameters | None = None,
    snr: float | None = 0.1,
    grey: float = 100.0,
    exposure_per_tilt: float = 3.0,
    seed: int = 0,
    name: str = "TS_01",
    local: DisplacementField | None = None,
    n_threads: int | None = None,
    ctf_depth: bool = False,
    hand: int = USUAL_HAND,
) -> Simulation:
    """Simulate a tilt series; the same arguments give the same bytes, whatever the number of threads.

    Parameters
    ----------
    specimen
        Specimen in the 0-based world of a tomogram of ``size``.
    size
        ``(width, height, depth)`` of the tomogram, px.
    image_shape
        ``(height, width)``, px; default: the width and height of the tomogram, swapped where the tilt
        axis lies nearer to the images' x.
    tilt_angles, tilt_axis_angle, x_tilt
        Degrees, ``(n_tilts,)`` or, of the last two, one value; see
        :func:`fourierrecon.geometry.projection.projection_matrices`.
    shifts
        Image shifts ``(x, y)``, px, ``(n_tilts, 2)``; default: random ones of a few px.
    pixel_size
        Å.
    ctf
        None: ideal projections. See :func:`fourierrecon.simulation.microscope.realistic_ctf`.
    snr
        Variance of the signal over that of the noise, over all full images; None: no noise.
    grey
        Mean grey level of the empty image.
    exposure_per_tilt
        e⁻/Å².
    seed
        Seed of the shifts and the noise.
    name
        Name of the tomogram.
    local
        What the matrices leave over of the alignment: displacements that the images are made with. The series has it.
    n_threads
        Default: all cores.
    ctf_depth
        Every point has the CTF of its own depth, as in a microscope; otherwise each image has one CTF.
    hand
        Hand of the defocus, 1 or -1: the sign by which it grows with the depth; see :attr:`TiltSeries.hand`.
    """
    angles = np.asarray(tilt_angles, float)
    n = len(angles)
    rng = np.random.default_rng([seed, 2])
    drift = np.clip(rng.normal(0, 2.0, (n, 2)), -6, 6)
    moved = np.array(np.broadcast_to(np.asarray(drift if shifts is None else shifts, float), (n, 2)))
    axis = np.array(np.broadcast_to(np.asarray(tilt_axis_angle, float), n))
    across = np.array(np.broadcast_to(np.asarray(x_tilt, float), n))
    if image_shape is None:
        lies_along_x = abs(math.sin(math.radians(float(axis[n // 2])))) > math.sqrt(0.5)
        image_shape = (size[0], size[1]) if lies_along_x else (size[1], size[0])
    if snr is not None and not snr > 0:
        raise UsageError(f"the signal-to-noise ratio {snr:g} must be positive; None for no noise")
    width, height, depth = size
    centre = (float(width // 2), float(height // 2), float(depth // 2))
    matrices = projection_matrices(image_shape, centre, angles, axis, across, moved)

    margin = ctf_margin(ctf, pixel_size)
    if local is not None and (ctf_depth or not isinstance(specimen, Gaussians)):
        raise UsageError("images with a local alignment (local=...) are made of Gaussians, with one CTF for each image")
    if ctf is not None and ctf_depth:
        if not isinstance(specimen, Gaussians):
            raise UsageError("ctf_depth=True takes a specimen of Gaussians")
        images = project_with_ctf(
            specimen, matrices, image_shape, ctf, pixel_size, hand=hand, margin=margin, n_threads=n_threads
        )
    else:
        wide = matrices.copy()
        wide[:, :2, 3] += margin
        wider = image_shape[0] + 2 * margin, image_shape[1] + 2 * margin
        if local is not None and isinstance(specimen, Gaussians):
            images = specimen.project(wide, wider, n_threads, local)
        else:
            images = specimen.project(wide, wider, n_threads)
        if ctf is not None:
            images = apply_ctf(images, ctf, pixel_size, margin)
    np.negative(images, out=images)
    sigma = 0.0 if snr is None else math.sqrt(float(images.var(axis=(1, 2), dtype=float).mean()) / snr)
    images += np.float32(grey)
    halves = []
    for half in (0, 1):
        noise = np.random.default_rng([seed, 3, half]).standard_normal(images.shape, np.float32)
        noise *= np.float32(sigma * math.sqrt(2))
        noise += images
        halves.append(noise)
    even, odd = halves
    series = TiltSeries(
        (even + odd) / np.float32(2),
        matrices,
        pixel_size,
        name,
        ctf=ctf,
        exposure=dose_symmetric_exposures(angles, exposure_per_tilt),
        tilt_angles=angles,
        size=(float(width), float(height), float(depth)),
        rotation_centre=centre,
        coordinate_frame="simulated, RELION 5's frame",
        hand=hand if ctf_depth and ctf is not None else None,
        local=local,
    )
    return Simulation(
        series=series, even=even, odd=odd, truth=specimen, tilt_axis_angle=axis, x_tilt=across, shifts=moved
    )


def write_simulation(folder: str | os.PathLike[str], simulation: Simulation) -> SimulatedSet:
    """Write a simulation as sets that RELION and this package read; the same simulation gives the same files.

    ``NAME.mrcs``, ``NAME_even.mrcs`` and ``NAME_odd.mrcs`` are the stacks; ``tomograms.star`` with
    ``tilt_series/NAME.star`` and ``optimisation_set.star`` the RELION 5 set, ``tomograms_relion4.star``
    the RELION 4 set, ``truth.mrc`` the specimen at bin 1, dense dark.

    Parameters
    ----------
    folder
        Folder to write into; made if need be.
    simulation
        Result of :func:`simulate`.

    Raises
    ------
    DataError
        If a file cannot be written.
    """
    from fourierrecon.io.relion.write import write_relion4_set, write_relion5_set
    from fourierrecon.io.volumes.mrc import write_mrc

    place, series = Path(folder), simulation.series
    relion5 = write_relion5_set(
        place,
        series,
        series.tilt_angles,
        simulation.tilt_axis_angle,
        simulation.x_tilt,
        simulation.shifts,
        hand=series.hand or USUAL_HAND,
        even=simulation.even,
        odd=simulation.odd,
    )
    relion4 = write_relion4_set(
        place,
        series,
        hand=series.hand or USUAL_HAND,
        even=simulation.even,
        odd=simulation.odd,
        file_name="tomograms_relion4.star",
        write_images=False,
    )
    write_mrc(place / "truth.mrc", simulation.truth_volume(Region.of(series)))
    return SimulatedSet(relion5, relion4, place / "optimisation_set.star", place / "truth.mrc")
