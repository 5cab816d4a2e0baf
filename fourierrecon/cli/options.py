"""How options of the command line are declared, and those that several commands share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

#: In place of the name of a value, where an option takes none.
FLAG = " "


def option(panel: str, metavar: str, text: str, *names: str, least: float | None = None, **more: Any) -> Any:
    """Declare an option.

    Parameters
    ----------
    panel
        Of the help that it stands in.
    metavar
        What to give; :data:`FLAG` where nothing.
    text
        Help, with unit and default in words.
    *names
        As written on the command line.
    least
        Smallest value allowed.
    **more
        As for ``typer.Option``.
    """
    return typer.Option(
        *names, metavar=metavar, help=text, rich_help_panel=panel, show_default=False, min=least, **more
    )


def _bytes(text: str) -> int:
    """Read the value of ``--memory``."""
    from fourierrecon.errors import UsageError
    from fourierrecon.runtime.sizes import parse_memory

    try:
        return parse_memory(text)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error


def _snr(text: str) -> Any:
    """Read the value of ``--SNR``."""
    from fourierrecon.errors import UsageError
    from fourierrecon.weighting.snr import read_snr

    try:
        return read_snr(text)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error


input_option, output_option = partial(option, "Input"), partial(option, "Output")
weighting_option, images_option = partial(option, "Weighting and CTF"), partial(option, "Images")
alignment_option = partial(option, "Alignment")
region_option, running_option = (
    partial(option, "Region (lengths in unbinned pixels)"),
    partial(option, "Running"),
)

# what `reconstruct` and `plan` share, in the order of the help

OptimisationSet = Annotated[Path | None, input_option("STAR", "Optimisation set, which names the tomogram set", "--i")]
TomogramSet = Annotated[
    Path | None,
    input_option(
        "FILE",
        "Tomogram set of RELION 4 or 5 (STAR); or a tilt series of IMOD (eTomo's folder, tilt.com, .xf), AreTomo "
        "(.aln), Warp (.xml, .tomostar) or EMAN2 (NAME_info.json). "
        "Wins over --i",
        "--t",
    ),
]
Stack = Annotated[
    Path | None,
    input_option(
        "FILE",
        "Stack of the images, MRC or TIFF, where a file of IMOD, AreTomo, Warp or EMAN2 does not lead to it",
        "--stack",
    ),
]
PixelSize = Annotated[
    float | None,
    input_option("Å", "Pixel size of that stack, where neither the file nor the stack's header says it", "--angpix"),
]
Notes = Annotated[
    Path | None,
    input_option("MDOC", "Notes of SerialEM on the images: exposures, in place of those of the set", "--mdoc"),
]
Voltage = Annotated[
    float | None, input_option("KV", "Voltage, where files of AreTomo, IMOD or EMAN2 lack it", "--voltage")
]
Aberration = Annotated[
    float | None, input_option("MM", "Spherical aberration, likewise (AreTomo: 2.7 if left out)", "--Cs", "--cs")
]
Contrast = Annotated[
    float | None, input_option("FRACTION", "Amplitude contrast, likewise (AreTomo: 0.07 if left out)", "--Q0", "--q0")
]
TomogramName = Annotated[
    str | None, input_option("NAME", "Name of the tomogram; needed where the set holds more than one", "--tn")
]
TomogramNames = Annotated[
    list[str] | None,
    input_option("NAME", "Name of a tomogram, or a pattern as 'TS_*'; may be repeated. Default: all", "--tn"),
]
Output = Annotated[
    str,
    output_option(
        "FILE",
        "Tomogram to write: MRC, or OME-Zarr if its name ends in .zarr. Its folders are made; an old one is replaced "
        "at the very end. FOLDER/ where there are several: FOLDER/tomograms/rec_NAME.mrc and FOLDER/tomograms.star",
        "--o",
    ),
]
Like = Annotated[
    str | None,
    output_option(
        "PROGRAM",
        "Order and direction of the axes as in the volumes of relion, imod, imod-tilt, aretomo, aretomo-flipvol or "
        "warp. Default: as the tilt series has them",
        "--like",
    ),
]
Passport = Annotated[
    bool,
    output_option(
        FLAG,
        "Write NAME.passport.json beside the tomogram: matrices between voxels, Å and image pixels, hand, sources with "
        "hashes, options",
        "--passport",
    ),
]
Dtype = Annotated[
    str | None,
    output_option(
        "TYPE", "Of its voxels: float32, float16, int16, int8; integers with a scale. Default: float32", "--dtype"
    ),
]
Float16 = Annotated[bool, output_option(FLAG, "The same as --dtype float16", "--float16")]
Preview = Annotated[bool, output_option(FLAG, "Draw its central sections too, into a PNG file beside it", "--preview")]
Report = Annotated[
    bool,
    output_option(
        FLAG,
        "Write a report, one HTML file: NAME.html beside the tomogram, of a set FOLDER/report.html (see report)",
        "--report",
    ),
]
OutputToBe = Annotated[
    Path | None, output_option("FILE", "Tomogram that reconstruct would write; nothing is written here", "--o")
]
Picture = Annotated[
    Path | None, output_option("FILE", "Picture to draw (PNG): outlines of all images, and the region", "--png")
]
NoWeight = Annotated[
    bool,
    weighting_option(FLAG, "Plain back-projection, in place of the 3D Wiener filter (the default)", "--no_weight"),
]
PreWeight = Annotated[
    bool, weighting_option(FLAG, "Weight the images in 2D, in place of the 3D Wiener filter", "--pre_weight")
]
WeightingText = Annotated[
    str | None,
    weighting_option(
        "NAME", "Any weighting by name, with parameters: none, preweight:snr=5, or a plug-in's", "--weighting"
    ),
]
Snr = Annotated[
    Any,
    weighting_option(
        "RATIO",
        "Signal to noise that Wiener and pre-weight assume: a number (RELION: 10), or auto: by spatial frequency, "
        "measured from the tilt series; auto:3 trusts the data 3 times more. Default: auto",
        "--SNR",
        "--snr",
        parser=_snr,
    ),
]
Ctf = Annotated[
    bool,
    weighting_option(FLAG, "Correct for the contrast transfer function, or not. Default: --ctf", "--ctf/--noctf"),
]
CtfMode = Annotated[
    str | None,
    weighting_option(
        "NAME",
        "What is done with the CTF: wiener (times CTF, divided by CTF²), multiply (nothing divided), phase-flip, "
        "first-peak (wiener, untouched up to its first peak), none. Default: wiener; multiply with --no_weight",
        "--ctf_mode",
    ),
]
Exposure = Annotated[
    str | None,
    weighting_option(
        "NAME",
        "Damage by exposure, in data and weights: grant (Grant & Grigorieff), bfactor (4 Å² per e⁻/Å²), none. Default: "
        "none; bfactor where the set has rlnCtfBfactorPerElectronDose",
        "--exposure",
    ),
]
TiltWeight = Annotated[
    str | None,
    weighting_option(
        "NAME",
        "Lesser signal of steep images: cos (of the tilt; scale factors of the set go first), none. Default: none",
        "--tilt_weight",
    ),
]
KeepMean = Annotated[bool, images_option(FLAG, "Keep the mean of each image, do not zero it", "--keep_mean")]
SkipBadImages = Annotated[
    bool,
    images_option(
        FLAG,
        "Leave images out that are blank, not finite or have no CTF, with a warning; else they are an error",
        "--skip_bad_images",
    ),
]
TaperDistance = Annotated[
    float,
    images_option("PX", "Use nothing this near to an image's border, binned pixels. Default: 0", "--td", least=0),
]
TaperFalloff = Annotated[
    float, images_option("PX", "Fade in over this many binned pixels after --td. Default: 0", "--tf", least=0)
]
TiltOffset = Annotated[
    float,
    alignment_option("DEGREES", "Add to every tilt angle (IMOD: OFFSET). Default: 0", "--tiltangle_offset"),
]
XTilt = Annotated[
    float,
    alignment_option("DEGREES", "Turn the specimen about its x axis, as IMOD's XAXISTILT. Default: 0", "--x_tilt"),
]
ZShift = Annotated[
    float,
    alignment_option(
        "PX", "Move what is in the tomogram to smaller z, unbinned, as IMOD's SHIFT. Default: 0", "--z_shift"
    ),
]
FlipHand = Annotated[
    bool,
    alignment_option(FLAG, "Take tilt angles with the other sign: the tomogram is mirrored in z", "--flip_hand"),
]
X0 = Annotated[
    float | None,
    region_option("PX", "x of the first voxel. Default: 1 (RELION 4 sets) or 0 (RELION 5 sets)", "--x0"),
]
Y0 = Annotated[float | None, region_option("PX", "y of the first voxel, likewise", "--y0")]
Z0 = Annotated[float | None, region_option("PX", "z of the first voxel, likewise", "--z0")]
Width = Annotated[
    str | None,
    region_option("PX", "Width (x); auto: of the images. Default: from the set, else auto", "--w"),
]
Height = Annotated[
    str | None,
    region_option("PX", "Height (y); auto: of the images. Default: from the set, else auto", "--h"),
]
Depth = Annotated[str | None, region_option("PX", "Depth (z); auto: 300 nm. Default: from the set, else auto", "--d")]
Binning = Annotated[
    float | None, region_option("B", "Voxel size over pixel size, any number from 1 on. Default: 8", "--bin")
]
VoxelSize = Annotated[float | None, region_option("Å", "Voxel size in Å, in place of --bin", "--binned_angpix")]
Threads = Annotated[
    int | None,
    running_option("N", "Threads. Default: the CPU cores available to the process", "--j", least=1),
]
Memory = Annotated[
    int | None,
    running_option(
        "SIZE", "Memory to use at most: 6GB, 2.5GiB. Default: 80 % of what is available", "--memory", parser=_bytes
    ),
]
ScratchFolder = Annotated[
    Path | None,
    running_option(
        "FOLDER",
        "For scratch files, where memory does not suffice. Default: beside the output",
        "--scratch",
        exists=True,
        file_okay=False,
    ),
]

# what `reconstruct` alone has, for sets

set_option = partial(option, "Sets of tomograms (--o FOLDER/)")
Weightings = Annotated[
    list[str] | None,
    weighting_option(
        "NAME",
        "Any weighting by name, with parameters: none, preweight:snr=5, or a plug-in's; for a set, it may be repeated",
        "--weighting",
    ),
]
Binnings = Annotated[
    list[float] | None,
    region_option(
        "B", "Voxel size over pixel size, any number from 1 on; for a set, it may be repeated. Default: 8", "--bin"
    ),
]
HalfVolumes = Annotated[
    str | None,
    set_option(
        "KIND",
        "Half volumes for denoising, too, from even and odd frames (the set names their images), or tilts",
        "--halves",
    ),
]
SplitTomograms = Annotated[bool, set_option(FLAG, "The same as --halves frames", "--generate_split_tomograms")]
DoProjection = Annotated[bool, set_option(FLAG, "A 2D picture of each volume, too: a sum of slices", "--do_proj")]
ProjectionCentre = Annotated[
    int, set_option("VOXELS", "Its middle slice, from that of the tomogram. Default: 0", "--centre_proj")
]
ProjectionThickness = Annotated[int, set_option("VOXELS", "Its thickness. Default: 10", "--thickness_proj", least=1)]
Companions = Annotated[
    list[str] | None,
    set_option(
        "NAME",
        "What goes with each tomogram; may be repeated: coverage (images that see a voxel), weight (of Fourier "
        "points), wedge (what the tilts measured); denoising (lists of half volumes for cryoCARE, IsoNet, DeepDeWedge)",
        "--companions",
    ),
]
Ending = Annotated[str, set_option("FORMAT", "mrc or zarr. Default: mrc", "--format")]
Resume = Annotated[
    bool,
    set_option(
        FLAG,
        "Leave what is there, and name what does not fit inputs, options and version; or make all. Default: --resume",
        "--resume/--no_resume",
    ),
]
Redo = Annotated[bool, set_option(FLAG, "Make what is there and does not fit anew, too, in its place", "--redo")]
OnlyUnfinished = Annotated[bool, set_option(FLAG, "The same as --resume", "--only_do_unfinished")]
Shard = Annotated[
    str | None,
    set_option("I/N", "Only every N-th tomogram, from the I-th on: for job arrays; may run side by side", "--shard"),
]
Quiet = Annotated[bool, running_option(FLAG, "Say only what is wrong, and a summary of a set", "--quiet")]

cluster_option = partial(option, "Clusters (Dask; with --o FOLDER/)")
Scheduler = Annotated[
    str | None,
    cluster_option(
        "ADDRESS",
        "Share the tomograms out to the workers of this Dask scheduler, tcp://HOST:PORT or tls://; they need the same "
        "files under the same paths",
        "--scheduler",
    ),
]
ClusterKind = Annotated[
    str | None,
    cluster_option(
        "KIND",
        "Start such workers: local (on this machine), or slurm, pbs, lsf, as Dask's jobqueue.yaml says",
        "--cluster",
    ),
]
Workers = Annotated[int | None, cluster_option("N", "How many to start", "--workers", least=1)]
TlsAuthority = Annotated[
    Path | None, cluster_option("PEM", "Authority for --scheduler tls://. Default: of Dask's configuration", "--tls_ca")
]
TlsCertificate = Annotated[Path | None, cluster_option("PEM", "Own certificate, likewise", "--tls_cert")]
TlsKey = Annotated[Path | None, cluster_option("PEM", "Its key, likewise", "--tls_key")]
