"""Options for the tomogram as people and other programs need it: which tilts, how it lies, and its grey values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fourierrecon.cli.options import FLAG, alignment_option, images_option, option, output_option

if TYPE_CHECKING:
    from fourierrecon.tomogram.finish import Finish
    from fourierrecon.tomogram.fitting import FitRequest
    from fourierrecon.tomogram.tilt_choice import TiltChoice


def finish_option(metavar: str, text: str, *names: str, least: float | None = None) -> object:
    """Declare an option on grey values."""
    return option("Grey values (full and half volumes alike)", metavar, text, *names, least=least)


@dataclass(frozen=True, kw_only=True)
class FinishOptions:
    """Grey values of the tomogram, which tilts it is made of, and how the specimen lies in it."""

    exclude: Annotated[
        str | None,
        images_option(
            "LIST",
            "Images to leave out, as 3,7-9: numbers in the source, from 1, as in IMOD and in our messages",
            "--exclude",
        ),
    ] = None
    max_tilt: Annotated[
        float | None,
        images_option(
            "DEGREES",
            "Leave out images that are tilted more, either way (with --tiltangle_offset)",
            "--max_tilt",
        ),
    ] = None
    level: Annotated[
        str | None,
        alignment_option(
            "auto",
            "Turn the specimen level and move it to the middle: auto measures its tilt in small reconstructions. The "
            "screen names the result as --tiltangle_offset, --x_tilt and --z_shift",
            "--level",
        ),
    ] = None
    invert: Annotated[
        bool, finish_option(FLAG, "Change the sign: what is dark in the images becomes bright", "--invert")
    ] = False
    normalise: Annotated[
        bool,
        finish_option(
            FLAG, "Mean 0 and standard deviation 1 over the specimen, which is measured", "--normalise", "--normalize"
        ),
    ] = False
    lowpass: Annotated[
        float | None, finish_option("Å", "Low-pass filter: half is left at this resolution", "--lowpass")
    ] = None
    deconvolve: Annotated[
        bool,
        finish_option(
            FLAG,
            "Deconvolution as in Warp and IsoNet, by what the CTF correction has left of the CTF: for eyes. The "
            "measured --SNR does better",
            "--deconvolve",
        ),
    ] = False
    deconvolve_strength: Annotated[
        float | None, finish_option("NUMBER", "Strength of --deconvolve. Default: 1", "--deconvolve_strength")
    ] = None
    deconvolve_falloff: Annotated[
        float | None,
        finish_option("NUMBER", "Fall of its signal-to-noise ratio. Default: 1", "--deconvolve_falloff", least=0),
    ] = None
    viewing_copy: Annotated[
        bool,
        finish_option(
            FLAG,
            "Leave the tomogram as it is, and write a second one beside it for eyes, NAME_view, in int8: with the "
            "options of this panel, or normalised if none is given",
            "--viewing_copy",
        ),
    ] = False
    ome_version: Annotated[
        str | None,
        output_option(
            "VERSION", "OME-Zarr 0.5, or 0.4 for copick and the CryoET data portal. Default: 0.5", "--ome_version"
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class BesideOptions:
    """Files that go with a tomogram."""

    preview: Annotated[
        bool, output_option(FLAG, "Draw central sections of the tomogram into a PNG file beside it", "--preview")
    ] = False
    report: Annotated[
        bool,
        output_option(
            FLAG,
            "Write a report, one HTML file: NAME.html beside the tomogram, FOLDER/report.html for a set (see report)",
            "--report",
        ),
    ] = False
    aligned_stack: Annotated[
        bool,
        output_option(
            FLAG,
            "Write the aligned images as well, binned, the tilt axis upright, with their angles: NAME_aligned.mrc and "
            ".tlt, for CryoLithe and others (for sets: --companions aligned_stack)",
            "--aligned_stack",
        ),
    ] = False


def finish_of(options: FinishOptions) -> Finish:
    """Give what is done to the grey values.

    Raises
    ------
    UsageError
        If a value makes no sense.
    """
    from fourierrecon.tomogram.finish import Finish
    from fourierrecon.weighting.filtered import Deconvolution

    strength, falloff = options.deconvolve_strength, options.deconvolve_falloff
    deconvolution = Deconvolution(1.0 if strength is None else strength, 1.0 if falloff is None else falloff)
    return Finish(
        invert=options.invert, normalise=options.normalise, lowpass=options.lowpass,
        deconvolution=deconvolution if options.deconvolve else None, viewing_copy=options.viewing_copy,
    )  # fmt: skip


def choice_of(options: FinishOptions) -> TiltChoice:
    """Give the images to leave out.

    Raises
    ------
    UsageError
        If a value makes no sense.
    """
    from fourierrecon.tomogram.tilt_choice import TiltChoice, read_numbers

    return TiltChoice(() if options.exclude is None else read_numbers(options.exclude), options.max_tilt)


def fit_of(options: FinishOptions, finish: Finish, *, depth: bool) -> FitRequest:
    """Give what is fitted to the specimen.

    Raises
    ------
    UsageError
        If a value is unknown.
    """
    from fourierrecon.cli.values import check_known
    from fourierrecon.tomogram.fitting import FitRequest

    check_known("--level", options.level, ("auto",))
    return FitRequest(level=options.level == "auto", depth=depth, slab=finish.needs_slab)


def ome_version_of(options: FinishOptions, *, zarr: bool) -> str:
    """Give the version of OME-Zarr; raises as :func:`check_ome_version`."""
    return check_ome_version(options.ome_version, zarr=zarr)


def check_ome_version(version: str | None, *, zarr: bool) -> str:
    """Give the version of OME-Zarr.

    Parameters
    ----------
    version
        Value of the option.
    zarr
        Whether Zarr is written.

    Raises
    ------
    UsageError
        If it is unknown, or no Zarr is written.
    """
    from fourierrecon.cli.values import check_known
    from fourierrecon.errors import UsageError
    from fourierrecon.io.volumes.zarr_write import OME_VERSIONS

    check_known("--ome_version", version, OME_VERSIONS)
    if version is not None and not zarr:
        raise UsageError("--ome_version is for OME-Zarr: write --o NAME.zarr, or --format zarr for a set")
    return version or "0.5"
