"""Files for pytom-match-pick: tilt angles, exposures and defocus of a tomogram, and the options that name them.

Formats are those that its documentation gives (https://github.com/SBC-Utrecht/pytom-match-pick): one number a line, in
one order; degrees (``.rawtlt``), e⁻/Å² (``.txt``) and µm (``.txt``).

What belongs to the tomogram's missing wedge and transfer function depends on how it was made. An image that was divided
by its CTF or its damage has none of them left; pytom must not put them into the template once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fourierrecon.io.files import replacing
from fourierrecon.io.own_files import refuse_unmarked
from fourierrecon.io.star.table import TITLE
from fourierrecon.text import counted, quoted
from fourierrecon.tilt_series import TiltSeries

#: CTF modes that leave a CTF in the tomogram which pytom can model, and the option that says so.
MODELS: dict[str, dict[str, str]] = {"none": {}, "phase-flip": {"tomogram-ctf-model": "phase-flip"}}


@dataclass(frozen=True, kw_only=True)
class Matching:
    """A tomogram for template matching.

    Parameters
    ----------
    volume
        Its file.
    series
        Images that it was made of, with all corrections.
    ctf_mode
        What was done about the CTF, a name of :data:`fourierrecon.transfer.CTF_MODES`.
    damaged
        Damage by exposure is still in it.
    """

    volume: Path
    series: TiltSeries
    ctf_mode: str
    damaged: bool


def pytom_paths(folder: Path, name: str) -> list[Path]:
    """Give the files of a tomogram: options, angles, exposures, defocus."""
    return [folder / f"{name}{end}" for end in (".sh", ".rawtlt", "_exposure.txt", "_defocus.txt")]


def check_pytom(folder: Path, name: str) -> None:
    """Refuse to replace a file of options that was not written here.

    Raises
    ------
    UsageError
        If there is one.
    """
    refuse_unmarked(pytom_paths(folder, name)[0], f"# {TITLE}\n", "a run on a set")


def write_pytom(folder: Path, tomogram: Matching) -> list[Path]:
    """Write the files for one tomogram; give those that were written, the options first.

    Parameters
    ----------
    folder
        Folder of the files; it is made.
    tomogram
        The tomogram.

    Raises
    ------
    UsageError
        If a file of options exists that was not written here.
    DataError
        If a file cannot be written.
    """
    series = tomogram.series
    check_pytom(folder, series.name)
    options, angles, exposures, defocus = (path.absolute() for path in pytom_paths(folder, series.name))
    columns = {angles: series.tilt_angles}
    words = {"tomogram": str(tomogram.volume.absolute()), "tilt-angles": str(angles), "per-tilt-weighting": ""}
    if series.exposure is not None and tomogram.damaged:
        columns[exposures] = series.exposure
        words["dose-accumulation"] = str(exposures)
    ctf = series.ctf
    if ctf is not None and tomogram.ctf_mode in MODELS:
        columns[defocus] = (ctf.defocus_u + ctf.defocus_v) / 2e4
        words |= {
            "defocus": str(defocus), "amplitude-contrast": f"{ctf.amplitude_contrast:g}",
            "voltage": f"{ctf.voltage:g}", "spherical-aberration": f"{ctf.spherical_aberration:g}",
            **MODELS[tomogram.ctf_mode],
        }  # fmt: skip
        shift = float(np.median(ctf.phase_shift))
        words |= {"phase-shift": f"{shift:g}"} if shift > 0 else {}
    left = "corrected: no defocus is given" if tomogram.ctf_mode not in MODELS else f"mode {tomogram.ctf_mode}"
    tilts = counted(series.n_tilts, "tilt")
    text = [
        f"# {TITLE}", f"# {series.name}: {tilts}, CTF {left}", 'pytom_match_template.py "$@" \\',
        " \\\n".join(f"  --{option} {quoted(value) if value else ''}".rstrip() for option, value in words.items()),
    ]  # fmt: skip
    for path, values in columns.items():
        with replacing(path) as file:
            file.write("".join(f"{value:.4f}\n" for value in values).encode())
    for path in (exposures, defocus):
        if path not in columns:
            path.unlink(missing_ok=True)
    with replacing(options) as file:
        file.write(("\n".join(text) + "\n").encode())
    return [options, *columns]
