"""Options that several commands share, in groups: each is declared here once, in the order of the help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fourierrecon.cli.option_groups_images import RepairOptions
from fourierrecon.cli.option_groups_local import LocalOptions
from fourierrecon.cli.option_groups_output import FinishOptions
from fourierrecon.cli.options import (
    FLAG,
    Memory,
    Threads,
    alignment_option,
    ctf_modes,
    images_option,
    input_option,
    one_of,
    output_option,
    profiles,
    programs,
    read_snr,
    read_switch,
    region_option,
    running_option,
    weighting_option,
    weightings,
)


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Sets or tilt series to read."""

    i: Annotated[
        Path | None, input_option("STAR", "Optimisation set (STAR) of RELION, which names the tomogram set", "--i")
    ] = None
    t: Annotated[
        Path | None,
        input_option(
            "FILE",
            "Tomogram set of RELION 4 or 5 (STAR); or a tilt series of IMOD (eTomo's folder, tilt.com, .xf), AreTomo "
            "(.aln), Warp (.xml, .tomostar) or EMAN2 (NAME_info.json). --t wins over --i",
            "--t",
        ),
    ] = None
    tn: Annotated[
        list[str] | None,
        input_option(
            "NAME", "Name of a tomogram, or a pattern such as 'TS_*'; may be repeated. Default: all tomograms", "--tn"
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class MicroscopeOptions:
    """Facts on the microscope that files of other programs may lack."""

    angpix: Annotated[
        float | None,
        input_option(
            "Å",
            "Pixel size of the images (not of the voxels), where the files of a tilt series lack it",
            "--angpix",
        ),
    ] = None
    voltage: Annotated[
        float | None, input_option("KV", "Voltage, if files of AreTomo, IMOD or EMAN2 lack it", "--voltage")
    ] = None
    cs: Annotated[
        float | None,
        input_option("MM", "Spherical aberration, if these files lack it (default for AreTomo: 2.7)", "--Cs", "--cs"),
    ] = None
    q0: Annotated[
        float | None,
        input_option(
            "FRACTION", "Amplitude contrast, if these files lack it (default for AreTomo: 0.07)", "--Q0", "--q0"
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SupplementOptions(MicroscopeOptions):
    """Images, notes and facts on the microscope that files of other programs may lack."""

    stack: Annotated[
        Path | None,
        input_option(
            "FILE",
            "Stack of the images, MRC or TIFF, if a file of IMOD, AreTomo, Warp or EMAN2 does not lead to it",
            "--stack",
        ),
    ] = None
    mdoc: Annotated[
        Path | None,
        input_option("MDOC", "SerialEM's file on the images; its exposures replace those of the set", "--mdoc"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class AlignmentOptions:
    """Corrections to the alignment."""

    tiltangle_offset: Annotated[
        float,
        alignment_option("DEGREES", "Add to every tilt angle (IMOD: OFFSET). Default: 0", "--tiltangle_offset"),
    ] = 0.0
    x_tilt: Annotated[
        float,
        alignment_option("DEGREES", "Turn the specimen about its x axis, as IMOD's XAXISTILT. Default: 0", "--x_tilt"),
    ] = 0.0
    z_shift: Annotated[
        float,
        alignment_option(
            "PX", "Move the specimen to smaller z, in unbinned pixels, as IMOD's SHIFT. Default: 0", "--z_shift"
        ),
    ] = 0.0
    flip_hand: Annotated[
        bool,
        alignment_option(FLAG, "Change the sign of all tilt angles, which mirrors the tomogram in z", "--flip_hand"),
    ] = False
    local: Annotated[
        Any,
        alignment_option(
            "on|off",
            "Apply the local alignment of the program (RELION's deformations, AreTomo's patches, Warp's grids, IMOD's "
            "local file), in tiles. Default: on, where the tilt series has one",
            "--local",
            parser=read_switch,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class VolumeOptions:
    """Form of the file that holds a tomogram."""

    like: Annotated[
        str | None,
        output_option(
            "PROGRAM",
            "Order and direction of the axes as in volumes of relion, imod, imod-tilt, aretomo, aretomo-flipvol or "
            "warp. Default: as in the tilt series",
            "--like",
            autocompletion=one_of(programs),
        ),
    ] = None
    passport: Annotated[
        bool,
        output_option(
            FLAG,
            "Write NAME.passport.json beside the tomogram: matrices between voxels, Å and image pixels, hand, "
            "sources with hashes, options",
            "--passport",
        ),
    ] = False
    dtype: Annotated[
        str | None,
        output_option(
            "TYPE",
            "Type of the voxels: float32, float16, or int16, int8 with a scale. Default: float32",
            "--dtype",
            autocompletion=one_of(lambda: ("float32", "float16", "int16", "int8")),
        ),
    ] = None
    float16: Annotated[bool, output_option(FLAG, "The same as --dtype float16", "--float16")] = False


@dataclass(frozen=True, kw_only=True)
class WeightingOptions:
    """Weighting, CTF and damage."""

    profile: Annotated[
        str | None,
        weighting_option(
            "NAME",
            "Settings by purpose or program: eyes, matching, averaging, denoising, segmentation, relion4, "
            "relion5-fourier, relion5.1-premultiply, warp, imod-ramp, imod-sirtlike:N, aretomo-wbp; other options "
            "override them",
            "--profile",
            autocompletion=one_of(profiles),
        ),
    ] = None
    no_weight: Annotated[
        bool,
        weighting_option(
            FLAG, "Take plain back-projection instead of the 3D Wiener filter, the default", "--no_weight"
        ),
    ] = False
    pre_weight: Annotated[
        bool, weighting_option(FLAG, "Weight the images in 2D instead of the 3D Wiener filter", "--pre_weight")
    ] = False
    weighting: Annotated[
        list[str] | None,
        weighting_option(
            "NAME",
            "Choose a weighting by name, with parameters: none, preweight:snr=5, ramp:hamming=0, "
            "sirtlike:n_iterations=10, exact, iterative ones (cg:20, sirt:30, tv:0.03), or one of a plug-in; may be "
            "repeated for a set",
            "--weighting",
            autocompletion=one_of(weightings),
        ),
    ] = None
    snr: Annotated[
        Any,
        weighting_option(
            "RATIO",
            "Signal-to-noise ratio that the weighting assumes: a number (RELION: 10), or auto, which measures it from "
            "the tilt series at each spatial frequency (auto:3 takes three times that). A low ratio suppresses "
            "contrast at low resolution and leaves streaks, a high one restores it. Default: auto",
            "--SNR",
            "--snr",
            parser=read_snr,
        ),
    ] = None
    ctf: Annotated[
        bool,
        weighting_option(FLAG, "Correct for the contrast transfer function, or not. Default: --ctf", "--ctf/--noctf"),
    ] = True
    ctf_mode: Annotated[
        str | None,
        weighting_option(
            "NAME",
            "Correction of the CTF: wiener (times CTF, divided by CTF²), multiply (nothing divided), phase-flip, "
            "first-peak (wiener, but nothing up to the first peak), absolute (divided by |CTF|), none. "
            "Default: wiener; multiply with --no_weight",
            "--ctf_mode",
            autocompletion=one_of(ctf_modes),
        ),
    ] = None
    exposure: Annotated[
        str | None,
        weighting_option(
            "NAME",
            "Account for radiation damage in data and weights: grant (Grant & Grigorieff), bfactor (4 Å² per e⁻/Å²), "
            "none. Default: none; bfactor if the set has rlnCtfBfactorPerElectronDose",
            "--exposure",
            autocompletion=one_of(lambda: ("grant", "bfactor", "none")),
        ),
    ] = None
    tilt_weight: Annotated[
        str | None,
        weighting_option(
            "NAME",
            "Weight images by the cosine of their tilt (cos), unless the set has scale factors, or not (none). "
            "Default: none",
            "--tilt_weight",
            autocompletion=one_of(lambda: ("cos", "none")),
        ),
    ] = None
    ctf_depth: Annotated[
        str | None,
        weighting_option(
            "NAME",
            "on: every point has the CTF of its own depth along the beam; off: one CTF for each image; auto: on where "
            "it matters and the hand of the defocus is known. Default: auto",
            "--ctf_depth",
        ),
    ] = None
    defocus_hand: Annotated[
        int | None,
        weighting_option(
            "HAND",
            "Hand of the defocus, 1 or -1, in place of that of the set (rlnTomoHand); check-hand finds it out",
            "--defocus_hand",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Treatment of images before they are inserted."""

    keep_mean: Annotated[
        bool, images_option(FLAG, "Keep the mean of each image instead of setting it to 0", "--keep_mean")
    ] = False
    flatten: Annotated[
        bool,
        images_option(
            FLAG, "Take a grey ramp off each image: a plane, fitted to all but beads and other outliers", "--flatten"
        ),
    ] = False
    skip_bad_images: Annotated[
        bool,
        images_option(
            FLAG,
            "Leave out images that are blank, not finite, dark, blocked or without CTF, with a warning. Default: those "
            "that are dark or blocked are used, the others are an error",
            "--skip_bad_images",
        ),
    ] = False
    td: Annotated[
        float,
        images_option(
            "PX", "Width of the border of each image that is not used, binned pixels. Default: 0", "--td", least=0
        ),
    ] = 0.0
    tf: Annotated[
        float, images_option("PX", "Width of the fade next to that border, binned pixels. Default: 0", "--tf", least=0)
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class RegionOptions:
    """Voxels of the tomogram."""

    x0: Annotated[
        float | None,
        region_option("PX", "x of the first voxel. Default: 1 (RELION 4 sets) or 0 (RELION 5 sets)", "--x0"),
    ] = None
    y0: Annotated[float | None, region_option("PX", "y of the first voxel. Default: as for --x0", "--y0")] = None
    z0: Annotated[float | None, region_option("PX", "z of the first voxel. Default: as for --x0", "--z0")] = None
    w: Annotated[
        str | None,
        region_option("PX", "Width (x); auto: that of the images. Default: from the set, else auto", "--w"),
    ] = None
    h: Annotated[
        str | None,
        region_option("PX", "Height (y); auto: that of the images. Default: from the set, else auto", "--h"),
    ] = None
    d: Annotated[
        str | None,
        region_option(
            "PX",
            "Depth of the tomogram (z), unbinned pixels; auto: that of the specimen, which is measured. Default: from "
            "the set, else 300 nm",
            "--d",
        ),
    ] = None
    binning: Annotated[
        list[float] | None,
        region_option(
            "B",
            "Binning: voxel size over pixel size, any number from 1 up; may be repeated for a set. Default: the whole "
            "number that makes voxels of about 10 Å",
            "--bin",
        ),
    ] = None
    binned_angpix: Annotated[
        float | None, region_option("Å", "Voxel size in Å, instead of --bin", "--binned_angpix")
    ] = None


@dataclass(frozen=True, kw_only=True)
class RunningOptions:
    """Threads, memory and scratch files."""

    j: Threads = None
    memory: Memory = None
    scratch: Annotated[
        Path | None,
        running_option(
            "FOLDER",
            "Folder for scratch files. Default: beside the output",
            "--scratch",
            exists=True,
            file_okay=False,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class TomogramOptions:
    """Everything about one tomogram that ``reconstruct``, ``plan`` and ``watch`` share."""

    alignment: AlignmentOptions
    tiles: LocalOptions
    volume: VolumeOptions
    weighting_and_ctf: WeightingOptions
    images: ImageOptions
    repairs: RepairOptions
    region: RegionOptions
    finish: FinishOptions
    running: RunningOptions
