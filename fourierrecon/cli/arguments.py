"""What the options of the command line come to: series, region and strategy, of one tomogram or of a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fourierrecon.errors import UsageError
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.geometry.region import Length, Region
from fourierrecon.io import Supplement, read_tilt_series
from fourierrecon.io.volumes.formats import VOLUME_TYPES
from fourierrecon.text import quoted
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.weighting import Weighting, from_text
from fourierrecon.weighting.snr import Snr

if TYPE_CHECKING:
    from fourierrecon.engine.settings import Settings
    from fourierrecon.sets.recipe import Projection, Recipe
from fourierrecon.tomogram.request import Request

T = TypeVar("T")
#: Of RELION 4.
DEFAULT_BINNING = 8.0


def read_request(
    sets: tuple[Path | None, Path | None],
    name: str | None,
    extras: Supplement,
    offsets: AlignmentCorrections,
    weighting: tuple[bool, bool, str | None, Snr | None],
    binning: tuple[float | None, float | None],
    origin: tuple[float | None, float | None, float | None],
    size: tuple[str | None, str | None, str | None],
) -> Request:
    """Read what the options name, and find out what they ask for.

    Parameters
    ----------
    sets
        Of ``--t``, ``--i``.
    name
        Of ``--tn``.
    extras
        Of ``--stack``, ``--angpix``, ``--mdoc``, ``--voltage``, ``--Cs``, ``--Q0``.
    offsets
        Of ``--tiltangle_offset``, ``--x_tilt``, ``--z_shift``, ``--flip_hand``.
    weighting
        As for :func:`choose_weighting`.
    binning
        Of ``--bin``, ``--binned_angpix``.
    origin
        Of ``--x0``, ``--y0``, ``--z0``.
    size
        Of ``--w``, ``--h``, ``--d``.

    Raises
    ------
    UsageError
        If an option makes no sense, or two contradict each other.
    DataError
        If the set cannot be used.
    """
    source = choose_source(sets)
    if None not in binning:
        raise UsageError("--bin and --binned_angpix exclude each other; give one of them")
    strategy = choose_weighting(*weighting)
    width, height, depth = (parse_length(text, f"--{letter}") for text, letter in zip(size, "whd", strict=True))
    series = offsets.apply(read_tilt_series(source, name, extras))
    factor = choose_binning(*binning, series)
    region = Region.of(series, binning=factor, origin=origin, size=(width, height, depth))
    return Request(source, sets[1] if sets[0] is not None else None, extras, series, region, strategy)


def read_recipe(
    sets: tuple[Path | None, Path | None],
    extras: Supplement,
    offsets: AlignmentCorrections,
    folder: Path,
    weighting: tuple[bool, bool, Sequence[str], Snr | None],
    binning: tuple[Sequence[float], float | None],
    origin: tuple[float | None, float | None, float | None],
    size: tuple[str | None, str | None, str | None],
    settings: Settings,
    *,
    halves: str | None,
    projection: Projection | None,
    dtype: str,
    companions: Sequence[str],
    ending: str,
    like: str | None,
    passport: bool,
    resume: bool,
    redo: bool,
    skip_bad_images: bool = False,
    report: bool = False,
) -> Recipe:
    """Find out what the options ask for of every tomogram of a set.

    Parameters
    ----------
    sets, extras, offsets, origin, size
        As for :func:`read_request`.
    folder
        Of ``--o``.
    weighting, binning
        Likewise, with any number of ``--weighting`` and ``--bin``.
    settings
        Of the reconstruction.
    halves, projection, dtype, ending, like, passport, resume, redo, skip_bad_images, report
        As for :class:`~fourierrecon.sets.recipe.Recipe`.

    Raises
    ------
    UsageError
        If an option makes no sense, or two contradict each other.
    """
    from fourierrecon.geometry.axis_order import LIKE
    from fourierrecon.sets.recipe import Recipe
    from fourierrecon.tomogram.companions import VOLUMES

    no_weight, pre_weight, texts, snr = weighting
    factors, voxel_size = binning
    if factors and voxel_size is not None:
        raise UsageError("--bin and --binned_angpix exclude each other; give one of them")
    if voxel_size is not None and not voxel_size > 0:
        raise UsageError(f"--binned_angpix {voxel_size:g} must be above 0 (Å)")
    if halves not in (None, "frames", "tilts"):
        raise UsageError(f"--halves {halves}: unknown; available: frames, tilts")
    known = (*VOLUMES, "denoising")
    for name in companions:
        if name not in known:
            raise UsageError(f"--companions {name}: unknown; available: {', '.join(known)}")
    if "denoising" in companions and halves is None:
        raise UsageError("--companions denoising lists half volumes; give --halves frames or --halves tilts, too")
    if ending not in ("mrc", "zarr"):
        raise UsageError(f"--format {ending}: unknown; available: mrc, zarr")
    if like is not None and like not in LIKE:
        raise UsageError(f"--like {like}: unknown; available: {', '.join(LIKE)}")
    given: Sequence[str | None] = texts or [None]
    strategies = [choose_weighting(no_weight, pre_weight, text, snr) for text in given]
    width, height, depth = (parse_length(text, f"--{letter}") for text, letter in zip(size, "whd", strict=True))
    return Recipe(
        choose_source(sets),
        extras,
        offsets,
        folder,
        tuple(dict.fromkeys(strategies)),
        (-voxel_size,) if voxel_size is not None else tuple(dict.fromkeys(factors or [DEFAULT_BINNING])),
        origin,
        (width, height, depth),
        settings,
        "frames" if halves == "frames" else "tilts" if halves == "tilts" else None,
        projection,
        dtype,
        f".{ending}",
        like,
        passport,
        resume,
        ("inputs", "options", "version") if redo else (),
        skip_bad_images,
        tuple(dict.fromkeys(companions)),
        report,
    )


def choose_source(sets: tuple[Path | None, Path | None]) -> Path:
    """Give the file of ``--t``, else that of ``--i``.

    Raises
    ------
    UsageError
        If there is neither.
    """
    source = sets[0] or sets[1]
    if source is None:
        raise UsageError("no set given; use --t TOMOGRAMS.star or --i OPTIMISATION_SET.star")
    return source


def only_one(values: Sequence[T] | None, option: str) -> T | None:
    """Give the value of an option that may be repeated for sets, not for one file.

    Raises
    ------
    UsageError
        If there are several.
    """
    if values is not None and len(values) > 1:
        raise UsageError(f"several {option} make several tomograms, which need a folder: --o FOLDER/")
    return values[0] if values else None


def refuse_for_one(options: Mapping[str, object]) -> None:
    """Refuse options that are for sets where one file is to be written.

    Raises
    ------
    UsageError
        If one is given.
    """
    given = [option for option, value in options.items() if value]
    if given:
        raise UsageError(f"{', '.join(given)}: for sets, which need a folder: --o FOLDER/")


def repeat(extras: Supplement) -> str:
    """Give the options that say the same again, each with a space before it.

    Parameters
    ----------
    extras
        What was given.
    """
    values = {
        "--stack": extras.stack,
        "--angpix": extras.pixel_size,
        "--mdoc": extras.mdoc,
        "--voltage": extras.voltage,
        "--Cs": extras.spherical_aberration,
        "--Q0": extras.amplitude_contrast,
    }
    return "".join(f" {option} {quoted(str(value))}" for option, value in values.items() if value is not None)


def parse_length(text: str | None, option: str) -> Length:
    """Read a side of the region: a number, ``auto`` or None.

    Parameters
    ----------
    text
        As given.
    option
        Its name, for messages.

    Raises
    ------
    UsageError
        If it is neither.
    """
    if text is None:
        return None
    if text.strip().lower() == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is no number; give unbinned pixels, or auto for what the images show"
        ) from None


def choose_weighting(no_weight: bool, pre_weight: bool, text: str | None, snr: Snr | None) -> Weighting:
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


def choose_dtype(dtype: str | None, float16: bool) -> str:
    """Give the type of voxels that ``--dtype`` or ``--float16`` asks for.

    Parameters
    ----------
    dtype
        Of ``--dtype``.
    float16
        Whether ``--float16`` was given.

    Raises
    ------
    UsageError
        If they contradict each other, or there is no such type.
    """
    chosen = dtype or ("float16" if float16 else "float32")
    if chosen not in VOLUME_TYPES:
        raise UsageError(f"--dtype {chosen}: unknown; available: {', '.join(VOLUME_TYPES)}")
    if float16 and chosen != "float16":
        raise UsageError(f"--float16 and --dtype {chosen} exclude each other; give one of them")
    return chosen
