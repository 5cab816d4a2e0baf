"""What the files of Warp say of a tilt series: XML, or ``.tomostar`` where there is no XML yet; grids and CTF."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.files import is_plain
from fourierrecon.io.star_table import read_tables
from fourierrecon.tilt_series import MOST_TILT, CtfParameters

#: No angle (degrees), exposure or shift (Å) is larger, no size (px) either: what exceeds it is a mistake.
LARGEST = 1e7
#: Grids of Warp that bend the images or the volume; they are named if they are not zero. Their units.
NOT_APPLIED = {
    "GridMovementX": "Å",
    "GridMovementY": "Å",
    "GridVolumeWarpX": "Å",
    "GridVolumeWarpY": "Å",
    "GridVolumeWarpZ": "Å",
    "GridAngleX": "°",
    "GridAngleY": "°",
    "GridAngleZ": "°",
}

_Value = TypeVar("_Value")


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
    for xml in (path.with_suffix(".xml"), path.absolute().parent.parent / "warp_tiltseries" / f"{path.stem}.xml"):
        if xml.is_file():
            return _read_xml(xml)
    return _read_tomostar(path)


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
    root = _root(path)
    angles = _numbers(path, root, "Angles", largest=MOST_TILT)
    if angles is None:
        raise DataError(f"{path}: <Angles> is missing; it lists the tilt angles. Give the XML of a tilt series")
    n = len(angles)
    lists = {"AxisAngle": _numbers(path, root, "AxisAngle", n, MOST_TILT)}
    lists |= {name: _numbers(path, root, name, n) for name in ("AxisOffsetX", "AxisOffsetY", "Dose")}
    axis, x, y, dose = lists.values()
    if axis is None or x is None or y is None:
        lacking = ", ".join(f"<{name}>" for name in ("AxisAngle", "AxisOffsetX", "AxisOffsetY") if lists[name] is None)
        raise DataError(f"{path}: {lacking} missing; was the tilt series aligned, or its alignment imported?")
    if dose is not None and dose.min() < 0:
        raise DataError(
            f"{path}, <Dose>, value {int(np.argmin(dose)) + 1}: {dose.min():g} is no exposure; allowed: 0 or more; "
            f"correct it"
        )
    truth = {"true": True, "false": False}
    use = _values(path, root, "UseTilt", lambda word: truth[word.lower()], "must be True or False", n)
    movies = _values(path, root, "MoviePath", str, "", n)
    level_x, level_y = (_attribute(path, root, f"LevelAngle{a}", 1, (0.0,), MOST_TILT) for a in "XY")
    sizes = [_attribute(path, root, f"{kind}DimensionsAngstrom", k) for kind, k in (("Image", 2), ("Volume", 3))]
    for kind, lengths in zip(("Image", "Volume"), sizes, strict=True):
        if lengths is not None and min(lengths) < 0:
            raise DataError(f"{path}, {kind}DimensionsAngstrom: {min(lengths):g} Å is no size; correct or remove it")
    # Warp writes 0 where it does not know them
    image_size, volume_size = (lengths if lengths and min(lengths) > 0 else None for lengths in sizes)
    _name_the_rest(path, root)
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
    )


def _root(path: Path) -> ElementTree.Element:
    """Parse an XML file in UTF-8 or UTF-16, with or without a byte-order mark."""
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(f"cannot read {str(path)!r}: {reason}; give the XML of a Warp tilt series") from error
    if not raw.strip():
        raise DataError(f"{path} is empty; was its writing interrupted?")
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in raw[:4]
    codec = "utf-8-sig" if not wide else "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-le"
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is neither UTF-8 nor UTF-16 text; save it as UTF-8, or copy it again") from error
    # the declaration may name another encoding than the file has
    text = re.sub(r"^\s*<\?xml[^>]*>", lambda match: "\n" * match[0].count("\n"), text)
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        line = getattr(error, "position", (1, 0))[0]
        raise DataError(f"{path}, line {line}: no valid XML ({error}); was the file cut short?") from error
    if root.tag != "TiltSeries":
        raise DataError(f"{path}: begins with <{root.tag[:40]}>, not <TiltSeries>; give the XML of a Warp tilt series")
    return root


def _number(word: str, largest: float = LARGEST) -> float:
    """Give a sensible number, or raise ``ValueError``."""
    value = float(word) if is_plain(word) else float("nan")
    if not abs(value) <= largest:
        raise ValueError(word)
    return value


def _values(
    path: Path,
    root: ElementTree.Element,
    name: str,
    convert: Callable[[str], _Value],
    allowed: str,
    n: int | None = None,
) -> list[_Value] | None:
    """Give a list of one value a line, or None if there is no such element."""
    element = root.find(name)
    if element is None:
        return None
    words = [word.strip() for word in (element.text or "").splitlines()]
    words = [word for word in words if word]
    if n is not None and len(words) != n:
        raise DataError(f"{path}, <{name}>: {len(words)} values, but <Angles> has {n}; needed: one a tilt")
    values = []
    for i, word in enumerate(words):
        try:
            values.append(convert(word))
        except (ValueError, KeyError) as error:
            raise DataError(f"{path}, <{name}>, value {i + 1}: {word[:40]!r} {allowed}; correct it") from error
    return values


def _numbers(
    path: Path, root: ElementTree.Element, name: str, n: int | None = None, largest: float = LARGEST
) -> NDArray[np.float64] | None:
    """Give a list of finite numbers, ``(n,)``."""
    values = _values(
        path, root, name, lambda word: _number(word, largest), f"must be a number up to {largest:g} either way", n
    )
    if values is not None and not values:
        raise DataError(f"{path}, <{name}>: holds no values; needed: one a tilt")
    return None if values is None else np.array(values, float)


def _attribute(
    path: Path,
    root: ElementTree.Element,
    name: str,
    n: int,
    default: tuple[float, ...] | None = None,
    largest: float = LARGEST,
) -> tuple[float, ...] | None:
    """Give an attribute of the root, ``n`` numbers with commas between."""
    text = root.get(name, "").strip()
    if not text:
        return default
    try:
        values = tuple(_number(word.strip(), largest) for word in text.strip("()").split(","))
    except ValueError:
        values = ()
    if len(values) != n:
        raise DataError(
            f"{path}, attribute {name}: {text[:40]!r} must be {n} number{'s' * (n > 1)} up to {largest:g}; correct it"
        )
    return values


def _parameter(path: Path, root: ElementTree.Element, name: str) -> float | None:
    """Give a parameter of the CTF: as fitted, else as set for the fit, else None."""
    for block in ("CTF", "OptionsCTF"):
        for element in root.findall(f"{block}/Param"):
            if element.get("Name") == name:
                word = element.get("Value", "").strip()
                try:
                    return _number(word)
                except ValueError as error:
                    raise DataError(f"{path}, <{block}>, {name}: {word[:40]!r} must be a number; correct it") from error
    return None


def _nodes(path: Path, grid: ElementTree.Element) -> NDArray[np.float64]:
    """Give the values of the nodes of a grid, in the order of the file."""
    values = []
    for i, node in enumerate(grid.findall("Node")):
        word = node.get("Value", "").strip()
        try:
            values.append(_number(word))
        except ValueError as error:
            raise DataError(
                f"{path}, <{grid.tag}>, node {i + 1}: {word[:40]!r} must be a number; correct it"
            ) from error
    return np.array(values, float)


def _name_the_rest(path: Path, root: ElementTree.Element) -> None:
    """Warn of what Warp corrects and a projection matrix cannot say."""
    found = []
    for name, unit in NOT_APPLIED.items():
        grid = root.find(name)
        nodes = np.zeros(0) if grid is None else _nodes(path, grid)
        if nodes.any():
            found.append(f"{name} (up to {np.abs(nodes).max():.3g} {unit})")
    identity = (1.0, 0.0, 0.0, 1.0)
    if not np.allclose(_attribute(path, root, "MagnificationCorrection", 4, identity) or identity, identity, atol=1e-6):
        found.append("MagnificationCorrection")
    if found:
        warnings.warn(f"{path}: not applied: {', '.join(found)}", stacklevel=5)


def _per_tilt(path: Path, root: ElementTree.Element, name: str, n: int) -> NDArray[np.float64]:
    """Give a grid's value at the middle of each image, ``(n,)``; 0 where there is no such grid.

    Warp's grids are splines through their nodes that are straight beyond the ends, evenly spaced over the image.
    """
    grid = root.find(name)
    if grid is None:
        return np.zeros(n)
    nodes = _nodes(path, grid)
    try:
        width, height, depth = (int(grid.get(axis, "1")) for axis in ("Width", "Height", "Depth"))
        places = [tuple(int(node.get(axis, "0")) for axis in "ZYX") for node in grid.findall("Node")]
    except ValueError as error:
        raise DataError(f"{path}, <{name}>: sizes and places of nodes must be whole numbers; correct them") from error
    # as many nodes as places, each once
    inside = all(0 <= z < depth and 0 <= y < height and 0 <= x < width for z, y, x in places)
    if not inside or len(set(places)) != len(places) or len(places) != width * height * depth:
        raise DataError(
            f"{path}, <{name}>: {len(places)} nodes do not fill its {width} x {height} x {depth}; was the file cut?"
        )
    if depth not in (1, n):
        raise DataError(f"{path}, <{name}>: {depth} nodes along Z for {n} tilts; needed: 1, or one a tilt")
    values = np.empty((depth, height, width))
    for place, value in zip(places, nodes, strict=True):
        values[place] = value
    for axis in (2, 1):
        if values.shape[axis] > 1:
            # scipy is slow to import, and most grids have one node an image
            from scipy.interpolate import CubicSpline

            along = np.linspace(0, 1, values.shape[axis])
            values = np.expand_dims(CubicSpline(along, values, axis=axis, bc_type="natural")(0.5), axis)
    return np.array(np.broadcast_to(values[:, 0, 0], n))


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
