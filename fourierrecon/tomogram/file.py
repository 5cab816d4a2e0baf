"""Writes the file of a tomogram: its header, the order of its axes, and the passport beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from fourierrecon.engine.settings import Settings
from fourierrecon.engine.several_volumes import VolumeOrder
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
from fourierrecon.runtime.arrays import Real
from fourierrecon.runtime.threads import available_cores
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tomogram.finish import VIEW_DTYPE, Change, Finish, Slab, finishing, view_path
from fourierrecon.tomogram.fitting import Fit
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
    finish
        What is done to the numbers; its filters are part of the weighting.
    fit
        How the tomogram was fitted to its specimen.
    ome_version
        Version of OME-Zarr.
    change
        Told what the finish did in numbers.
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
    finish: Finish = field(default_factory=Finish)
    fit: Fit = field(default_factory=Fit)
    ome_version: str = "0.5"
    change: Change = field(default_factory=Change)

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
        making = ", ".join(filter(None, [making, self.part, self.finish.words]))
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
    def writing(self, watching: Callable[[SlabWriter], SlabWriter] = lambda write: write) -> Iterator[SlabWriter]:
        """Write the file, all of it or nothing.

        The context gives a function that takes sections ``(y, x)`` of the region, in any order and from any thread.

        Parameters
        ----------
        watching
            Makes of the function that takes finished sections another one, which may look at them.
        """
        s, shape = self.settings, self.region.shape
        slab = Slab(self.region, self.fit.specimen, self.series.pixel_size)
        with (
            writing_volume(
                self.path, self.orientation.shape(shape), *self.header, self.dtype, scratch=s.scratch,
                n_threads=s.n_threads, memory=s.memory, progress=s.progress, ome_version=self.ome_version,
            ) as write,
            reordering(write, self.orientation, shape, self.scratch) as reordered,
            finishing(watching(reordered), self.finish, slab, self.scratch, self.change) as write_slab,
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
        made |= {"key": self.key} if self.key else {}
        made |= {"fit": asdict(self.fit)} if self.fit.words else {}
        if self.finish != Finish():
            made["finish"] = asdict(self.finish) | {"value": "factor * density + offset", **vars(self.change)}
        return write_passport(self.path, made)


def with_copy(file: TomogramFile) -> list[TomogramFile]:
    """Give a tomogram's file, and its viewing copy if there is to be one, each with its filters in the weighting."""
    finish = file.finish
    found = [replace(file, finish=finish.of_tomogram, change=Change())]
    if finish.of_copy is not None and file.part == "":
        path = view_path(file.path)
        found.append(replace(file, path=path, finish=finish.of_copy, dtype=VIEW_DTYPE, change=Change()))
    correction = file.settings.correction
    return [
        replace(each, weighting=each.finish.weighting(file.weighting, file.series, file.region, correction))
        for each in found
    ]


def grouped(files: Sequence[TomogramFile]) -> list[list[TomogramFile]]:
    """Group files that hold the same reconstruction, with other numbers."""
    groups: dict[Weighting, list[TomogramFile]] = {}
    for file in files:
        groups.setdefault(file.weighting, []).append(file)
    return list(groups.values())


def order_for(
    files: Sequence[TomogramFile],
    watching: Callable[[SlabWriter], SlabWriter] = lambda write: write,
    finished: Callable[[], object] = lambda: None,
    *,
    slabs: int = 0,
    end: int = 0,
) -> VolumeOrder:
    """Give the order for files of one reconstruction, which are written side by side.

    Parameters
    ----------
    files
        Files that differ in what is done to the numbers.
    watching
        As for :meth:`TomogramFile.writing`, for the first file.
    finished
        Called when all are written.
    slabs, end
        Memory that goes with them, bytes, see :class:`~fourierrecon.engine.storage.Beside`.
    """
    first = files[0]

    @contextmanager
    def open_files() -> Iterator[SlabWriter]:
        with ExitStack() as stack:
            writers = [stack.enter_context(first.writing(watching))]
            writers += [stack.enter_context(file.writing()) for file in files[1:]]

            def write(z: int, section: Real) -> None:
                for each in writers:
                    each(z, section)

            yield writers[0] if len(writers) == 1 else write
        finished()

    beside = [file.beside for file in files]
    return VolumeOrder(
        series=first.series, open=open_files, region=first.region, weighting=first.weighting, tilts=first.tilts,
        beside=Beside(
            always=sum(each.always for each in beside), slabs=slabs + sum(each.slabs for each in beside),
            end=end + max(each.end for each in beside),
        ),
    )  # fmt: skip
