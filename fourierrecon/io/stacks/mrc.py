"""Image stacks in MRC and TIFF files, read one image at a time as they are needed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.files import ZARR_MARKS
from fourierrecon.io.stacks.base import FileStack
from fourierrecon.text import counted

#: First bytes of files that are no MRC: TIFF (EER too), BigTIFF, in both byte orders; and HDF5.
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HDF_MARK = b"\x89HDF"
#: What the numbers of the header's field ``mode`` mean.
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
COMPLEX_MODES = (3, 4)
KNOWN_MODES = (*MODES, *COMPLEX_MODES, 101)
HEADER_BYTES = 1024
#: Programs that do not know the pixel size write 1 Å, to the precision of the header.
SAME_PIXEL = 1e-6
#: Distances of voxels that are none, Å; and by which part those along two axes may differ.
LEAST_SPACING, MOST_SPACING, SAME_SPACING = 1e-3, 1e6, 0.01
#: IMOD's mark in the header (bytes 152 to 155), and the bit of its flags that makes bytes signed.
IMOD_STAMP, IMOD_SIGNED = 1146047817, 1


class Header(NamedTuple):
    """What is needed of an MRC header."""

    shape: tuple[int, int, int]  # (z, y, x) as stored
    dtype: np.dtype[Any]
    offset: int  # of the first pixel, bytes
    voxel_size: float  # Å, 0 where unknown, or not the same along x and y
    origin: tuple[float, float, float]
    axes: tuple[int, int, int]
    labels: tuple[str, ...]
    order: Literal["<", ">"]  # of the bytes
    extended: bytes  # kind of the extended header
    sizes: tuple[int, int]  # its fields nint and nreal
    imod: bool  # IMOD's mark is there
    spacing: tuple[float, float, float]  # Å along x, y and z, as the header has it; nothing is checked

    @property
    def upside_down(self) -> bool:
        """Whether IMOD takes the first row for the top one, as it does in FEI1 files that it has not written."""
        return self.extended == b"FEI1" and not self.imod

    @property
    def cube(self) -> float:
        """Side of the voxels of a volume, Å; 0 where it is unknown, or not the same along all axes."""
        return common_spacing(self.spacing)

    @property
    def end(self) -> int:
        """Bytes that the file must have."""
        return self.offset + self.shape[0] * self.shape[1] * self.shape[2] * self.dtype.itemsize


def common_spacing(spacing: Sequence[float]) -> float:
    """Give the distance of voxels, or of pixels, that all axes have.

    Parameters
    ----------
    spacing
        Å along x, y ...; an axis but the first that says nothing is no objection.

    Returns
    -------
    Å; 0 where it is unknown or absurd, or not the same along all axes.
    """
    first, *others = spacing
    sound = LEAST_SPACING < first < MOST_SPACING
    known = [other for other in others if np.isfinite(other) and other > 0]
    return first if sound and all(abs(first - other) < SAME_SPACING * other for other in known) else 0.0


class MrcStack(FileStack):
    """Images of an MRC file, each read when it is asked for. Safe to pickle and to share among threads.

    Parameters
    ----------
    path
        ``.mrc``, ``.mrcs``, ``.st`` ...: any MRC file; a single image counts as a stack of one.
    as_imod
        Turn the images of FEI1 files upside down, as IMOD does: its alignments hold for these.

    Raises
    ------
    DataError
        If the file is missing, no MRC file, cut short, empty or complex.
    """

    def __init__(self, path: str | os.PathLike[str], *, as_imod: bool = False) -> None:
        self.path = Path(path).absolute()
        self._header = read_header(self.path)
        self._turned = as_imod and self._header.upside_down
        self.shape = self._header.shape

    @property
    def header(self) -> Header:
        """What is known of the file."""
        return self._header

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels as stored, in the byte order of this machine."""
        return self._header.dtype.newbyteorder("=")

    @property
    def pixel_size(self) -> float:
        """From the header, Å; 0 where it says nothing sensible: nothing at all, or the 1 Å of who does not know."""
        return 0.0 if self.says_one else self._header.voxel_size

    @property
    def says_one(self) -> bool:
        """Whether the header says 1 Å, which programs write that do not know the pixel size."""
        return abs(self._header.voxel_size - 1) < SAME_PIXEL

    @property
    def places(self) -> list[tuple[Path, int]] | None:
        """File of each image, and its 0-based number there; None where it is turned upside down in reading."""
        return None if self._turned else [(self.path, i) for i in range(len(self))]

    def __getitem__(self, index: int, /) -> NDArray[Any]:
        """Read image ``index`` (0-based) from disk, ``(height, width)``."""
        _, height, width = self.shape
        number = self._number(index)
        image = read_pixels(self.path, self._header, number * height * width, height * width).reshape(height, width)
        return np.ascontiguousarray(image[::-1]) if self._turned else image

    def some_rows(self, index: int, step: int) -> NDArray[Any]:
        """Read every ``step``-th row of image ``index`` as it is stored."""
        _, height, width = self.shape
        h, number = self._header, self._number(index)
        try:
            stored = np.memmap(self.path, h.dtype, "r", h.offset, (number + 1, height, width))
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {self.path}: {error}") from error
        return np.ascontiguousarray(stored[number, ::step])


def holds_images(path: Path) -> bool:
    """Tell by its first bytes whether a file holds images or a volume, or whether a folder is a Zarr volume."""
    if path.is_dir():
        return any((path / mark).is_file() for mark in ZARR_MARKS)
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except (OSError, ValueError):
        return False
    return head.startswith((*TIFF_MARKS, HDF_MARK)) or head[208:211] == b"MAP"


def read_header(path: Path) -> Header:
    """Read and check the header of an MRC file."""
    try:
        with path.open("rb") as file:
            raw = file.read(HEADER_BYTES)
            found = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"cannot read {str(path)!r}: {error}") from error
    if len(raw) < HEADER_BYTES:
        raise DataError(f"{path} is not an MRC file: it has {len(raw)} bytes, a header alone has {HEADER_BYTES}")
    marked = raw[208:211] == b"MAP"
    # the stamp of the byte order is wrong or missing in some files: then the order that makes sense
    orders: tuple[Literal["<", ">"], ...] = (">", "<") if raw[212] == 0x11 else ("<", ">")
    header, mode, plausible = _interpret(raw, orders[0])
    if not plausible or header.end > found:
        other = _interpret(raw, orders[1])
        if other[2] and (not plausible or other[0].end <= found):
            header, mode, plausible = other
    shape, needed = header.shape, header.end
    if not marked and (not plausible or 0 in shape or mode not in MODES or needed > found):
        raise DataError(
            f"{path} is not an MRC file: no MAP mark, and its header makes no sense; images must be MRC or TIFF"
        )
    sizes = f"{shape[2]} x {shape[1]} x {shape[0]}"
    if not plausible:
        raise DataError(f"{path} is a damaged MRC file: mode {mode}, size {sizes}; restore it from its source")
    if 0 in shape:
        raise DataError(f"{path} holds no images: size {sizes} in its header; was its writing interrupted?")
    if mode in COMPLEX_MODES:
        raise DataError(f"{path} holds complex numbers (MRC mode {mode}), not images; transform it back first")
    if mode not in MODES:
        raise DataError(f"{path} has packed 4-bit pixels (MRC mode {mode}); convert it to bytes or float32 first")
    extended = header.offset - HEADER_BYTES
    if extended and needed - extended == found:
        raise DataError(
            f"{path}: its header tells of {extended} bytes of extended header that are not there, while its images "
            f"are whole; set nsymbt (bytes 93 to 96 of the file) to 0"
        )
    if needed > found:
        raise DataError(
            f"{path} is cut short: {needed} bytes expected ({sizes} in MRC mode {mode}), {found} found; copy it again"
        )
    if needed < found:
        warnings.warn(
            f"{path}: {counted(found - needed, 'byte')} more than its header tells of ({sizes} in MRC mode {mode}); if "
            "the images look sheared, its header is damaged",
            stacklevel=3,
        )
    if not marked:
        warnings.warn(f"{path}: no MAP mark in the header (an old MRC file); read all the same", stacklevel=3)
    return header


def _interpret(raw: bytes, order: Literal["<", ">"]) -> tuple[Header, int, bool]:
    """Read the fields of a header in one byte order: the header, its mode, and whether it makes sense."""
    from mrcfile.dtypes import HEADER_DTYPE

    fields = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order))[0]
    mode, shape = int(fields["mode"]), (int(fields["nz"]), int(fields["ny"]), int(fields["nx"]))
    plausible = mode in KNOWN_MODES and max(shape) < 1 << 24 and min(shape) >= 0 and fields["nsymbt"] >= 0
    dtype = np.dtype(MODES.get(mode, "i1")).newbyteorder(order)
    imod_stamp, imod_flags = np.frombuffer(raw, np.dtype("i4").newbyteorder(order), 2, 152)
    nint, nreal = np.frombuffer(raw, np.dtype("i2").newbyteorder(order), 2, 128)
    if mode == 0 and imod_stamp == IMOD_STAMP and not imod_flags & IMOD_SIGNED:
        dtype = np.dtype("u1")
    with np.errstate(all="ignore"):
        along_x, along_y, along_z = (
            float(fields["cella"][axis]) / (int(fields[f"m{axis}"]) or side or 1)
            for axis, side in zip("xyz", shape[::-1], strict=True)
        )
        if int(fields["mz"]) == 1 < shape[0] and common_spacing((along_x, along_y, along_z / shape[0])):
            # a volume that is called a stack of images, which leaves one section as thick as all
            along_z /= shape[0]
    x, y, z = (float(fields["origin"][axis]) for axis in "xyz")
    header = Header(
        shape,
        dtype,
        HEADER_BYTES + int(fields["nsymbt"]),
        common_spacing((along_x, along_y)),
        (x, y, z) if np.isfinite([x, y, z]).all() else (0.0, 0.0, 0.0),
        (int(fields["mapc"]), int(fields["mapr"]), int(fields["maps"])),
        tuple(filter(None, (label.decode("ascii", "replace").strip(" \0") for label in fields["label"].tolist()))),
        order,
        bytes(fields["exttyp"]),
        (int(nint), int(nreal)),
        bool(imod_stamp == IMOD_STAMP),
        (along_x, along_y, along_z),
    )
    return header, mode, bool(plausible)


def read_pixels(path: Path, header: Header, start: int, count: int) -> NDArray[Any]:
    """Read some pixels in the byte order of this machine."""
    try:
        pixels = np.fromfile(path, header.dtype, count, offset=header.offset + start * header.dtype.itemsize)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if pixels.size != count:
        raise DataError(f"{path} has become shorter since it was opened; is another program writing it?")
    return pixels.astype(header.dtype.newbyteorder("="), copy=False)
