"""Lists of tomograms for programs that denoise: cryoCARE, IsoNet and DeepDeWedge, each in its own form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fourierrecon.io.files import replacing
from fourierrecon.io.own_files import refuse_unmarked
from fourierrecon.io.star.table import TITLE, write_tables

#: Names of the lists for cryoCARE, IsoNet and DeepDeWedge; the mark of each that is written here.
MARKS = {
    "cryocare.json": f'"comment": "{TITLE}"',
    "isonet.star": f"# {TITLE}\n",
    "deepdewedge.yaml": f"# {TITLE}\n",
}


@dataclass(frozen=True)
class Pair:
    """A tomogram and its halves.

    Parameters
    ----------
    name
        Name of the tomogram.
    full, half1, half2
        Files.
    voxel_size
        Å.
    defocus
        Mean at the least tilt, Å; 0 where it is unknown.
    """

    name: str
    full: Path
    half1: Path
    half2: Path
    voxel_size: float
    defocus: float


def check_lists(folder: Path) -> None:
    """Check before a long computation that no list of another origin would be replaced.

    Parameters
    ----------
    folder
        Folder of the lists.

    Raises
    ------
    UsageError
        If a file of one of these names exists, and was not written here.
    """
    for name, mark in MARKS.items():
        refuse_unmarked(folder / name, mark, "a run on a set")


def write_lists(folder: Path, pairs: Sequence[Pair]) -> list[Path]:
    """Write ``cryocare.json``, ``isonet.star`` and ``deepdewedge.yaml``; paths are absolute.

    Parameters
    ----------
    folder
        Folder of the lists; it is made.
    pairs
        Tomograms to list.

    Raises
    ------
    UsageError
        If a file of one of these names exists, and was not written here.
    DataError
        If a file cannot be written.
    """
    check_lists(folder)
    halves = [[str(getattr(pair, half).absolute()) for pair in pairs] for half in ("half1", "half2")]
    cryocare, isonet, dewedge = (folder / name for name in MARKS)
    # cryoCARE: what its extraction of training data takes; sizes are its own examples'
    training = {
        "comment": TITLE,  # cryoCARE takes what it knows of the file
        "even": halves[0], "odd": halves[1], "patch_shape": [72, 72, 72], "num_slices": 1200, "split": 0.9,
        "tilt_axis": "Y", "n_normalization_samples": 500, "path": str((folder / "cryocare").absolute()),
    }  # fmt: skip
    with replacing(cryocare) as file:
        file.write(json.dumps(training, indent=2).encode())
    columns: dict[str, object] = {
        "rlnIndex": [str(i + 1) for i in range(len(pairs))],
        "rlnMicrographName": [str(pair.full.absolute()) for pair in pairs],
        "rlnPixelSize": [f"{pair.voxel_size:g}" for pair in pairs],
        "rlnDefocus": [f"{pair.defocus:.1f}" for pair in pairs],
        "rlnNumberSubtomo": ["100"] * len(pairs),
    }
    write_tables(isonet, {"": columns})
    lines = [f"# {TITLE}", "shared:", f"  project_dir: {json.dumps(str((folder / 'deepdewedge').absolute()))}"]
    for name, files in zip(("tomo0_files", "tomo1_files"), halves, strict=True):
        lines += [f"  {name}:", *(f"    - {json.dumps(path)}" for path in files)]
    with replacing(dewedge) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return [cryocare, isonet, dewedge]
