"""Image stacks in TIFF files: pages read one at a time, and the pixel size that their notes tell.

The first row of a TIFF image is its top, that of an MRC image its bottom. IMOD, SerialEM and RELION therefore turn the
rows around when they read TIFF, and their alignments hold for images read so: here it is done too.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.stacks.base import FileStack
from fourierrecon.runtime.memory import check_memory

#: Compressions of EER movies: events of electrons, no images.
EER = (65000, 65001, 65002)
#: Å in the units of ImageJ and OME.
UNITS = {"å": 1.0, "a": 1.0, "angstrom": 1.0, "pm": 0.01, "nm": 10.0, "um": 1e4, "µm": 1e4, "micron": 1e4, "mm": 1e7}
UNITS |= {"nanometer": 10.0, "microns": 1e4, "cm": 1e8}
#: Largest pixel, Å: larger ones come from a printer's resolution, which programs write if they know no other.
LARGEST_PIXEL = 1000.0
CENTIMETRE = 3


class TiffStack(FileStack):
    """Images of a TIFF file, each read when it is asked for. Safe to pickle and to share among threads.

    Parameters
    ----------
    path
        With one page an image, or a stack that ImageJ wrote; grey values of one size.

    Raises
    ------
    DataError
        If the file cannot be read, holds something else, or a package for it is not installed.
    """

    _offset: int | None  # of the first image where they follow each other without pages, bytes

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        with self._open() as file, self._sound():
            first = file.pages[0]
            if (compression := int(first.compression)) in EER:
                raise DataError(
                    f"{self.path} is an EER movie (TIFF compression {compression}): events, not images; "
                    f"make images of it first, as RELION's and Warp's motion correction do"
                )
            for number, page in enumerate(file.pages, 1):
                self._check(page.keyframe, number, first.shape)
                if page.shape != first.shape or page.dtype != first.dtype:
                    raise DataError(
                        f"{self.path}, page {number}: {page.shape} {page.dtype}, but page 1 is {first.shape} "
                        f"{first.dtype}; all pages must be alike"
                    )
            self._dtype: np.dtype[Any] = np.dtype(first.dtype).newbyteorder("=")
            size, found = int(first.size) * self._dtype.itemsize, self.path.stat().st_size
            if compression == 1 and size > found:
                raise DataError(f"{self.path} is cut short: an image has {size} bytes, the file {found}; copy it again")
            check_memory(self.path, size, "an image of it")
            count, self._offset = len(file.pages), None
            if not _ends(file):
                raise DataError(f"{self.path} is cut short: {count} pages found, but more are announced; copy it again")
            # ImageJ writes large stacks as one page that the other images follow, without pages of their own
            if count == 1 and compression == 1 and (file.is_imagej or file.is_shaped):
                count = max(1, int(file.series[0].size) // int(first.size))
            if count > len(file.pages):
                self._offset, self._stored = int(first.dataoffsets[0]), np.dtype(file.byteorder + self._dtype.char)
                needed = self._offset + count * size
                if needed > found:
                    raise DataError(
                        f"{self.path} is cut short: {needed} bytes expected ({count} images), {found} found; "
                        f"copy it again"
                    )
            self.shape = (count, int(first.shape[0]), int(first.shape[1]))
            self._pixel_size = _pixel_size(file)
            try:
                # one strip is enough to know whether the compression can be undone
                next(iter(first.segments()))
            except Exception as error:
                raise self._unreadable(error, 1) from error

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels, in the byte order of this machine."""
        return self._dtype

    @property
    def pixel_size(self) -> float:
        """Å; 0 where the file says nothing that can be trusted.

        Trusted are the units of ImageJ and of OME, and resolutions per cm that give pixels below 1000 Å, as SerialEM
        and IMOD write them.
        """
        return self._pixel_size

    @property
    def places(self) -> None:
        """No other program is led to these files: the images have to be copied."""
        return

    def __getitem__(self, index: int, /) -> NDArray[Any]:
        """Read image ``index`` (0-based) from disk, ``(height, width)``, the bottom row first."""
        _, height, width = self.shape
        number = self._number(index)
        try:
            if self._offset is not None:
                size = height * width
                start = self._offset + number * size * self._stored.itemsize
                image = np.fromfile(self.path, self._stored, size, offset=start).reshape(height, width)
            else:
                with self._open() as file:
                    image = file.pages[number].asarray(maxworkers=1)
        except DataError:
            raise
        except Exception as error:
            raise self._unreadable(error, number + 1) from error
        return np.ascontiguousarray(image[::-1], self._dtype)

    def _open(self) -> Any:
        """Open the file, a ``tifffile.TiffFile``."""
        try:
            import tifffile

            # we report in one line what matters of that which the library finds odd
            logging.getLogger("tifffile").addHandler(logging.NullHandler())
        except ImportError as error:
            raise DataError(
                f"{self.path} is a TIFF file; the package tifffile reads it: pip install 'fourierrecon[tiff]'"
            ) from error
        try:
            file = tifffile.TiffFile(self.path)
        except OSError as error:
            raise DataError(f"cannot read {self.path}: {error.strerror or error}") from error
        except Exception as error:
            raise DataError(f"{self.path} is a damaged TIFF file ({_line(error)}); copy it again") from error
        if not len(file.pages):
            file.close()
            raise DataError(f"{self.path} is a damaged TIFF file (it holds no pages); copy it again")
        return file

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """Say in one line that tags are damaged: they may be of any number and type, and the library hands them on."""
        try:
            yield
        except (DataError, MemoryError):
            raise
        except Exception as error:
            raise DataError(f"{self.path} is a damaged TIFF file ({_line(error)}); copy it again") from error

    def _check(self, page: Any, number: int, shape: tuple[int, ...]) -> None:
        """Refuse what is no image of one grey value a pixel, the first row at the top."""
        where = f"{self.path}, page {number}"
        tag = page.tags.get("Orientation")
        if len(shape) != 2 or page.samplesperpixel != 1:
            raise DataError(f"{where}: shape {shape}; only grey images (height, width) can be used; convert it")
        if page.dtype is None or page.dtype.kind not in "iuf" or page.bitspersample % 8:
            found = page.dtype if page.dtype is not None and page.dtype.kind == "c" else f"{page.bitspersample} bit"
            raise DataError(f"{where}: {found} pixels; convert them to integers or floats of 8, 16 or 32 bits first")
        if page.photometric is not None and int(page.photometric) != 1:
            raise DataError(f"{where}: photometric {page.photometric!s}; needed: MINISBLACK (grey, dark is 0)")
        if tag is not None and int(tag.value) != 1:
            raise DataError(f"{where}: orientation {int(tag.value)}; needed: 1 (first row at the top); save it anew")

    def _unreadable(self, error: Exception, number: int) -> DataError:
        """Say why a page cannot be read."""
        if "imagecodecs" in str(error):
            return DataError(
                f"{self.path}, page {number}: {_line(error)}: pip install 'fourierrecon[tiff]', or save it uncompressed"
            )
        return DataError(f"{self.path}, page {number}: cannot be read ({_line(error)}); copy it again")


def _ends(file: Any) -> bool:
    """Tell whether the last page says that there are no more: a file that was cut short promises another."""
    handle, tiff = file.filehandle, file.tiff
    handle.seek(file.pages.next_page_offset)
    link = handle.read(tiff.offsetsize)
    return len(link) == tiff.offsetsize and not any(link)


def _line(error: Exception) -> str:
    """Give an error in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:150]


def _pixel_size(file: Any) -> float:
    """Give the pixel size, Å; 0 where nothing that can be trusted gives it."""
    try:
        size = _ome(file.ome_metadata) if file.is_ome else _resolution(file)
    except (ValueError, ArithmeticError, TypeError, AttributeError, LookupError, ElementTree.ParseError):
        return 0.0  # notes of any program
    return size if np.isfinite(size) and 0 < size < LARGEST_PIXEL else 0.0


def _ome(text: str) -> float:
    """Give the pixel size of OME's notes, Å."""
    for element in ElementTree.fromstring(text).iter():
        if element.tag.rpartition("}")[2] == "Pixels" and "PhysicalSizeX" in element.attrib:
            x, y = (
                float(element.attrib.get(f"PhysicalSize{axis}", "nan"))
                * UNITS.get(element.attrib.get(f"PhysicalSize{axis}Unit", "µm").replace("μ", "µ").lower(), 0.0)
                for axis in "XY"
            )
            return _square(x, y)
    return 0.0


def _resolution(file: Any) -> float:
    """Give the pixel size of the tags XResolution and YResolution, Å; ImageJ has their unit in its notes."""
    tags = file.pages[0].tags
    if "XResolution" not in tags or "YResolution" not in tags:
        return 0.0
    x, y = (tags[name].value[1] / tags[name].value[0] for name in ("XResolution", "YResolution"))
    if file.is_imagej:
        name = str((file.imagej_metadata or {}).get("unit", ""))
        name = re.sub(r"\\u00[bB]5", "µ", name).replace("μ", "µ").lower()
        unit = UNITS.get(name, 0.0)
    else:
        tag = tags.get("ResolutionUnit")
        unit = 1e8 if tag is not None and int(tag.value) == CENTIMETRE else 0.0
    return _square(x * unit, y * unit)


def _square(x: float, y: float) -> float:
    """Give the side of a pixel that is square; else 0."""
    return x if abs(x - y) <= 0.01 * abs(x) else 0.0
