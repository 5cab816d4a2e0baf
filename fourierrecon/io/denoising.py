"""Lists of tomograms for programs that denoise: cryoCARE, IsoNet, IsoNet2, DeepDeWedge and Icecream, each in its form.

Names of columns and fields are those of the programs' own examples: cryoCARE's and Icecream's templates, the tutorials
of IsoNet (https://github.com/IsoNet-cryoET) and the configuration of DeepDeWedge
(https://github.com/MLI-lab/DeepDeWedge). Numbers that a program lets its user choose are those of its example.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fourierrecon.io.files import replacing
from fourierrecon.io.own_files import refuse_unmarked
from fourierrecon.io.star.table import TITLE, write_tables

#: Names of the lists, and the mark of each that is written here.
MARKS = {
    "cryocare.json": f'"comment": "{TITLE}"',
    "isonet.star": f"# {TITLE}\n",
    "deepdewedge.yaml": f"# {TITLE}\n",
    "cryocare_train.json": f'"comment": "{TITLE}"',
    "cryocare_predict.json": f'"comment": "{TITLE}"',
    "isonet2.star": f"# {TITLE}\n",
}
#: Folder of the files for Icecream: a configuration and angles for each tomogram.
ICECREAM = "icecream"
#: Subtomograms that IsoNet2 takes of all tomograms together, as its own preparation.
SUBTOMOGRAMS = 3000


@dataclass(frozen=True, kw_only=True)
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
    voltage, spherical_aberration, amplitude_contrast
        kV, mm, and a fraction.
    angles
        Tilt angles of the images that were used, degrees, with all corrections: those of the missing wedge.
    """

    name: str
    full: Path
    half1: Path
    half2: Path
    voxel_size: float
    defocus: float
    voltage: float = 300.0
    spherical_aberration: float = 2.7
    amplitude_contrast: float = 0.1
    angles: tuple[float, ...] = (-60.0, 60.0)


def check_lists(folder: Path, names: Sequence[str] = ()) -> None:
    """Check before a long computation that no list of another origin would be replaced.

    Parameters
    ----------
    folder
        Folder of the lists.
    names
        Names of the tomograms, where they are known.

    Raises
    ------
    UsageError
        If a file of one of these names exists, and was not written here.
    """
    for name, mark in MARKS.items():
        refuse_unmarked(folder / name, mark, "a run on a set")
    for name in names:
        refuse_unmarked(folder / ICECREAM / f"{name}.yaml", f"# {TITLE}\n", "a run on a set")


def write_lists(folder: Path, pairs: Sequence[Pair], finish: str = "") -> list[Path]:
    """Write the lists of :data:`MARKS`, and files for Icecream; paths in them are absolute.

    Parameters
    ----------
    folder
        Folder of the lists; it is made.
    pairs
        Tomograms to list.
    finish
        What was done to the numbers of the volumes, in words.

    Raises
    ------
    UsageError
        If a file of one of these names exists, and was not written here.
    DataError
        If a file cannot be written.
    """
    folder = folder.absolute()
    check_lists(folder, [pair.name for pair in pairs])
    title = f"{TITLE}\n# volumes: {finish}" if finish else TITLE
    written = [*_cryocare(folder, pairs, finish), *_isonet(folder, pairs, title)]
    written.append(_dewedge(folder / "deepdewedge.yaml", folder, pairs, title))
    for pair in pairs:
        written += _icecream(folder / ICECREAM, pair, title)
    return written


def _files(pairs: Sequence[Pair], half: str) -> list[str]:
    return [str(getattr(pair, half).absolute()) for pair in pairs]


def _cryocare(folder: Path, pairs: Sequence[Pair], finish: str) -> list[Path]:
    """Write what the three steps of cryoCARE take; it takes what it knows of a file, and leaves the comment."""
    even, odd, data, model = _files(pairs, "half1"), _files(pairs, "half2"), folder / "cryocare", "cryocare_model"
    first: dict[str, Any] = {"comment": TITLE} | ({"volumes": finish} if finish else {})
    steps: dict[str, dict[str, Any]] = {
        "cryocare.json": {
            "even": even, "odd": odd, "patch_shape": [72, 72, 72], "num_slices": 1200, "split": 0.9, "tilt_axis": "Y",
            "n_normalization_samples": 500, "path": str(data),
        },
        "cryocare_train.json": {
            "train_data": str(data), "epochs": 100, "steps_per_epoch": 200, "batch_size": 16, "unet_kern_size": 3,
            "unet_n_depth": 3, "unet_n_first": 16, "learning_rate": 0.0004, "model_name": model, "path": str(folder),
        },
        "cryocare_predict.json": {
            "path": str(folder / f"{model}.tar.gz"), "even": even, "odd": odd, "n_tiles": [1, 1, 1],
            "output": str(folder / "cryocare_denoised"),
        },
    }  # fmt: skip
    for name, step in steps.items():
        with replacing(folder / name) as file:
            file.write(json.dumps(first | step, indent=2).encode())
    return [folder / name for name in steps]


def _isonet(folder: Path, pairs: Sequence[Pair], title: str) -> list[Path]:
    """Write the lists of IsoNet and IsoNet2."""
    n = len(pairs)
    index = {"rlnIndex": [str(i + 1) for i in range(n)]}
    size = {"rlnPixelSize": [f"{pair.voxel_size:g}" for pair in pairs]}
    defocus = {"rlnDefocus": [f"{pair.defocus:.1f}" for pair in pairs]}
    old: dict[str, object] = {
        **index, "rlnMicrographName": _files(pairs, "full"), **size, **defocus, "rlnNumberSubtomo": ["100"] * n,
    }  # fmt: skip
    new: dict[str, object] = {
        **index,
        "rlnTomoName": _files(pairs, "full"),
        "rlnTomoReconstructedTomogramHalf1": _files(pairs, "half1"),
        "rlnTomoReconstructedTomogramHalf2": _files(pairs, "half2"),
        **size,
        **defocus,
        "rlnVoltage": [f"{pair.voltage:g}" for pair in pairs],
        "rlnSphericalAberration": [f"{pair.spherical_aberration:g}" for pair in pairs],
        "rlnAmplitudeContrast": [f"{pair.amplitude_contrast:g}" for pair in pairs],
        "rlnMaskBoundary": ["None"] * n,
        "rlnMaskName": ["None"] * n,
        "rlnTiltMin": [f"{min(pair.angles):.1f}" for pair in pairs],
        "rlnTiltMax": [f"{max(pair.angles):.1f}" for pair in pairs],
        "rlnBoxFile": ["None"] * n,
        "rlnNumberSubtomo": [str(max(1, round(SUBTOMOGRAMS / max(n, 1))))] * n,
        "rlnCorrectedTomoName": ["None"] * n,
    }
    write_tables(folder / "isonet.star", {"": old}, title)
    write_tables(folder / "isonet2.star", {"": new}, title)
    return [folder / "isonet.star", folder / "isonet2.star"]


def _dewedge(path: Path, folder: Path, pairs: Sequence[Pair], title: str) -> Path:
    """Write the configuration of DeepDeWedge: fields that steps share, and a field for each step, which it needs."""
    missing = round(180 - median(max(pair.angles) - min(pair.angles) for pair in pairs)) if pairs else 60
    lines = [f"# {title}", "shared:", f"  project_dir: {json.dumps(str(folder / 'deepdewedge'))}"]
    for name, half in (("tomo0_files", "half1"), ("tomo1_files", "half2")):
        lines += [f"  {name}:", *(f"    - {json.dumps(file)}" for file in _files(pairs, half))]
    lines += [
        "  subtomo_size: 96", f"  mw_angle: {missing}", "  num_workers: 4", "  seed: 42",
        "prepare_data:", "  val_fraction: 0.2",
        "fit_model:", "  unet_params_dict: {chans: 64, num_downsample_layers: 3, drop_prob: 0.0}",
        "  adam_params_dict: {lr: 0.0004}", "  num_epochs: 1000", "  batch_size: 5", "  gpus: [0]",
        "  update_subtomo_missing_wedges_every_n_epochs: 10", "  check_val_every_n_epochs: 10",
        "  save_n_models_with_lowest_val_loss: 5", "  logger: csv",
        "refine_tomogram:", "  model_checkpoint_file: null # of fit_model", "  subtomo_overlap: 32", "  batch_size: 10",
        "  gpu: 0",
    ]  # fmt: skip
    with replacing(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return path


def _icecream(folder: Path, pair: Pair, title: str) -> list[Path]:
    """Write the configuration of Icecream for one tomogram, and its tilt angles."""
    yaml, angles = folder / f"{pair.name}.yaml", folder / f"{pair.name}.tlt"
    lines = [
        f"# {title}", "data:", f"  save_dir: {json.dumps(str(folder / pair.name))}",
        "  tomo0_files:", f"    - {json.dumps(str(pair.half1.absolute()))}",
        "  tomo1_files:", f"    - {json.dumps(str(pair.half2.absolute()))}",
        "  mask_file: null", f"  angle_file: {json.dumps(str(angles))}",
    ]  # fmt: skip
    for path, text in ((angles, [f"{angle:.2f}" for angle in sorted(pair.angles)]), (yaml, lines)):
        with replacing(path) as file:
            file.write(("\n".join(text) + "\n").encode())
    return [yaml, angles]
