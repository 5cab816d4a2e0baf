"""Thumbnails: a small picture of the central section of each tomogram of a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fourierrecon import __version__
from fourierrecon.errors import DataError
from fourierrecon.io import open_volume
from fourierrecon.io.files import replacing
from fourierrecon.volume import grey_picture, middle_sections

#: Text in a picture that tells that it is one of ours.
MARK = "fourierrecon"


def draw_thumbnail(path: Path, volume: Path, *, swapped: bool = False) -> None:
    """Draw the central XY section of a volume, a mean over 10 nm; a picture that somebody else made stays.

    Parameters
    ----------
    path
        PNG file to be written.
    volume
        File of the volume; only its central sections are read.
    swapped
        The file has y as its slowest axis, as that of IMOD's program tilt.

    Raises
    ------
    DataError
        If the volume cannot be read, or the picture not be written.
    """
    from PIL.PngImagePlugin import PngInfo

    if path.exists() and not _is_ours(path):
        raise DataError(f"{path} is no thumbnail that this program made; move it away")
    file = open_volume(volume)
    slow, rows, width = file.shape
    depth, height = (rows, slow) if swapped else (slow, rows)
    middle = middle_sections(depth, file.voxel_size)
    total = np.zeros((height, width), np.float32)
    if swapped:
        for y in range(height):
            total[y] = file.block(slice(y, y + 1), middle)[0].sum(0)
    else:
        for z in range(middle.start, middle.stop):
            total += file[z]
    made_by = PngInfo()
    made_by.add_text("Software", f"{MARK} {__version__}")
    with replacing(path) as target:
        grey_picture(total / np.float32(middle.stop - middle.start)).save(target, "png", pnginfo=made_by)


def _is_ours(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return str(picture.info.get("Software", "")).startswith(MARK)
    except OSError:
        return path.stat().st_size == 0
