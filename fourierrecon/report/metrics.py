"""The figures of a report as a table for programs: ``metrics.csv``, one row a tomogram."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from fourierrecon.io.files import replacing
from fourierrecon.io.own_files import refuse_unmarked
from fourierrecon.report.findings import Findings
from fourierrecon.text import cell

#: Flags that are counted.
FLAGS = ("misaligned", "wrong angle", "blank", "not finite", "no CTF", "bad", "check")

#: Mark of each table that is written here: its first columns.
MARK = "name,status,error,warnings,volume,width,height,depth,voxel_size_A,"


def check_table(path: Path) -> None:
    """Check before a long computation that no table of another origin would be replaced.

    Parameters
    ----------
    path
        CSV file that is to be written.

    Raises
    ------
    UsageError
        If it exists and is no table of a report.
    """
    refuse_unmarked(path, MARK, "a report of fourierrecon")


def write_metrics(path: Path, found: Sequence[Findings]) -> Path:
    """Write the table, all of it or nothing; what is not known is empty.

    Texts that a spreadsheet would take for formulas have an apostrophe before them.

    Parameters
    ----------
    path
        CSV file, UTF-8.
    found
        One a row.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    rows = [_row(each) for each in found]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())
    return path


def _row(found: Findings) -> dict[str, str]:
    subject, slab = found.subject, found.slab
    depth, height, width = (n or None for n in found.shape)
    angles = [row.angle for row in found.tilts if row.angle is not None]
    facts = dict(reversed(found.facts))
    row: dict[str, object] = {
        "name": subject.name,
        "status": found.status,
        "error": found.error,
        "warnings": "; ".join(found.notes),
        "volume": subject.path or "",
        "width": width,
        "height": height,
        "depth": depth,
        "voxel_size_A": found.voxel_size or None,
        "images": len(found.tilts) or None,
        "excluded": sum(tilt.flag == "excluded" for tilt in found.tilts),
        "lowest_tilt_deg": min(angles, default=None),
        "highest_tilt_deg": max(angles, default=None),
        **{flag.replace(" ", "_"): found.counts[flag] for flag in FLAGS},
        "median_correlation": found.correlation,
        "median_shift_A": found.shift,
        "largest_shift_A": found.largest_shift,
        "resolution_0.143_A": found.resolution,
        "thickness_A": slab.thickness if slab else None,
        "slab_centre_z_A": slab.centre if slab else None,
        "slab_tilt_x_deg": slab.tilt_x if slab else None,
        "slab_tilt_y_deg": slab.tilt_y if slab else None,
        "contrast": slab.contrast if slab else None,
        "grey_deviation": found.greys[5] if found.greys else None,
        "weighting": facts.get("weighting", ""),
        "ctf": facts.get("CTF", ""),
        "seconds": subject.seconds,
    }
    return {label: _word(value) for label, value in row.items()}


def _word(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else cell(str(value))
