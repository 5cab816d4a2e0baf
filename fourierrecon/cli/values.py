"""Reads and checks values of single options."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from fourierrecon.errors import UsageError
from fourierrecon.text import quoted

if TYPE_CHECKING:
    from fourierrecon.cli.option_groups import VolumeOptions, WeightingOptions
    from fourierrecon.cli.option_groups_of_sets import CompanionOptions
    from fourierrecon.geometry.region import Length
    from fourierrecon.tilt_series import TiltSeries
    from fourierrecon.tomogram.forecast import Halves
    from fourierrecon.weighting import Weighting

T = TypeVar("T")


def only_one(values: Sequence[T] | None, option: str) -> T | None:
    """Give the value of an option that may be repeated for a set, but not for one file.

    Raises
    ------
    UsageError
        If there are several.
    """
    if values is not None and len(values) > 1:
        raise UsageError(
            f"several {option} make several tomograms: give one, or reconstruct into a folder (--o FOLDER/)"
        )
    return values[0] if values else None


def refuse_for_one(products: CompanionOptions, output: str, others: Mapping[str, object]) -> None:
    """Refuse options of sets where one file is to be written.

    Parameters
    ----------
    products
        Products that are asked for.
    output
        The file.
    others
        Values of other options of sets, by option.

    Raises
    ------
    UsageError
        If one is given.
    """
    companions = products.companions or []
    options = {
        "--halves": products.halves,
        "--generate_split_tomograms": products.generate_split_tomograms,
        "--do_proj": products.do_proj,
        **{f"--companions {name}": name in companions for name in ("denoising", "pytom")},
        **others,
    }
    given = [option for option, value in options.items() if value]
    if given:
        raise UsageError(f"{', '.join(given)}: for sets, which need a folder: --o {quoted(output + '/')}, with a slash")


def choose_halves(products: CompanionOptions) -> Halves | None:
    """Give the kind of the half volumes.

    Raises
    ------
    UsageError
        If there is no such kind.
    """
    check_known("--halves", products.halves, ("frames", "tilts"))
    if products.generate_split_tomograms or products.halves == "frames":
        return "frames"
    return "tilts" if products.halves == "tilts" else None


def check_known(option: str, value: str | None, known: Collection[str]) -> None:
    """Refuse a value that does not exist.

    Raises
    ------
    UsageError
        If it is not None and not among those that are known.
    """
    if value is not None and value not in known:
        raise UsageError(f"{option} {value}: unknown; available: {', '.join(known)}")


def parse_length(text: str | None, option: str) -> Length:
    """Read a side of the region: a number, ``auto`` or None.

    Parameters
    ----------
    text
        Value of the option.
    option
        Name of the option, for messages.

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


def choose_weighting(options: WeightingOptions, text: str | None) -> Weighting:
    """Give the weighting that the options ask for; by default the 3D Wiener filter.

    Parameters
    ----------
    options
        Options of the command line.
    text
        One value of ``--weighting``, ``NAME[:key=value,...]``; its ``snr`` wins over ``--SNR``.

    Raises
    ------
    UsageError
        If several are asked for, or one that does not exist.
    """
    from fourierrecon.weighting import from_text

    given = {"--no_weight": options.no_weight, "--pre_weight": options.pre_weight, "--weighting": text is not None}
    named = [option for option, used in given.items() if used]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} exclude each other; give one of them")
    text = (
        text if text is not None else "none" if options.no_weight else "preweight" if options.pre_weight else "wiener"
    )
    return from_text(text) if options.snr is None else from_text(text, snr=options.snr)


def with_profile(options: WeightingOptions) -> WeightingOptions:
    """Fill in what a profile says and no other option does.

    Raises
    ------
    UsageError
        If there is no such profile.
    """
    if options.profile is None:
        return options
    from fourierrecon.tomogram.profiles import find

    profile = find(options.profile)
    named = options.no_weight or options.pre_weight or options.weighting
    return replace(
        options,
        weighting=options.weighting if named else [profile.weighting],
        snr=profile.snr if options.snr is None else options.snr,
        ctf_mode=profile.ctf_mode if options.ctf and options.ctf_mode is None else options.ctf_mode,
        exposure=options.exposure or profile.exposure,
        tilt_weight=options.tilt_weight or profile.tilt_weight,
        ctf_depth=options.ctf_depth or profile.ctf_depth,
    )


def choose_binning(binning: float | None, voxel_size: float | None, series: TiltSeries) -> float:
    """Give the binning that ``--bin`` or ``--binned_angpix`` asks for; without, that of voxels of about 10 Å.

    Parameters
    ----------
    binning
        Value of ``--bin``.
    voxel_size
        Value of ``--binned_angpix``, Å.
    series
        Tilt series with the pixel size.

    Raises
    ------
    UsageError
        If the voxels would be finer than the pixels.
    """
    if voxel_size is None:
        from fourierrecon.geometry.region import default_binning

        return default_binning(series.pixel_size) if binning is None else binning
    ratio = voxel_size / series.pixel_size
    # a voxel size rounded to a few digits may be a trace below the pixel size
    if not ratio > 1 - 1e-4:
        raise UsageError(
            f"--binned_angpix {voxel_size:g} is finer than the images; give {series.pixel_size:g} (Å) or more"
        )
    return max(ratio, 1.0)


def choose_dtype(options: VolumeOptions) -> str:
    """Give the type of voxels that ``--dtype`` or ``--float16`` asks for.

    Parameters
    ----------
    options
        Options of the command line.

    Raises
    ------
    UsageError
        If they contradict each other, or the type does not exist.
    """
    from fourierrecon.io.volumes.formats import VOLUME_TYPES

    chosen = options.dtype or ("float16" if options.float16 else "float32")
    check_known("--dtype", chosen, VOLUME_TYPES)
    if options.float16 and chosen != "float16":
        raise UsageError(f"--float16 and --dtype {chosen} exclude each other; give one of them")
    return chosen
