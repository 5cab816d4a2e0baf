"""Writes the file of a tomogram: its header, the order of its axes, and the passport beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fourierrecon.engine.settings import Settings
from fourierrecon.engine.storage import Beside
from fourierrecon.engine.task import in_tiles
from fourierrecon.geometry.axis_order import Orientation
from fourierrecon.geometry.coordinate_frames import Box
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.tiles import Tiling
from fourierrecon.io.volumes.formats import check_volume_writable, end_bytes, is_zarr, writing_volume
from fourierrecon.io.volumes.reorder import reorder_bytes, reordering
from fourierrecon.io.volumes.zarr import require_zarr
from fourierrecon.reconstruction import describe
from fourierrecon.runtime.threads import available_cores
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tomogram.provenance import label_of, make_passport, remove_passport, write_passport
from fourierrecon.volume import SlabWriter
from fourierrecon.weighting import Weighting
from fourierrecon.weighting.as_filter import for_tiles


@dataclass(frozen=True, eq=False, kw_only=True)
class TomogramFile:
    """File of a tomogram that is to be written.

    Parameters
    ----------
    path
        MRC file or OME-Zarr folder.
    series, region, weighting
        As for :func:`fourierrecon.reconstruction.reconstruct`.
    settings
        Settings of the reconstruction.
    like
        Orientation of the file, a name of :data:`fourierrecon.geometry.axis_order.LIKE`.
    dtype
        Type of the voxels.
    tilts
        0-based numbers of the images that are used; None: all.
    part
        Name of the half, for the label; empty for the whole.
    key
        A line for the label that says what the file was made from, see :mod:`fourierrecon.sets.keys`.
    """

    path: Path
    series: TiltSeries
    region: Region
    weighting: Weighting
    settings: Settings
    like: str | None = None
    dtype: str = "float32"
    tilts: tuple[int, ...] | None = None
    part: str = ""
    key: str = ""

    @cached_property
    def orientation(self) -> Orientation:
        """Order of the axes in the file."""
        return Orientation.like(self.like, self.series)

    @cached_property
    def header(self) -> tuple[float, tuple[float, float, float], str]:
        """Voxel size and place of the first voxel, Å, and the lines of its label."""
        taken = self.series if self.tilts is None else self.series.select(self.tilts)
        weighting = self.weighting if self.tiling is None else for_tiles(self.weighting)
        voxel_size, _, making = describe(taken, self.region, weighting, self.settings.correction)
        making = f"{making}, {self.part}" if self.part else making
        label = label_of(making, self.series, self.region, self.like, self.tiling)
        origin = self.orientation.origin(self.region, Box.of(self.series, self.region))
        return voxel_size, origin, f"{label}\n{self.key}" if self.key else label

    @cached_property
    def tiling(self) -> Tiling | None:
        """Tiles that the local alignment is applied in; None where there is none."""
        if not in_tiles(self.series, self.settings):
            return None
        return Tiling.of(self.series, self.region, self.settings.residual)

    @property
    def scratch(self) -> Path:
        """Folder for scratch files: the one in the settings, otherwise the folder of the file."""
        return self.settings.scratch or self.path.absolute().parent

    @property
    def beside(self) -> Beside:
        """Memory that writing takes. Libraries are loaded first, so that they count as part of the process."""
        if is_zarr(self.path):
            require_zarr()
        shape, threads = self.orientation.shape(self.region.shape), self.settings.n_threads or available_cores()
        end = end_bytes(self.path, shape, self.dtype, threads)
        # the threads of zarr keep some memory of the volume that was written before
        return Beside(
            always=threads * end if is_zarr(self.path) else 0,
            end=end + reorder_bytes(self.orientation, self.region.shape),
        )

    def memory_after(self, needed: int) -> int:
        """Give the memory that a step after writing takes (such as a picture of the volume), bytes.

        Parameters
        ----------
        needed
            Bytes that the step takes by itself.
        """
        if not is_zarr(self.path):
            return needed
        # the threads of zarr keep some memory of the volume
        threads = self.settings.n_threads or available_cores()
        return needed + threads * end_bytes(self.path, self.region.shape, self.dtype, 1)

    def check(self) -> None:
        """Check before a long computation that the file can be written; its folders are made.

        Raises
        ------
        UsageError, DataError
            As :func:`fourierrecon.io.volumes.formats.check_volume_writable`.
        """
        shape = self.orientation.shape(self.region.shape)
        check_volume_writable(self.path, shape, self.dtype, self.settings.scratch)

    @contextmanager
    def writing(self) -> Iterator[SlabWriter]:
        """Write the file, all of it or nothing.

        The context gives a function that takes sections ``(y, x)`` of the region, in any order and from any thread.
        """
        s, shape = self.settings, self.region.shape
        with (
            writing_volume(
                self.path, self.orientation.shape(shape), *self.header, self.dtype, scratch=s.scratch,
                n_threads=s.n_threads, memory=s.memory, progress=s.progress,
            ) as write,
            reordering(write, self.orientation, shape, self.scratch) as write_slab,
        ):  # fmt: skip
            yield write_slab

    def finish_passport(self, wanted: bool, source: Path, options: Mapping[str, object] | None = None) -> Path | None:
        """Write the passport and give its name; otherwise remove the passport of an older volume, which is wrong now.

        Parameters
        ----------
        wanted
            Whether to write a passport.
        source
            Set that was read.
        options
            Options of the command line, for the record.

        Raises
        ------
        DataError
            If the passport cannot be written.
        """
        if not wanted:
            remove_passport(self.path)
            return None
        made = make_passport(
            self.path, self.series, self.region, self.weighting, correction=self.settings.correction, like=self.like,
            source=source, options=options, tiling=self.tiling,
        )  # fmt: skip
        return write_passport(self.path, made | ({"key": self.key} if self.key else {}))
