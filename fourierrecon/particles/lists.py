"""Writes the lists of the boxes that are there: one list for all tomograms, whoever made their boxes.

Lists follow from the picks, the tilt series and the folders that are there, so that any process can write them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fourierrecon.io import read_tilt_series, write_stack
from fourierrecon.io.star.table import write_tables
from fourierrecon.particles import warp_lists
from fourierrecon.particles.extraction import Extraction
from fourierrecon.particles.files import folder_of
from fourierrecon.particles.listing import Particle, Row, optics_row, particles_of, relion_row, shared_columns
from fourierrecon.particles.picks import SetPicks
from fourierrecon.tilt_series import TiltSeries

Tables = Mapping[str, Mapping[str, object]]
#: A tomogram whose boxes are there.
Listed = tuple[TiltSeries, Sequence[Particle]]


def write_lists(wanted: Extraction, picks: SetPicks) -> Path | None:
    """Write the lists of all boxes that are there; give that of the particles, None where there are none.

    Parameters
    ----------
    wanted
        What was extracted.
    picks
        Points of all tomograms that lists may name.

    Raises
    ------
    DataError
        If a tilt series cannot be read, or a list not be written.
    """
    found: list[Listed] = []
    for name in picks.rows:
        if folder_of(wanted, name).is_dir():
            with warnings.catch_warnings():
                # they are told when its boxes are made
                warnings.simplefilter("ignore")
                series = read_tilt_series(wanted.source, name, wanted.extras)
            found.append((series, particles_of(wanted, picks, series)))
    if not found:
        return None
    path = wanted.folder / "particles.star"
    if wanted.layout == "warp":
        rows = [warp_lists.volume_row(wanted, series, each) for series, particles in found for each in particles]
        write_tables(path, {"": shared_columns(rows)})
    elif wanted.layout == "warp-stacks":
        tomograms = path.with_name("particles_tomograms.star")
        write_tables(tomograms, _tomograms_of_warp(wanted, found))
        write_tables(path, _particles_of_warp(wanted, found))
        _write_set(path.with_name("particles_optimisation_set.star"), path, tomograms)
    else:
        write_tables(path, _particles(wanted, found))
        is_set = wanted.source.suffix.lower() == ".star"
        _write_set(path.with_name("optimisation_set.star"), path, wanted.source if is_set else None)
    return path


def _particles(wanted: Extraction, found: Sequence[Listed]) -> Tables:
    """Give the tables of RELION's list."""
    numbered = list(enumerate(found, 1))
    optics = [optics_row(wanted, series, group) for group, (series, _) in numbered]
    rows = [relion_row(wanted, series, each, group) for group, (series, boxes) in numbered for each in boxes]
    return _three(optics, rows, stacks=wanted.stacks)


def _particles_of_warp(wanted: Extraction, found: Sequence[Listed]) -> Tables:
    """Give the tables of Warp's list of stacks."""
    numbered = list(enumerate(found, 1))
    optics = [warp_lists.optics_row(wanted, series, group) for group, (series, _) in numbered]
    rows = [warp_lists.stack_row(wanted, series, each, group) for group, (series, boxes) in numbered for each in boxes]
    return _three(optics, rows, stacks=True)


def _three(optics: Sequence[Row], rows: Sequence[Row], *, stacks: bool) -> Tables:
    return {
        "general": {"rlnTomoSubTomosAre2DStacks": int(stacks)},
        "optics": shared_columns(optics),
        "particles": shared_columns(rows),
    }


def _tomograms_of_warp(wanted: Extraction, found: Sequence[Listed]) -> Tables:
    """Give the tables of Warp's file of tomograms, and write the dummy that stands for their tilt series."""
    dummy = wanted.folder / "dummy_tiltseries.mrc"
    write_stack(dummy, np.zeros((2, 2, 2), np.float32), 1.0)
    rows = [warp_lists.tomogram_row(wanted, series, group, str(dummy)) for group, (series, _) in enumerate(found, 1)]
    tilts = {f"{series.name}.tomostar": shared_columns(warp_lists.tilt_rows(wanted, series)) for series, _ in found}
    return {"global": shared_columns(rows), **tilts}


def _write_set(path: Path, particles: Path, tomograms: Path | None) -> None:
    """Write the file that leads to particles and tomograms."""
    entries = {"rlnTomoParticlesFile": str(particles)}
    if tomograms is not None:
        entries["rlnTomoTomogramsFile"] = str(tomograms)
    write_tables(path, {"": entries})
