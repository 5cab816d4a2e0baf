"""Reads the tilt series of Warp and WarpTools: XML, or ``.tomostar`` where there is no XML yet.

Warp's geometry, as facts (checked against positions that Warp wrote, see ``tests/io/test_warp.py``): a point ``X``
of the volume, in Å from its corner, comes to the image at

``u = (Rz(axis) Ry(-(angle + LevelAngleY)) Rx(LevelAngleX) (X - volume / 2))[:2] + offset + image / 2``

in Å from the image's corner, with right-handed rotations of column vectors; ``volume`` and ``image`` are sizes in Å,
``offset`` is ``(AxisOffsetX, AxisOffsetY)``. Pixel and voxel 0 sit at 0 Å.

``WarpTools ts_stack`` rounds the sides of its images to even numbers of px, and stretches the images to them: of
``n`` px for ``L`` Å each is ``L / n`` wide, ``u = x n / L`` px. The header has the pixel size that was asked for, and
that is the voxel size of Warp's own tomogram.

The defocus of a point is that of the image plus its depth, the third coordinate above. ``AreAnglesInverted`` takes
that depth from angles of the other sign and a specimen with z reversed, so it grows the other way: RELION's
``rlnTomoHand`` is 1 without it, and -1 with it. It does nothing to positions.

So Warp's z axis points the other way from IMOD's and RELION's, and the centres are half a pixel apart: IMOD turns
about ``(n - 1) / 2``, Warp about ``n / 2``, also where it imports IMOD's ``.xf`` and ``.tlt``. If an IMOD tomogram of
depth ``d`` (px) shows its voxel ``(x, y, z)`` at pixel ``(u, v)``, Warp's import shows ``(x + 1/2, y + 1/2,
d - 1/2 - z)`` at ``(u + 1/2, v + 1/2)``. Without these halves of x, y, u and v they differ by 0.2 px at high tilt.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io.stacks.open import FileImages, open_stack
from fourierrecon.io.warp.files import WarpSeries, read_files
from fourierrecon.io.warp.local import WarpField
from fourierrecon.io.warp.xml import LARGEST
from fourierrecon.text import counted, is_or_are
from fourierrecon.tilt_series import ImageStack, TiltSeries

#: Smallest shift in the images that a warning reports, px.
NOTICED = 0.05
#: Endings of a stack of the images, beside the XML or in ``tiltstack/NAME``.
STACK_ENDINGS = (".st", ".mrc", ".mrcs", ".tif", ".tiff")


def read_warp(
    source: str | os.PathLike[str],
    *,
    stack: str | os.PathLike[str] | None = None,
    pixel_size: float | None = None,
    size: tuple[float, float, float] | None = None,
) -> TiltSeries:
    """Read a tilt series of Warp or WarpTools; its images stay on disk until they are used.

    World points are voxels of Warp's own tomogram, 0-based; the module says how they lie to IMOD's and RELION's.
    A tilt that Warp excludes (``UseTilt``) is left out. Movements in the images and deformations of the volume are its
    local alignment. Not applied, and named by a warning: angle corrections, ``MagnificationCorrection``.

    Parameters
    ----------
    source
        ``NAME.xml``, or ``NAME.tomostar``. With the latter the XML beside it (or in ``../warp_tiltseries``) is read
        if there is one; if not, the alignment is what the ``.tomostar`` holds.
    stack
        MRC or TIFF stack of the images, in the order of the file, with or without the excluded ones. Default: a stack
        of the same name beside the file or in ``tiltstack/NAME``, else Warp's averages of the movies.
    pixel_size
        Pixel size of these images, Å. Default: that of the header, or ``PixelSize`` of the CTF, whichever fits
        ``ImageDimensionsAngstrom``, else what these make it; without them, the header's, else the CTF's.
    size
        ``(width, height, depth)`` of the tomogram, px of these images. Default: ``VolumeDimensionsAngstrom``.

    Returns
    -------
    TiltSeries
        Its rotation centre is half the size, or (0, 0, 0) where no size is known. ``exposure`` is Warp's ``Dose``.
        ``ctf`` is None where Warp has fitted none.

    Raises
    ------
    UsageError
        If the pixel size or size asked for makes no sense.
    DataError
        If a file cannot be used; the message names file and field.
    """
    path = Path(source)
    if pixel_size is not None and not 1e-3 < pixel_size < 1e6:
        raise UsageError(f"pixel size {pixel_size:g} Å must be positive and that of the images")
    if size is not None and (len(size) != 3 or not all(0 < side < LARGEST for side in size)):
        raise UsageError(f"size {size} must be three positive numbers (width, height, depth), pixels of the images")
    series = read_files(path)
    keep = np.flatnonzero(series.use)
    if not len(keep):
        raise DataError(
            f"{series.path}, <UseTilt>: all {counted(len(series), 'tilt')} {is_or_are(len(series))} excluded; set "
            "those to be used to True"
        )
    if len(keep) < len(series):
        out = ", ".join(str(i + 1) for i in np.flatnonzero(~series.use))
        warnings.warn(
            f"{series.path}: {len(series) - len(keep)} of {len(series)} tilts left out, as UseTilt says: {out}",
            stacklevel=2,
        )
    images, header_pixel = _images(series, keep, path, None if stack is None else Path(stack))
    height, width = images.shape[1:]
    pixel = pixel_size or _pixel_size(series, (width, height), header_pixel)
    stretch = _stretch(series, (width, height), pixel)
    if size is None and series.volume_size is not None:
        # Warp stores Å in single precision: 834 Å may be 999.9999 px
        sides = (side / pixel for side in series.volume_size)
        x, y, z = (float(round(side)) if abs(side - round(side)) < 0.01 else side for side in sides)
        size = (x, y, z)
    w, h, d = size or (0.0, 0.0, 0.0)
    centre = (w / 2, h / 2, d / 2)
    projections = projection_matrices(
        (height, width),
        centre,
        -(series.angles[keep] + series.level[1]),
        series.axis[keep],
        series.level[0],
        series.offsets[keep] / pixel,
    )
    projections[:, :2, 3] -= [width // 2, height // 2]
    projections[:, :2] *= stretch[:, None]
    # the image's centre is half its size also where that is odd
    projections[:, :2, 3] += [width / 2, height / 2]
    ctf = series.ctf
    if ctf is not None:
        per_tilt = ("defocus_u", "defocus_v", "defocus_angle", "phase_shift", "scale")
        ctf = replace(ctf, **{name: getattr(ctf, name)[keep] for name in per_tilt})
    return TiltSeries(
        images,
        projections,
        float(pixel),
        path.stem,
        ctf=ctf,
        exposure=None if series.dose is None else series.dose[keep],
        tilt_angles=series.angles[keep],
        size=size,
        rotation_centre=centre,
        coordinate_frame="Warp (0-based world about the rotation centre, size / 2; z points the other way from IMOD's "
        "and RELION's)",
        source=str(path),
        ctf_missing=series.ctf_missing,
        hand=None if series.inverted is None else -1 if series.inverted else 1,
        excluded=tuple(int(i) + 1 for i in np.flatnonzero(~series.use)),
        z_reversed=True,
        local=_local(series, keep, projections, pixel, (width, height), stretch, size),
    )


def _local(
    series: WarpSeries,
    keep: NDArray[np.intp],
    projections: NDArray[np.float64],
    pixel: float,
    image: tuple[int, int],
    stretch: NDArray[np.float64],
    size: tuple[float, float, float] | None,
) -> WarpField | None:
    """Give the local alignment; None if there is none."""
    warps = series.warps
    # places in the volume are parts of the size that Warp knows, about the same middle
    sides = tuple(side / pixel for side in series.volume_size) if series.volume_size else size
    spread = any(max(grid.values.shape[1:]) > 1 for grid in warps)  # one node moves the whole volume
    if spread and sides is None:
        warnings.warn(
            f"{series.path}: not applied: GridVolumeWarpX, Y, Z, since VolumeDimensionsAngstrom is not there; "
            f"give size=... as it was in Warp",
            stacklevel=3,
        )
        warps = ()
    if not (warps or series.movements):
        return None
    volume = np.array(sides or (1.0, 1.0, 1.0))
    dose = np.zeros(len(series)) if series.dose is None else series.dose
    exposure = (dose - dose.min()) / (np.ptp(dose) or 1.0)
    places = np.stack([np.arange(len(series)) / max(len(series) - 1, 1), exposure], 1)[keep]
    movements = series.movements
    return WarpField(
        (movements[0], movements[1]) if movements else None,
        (warps[0], warps[1], warps[2]) if warps else None,
        projections,
        pixel,
        image,
        stretch,
        np.array(size or (0.0, 0.0, 0.0)) / 2 - volume / 2,
        volume,
        places,
    )


def unstretched(series: TiltSeries) -> TiltSeries:
    """Give a series of Warp as if its images had square pixels, for files that hold rotations only, with a warning.

    Parameters
    ----------
    series
        Tilt series of any program; only those of Warp whose stretched images were read are changed.

    Returns
    -------
    TiltSeries
        Its projections are rotations and shifts; they miss the images by what the warning says.
    """
    stretch = np.linalg.norm(series.projections[:, :2, :3], axis=2)
    if not series.z_reversed or np.ptp(stretch, axis=0).max() > 1e-9 or np.abs(stretch - 1).max() < 1e-9:
        return series
    middle = np.array(series.image_shape[::-1]) / 2
    projections = series.projections.copy()
    projections[:, :2, 3] -= middle
    projections[:, :2] /= stretch[:, :, None]
    projections[:, :2, 3] += middle
    missed = (np.abs(stretch[0] - 1) * middle).max()
    if missed >= NOTICED:
        warnings.warn(
            f"{series.source}: Warp stretched these images to even sides, which RELION 5 sets cannot say: pixels at "
            f"their borders are up to {missed:.2g} px off (RELION 4 sets say it)",
            stacklevel=2,
        )
    return replace(series, projections=projections)


def _images(series: WarpSeries, keep: NDArray[np.intp], source: Path, stack: Path | None) -> tuple[ImageStack, float]:
    """Open the images that are used, and give their pixel size as the header has it, Å (0: unknown)."""
    beside = [folder / name for folder, name in _stack_places(series.path, source)]
    found = stack or next((place for place in beside if place.is_file()), None)
    if found is not None:
        whole = open_stack(found)
        if len(whole) == len(keep):
            return whole, whole.pixel_size
        if len(whole) != len(series):
            excluded = f" ({len(keep)} without the excluded ones)" if len(keep) < len(series) else ""
            raise DataError(
                f"{series.path}: {counted(len(series), 'tilt')}{excluded}, but the stack {whole.path} holds "
                f"{counted(len(whole), 'image')}; there must be one for each tilt, in the same order"
            )
        return FileImages([(found, int(i)) for i in keep]), whole.pixel_size
    if len(series.movies) != len(series):
        raise DataError(f"{series.path}: no stack of its name beside it, and no {series.movie_field}; give stack=...")
    files = [_average(series, int(i), source) for i in keep]
    for i, file in enumerate(files):
        if file in files[:i]:
            raise DataError(
                f"{series.path}, {series.movie_field}, value {keep[i] + 1}: {file} is the image of tilt "
                f"{keep[files.index(file)] + 1} too; each image must be there once; correct it"
            )
    averages = FileImages([(file, None) for file in files])
    return averages, averages.stacks[0].pixel_size


def _stack_places(path: Path, source: Path) -> list[tuple[Path, str]]:
    """Give the folders and names that a stack of the images may have."""
    folders = [folder for p in (source, path) for folder in (p.parent, p.parent / "tiltstack" / p.stem)]
    return [(folder, path.stem + ending) for folder in dict.fromkeys(folders) for ending in STACK_ENDINGS]


def _average(series: WarpSeries, index: int, source: Path) -> Path:
    """Find Warp's average of a movie: in ``average`` beside it, else the movie if it is an MRC file."""
    word = series.movies[index].replace("\\", "/")
    movie = Path(word)
    tried = []
    for base in dict.fromkeys((series.path.parent, source.parent, Path(series.movie_folder.replace("\\", "/")))):
        places = [folder / "average" / f"{movie.stem}.mrc" for folder in (base / movie.parent, base)]
        for place in [*places, base / movie] if movie.suffix.lower() == ".mrc" else places:
            tried.append(place)
            # isfile, as names in a file may be impossible ones
            if os.path.isfile(place):
                return place
    raise DataError(
        f"{series.path}, {series.movie_field}, value {index + 1}: no average of {word[:80]} ({tried[0]} and others "
        f"tried); give stack=..., as `WarpTools ts_stack` writes it"
    )


def _pixel_size(series: WarpSeries, image: tuple[int, int], header: float) -> float:
    """Give the pixel size that the images were made for, Å, see above."""
    known = [pixel for pixel in (header, series.pixel_size or 0.0) if pixel]
    pixel = known[0] if known else None
    if series.image_size is not None:
        x, y = (length / pixels for length, pixels in zip(series.image_size, image, strict=True))
        # single precision, as above
        known.append(round((x + y) / 2, 6))
        fitting = [pixel for pixel in known if _fits(series.image_size, image, pixel)]
        if not fitting and not abs(x - y) < 0.01 * max(x, y):
            raise DataError(
                f"{series.path}, ImageDimensionsAngstrom: {series.image_size[0]:g} x {series.image_size[1]:g} Å do not "
                f"fit images of {image[0]} x {image[1]} px; are they of another series, or turned? "
                f"Else give pixel_size=..."
            )
        pixel = (fitting or known[-1:])[0]
    if pixel is None or not 1e-3 < pixel < 1e6:
        found = "not known" if pixel is None else f"{pixel:g} Å"
        raise DataError(f"{series.path}: the pixel size of the images is {found}; give pixel_size=... in Å")
    return pixel


def _fits(lengths: tuple[float, ...], image: tuple[int, int], pixel: float) -> bool:
    """Tell whether images of a size in Å have these sides in px, each rounded to an even number or not at all."""
    return all(abs(length / pixel - side) < 1.01 for length, side in zip(lengths, image, strict=True))


def _stretch(series: WarpSeries, image: tuple[int, int], pixel: float) -> NDArray[np.float64]:
    """Give how much larger images are along x and y than their pixel size says, ``(2,)``."""
    if series.image_size is None or any(side % 2 for side in image) or not _fits(series.image_size, image, pixel):
        return np.ones(2)
    return np.asarray(np.array(image, float) * pixel / np.array(series.image_size, float), np.float64)
