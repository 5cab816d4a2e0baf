"""What ``info`` says about a volume: its header, and its passport where it has one."""

from __future__ import annotations

from math import nan
from pathlib import Path

from rich.console import Console

from fourierrecon.cli.messages import print_table
from fourierrecon.cli.messages_table import in_options
from fourierrecon.io.volumes.formats import open_volume
from fourierrecon.tomogram.provenance import ctf_words, depth_words, passport_path, read_passport, weighting_words


def print_volume(console: Console, path: Path) -> None:
    """Print a table of what is known about a volume.

    Parameters
    ----------
    console
        Where to.
    path
        MRC file or OME-Zarr folder.

    Raises
    ------
    DataError
        If it cannot be read, or its passport is damaged.
    """
    header, passport = open_volume(path), read_passport(path)
    depth, height, width = header.shape
    origin = ", ".join(f"{c:g}" for c in header.origin)
    facts = [
        ("size", f"{width} x {height} x {depth} voxels, fastest axis first"),
        ("voxel size", header.size_words),
        ("type", str(header.dtype.newbyteorder("="))),
        ("origin", f"({origin}) Å: place of the first voxel"),
        *(("label", line) for line in header.label.splitlines()),
    ]
    if passport is None:
        facts.append(("passport", f"none ({passport_path(path).name}); reconstruct --passport writes one"))
    else:
        frame, tilts, hand = passport["frame"], passport["tilts"], passport["handedness"]
        angles = tilts["angles_degrees"]
        facts += [
            ("passport", f"{passport_path(path).name}, by {passport['program']}"),
            ("axes", f"{', '.join(passport['volume']['axes_fastest_first'])} of the frame, fastest first"),
            ("frame", f"{frame['name']}; z: {frame['z']}"),
            ("part", f"first voxel at {_numbers(frame['first_voxel_of_region_in_tomogram_px'])} of a tomogram of "
                     f"{_numbers(frame['tomogram_size_px'])} px of {frame['pixel_size_angstrom']:g} Å"),
            ("tilts", f"{len(angles)}, {min(angles, default=nan):.1f}° to {max(angles, default=nan):.1f}°; "
                      f"{tilts['sign']}"),
            ("hand", in_options(hand["evidence"]) + ("; the file is a mirror image of the frame"
                                         if hand["file_is_mirror_image_of_world"] else "")),
            ("weighting", weighting_words(passport)),
            ("CTF", ctf_words(passport)),
            *([("CTF by depth", in_options(depth_words(passport)))] if depth_words(passport) else []),
            *(("source", f"{source['file']}, sha256 {source['sha256'][:16]}…") for source in passport["sources"]),
            ("options", ", ".join(f"{key} {value}" for key, value in passport["options"].items())),
        ]  # fmt: skip
    print_table(console, path.name, facts)


def _numbers(values: list[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
