"""What the options of the command line come to: a strategy, a binning, and an output that harms nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf, prod
from pathlib import Path

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry import Region
from fourierrecon.parallel import available_memory
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.weighting import Weighting, from_text

#: Of RELION 4.
DEFAULT_BINNING = 8.0


def choose_weighting(no_weight: bool, pre_weight: bool, text: str | None, snr: float | None) -> Weighting:
    """Give the strategy that the options ask for; by default the 3D Wiener filter.

    Parameters
    ----------
    no_weight, pre_weight
        Whether ``--no_weight``, ``--pre_weight`` were given.
    text
        Of ``--weighting``: ``NAME[:key=value,...]``.
    snr
        Of ``--SNR``, for strategies that have one; what the text says goes first.

    Raises
    ------
    UsageError
        If more than one is asked for, or something that does not exist.
    """
    options = {"--no_weight": no_weight, "--pre_weight": pre_weight, "--weighting": text is not None}
    given = [option for option, used in options.items() if used]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other; give one of them")
    if snr is not None and not snr > 0:
        raise UsageError(f"--SNR {snr:g} must be above 0; 10 is the default, lower is smoother")
    text = text if text is not None else "none" if no_weight else "preweight" if pre_weight else "wiener"
    return from_text(text) if snr is None else from_text(text, snr=snr)


def choose_binning(binning: float | None, voxel_size: float | None, series: TiltSeries) -> float:
    """Give the binning that ``--bin`` or ``--binned_angpix`` asks for.

    Parameters
    ----------
    binning
        Of ``--bin``.
    voxel_size
        Of ``--binned_angpix``, Å.
    series
        Its pixel size counts.

    Raises
    ------
    UsageError
        If the voxels would be finer than the pixels.
    """
    if voxel_size is None:
        return DEFAULT_BINNING if binning is None else binning
    ratio = voxel_size / series.pixel_size
    # a voxel size rounded to a few digits may be a trace below the pixel size
    if not ratio > 1 - 1e-4:
        raise UsageError(
            f"--binned_angpix {voxel_size:g} is finer than the images; give {series.pixel_size:g} (Å) or more"
        )
    return max(ratio, 1.0)


def protect(output: Path, source: Path, series: TiltSeries) -> None:
    """Refuse to write over what is read.

    Parameters
    ----------
    output
        File to be written.
    source
        The set that was given.
    series
        What was read from it.

    Raises
    ------
    UsageError
        If the output is the set or one of its image files.
    """
    images = series.images
    stack = getattr(images, "path", None)
    read = [source, *filter(None, [series.source, stack]), *getattr(images, "files", ())]
    if output.exists() and any(output.samefile(path) for path in read):
        raise UsageError(f"--o {output} is one of the files that are read; give another name")


def bytes_to_write(region: Region) -> int:
    """Give the size of a volume's file; refuse one that cannot fit into memory before anything is planned.

    Parameters
    ----------
    region
        Of the volume.

    Raises
    ------
    DataError
        If the voxels alone are larger than the memory.
    """
    depth, height, width = (float(n) if n < 1e100 else inf for n in region.shape)
    size, memory = 4 * depth * height * width, available_memory()
    if memory is not None and size > memory:
        raise DataError(
            f"the volume of {width:g} x {height:g} x {depth:g} voxels needs {size / 1e9:.3g} GB of memory, "
            f"{memory / 1e9:.3g} GB are free; use a larger --bin or a smaller region (--w --h --d)"
        )
    return 1024 + 4 * prod(region.shape)


@contextmanager
def folders_of(path: Path) -> Iterator[None]:
    """Remove the folders that were made for a file, if it was not written after all.

    Parameters
    ----------
    path
        The file.
    """
    missing = [folder for folder in path.absolute().parents if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise
