"""What the files of Warp say of a tilt series: XML, or ``.tomostar`` where there is no XML yet; grids and CTF."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.star.table import read_tables
from fourierrecon.io.warp.grids import WarpGrid, node_values, read_grid
from fourierrecon.io.warp.xml import LARGEST, TRUTH, attribute, number, numbers_of, read_root, truth, values_of
from fourierrecon.text import counted
from fourierrecon.tilt_series import MOST_TILT, CtfParameters

#: Grids of Warp that turn particles and move nothing; they are named if they are not zero. Their units.
NOT_APPLIED = {"GridAngleX": "°", "GridAngleY": "°", "GridAngleZ": "°"}
#: Grids that move what is in the images and in the volume.
MOVEMENTS, WARPS = ("GridMovementX", "GridMovementY"), ("GridVolumeWarpX", "GridVolumeWarpY", "GridVolumeWarpZ")

#: Aberrations that Warp fits and that the CTF here has no terms for; likewise.
ABERRATIONS = {"ZernikeCoeffsOdd": "", "ZernikeCoeffsEven": "", "BeamTilt": " mrad"}


@dataclass(frozen=True, eq=False)
class WarpSeries:
    """What a file says of a series; lists have one value a tilt, excluded ones among them."""

    path: Path
    angles: NDArray[np.float64]  # degrees, as Warp counts them
    axis: NDArray[np.float64]  # degrees
    offsets: NDArray[np.float64]  # (n, 2) Å
    use: NDArray[np.bool_]
    dose: NDArray[np.float64] | None = None  # e⁻/Å², before each image
    movies: Sequence[str] = ()
    level: tuple[float, float] = (0.0, 0.0)  # degrees
    image_size: tuple[float, ...] | None = None  # (width, height) Å
    volume_size: tuple[float, ...] | None = None  # (width, height, depth) Å
    pixel_size: float | None = None  # Å; what Warp fitted the CTF with
    ctf: CtfParameters | None = None
    ctf_missing: tuple[str, ...] = ()
    movie_folder: str = ""
    movie_field: str = "<MoviePath>"
    movements: tuple[WarpGrid, ...] = ()  # of x and y in the images, Å
    warps: tuple[WarpGrid, ...] = ()  # of x, y and z in the volume, Å
    inverted: bool | None = None  # AreAnglesInverted: the defocus falls with the depth

    def __len__(self) -> int:
        return len(self.angles)


def read_files(path: Path) -> WarpSeries:
    """Read the XML, or a ``.tomostar`` where there is none.

    Parameters
    ----------
    path
        ``NAME.xml``, or ``NAME.tomostar``, which has its XML beside it or in ``../warp_tiltseries``.

    Raises
    ------
    DataError
        If a file cannot be used; the message names file and field.
    """
    if path.suffix.lower() != ".tomostar":
        return _read_xml(path)
    xml = _xml_of(path)
    return _read_tomostar(path) if xml is None else _read_xml(xml)


def _read_tomostar(path: Path) -> WarpSeries:
    """Read a ``.tomostar``: angles, and of the alignment what it holds."""
    tables = read_tables(path)
    table = next((t for t in tables.values() if t.has("wrpAngleTilt")), None)
    if table is None:
        raise DataError(f"{path} is no .tomostar: no column wrpAngleTilt; give the .tomostar or XML of a tilt series")
    if not len(table):
        raise DataError(f"{table.where}: lists no tilts")
    angles, axis = (
        table.numbers(label, 0.0, least=-MOST_TILT, most=MOST_TILT) for label in ("wrpAngleTilt", "wrpAxisAngle")
    )
    offsets = [table.numbers(f"wrpAxisOffset{a}", 0.0, least=-LARGEST, most=LARGEST) for a in "XY"]
    lacking = table.lacks("wrpAxisAngle", "wrpAxisOffsetX", "wrpAxisOffsetY")
    warnings.warn(
        f"{path}: no {path.stem}.xml beside it or in ../warp_tiltseries, so the alignment is that of the .tomostar"
        + (f", with 0 for {', '.join(lacking)}" if lacking else ""),
        stacklevel=4,
    )
    return WarpSeries(
        path,
        angles,
        axis,
        np.stack(offsets, 1),
        np.ones(len(table), bool),
        table.numbers("wrpDose", least=0, most=LARGEST) if table.has("wrpDose") else None,
        list(table.words("wrpMovieName")) if table.has("wrpMovieName") else [],
        ctf_missing=("Warp's XML with the fitted CTF",),
        movie_field="column wrpMovieName",
    )


def _read_xml(path: Path) -> WarpSeries:
    """Read the XML of a tilt series."""
    root = read_root(path)
    angles = numbers_of(path, root, "Angles", largest=MOST_TILT)
    if angles is None:
        raise DataError(f"{path}: <Angles> is missing; it lists the tilt angles. Give the XML of a tilt series")
    n = len(angles)
    lists = {"AxisAngle": numbers_of(path, root, "AxisAngle", n, MOST_TILT)}
    lists |= {name: numbers_of(path, root, name, n) for name in ("AxisOffsetX", "AxisOffsetY", "Dose")}
    axis, x, y, dose = lists.values()
    if axis is None or x is None or y is None:
        lacking = ", ".join(f"<{name}>" for name in ("AxisAngle", "AxisOffsetX", "AxisOffsetY") if lists[name] is None)
        raise DataError(f"{path}: {lacking} missing; was the tilt series aligned, or its alignment imported?")
    if dose is not None and dose.min() < 0:
        raise DataError(
            f"{path}, <Dose>, value {int(np.argmin(dose)) + 1}: {dose.min():g} is no exposure; allowed: 0 or more; "
            f"correct it"
        )
    use = values_of(path, root, "UseTilt", lambda word: TRUTH[word.lower()], "must be True or False", n)
    movies = values_of(path, root, "MoviePath", str, "", n)
    level_x, level_y = (attribute(path, root, f"LevelAngle{a}", 1, (0.0,), MOST_TILT) for a in "XY")
    sizes = [attribute(path, root, f"{kind}DimensionsAngstrom", k) for kind, k in (("Image", 2), ("Volume", 3))]
    for kind, lengths in zip(("Image", "Volume"), sizes, strict=True):
        if lengths is not None and min(lengths) < 0:
            raise DataError(f"{path}, {kind}DimensionsAngstrom: {min(lengths):g} Å is no size; correct or remove it")
    # Warp writes 0 where it does not know them
    image_size, volume_size = (lengths if lengths and min(lengths) > 0 else None for lengths in sizes)
    _name_the_rest(path, root)
    if truth(path, root, "UnselectManual"):
        warnings.warn(
            f"{path}: somebody took this tilt series out in Warp (UnselectManual); read all the same", stacklevel=4
        )
    ctf, missing = _ctf(path, root, n)
    fitted = _parameter(path, root, "PixelSize")
    return WarpSeries(
        path,
        angles,
        axis,
        np.stack([x, y], 1),
        np.ones(n, bool) if use is None else np.array(use, bool),
        dose,
        movies or [],
        ((level_x or (0.0,))[0], (level_y or (0.0,))[0]),
        image_size,
        volume_size,
        fitted if fitted is not None and fitted > 0 else None,
        ctf,
        missing,
        root.get("DataDirectory", ""),
        movements=_grids(path, root, MOVEMENTS),
        warps=_grids(path, root, WARPS),
        inverted=truth(path, root, "AreAnglesInverted"),
    )


def is_unselected(path: Path) -> bool:
    """Tell whether somebody took this tilt series out by hand in Warp, which then passes it over.

    Parameters
    ----------
    path
        As for :func:`read_files`.

    Raises
    ------
    DataError
        If the XML cannot be read.
    """
    xml = path if path.suffix.lower() != ".tomostar" else _xml_of(path)
    return xml is not None and truth(xml, read_root(xml), "UnselectManual")


def _xml_of(path: Path) -> Path | None:
    """Find the XML of a ``.tomostar``: beside it, or in ``../warp_tiltseries``."""
    places = path.with_suffix(".xml"), path.absolute().parent.parent / "warp_tiltseries" / f"{path.stem}.xml"
    return next((xml for xml in places if xml.is_file()), None)


def _parameter(path: Path, root: ElementTree.Element, name: str) -> float | None:
    """Give a parameter of the CTF: as fitted, else as set for the fit, else None."""
    for block in ("CTF", "OptionsCTF"):
        for element in root.findall(f"{block}/Param"):
            if element.get("Name") == name:
                word = element.get("Value", "").strip()
                try:
                    return number(word)
                except ValueError as error:
                    raise DataError(f"{path}, <{block}>, {name}: {word[:40]!r} must be a number; correct it") from error
    return None


def _terms(path: Path, root: ElementTree.Element, name: str) -> NDArray[np.float64]:
    """Give the numbers of a parameter of the fitted CTF that holds several."""
    words = [e.get("Value", "") for e in root.findall("CTF/Param") if e.get("Name") == name]
    try:
        return np.array([number(word) for text in words for word in re.split(r"[;,\s]+", text) if word], float)
    except ValueError as error:
        raise DataError(f"{path}, <CTF>, {name}: {words[0][:40]!r} must be numbers; correct it") from error


def _name_the_rest(path: Path, root: ElementTree.Element) -> None:
    """Warn of what Warp corrects and a projection matrix cannot say."""
    found = []
    for name, unit in NOT_APPLIED.items():
        grid = root.find(name)
        nodes = np.zeros(0) if grid is None else node_values(path, grid)
        if nodes.any():
            found.append(f"{name} (up to {np.abs(nodes).max():.3g} {unit})")
    # Warp 1 wrote scales along and across an axis, and its angle; Warp 2 writes a 2 x 2 matrix
    scales = attribute(path, root, "MagnificationCorrection", (3, 4)) or (1.0, 1.0, 0.0)
    none = scales[:2] == (1.0, 1.0) if len(scales) == 3 else np.allclose(scales, (1, 0, 0, 1), atol=1e-6)
    if not none:
        found.append("MagnificationCorrection")
    for name, unit in ABERRATIONS.items():
        terms = _terms(path, root, name)
        if terms.any():
            found.append(f"{name} (up to {np.abs(terms).max():.3g}{unit})")
    if found:
        warnings.warn(f"{path}: not applied: {', '.join(found)}", stacklevel=5)


def _per_tilt(path: Path, root: ElementTree.Element, name: str, n: int) -> NDArray[np.float64]:
    """Give a grid's value at the middle of each image, ``(n,)``; 0 where there is no such grid.

    Warp's grids are splines through their nodes that are straight beyond the ends, evenly spaced over the image.
    """
    grid = read_grid(path, root, name)
    if grid is None:
        return np.zeros(n)
    depth = grid.values.shape[1]
    if depth not in (1, n):
        raise DataError(
            f"{path}, <{name}>: {counted(depth, 'node')} along Z for {counted(n, 'tilt')}; needed: 1, or one a tilt"
        )
    tilts = np.arange(n) / max(n - 1, 1)
    return grid.at(np.stack([np.full(n, 0.5), np.full(n, 0.5), tilts, np.zeros(n)], 1))


def _grids(path: Path, root: ElementTree.Element, names: tuple[str, ...]) -> tuple[WarpGrid, ...]:
    """Give grids that move something, one a name; none if all are 0."""
    grids = [read_grid(path, root, name) for name in names]
    found = [WarpGrid(np.zeros((1, 1, 1, 1))) if grid is None else grid for grid in grids]
    return tuple(found) if any(grid.values.any() for grid in found) else ()


def _ctf(path: Path, root: ElementTree.Element, n: int) -> tuple[CtfParameters | None, tuple[str, ...]]:
    """Give the parameters of the CTF, or what the file lacks for it; Warp counts in µm and in units of pi."""
    defocus = _per_tilt(path, root, "GridCTF", n)
    delta, angle, phase = (_per_tilt(path, root, f"GridCTF{k}", n) for k in ("DefocusDelta", "DefocusAngle", "Phase"))
    optics = {name: _parameter(path, root, name) for name in ("Voltage", "Cs", "Amplitude")}
    missing = [f"{name} in <CTF>" for name, value in optics.items() if value is None]
    # a grid of zeros stands for no fit
    missing += [] if defocus.any() else ["<GridCTF> (Warp's CTF fit)"]
    voltage, cs, amplitude = optics.values()
    if missing or voltage is None or cs is None or amplitude is None:
        return None, tuple(missing)
    try:
        ctf = CtfParameters.of(
            n,
            voltage=voltage,
            spherical_aberration=cs,
            amplitude_contrast=amplitude,
            defocus_u=(defocus + delta / 2) * 1e4,
            defocus_v=(defocus - delta / 2) * 1e4,
            defocus_angle=angle,
            phase_shift=phase * 180,
        )
    except DataError as error:
        raise DataError(f"{path}, <CTF>: {error}") from error
    return ctf, ()
