"""Reads and writes volumes in MRC files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourierrecon.errors import DataError, UsageError, raise_shortage
from fourierrecon.io.files import replacing
from fourierrecon.io.stacks.mrc import HEADER_BYTES, MODES, Header, read_header, read_pixels
from fourierrecon.io.volumes.base import SectionWriter, VolumeFile
from fourierrecon.io.volumes.quantise import HeldVolume, Scale, Statistics, check_densities, check_rows
from fourierrecon.runtime.threads import Progress, available_cores, for_each
from fourierrecon.volume import Volume

#: Labels that a header has room for.
LABELS = 10
#: Characters that a label has room for.
LABEL = 80
#: Bytes written at a time: small pieces go to memory that was just given up, large ones to fresh memory.
PIECE = 1 << 15


class MrcVolume(VolumeFile):
    """A volume in an MRC file, read as it is needed.

    Parameters
    ----------
    path
        File.

    Raises
    ------
    DataError
        If the file cannot be read, or its axes are not stored in the order x, y, z.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._header = header = _volume_header(self.path)
        self.shape, self.dtype = header.shape, header.dtype.newbyteorder("=")
        self.voxel_size, self.spacing, self.origin = header.cube, header.spacing, header.origin
        scales = [Scale.from_label(label) for label in header.labels]
        self.label = "\n".join(label for label, s in zip(header.labels, scales, strict=True) if s is None)
        # a program that made floats of a file may have copied its labels
        known = [scale for scale in scales if scale is not None and self.dtype.kind in "iu"]
        self.scale = known[-1] if known else Scale()
        self.tile = (1, self.shape[1])

    def stored(self, z: slice, y: slice) -> NDArray[Any]:
        """Read a block ``(z, y, x)`` of numbers as they are stored, all columns of it."""
        _, height, width = self.shape
        block = np.empty((z.stop - z.start, y.stop - y.start, width), self.dtype)
        for k, rows in enumerate(block):
            start = ((z.start + k) * height + y.start) * width
            rows[...] = read_pixels(self.path, self._header, start, rows.size).reshape(rows.shape)
        return block


def read_mrc_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a volume as float32, with the origin and voxel size (Å; 0 if unknown) of its header.

    Integers become densities by the scale in the file's labels, if it has one (see :func:`writing_mrc`).

    Raises
    ------
    DataError
        If the file cannot be read, or its axes are not stored in the order x, y, z.
    """
    return MrcVolume(path).read()


def map_mrc_volume(path: str | os.PathLike[str]) -> Volume:
    """Map the volume of a file into memory: only what is looked at is read, for files of any size.

    Parameters
    ----------
    path
        MRC file.

    Returns
    -------
    volume
        ``.data`` is read-only and as stored, any of MRC's types and byte orders; ``.voxel_size`` is 0 where the header
        says nothing.

    Raises
    ------
    DataError
        If the file cannot be read, or its axes are not stored in the order x, y, z.
    """
    header = _volume_header(Path(path))
    try:
        data = np.memmap(path, header.dtype, "r", header.offset, header.shape)
    except OSError as error:
        raise_shortage(error)
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return Volume(data, header.cube, header.origin)


def _volume_header(path: Path) -> Header:
    """Read a header, and refuse axes in another order than x, y, z."""
    header = read_header(path)
    if sorted(header.axes) == [1, 2, 3] and header.axes != (1, 2, 3):
        raise DataError(f"{path}: axes stored in the order {header.axes}; needed: (1, 2, 3). Reorder them first")
    return header


def write_mrc(path: str | os.PathLike[str], volume: Volume) -> None:
    """Write a volume as an MRC file, mode 2, with voxel size, origin and statistics; all of it or nothing.

    Parameters
    ----------
    path
        File; its folders are made. A file of that name is only replaced once the new one is complete.
    volume
        ``(z, y, x)`` with the world position of its first voxel, Å, which becomes the header's origin.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    data = np.asarray(volume.data)
    if data.ndim != 3 or 0 in data.shape:
        raise DataError(f"volume of shape {data.shape} cannot be written; needed: (z, y, x), none of them 0")
    label = volume.label or "fourierrecon"
    with writing_mrc(path, data.shape, volume.voxel_size, volume.origin, label) as write:
        for z, section in enumerate(data):
            write(z, section)


class MrcWriter:
    """Writes sections of an MRC file in any order and from any thread, and its header at the end.

    Parameters
    ----------
    file
        Open for writing, empty.
    shape
        ``(z, y, x)``.
    dtype
        Type of the voxels.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._kind = np.dtype(dtype).newbyteorder("<")
        if self._kind not in _modes():
            choices = ", ".join(str(np.dtype(name)) for name in MODES.values())
            raise UsageError(f"MRC files do not hold {np.dtype(dtype)}; available: {choices}")
        self._file, self._shape, self._turn = file, shape, threading.Lock()
        self.statistics = Statistics()

    def write(self, number: int, section: NDArray[Any], y: int | None = None, /) -> None:
        """Write one section ``(y, x)``, or some rows of it from row ``y`` on."""
        first = check_rows(self._shape, number, section, y)
        # values beyond float16 are noticed when the volume is complete
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(section, self._kind).reshape(-1)
        self.statistics.add(number, first, values)
        _, height, width = self._shape
        view = memoryview(values.view(np.uint8).data)
        offset = HEADER_BYTES + (number * height + first) * width * values.itemsize
        # threads that write to one file at once burn their time waiting for each other in the system
        with self._turn:
            while len(view):
                done = os.pwrite(self._file.fileno(), view[:PIECE], offset)
                view, offset = view[done:], offset + done

    def finish(self, voxel_size: float, origin: tuple[float, float, float], label: str, *, stack: bool = False) -> None:
        """Write the header, after all sections. Each line of ``label`` is a label, ten at the most."""
        from mrcfile.dtypes import HEADER_DTYPE

        depth, height, width = self._shape
        header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
        with np.errstate(all="ignore"):
            header["nx"], header["ny"], header["nz"], header["mode"] = width, height, depth, _modes()[self._kind]
            header["mx"], header["my"], header["mz"] = width, height, 1 if stack else depth
            header["cella"] = tuple(np.array([width, height, 1 if stack else depth]) * voxel_size)
            header["cellb"] = (90.0, 90.0, 90.0)
            header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
            header["dmin"], header["dmax"], header["dmean"], header["rms"] = self.statistics.summary()
        header["ispg"], header["nversion"] = int(not stack), 20141
        header["origin"] = tuple(origin)
        header["map"], header["machst"] = b"MAP ", (0x44, 0x44, 0, 0)
        for i, line in enumerate(_labels(label)[:LABELS]):
            header["nlabl"], header["label"][i] = i + 1, line.encode("ascii", "replace")[:LABEL]
        os.pwrite(self._file.fileno(), header.tobytes(), 0)


def _labels(text: str) -> list[str]:
    """Give the lines of a text as labels: longer ones go on in the next."""
    lines = ["".join(c if c.isprintable() else " " for c in line) for line in text.replace("Å", "A").splitlines()]
    return [part for line in lines for part in (wrap(line, LABEL) if len(line) > LABEL else [line])]


@contextmanager
def writing_mrc(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    voxel_size: float | None,
    origin: tuple[float, float, float],
    label: str,
    dtype: DTypeLike = np.float32,
    *,
    stack: bool = False,
    scale: Scale | None = None,
    scratch: Path | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[SectionWriter]:
    """Write an MRC file section by section: all of it or nothing.

    Integers stand for densities: ``value = stored * scale + offset``, which becomes the last label of the file, as MRC
    has no field for it. Their range is only known at the end: till then a nameless scratch file holds the densities.
    For the range see :meth:`fourierrecon.io.volumes.quantise.Scale.of`. Least, largest and mean in the header are
    those of the stored numbers. Images of a stack keep their own numbers.

    Parameters
    ----------
    path
        File; its folders are made. A file of that name is only replaced once the new one is complete.
    shape
        ``(z, y, x)``.
    voxel_size, origin
        Å, None where it is unknown; the world position of the first voxel.
    label
        Lines for the header, ten at the most.
    dtype
        Type of the voxels.
    stack
        A stack of images, not a volume.
    scale
        Densities that integers stand for, if known: then nothing goes through a scratch file.
    scratch
        Folder of the scratch file; default: that of the file.
    n_threads
        Threads that make integers. Default: the cores available to the process.
    progress
        Called as ``progress(stage, done, total)`` while integers are made, from any thread.

    Yields
    ------
    write
        ``write(z, section)`` takes a section ``(y, x)``, in any order and from any thread; ``write(z, rows, y)`` takes
        some rows.

    Raises
    ------
    DataError
        If the file cannot be written, or its type does not hold the densities.
    UsageError
        If MRC has no such type of voxels.
    """
    if voxel_size is not None and not (np.isfinite(voxel_size) and voxel_size > 0):
        raise DataError(f"cannot write {path}: voxel size {voxel_size:g} Å must be positive")
    integers = np.dtype(dtype).kind in "iu" and not stack
    with replacing(path) as file:
        writer = MrcWriter(file, shape, dtype)
        if integers and scale is None:
            folder = Path(path).absolute().parent if scratch is None else scratch
            with closing(HeldVolume(shape, folder)) as held:
                yield held.write
                check_densities(path, held.statistics, dtype)
                scale = found = Scale.of(held.statistics, dtype)

                def finish(_: None, z: int) -> None:
                    densities = held.read(slice(z, z + 1), slice(0, shape[1]), slice(0, shape[2]))[0]
                    writer.write(z, found.to_stored(densities, dtype))

                threads = n_threads or available_cores()
                for_each(shape[0], finish, state=lambda: None, n_threads=threads, stage="integers", progress=progress)
        elif scale is not None:
            known = scale
            yield lambda z, rows, y=None, /: writer.write(z, known.to_stored(rows, dtype), y)
        else:
            yield writer.write
        if not stack:
            check_densities(path, writer.statistics, dtype)
        if scale is not None and scale != Scale():
            label = "\n".join([*_labels(label)[: LABELS - 1], scale.label])
        writer.finish(voxel_size or 0.0, origin, label, stack=stack)


def _modes() -> dict[np.dtype[Any], int]:
    return {np.dtype(name).newbyteorder("<"): mode for mode, name in MODES.items()}
