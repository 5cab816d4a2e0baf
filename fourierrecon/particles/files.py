"""Files of boxes: their folders and names in each layout, and the writing of one particle.

Warp's names are those of ``ts_export_particles`` (warpem/warp, ``WarpTools/Commands/Tiltseries/
ExportParticlesTiltseries.cs``, ``WarpLib/TiltSeries/TiltSeries.ReconstructParticleSeries.cs``): volumes count from 0,
stacks from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io import write_mrc, write_stack
from fourierrecon.io.stacks.mrc import read_header
from fourierrecon.particles.boxes import BoxMaker
from fourierrecon.particles.extraction import Extraction
from fourierrecon.particles.warp_boxes import normalised, warp_box
from fourierrecon.runtime.memory import Workspace
from fourierrecon.volume import Volume

#: Folder of the boxes, for RELION, and of the layouts of Warp.
USUAL, PLACES = "Subtomograms", {"warp": "subtomo", "warp-stacks": "particleseries"}


def folder_of(wanted: Extraction, name: str) -> Path:
    """Give the folder of the boxes of a tomogram."""
    return wanted.folder / PLACES.get(wanted.layout, USUAL) / name


def places_of(folder: Path) -> list[Path]:
    """Give those folders that are there in which boxes of any layout lie."""
    return [place for name in (USUAL, *PLACES.values()) if (place := folder / name).is_dir()]


def files_of(wanted: Extraction, folder: Path, name: str, number: int, voxel_size: float) -> list[Path]:
    """Give the files of a particle; the last is written last.

    Parameters
    ----------
    wanted
        What is extracted.
    folder
        Folder of the boxes.
    name
        Tomogram.
    number
        Of the point among those of its tomogram, from 1.
    voxel_size
        Å.
    """
    size = f"{voxel_size:.2f}A"
    names = {
        "volumes": [f"{number}_weights.mrc", f"{number}.mrc"],
        "relion": [f"{number}_weights.mrc", f"{number}_data.mrc"],
        "relion-stacks": [f"{number}_stack2d.mrcs"],
        "warp": [f"{name}_{number - 1:07d}_ctf_{size}.mrc", f"{name}_{number - 1:07d}_{size}.mrc"],
        "warp-stacks": [f"{name}_{size}_{number:06d}.mrcs"],
    }
    return [folder / each for each in names[wanted.layout]]


def is_whole(files: Sequence[Path]) -> bool:
    """Tell whether the files of a particle are there, each as long as its header says."""
    try:
        for path in files:
            read_header(path)
    except DataError:
        return False
    return True


def write_particle(
    wanted: Extraction, maker: BoxMaker, point: NDArray[np.float64], files: Sequence[Path], workspace: Workspace
) -> None:
    """Make and write the files of one particle, in a workspace of its thread.

    Raises
    ------
    DataError
        If a file cannot be written.
    """
    sign = np.float32(-1 if wanted.inverts else 1)
    size, origin = maker.voxel_size, (0.0, 0.0, 0.0)
    if wanted.stacks:
        images, _ = maker.stack(point)
        write_stack(files[0], sign * images, size)
        return
    if wanted.layout == "warp":
        volume, weights = warp_box(maker, point, workspace)
        diameter = wanted.box if wanted.diameter is None else wanted.diameter / size
        volume = normalised(sign * volume, diameter / 2)
    else:
        terms = maker.make(point, workspace=workspace)
        volume = sign * terms.volume(wanted.box, None if wanted.layout == "relion" else wanted.snr, workspace)
        weights = maker.cropped_weights(terms)
    write_mrc(files[0], Volume(weights, size, origin))
    write_mrc(files[1], Volume(volume, size, origin))
