"""What a reconstruction would write, and what that takes besides: sizes on disk and memory. Nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import prod

from fourierrecon.display.preview import preview_memory
from fourierrecon.engine.storage import ALONE, Beside
from fourierrecon.io.volumes.formats import space_for
from fourierrecon.tomogram.aligned_stack import aligned_shape
from fourierrecon.tomogram.companions import VOLUMES, companion_memory, companion_shape
from fourierrecon.tomogram.file import TomogramFile, order_for, with_copy


@dataclass(frozen=True, kw_only=True)
class Written:
    """What is written for one tomogram.

    Parameters
    ----------
    files
        Bytes on disk of each kind of file.
    held
        Bytes of the scratch files that volumes in Zarr or of integers go through.
    beside
        Memory that the writers take while volumes are made.
    after
        Memory that the largest step after them takes, bytes.
    """

    files: Mapping[str, int] = field(default_factory=dict)
    held: int = 0
    beside: Beside = ALONE
    after: int = 0

    @property
    def size(self) -> int:
        """Bytes on disk of all files."""
        return sum(self.files.values())


def written_for(
    file: TomogramFile,
    *,
    halves: bool = False,
    projection: int = 0,
    companions: Collection[str] = (),
    aligned_stack: bool = False,
    preview: bool = False,
    report_memory: int = 0,
) -> Written:
    """Work out what is written for a tomogram.

    Parameters
    ----------
    file
        The tomogram, with what is done to its numbers.
    halves
        Half volumes are made as well.
    projection
        Thickness of the 2D projections of all volumes, voxels; 0: there are none.
    companions
        What goes with the tomogram.
    aligned_stack, preview
        Whether the aligned images, and a picture, are written.
    report_memory
        Bytes of memory that a report takes; 0: there is none.

    Raises
    ------
    UsageError
        If the format or the type of the tomogram is unknown, or a filter makes no sense.
    """
    section, count = 4 * prod(file.region.shape[1:]), 3 if halves else 1
    copies = with_copy(file)
    spaces = [space_for(each.path, file.region.shape, each.dtype) for each in copies]
    files = {"tomogram": spaces[0][0]}
    if halves:
        files["half volumes"] = 2 * spaces[0][0]
    if len(copies) > 1:
        files["viewing copy"] = spaces[1][0]
    if projection:
        files["projections" if halves else "projection"] = count * _mrc((1, *file.region.shape[1:]))
    volumes = [name for name in VOLUMES if name in companions]
    files |= {name: _mrc(companion_shape(file.region, name)) for name in volumes}
    if aligned_stack or "aligned_stack" in companions:
        files["aligned stack"] = _mrc(aligned_shape(file.series, file.region))
    kept = section * (projection + 1) if projection else 0
    steps = [report_memory, *(companion_memory(file.region, name) for name in volumes)]
    steps += [preview_memory(file.region.shape)] * preview
    return Written(
        files=files,
        held=sum(held for _, held in spaces),
        beside=order_for(copies, slabs=kept, end=kept).beside,
        after=file.memory_after(max(steps)) if max(steps) else 0,
    )


def _mrc(shape: tuple[int, int, int]) -> int:
    """Bytes of an MRC file of single precision."""
    return space_for("x.mrc", shape, "float32")[0]
