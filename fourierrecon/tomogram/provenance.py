"""The passport of a volume: a JSON file beside it with its coordinate frame, its sources and how it was made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from fourierrecon.errors import DataError
from fourierrecon.geometry.axis_order import Orientation
from fourierrecon.geometry.coordinate_frames import Box, affine
from fourierrecon.geometry.corrections import tilt_axis
from fourierrecon.geometry.projection import rotation_centre
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.tiles import Tiling
from fourierrecon.images.repair import record_of
from fourierrecon.io.files import replacing
from fourierrecon.io.json_text import brief, fits, read_object
from fourierrecon.tilt_series import ImagesInFiles, TiltSeries
from fourierrecon.transfer import Correction, Transfer
from fourierrecon.weighting import Weighting

FORMAT = "fourierrecon passport 1"
#: Fields of a passport that are read, and their types (see :func:`fourierrecon.io.json_text.fits`).
FIELDS: dict[str, object] = {
    "program": str,
    "volume": {"axes_fastest_first": [str]},
    "frame": {
        "name": str,
        "z": str,
        "z_reversed": bool,
        "tomogram_size_px": [float] * 3,
        "first_voxel_of_region_in_tomogram_px": [float] * 3,
        "pixel_size_angstrom": float,
        "tilt_axis_angle_degrees": float,
    },
    "tilts": {"angles_degrees": [float], "sign": str},
    "handedness": {"evidence": str, "file_is_mirror_image_of_world": bool},
    "weighting": {"name": str},
    "ctf_corrected": bool,
    "sources": [{"file": str, "sha256": str}],
    "options": dict,
}
#: The same of fields that not all passports have.
OPTIONAL: dict[str, object] = {"transfer": dict, "local_alignment": (dict, None), "images": dict}


def passport_path(volume: Path) -> Path:
    """Give the name of a volume's passport: ``NAME.passport.json`` beside it."""
    return volume.with_name(f"{volume.stem}.passport.json")


def make_passport(
    volume: Path,
    series: TiltSeries,
    region: Region,
    weighting: Weighting,
    *,
    ctf: bool = True,
    correction: Correction | None = None,
    like: str | None = None,
    source: Path | None = None,
    options: Mapping[str, object] | None = None,
    tiling: Tiling | None = None,
) -> dict[str, Any]:
    """Collect all that is known of a volume; its source files are read for their hashes.

    Voxels are ``(i, j, k)`` from 0, the fastest axis of the file first; world points, tilt angles and image pixels are
    those of :mod:`fourierrecon.geometry`; world Å are world pixels times the pixel size.

    Parameters
    ----------
    volume
        File of the volume.
    series, region, weighting, ctf
        Arguments of the reconstruction.
    correction
        Correction of the CTF, exposure and tilt, in place of ``ctf``.
    like
        Orientation of the file, a name of :data:`fourierrecon.geometry.axis_order.LIKE`.
    source
        Set that was read.
    options
        Options of the command line, for the record.
    tiling
        Tiles that a local alignment was applied in.
    """
    from importlib.metadata import version

    p, binning = series.pixel_size, region.binning
    orientation, box = Orientation.like(like, series), Box.of(series, region)
    to_world = affine(binning, region.origin) @ orientation.matrix(region.shape)
    from_angstrom = affine(1 / p, 0)
    centre = rotation_centre(series)
    transfer = Transfer.of(series, correction or Correction.of(ctf), divides=weighting.divides, region=region)
    return {
        "format": FORMAT,
        "program": f"fourierrecon {version('fourierrecon')}",
        "volume": {
            "file": volume.name,
            "shape_slowest_first": list(orientation.shape(region.shape)),
            "axes_fastest_first": list(orientation.axes),
            "like": like,
            "voxel_size_angstrom": p * binning,
            "binning": binning,
        },
        "frame": {
            "name": series.coordinate_frame,
            "z": "Warp's direction" if series.z_reversed else "as in eTomo's final tomogram and in RELION",
            "z_reversed": series.z_reversed,
            "tomogram_size_px": list(box.size),
            "first_voxel_of_region_in_tomogram_px": list(box.corner),
            "rotation_centre_world_px": centre.tolist(),
            "pixel_size_angstrom": p,
            "tilt_axis_angle_degrees": box.axis_angle,
        },
        "matrices": {
            "voxel_to_world_px": to_world.tolist(),
            "voxel_to_world_angstrom": (affine(p, 0) @ to_world).tolist(),
            "world_angstrom_to_tilt_pixel": (series.projections[:, :2] @ from_angstrom).tolist(),
            "voxel_to_tilt_pixel": (series.projections[:, :2] @ to_world).tolist(),
        },
        "local_alignment": local_record(series, tiling),
        "handedness": _handedness(series, orientation),
        "tilts": {
            "angles_degrees": series.tilt_angles.tolist(),
            "sign": "a larger angle turns the specimen by the right hand about axis_world",
            "axis_world": tilt_axis(series).tolist(),
            "exposure_before": None if series.exposure is None else series.exposure.tolist(),
            "excluded_in_source": list(series.excluded),
        },
        "sources": [_fingerprint(path) for path in _files(series, source)],
        "weighting": {
            "name": weighting.name,
            "words": weighting.words,
            **(asdict(weighting) if is_dataclass(weighting) else {}),
        },
        "images": record_of(series),
        "ctf_corrected": transfer.ctf is not None,
        "transfer": {"words": transfer.words, **transfer.record()},
        "options": dict(options or {}),
    }


def local_record(series: TiltSeries, tiling: Tiling | None) -> dict[str, Any] | None:
    """Say for a passport what became of the local alignment; None if the series has none."""
    if series.local is None:
        return None
    if tiling is None:
        return {"words": f"{series.local.words}, not applied", "applied": False}
    note = "matrices are those of the global alignment; displacements in the images are added to what they give"
    return {"words": f"{series.local.words}: {tiling.words}", "applied": True, **tiling.record(), "note": note}


def local_words(passport: Mapping[str, Any]) -> str:
    """Describe the local alignment from a passport; an empty text if there was none."""
    return str((passport.get("local_alignment") or {}).get("words", ""))


def label_of(making: str, series: TiltSeries, region: Region, like: str | None, tiling: Tiling | None = None) -> str:
    """Write the lines for the header of a volume: how it was made, and its coordinate frame.

    Parameters
    ----------
    making
        First line.
    series, region, like, tiling
        As for :func:`make_passport`.
    """
    box = Box.of(series, region)
    corner = " ".join(f"{c:g}" for c in box.corner)
    size = " x ".join(f"{n:g}" for n in box.size)
    z = "z as Warp" if series.z_reversed else "z as IMOD (trimvol -rx)"
    lines = [
        making,
        *([] if tiling is None or series.local is None else [f"local {series.local.words}: {tiling.words}"]),
        f"axes {' '.join(Orientation.like(like, series).axes)} (fastest first), {z}; like {like or 'the tilt series'}",
        f"binning {region.binning:g}; pixel {series.pixel_size:g} A; first voxel ({corner}) of {size} px",
        f"frame {series.coordinate_frame}",
    ]
    lines += [f"source {Path(series.source).name}"] * bool(series.source)
    # a header has ten lines of 80 characters; two are left for others
    return "\n".join([part for line in lines for part in wrap(line, 80)][:8])


def weighting_words(passport: Mapping[str, Any]) -> str:
    """Describe the weighting of a volume from its passport; an empty text if the passport lacks it."""
    weighting = dict(passport.get("weighting", {}))
    if "words" in weighting:
        return str(weighting["words"])
    # of version 0.1
    name = str(weighting.pop("name", ""))
    return ", ".join([name, *(f"{key} {value}" for key, value in weighting.items())]) if name else ""


def ctf_words(passport: Mapping[str, Any]) -> str:
    """Describe the correction of CTF, exposure and tilt from a passport; an empty text if the passport lacks it."""
    if "transfer" in passport:
        return str(passport["transfer"].get("words", ""))
    # of version 0.1
    return {"True": "corrected", "False": "not corrected"}.get(str(passport.get("ctf_corrected")), "")


def depth_words(passport: Mapping[str, Any]) -> str:
    """Say from a passport whether points have the CTF of their own depth, and why; an empty text if it lacks that."""
    transfer = passport.get("transfer")
    return str(transfer.get("ctf_depth") or "") if isinstance(transfer, Mapping) else ""


def write_passport(volume: Path, passport: Mapping[str, Any]) -> Path:
    """Write a passport beside its volume, and give its name.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    path = passport_path(volume)
    with replacing(path) as file:
        file.write(json.dumps(passport, indent=1, default=str).encode())
    return path


def remove_passport(volume: Path) -> None:
    """Remove the passport of a volume, if it has one."""
    path = passport_path(volume)
    if os.path.exists(path):
        path.unlink()


def read_passport(volume: Path) -> dict[str, Any] | None:
    """Read the passport of a volume; None if it has none.

    Raises
    ------
    DataError
        If the file holds no passport.
    """
    path = passport_path(volume)
    if not os.path.exists(path):  # also where the name is too long for a file
        return None
    remedy = "make the passport anew (passport=True) or remove it"
    passport = read_object(path, remedy)
    if passport.get("format") != FORMAT:
        raise DataError(f"{path}: format is {brief(passport.get('format'))}; this version reads {FORMAT!r}; {remedy}")
    there = {name: wanted for name, wanted in OPTIONAL.items() if name in passport}
    for name, wanted in (FIELDS | there).items():
        if not fits(passport.get(name), wanted):
            raise DataError(f"{path}: field {name} is not whole; {remedy}")
    return passport


def box_of_volume(volume: Path) -> Box:
    """Give the box of the tomogram that a volume shows a part of, from its passport.

    Raises
    ------
    DataError
        If there is no passport, or if it lacks the frame.
    """
    passport = read_passport(volume)
    if passport is None:
        raise DataError(
            f"{volume}: no passport {passport_path(volume).name} beside it; name the set (set=...), or give size=... "
            f"instead"
        )
    try:
        frame = passport["frame"]
        w, h, d = (float(n) for n in frame["tomogram_size_px"])
        x, y, z = (float(n) for n in frame["first_voxel_of_region_in_tomogram_px"])
        angle = float(frame["tilt_axis_angle_degrees"])
        return Box((w, h, d), float(frame["pixel_size_angstrom"]), bool(frame["z_reversed"]), (x, y, z), angle)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{passport_path(volume)}: field frame is not whole; make the passport anew") from error


def _handedness(series: TiltSeries, orientation: Orientation) -> dict[str, Any]:
    """Describe the evidence for the hand, which the images alone do not show."""
    mirrored = orientation.flip_z != orientation.swap
    evidence = (
        "none in the source: the hand is that of its tilt angles; if it is wrong, mirror the tomogram (flip_hand=True)"
        if series.hand is None
        else f"rlnTomoHand {series.hand:+d} (turned if flip_hand=True was given): how the defocus grows with depth. It "
        f"does not show whether that was checked (fourierrecon check-hand does that); if it is wrong, give "
        f"defocus_hand=..., or mirror the tomogram (flip_hand=True)"
    )
    return {
        "relion_hand": series.hand,
        "file_is_mirror_image_of_world": mirrored,
        "evidence": evidence,
    }


def _files(series: TiltSeries, source: Path | None) -> list[Path]:
    """Give the files that a tilt series was read from."""
    stacks = series.images.stacks if isinstance(series.images, ImagesInFiles) else ()
    named = [source, Path(series.source) if series.source else None, *(stack.path for stack in stacks)]
    return [path for path in dict.fromkeys(filter(None, named)) if path.is_file()]


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return {"file": str(path.absolute()), "bytes": path.stat().st_size, "sha256": digest.hexdigest()}
