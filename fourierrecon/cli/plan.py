"""The command ``plan``."""

from __future__ import annotations

from fourierrecon.cli.options import (
    X0,
    Y0,
    Z0,
    Aberration,
    Binning,
    Contrast,
    Ctf,
    CtfMode,
    Depth,
    Dtype,
    Exposure,
    FlipHand,
    Float16,
    Height,
    KeepMean,
    Like,
    Memory,
    Notes,
    NoWeight,
    OptimisationSet,
    OutputToBe,
    Passport,
    Picture,
    PixelSize,
    PreWeight,
    ScratchFolder,
    SkipBadImages,
    Snr,
    Stack,
    TaperDistance,
    TaperFalloff,
    Threads,
    TiltOffset,
    TiltWeight,
    TomogramName,
    TomogramSet,
    Voltage,
    VoxelSize,
    WeightingText,
    Width,
    XTilt,
    ZShift,
)


def plan(
    *,
    i: OptimisationSet = None,
    t: TomogramSet = None,
    tn: TomogramName = None,
    stack: Stack = None,
    angpix: PixelSize = None,
    mdoc: Notes = None,
    voltage: Voltage = None,
    cs: Aberration = None,
    q0: Contrast = None,
    o: OutputToBe = None,
    like: Like = None,
    passport: Passport = False,
    dtype: Dtype = None,
    float16: Float16 = False,
    png: Picture = None,
    no_weight: NoWeight = False,
    pre_weight: PreWeight = False,
    weighting: WeightingText = None,
    snr: Snr = None,
    ctf: Ctf = True,
    ctf_mode: CtfMode = None,
    exposure: Exposure = None,
    tilt_weight: TiltWeight = None,
    keep_mean: KeepMean = False,
    skip_bad_images: SkipBadImages = False,
    td: TaperDistance = 0.0,
    tf: TaperFalloff = 0.0,
    tiltangle_offset: TiltOffset = 0.0,
    x_tilt: XTilt = 0.0,
    z_shift: ZShift = 0.0,
    flip_hand: FlipHand = False,
    x0: X0 = None,
    y0: Y0 = None,
    z0: Z0 = None,
    w: Width = None,
    h: Height = None,
    d: Depth = None,
    binning: Binning = None,
    binned_angpix: VoxelSize = None,
    j: Threads = None,
    memory: Memory = None,
    scratch: ScratchFolder = None,
) -> None:
    """Say what reconstruct would do with the same options: size, memory, time, and what the images see.

    No image is read. To measure the machine, small pieces of noise are reconstructed, which takes about two seconds.
    """
    from fourierrecon.cli import arguments
    from fourierrecon.cli.console import announcing_compilation, say, screen
    from fourierrecon.cli.messages import describe_request, print_coverage, print_forecast, print_warnings
    from fourierrecon.geometry.axis_order import Orientation
    from fourierrecon.geometry.corrections import AlignmentCorrections
    from fourierrecon.geometry.sound_images import without_ctf
    from fourierrecon.io import Supplement
    from fourierrecon.tomogram import checks
    from fourierrecon.tomogram.forecast import forecast
    from fourierrecon.tomogram.inputs import input_files, protect
    from fourierrecon.tomogram.output_paths import folders_of
    from fourierrecon.transfer import Correction

    kind = arguments.choose_dtype(dtype, float16)
    correction = Correction.of(ctf, ctf_mode, exposure, tilt_weight)
    request = arguments.read_request(
        (t, i),
        tn,
        Supplement(stack, angpix, mdoc, voltage, cs, q0),
        AlignmentCorrections(tiltangle_offset, x_tilt, z_shift, flip_hand),
        (no_weight, pre_weight, weighting, snr),
        (binning, binned_angpix),
        (x0, y0, z0),
        (w, h, d),
    )
    series, region = request.series, request.region
    Orientation.like(like, series)  # refuses what is unknown
    for option, path in (("--o", o), ("--png", png)):
        if path is not None:
            protect([path], input_files(request.source, request.extras), option)
    console = screen()
    describe_request(console, request, correction)
    sees = checks.visibility(series, region)
    print_coverage(console, series, sees)
    print_warnings(console, checks.warnings_of(series, region, sees, ctf=ctf))
    print_warnings(console, checks.shared_warnings(request.source, series))
    if png is not None:
        from fourierrecon.display.panels import footprint_png

        with folders_of(png):
            footprint_png(png, series, region)
        say(console, "picture", str(png))
    if skip_bad_images and ctf:
        # what can be known without a look at the images
        series = series.select([tilt for tilt in range(series.n_tilts) if tilt not in without_ctf(series)])
    with announcing_compilation(console):
        needs = forecast(
            series, region, request.strategy, n_threads=j, taper=(td, tf), output=o, memory=memory, scratch=scratch,
            dtype=kind, correction=correction,
        )  # fmt: skip
    print_forecast(console, needs, o)
