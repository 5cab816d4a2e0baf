"""The command ``convert-coords``: points and picks from the frame of one program to that of another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourierrecon.cli.options import TomogramName, input_option, output_option
from fourierrecon.errors import DataError, UsageError
from fourierrecon.text import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fourierrecon.geometry.coordinate_frames import Box
    from fourierrecon.io.points import Points
    from fourierrecon.tilt_series import TiltSeries


def convert_coords(
    points: Annotated[
        Path, typer.Argument(metavar="POINTS", help="Points to convert: .csv, .star, .mod or copick's .json.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="File to write, of any of these kinds.")],
    *,
    source: Annotated[str, input_option("FRAME", "Frame of the points; see above", "--from")],
    target: Annotated[str, output_option("FRAME", "Frame to convert the points to", "--to")],
    t: Annotated[
        Path | None,
        input_option("FILE", "Set or tilt series that gives the tomograms' sizes, as for reconstruct", "--t"),
    ] = None,
    tn: TomogramName = None,
    volume: Annotated[
        Path | None, input_option("FILE", "In place of --t: a tomogram that has its passport beside it", "--volume")
    ] = None,
    size: Annotated[
        tuple[float, float, float] | None,
        input_option("W H D", "In place of --t: unbinned size of the tomogram, px", "--size"),
    ] = None,
    angpix: Annotated[float | None, input_option("Å", "Pixel size, with --size", "--angpix")] = None,
    from_bin: Annotated[
        float, input_option("FACTOR", "Binning of the volume in which the points were picked. Default: 1", "--from_bin")
    ] = 1.0,
    to_bin: Annotated[
        float, output_option("FACTOR", "Binning of the volume that the points are for. Default: 1", "--to_bin")
    ] = 1.0,
    images: Annotated[
        Path | None,
        output_option(
            "FILE",
            "Write also where the points lie in each image, with the local alignment (CSV: point, tomogram, image, "
            "tilt, x, y; unbinned pixels from 0); needs --t",
            "--images",
        ),
    ] = None,
) -> None:
    """Convert points and picks from the frame of one program to that of another.

    Frames: volume (voxels of our tomograms), relion4, relion5 (Å about the middle), relion5-px, imod (a model on
    eTomo's final tomogram), imod-voxel, imod-tilt, aretomo, aretomo-middle, warp, copick. docs/conventions.md says what
    each of them is. Orientations of particles are not converted.
    """
    import numpy as np

    from fourierrecon.cli.console import say, screen
    from fourierrecon.geometry import coordinate_frames
    from fourierrecon.io import Supplement
    from fourierrecon.io.points import ORIENTATIONS, check_suffix, read_points, write_points
    from fourierrecon.tomogram.inputs import input_files, protect

    for path in (points, output):
        check_suffix(path)
    for name in (source, target):
        coordinate_frames.coordinate_frame(name)
    sets = () if t is None else input_files(t, Supplement())
    protect([output], [points, *filter(None, [volume]), *sets])
    if images is not None:
        if t is None:
            raise UsageError("--images needs the tilt series: give --t")
        protect([images], [points, output, *sets])
    found = read_points(points, centred=source == "relion5")
    series = _series(t)
    boxes = _boxes(t, volume, size, angpix, series)
    if tn is not None and found.tomograms is not None:
        found = _only(found, tn, points)
    names = list(found.tomograms or [_single(tn, boxes)] * len(found))
    keys = [_key(name, boxes, points) for name in names]
    moved, mirrored, turned = np.empty((len(found), 3)), False, False
    for key in dict.fromkeys(keys):
        chosen = np.array([other == key for other in keys])
        matrix = coordinate_frames.conversion(
            source, target, boxes[key], source_binning=from_bin, target_binning=to_bin
        )
        moved[chosen] = coordinate_frames.convert(found.coordinates[chosen], matrix)
        mirrored = mirrored or coordinate_frames.mirrors(matrix)
        turned = turned or coordinate_frames.turns(matrix)
    dropped = [label for label in ORIENTATIONS if label in found.columns] if turned else []
    kept = {label: values for label, values in found.columns.items() if label not in dropped}
    write_points(
        output, replace(found, coordinates=moved, tomograms=names if any(names) else None, columns=kept),
        centred=target == "relion5",
    )  # fmt: skip
    console = screen()
    say(console, "read", f"{points}: {counted(len(found), 'point')} of {counted(len(set(names)), 'tomogram')}")
    unit = coordinate_frames.COORDINATE_FRAMES[target].unit
    say(console, "frames", f"{source} to {target} ({unit}){', which mirrors' if mirrored else ''}")
    if dropped:
        say(console, "warning", f"orientations are not converted, so these columns were left out: {', '.join(dropped)}")
    say(console, "wrote", str(output))
    if images is not None:
        worlds = np.empty((len(found), 3))
        for key in dict.fromkeys(keys):
            chosen = np.array([other == key for other in keys])
            matrix = coordinate_frames.conversion(source, "volume", boxes[key], source_binning=from_bin)
            worlds[chosen] = coordinate_frames.convert(found.coordinates[chosen], matrix)
            worlds[chosen] += coordinate_frames.first_voxel(series[key])
        fields = {own.words for key in set(keys) if (own := series[key].local) is not None}
        _write_images(images, worlds, keys, series)
        say(
            console,
            "local",
            f"positions in the images with {', '.join(sorted(fields)) or 'the global alignment alone'}",
        )
        say(console, "wrote", str(images))


def _series(t: Path | None) -> dict[str, TiltSeries]:
    """Read the tilt series of a set, by name."""
    from fourierrecon.io import Supplement, read_all_tilt_series

    return {} if t is None else {series.name: series for series in read_all_tilt_series(t, Supplement())}


def _write_images(path: Path, worlds: NDArray[np.float64], keys: list[str], series: dict[str, TiltSeries]) -> None:
    """Write where world points lie in each image, one line a point and image."""
    from fourierrecon.geometry.displacement import positions_in
    from fourierrecon.io.files import replacing

    lines = ["point,tomogram,image,tilt,x,y"]
    for number, (point, key) in enumerate(zip(worlds, keys, strict=True), 1):
        own = series[key]
        for tilt, (x, y) in enumerate(positions_in(own, point[None])[:, 0]):
            lines.append(f"{number},{key},{tilt + 1},{own.tilt_angles[tilt]:.2f},{x:.3f},{y:.3f}")
    with replacing(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _boxes(
    t: Path | None,
    volume: Path | None,
    size: tuple[float, float, float] | None,
    angpix: float | None,
    found: dict[str, TiltSeries],
) -> dict[str, Box]:
    """Give the tomograms by name; one whose name does not matter under the empty name."""
    from fourierrecon.geometry.coordinate_frames import Box
    from fourierrecon.tomogram.provenance import box_of_volume

    given = [option for option, value in (("--t", t), ("--volume", volume), ("--size", size)) if value is not None]
    if len(given) != 1:
        raise UsageError(f"give one of --t, --volume or --size, to say which tomogram; {len(given)} are given")
    if (angpix is None) != (size is None):
        raise UsageError("--size and --angpix belong together: give both, or --t")
    if size is not None and angpix is not None:
        return {"": Box(size, angpix)}
    if volume is not None:
        return {"": box_of_volume(volume)}
    return {name: Box.of(series) for name, series in found.items()}


def _single(tn: str | None, boxes: dict[str, Box]) -> str:
    """Give the tomogram of points that do not name theirs."""
    if tn is not None:
        return tn
    if len(boxes) > 1:
        raise UsageError(f"the points do not say which tomogram they lie in; choose one with --tn: {', '.join(boxes)}")
    return next(iter(boxes))


def _key(name: str, boxes: dict[str, Box], points: Path) -> str:
    """Find the box of a tomogram by its name, as RELION or Warp (with an ending) writes it."""
    for known in ("", name, name.removesuffix(".tomostar")):
        if known in boxes:
            return known
    raise DataError(f"{points}: tomogram {name!r} is not in the set; it holds {', '.join(boxes)}")


def _only(found: Points, tn: str, points: Path) -> Points:
    """Give the points of one tomogram."""
    assert found.tomograms is not None
    index = [i for i, name in enumerate(found.tomograms) if name.removesuffix(".tomostar") == tn]
    if not index:
        raise DataError(f"{points}: no points of tomogram {tn!r}; it names {', '.join(dict.fromkeys(found.tomograms))}")
    columns = {label: [values[i] for i in index] for label, values in found.columns.items()}
    return replace(found, coordinates=found.coordinates[index], tomograms=[tn] * len(index), columns=columns)
