"""Sizes and middles of IMOD's aligned stack and volume, with the rounding of its programs newstack and tilt.

As facts; ``//`` rounds towards 0, "from 1" means that the middle of the first pixel is 1, ``b`` is the binning of the
aligned stack, and lengths in ``tilt.com`` are divided by IMAGEBINNED ``i`` first.

newstack, one side of ``n`` px:

* Reduced with a filter (ShrinkByFactor, or BinByFactor with AntialiasFilter): ``n // b`` px about the middle.
* BinByFactor alone: ``m = n // b`` px and a remainder ``r = n - b m``; where ``m`` and ``n`` are both odd or both even,
  ``m + 2`` if ``r > 1``, else ``m``; where they are not, ``m + 1``. Where ``n`` less ``b`` times that is odd, the
  binned image has its middle half a raw px before that of the raw image.
* Transformations take the middle of the binned image to that of the output, both at ``n / 2 + 1/2`` (from 1).

tilt, sizes of the aligned stack ``(nx, ny)``, ``full`` = FULLIMAGE (rounded up; without it the aligned stack),
``sub`` = SUBSETSTART // i (0 without it), ``(delta, DELX)`` = OFFSET:

* The tilt axis cuts the aligned image at ``full / 2 + 1/2 - sub`` (from 1), and ``DELX`` further on in x.
* That is in the volume at ``x = width // 2 + 1/2 + DELX + SHIFT x - ((nx i - FULLIMAGE x) // 2 + SUBSETSTART x) / i``,
  with ``width = WIDTH // i``, by default ``nx``; slices are rows of the image, from SLICE's first on; and in a slice at
  ``thickness // 2 + 1/2 + SHIFT z`` (from 1), with ``thickness = THICKNESS // i``.
* A slice counts its rows against ``z`` of the final volume, which is turned about x (``trimvol -rx``).
"""

from __future__ import annotations

from dataclasses import dataclass

from fourierrecon.errors import DataError
from fourierrecon.io.imod.project import Files
from fourierrecon.io.imod.text import Options
from fourierrecon.io.stacks.open import open_stack
from fourierrecon.tilt_series import ImageStack

#: Options that would move the images and are not known here.
UNKNOWN_2D = ("OffsetsInXandY", "RotateByAngle", "ExpandByFactor", "ReorderByTiltAngle")


@dataclass(frozen=True)
class Aligned:
    """The aligned stack.

    Parameters
    ----------
    binning
        Raw px to one of its own.
    size
        ``(width, height)``, px of its own.
    raw_middle
        Pixel ``(x, y)`` of the raw images that transformations are about, from 0.
    """

    binning: float
    size: tuple[int, int]
    raw_middle: tuple[float, float]


@dataclass(frozen=True)
class Placement:
    """Where the volume lies; raw px, world points from 1.

    Parameters
    ----------
    size
        ``(width, height, depth)`` of the volume; None where no THICKNESS is known.
    axes
        World point ``(x, y, z)`` that both axes go through.
    offset
        Where that point lies in the aligned images, ``(x, y)`` from their middle.
    middle
        World point in the middle of the volume; where its size is not known, of a ``depth`` that is given.
    """

    size: tuple[float, float, float] | None
    axes: tuple[float, float, float]
    offset: tuple[float, float]
    middle: tuple[float, float, float]


def aligned_stack(files: Files, tilt: Options, newst: Options, images: ImageStack, pixel_size: float) -> Aligned:
    """Find the binning and size of the aligned stack: by ``newst.com``, else by the stack itself, else ``tilt.com``.

    Parameters
    ----------
    images
        The raw ones.
    pixel_size
        Pixel size of these, Å.

    Raises
    ------
    DataError
        If an option is not known here, options contradict each other, or nothing gives the size.
    """
    for name in UNKNOWN_2D:
        if newst.text(name).lstrip("-0., "):
            raise DataError(f"{newst.where(name)}: not supported; make the aligned stack without it")
    height, width = images.shape[1:]
    stack = files.named(tilt, "InputProjections", "_ali.mrc", ".ali") if tilt.entries else None
    if newst.entries:
        return _by_newstack(tilt, newst, width, height)
    middle = (width - 1) / 2, (height - 1) / 2
    binning = tilt.factor("IMAGEBINNED")
    if stack:
        # command files may be lost, but the stack that they made gives its size
        made = open_stack(stack)
        binning = max(1.0, float(round(made.pixel_size / pixel_size))) if made.pixel_size else binning
        size = made.shape[2], made.shape[1]
        # its size shows which reduction made it, where they differ
        (m, x), (n, y) = (_reduced(side, binning, filtered=False) for side in (width, height))
        filtered = size == (int(width / binning), int(height / binning)) or size != (m, n)
        return Aligned(binning, size, middle if filtered else (x, y))
    full = lengths(tilt, "FULLIMAGE", 2, 2, positive=True)
    start = lengths(tilt, "SUBSETSTART", 2, 2) or [0.0, 0.0]
    if not full:
        return Aligned(binning, (int(width / binning), int(height / binning)), middle)
    # aligned images are centred on the raw ones; a subset of anything else may lie anywhere
    m, n = (int((f - 2 * s) / binning) for f, s in zip(full, start, strict=True))
    if sorted(full) != sorted((width, height)) or min(m, n) < 1:
        raise DataError(
            f"{tilt.where('FULLIMAGE')}: it and SUBSETSTART ({start[0]:g} {start[1]:g}) do not fit raw images of "
            f"{width} x {height} px, so the aligned stack is not known; put newst.com or the aligned stack beside it"
        )
    return Aligned(binning, (m, n), middle)


def _by_newstack(tilt: Options, newst: Options, width: int, height: int) -> Aligned:
    """Give the aligned stack that ``newst.com`` makes of raw images."""
    option = "ShrinkByFactor" if newst.text("ShrinkByFactor") else "BinByFactor"
    binning = newst.factor(option)
    if tilt.text("IMAGEBINNED") and abs(tilt.factor("IMAGEBINNED") - binning) > 0.5:
        raise DataError(
            f"{tilt.where('IMAGEBINNED')}: {tilt.text('IMAGEBINNED')}, but {newst.path}, {option}, makes it "
            f"{binning:g}; correct one, or make the aligned stack and the volume anew"
        )
    # 0 is no filter, a negative number that of newstack's choice
    filtered = option == "ShrinkByFactor" or any(newst.numbers("AntialiasFilter", 1, 1))
    sides = [_reduced(n, binning, filtered) for n in (width, height)]
    (m, x), (n, y) = sides
    full = lengths(tilt, "FULLIMAGE", 2, 2, positive=True)
    if size := lengths(newst, "SizeToOutputInXandY", 2, 2, positive=True):
        m, n = int(size[0]), int(size[1])
    elif binning == 1 and full == [height, width] and not any(tilt.numbers("SUBSETSTART", 2, 2)):
        # AreTomo, tilt axis near x: sides are swapped in tilt.com only, and there is no subset
        m, n = height, width
    return Aligned(binning, (m, n), (x, y))


def _reduced(n: int, binning: float, filtered: bool) -> tuple[int, float]:
    """Give a side after newstack's reduction, and the raw pixel in its middle, from 0."""
    if filtered or binning == 1:
        return int(n / binning + 1e-6), (n - 1) / 2
    factor = round(binning)
    m, rest = divmod(n, factor)
    if (n - m) % 2:
        m += 1
    elif rest > 1:
        m += 2
    return m, (n - 1) / 2 - ((n - factor * m) % 2) / 2


def place_volume(tilt: Options, aligned: Aligned, depth: float) -> Placement:
    """Give the volume that ``tilt.com`` makes of an aligned stack.

    Parameters
    ----------
    depth
        Raw px, taken where there is no THICKNESS.

    Raises
    ------
    DataError
        If SLICE or a size is out of range, or a subset is given without what it is one of.
    """
    i, b, (nx, ny) = int(tilt.factor("IMAGEBINNED")), aligned.binning, aligned.size
    full = lengths(tilt, "FULLIMAGE", 2, 2, positive=True)
    start = lengths(tilt, "SUBSETSTART", 2, 2) or [0.0, 0.0]
    if any(start) and not full:
        raise DataError(f"{tilt.where('SUBSETSTART')}: a subset without FULLIMAGE; give the size of the whole images")
    whole_x, whole_y = whole_size(tilt, aligned)
    sub_x, sub_y = (int(s / i) for s in start)
    _, axis = (*tilt.numbers("OFFSET", 1, 2), 0.0, 0.0)[:2] if tilt.text("OFFSET") else (0.0, 0.0)
    shift_x, shift_z = (*tilt.numbers("SHIFT", 1, 2), 0.0, 0.0)[:2] if tilt.text("SHIFT") else (0.0, 0.0)
    first, rows = _slices(tilt, i, ny)
    width = _voxels(tilt, "WIDTH", i) or nx
    # below 1 it stands for a depth that nobody chose (AreTomo)
    chosen = [value >= 1 for value in lengths(tilt, "THICKNESS", 1, 1)]
    thickness = _voxels(tilt, "THICKNESS", i) if all(chosen) else None
    image_x, image_y = whole_x / 2 + 0.5 - sub_x + axis / i, whole_y / 2 + 0.5 - sub_y
    subset = int((nx * i - (full[0] if full else nx * i)) / 2) + start[0]
    # without a THICKNESS there is no volume of tilt whose rounding could matter: a box of any size is centred
    x = (width / 2 if thickness is None else width // 2) + 0.5 + (axis + shift_x - subset) / i

    def world(c: float) -> float:
        return b * (c - 0.5) + 0.5

    if thickness is None:
        z, size = (round(depth) + 1) / 2, None
        middle = (b * width + 1) / 2, (b * rows + 1) / 2, z
    else:
        z, size = world(thickness + 1 - (thickness // 2 + 0.5 + shift_z / i)), (b * width, b * rows, b * thickness)
        middle = (size[0] + 1) / 2, (size[1] + 1) / 2, (size[2] + 1) / 2
    offset = b * (image_x - nx / 2 - 0.5), b * (image_y - ny / 2 - 0.5)
    return Placement(size, (world(x), world(image_y - first), z), offset, middle)


def whole_size(tilt: Options, aligned: Aligned) -> tuple[int, int]:
    """Give the size ``(width, height)`` of the image that the aligned stack is a part of, px of the aligned stack."""
    i, full = int(tilt.factor("IMAGEBINNED")), lengths(tilt, "FULLIMAGE", 2, 2, positive=True)
    return (-int(-full[0] // i), -int(-full[1] // i)) if full else aligned.size


def _slices(tilt: Options, i: int, ny: int) -> tuple[int, int]:
    """Give the first row of the aligned stack that is reconstructed, from 0, and how many."""
    rows = lengths(tilt, "SLICE", 2, 3)[:2]
    # -1 twice counts as all
    if not rows or rows == [-1, -1]:
        return 0, ny
    # tilt takes the last one for what lies beyond it in a binned stack
    if not 0 <= rows[0] <= rows[1] < (ny + (i > 1)) * i:
        raise DataError(
            f"{tilt.where('SLICE')}: {tilt.text('SLICE')}; allowed: first and last of {ny * i:g} slices, from 0; "
            f"correct it"
        )
    first, last = (min(int(row // i), ny - 1) for row in rows)
    return first, last + 1 - first


def _voxels(tilt: Options, name: str, i: int) -> int | None:
    """Give a size in px of the aligned stack; None if the option is not there."""
    values = lengths(tilt, name, 1, 1, positive=True)
    if values and values[0] < i:
        raise DataError(f"{tilt.where(name)}: {values[0]:g} px, less than IMAGEBINNED {i}; give unbinned px")
    return int(values[0] // i) if values else None


def lengths(options: Options, name: str, least: int, most: int, positive: bool = False) -> list[float]:
    """Give lengths, px, which may have to be positive.

    Parameters
    ----------
    least, most
        Allowed numbers of values.
    positive
        Each must be 1 or more.

    Raises
    ------
    DataError
        If there are more or fewer, or one is not what it must be.
    """
    values = options.numbers(name, least, most)
    if positive and values and min(values) < 1:
        raise DataError(f"{options.where(name)}: {min(values):g} px; allowed: 1 or more; correct it")
    return values
