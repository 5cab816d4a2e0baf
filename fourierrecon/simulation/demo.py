"""Runs the demo: a cell is simulated, its tilt series written, read and reconstructed, and compared with the truth."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from fourierrecon.errors import DataError
from fourierrecon.geometry.region import Region
from fourierrecon.runtime.threads import Progress
from fourierrecon.volume import Volume

#: Width, height and depth of the demo's tomogram, px, and its pixel size, Å.
SIZE = (240, 256, 96)
PIXEL_SIZE = 10.0
#: Signal-to-noise ratio of each image (ratio of variances).
SNR = 0.5
SEED = 7
#: Voxels at each face that the comparison with the truth leaves out, and the highest frequency (cycles per
#: voxel) that it takes in: 40 Å, beyond which there is more noise than signal.
MARGIN = 8
MAX_FREQUENCY = 0.25


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """Files and figures of a demo.

    Parameters
    ----------
    tomogram, picture
        Files written: the Wiener-weighted tomogram (MRC), and the sections of truth, plain and weighted
        (PNG).
    tomogram_set, truth
        Files of the simulation: the RELION 5 set to try the program on, and the specimen as a volume
        (MRC).
    n_tilts
        Number of images.
    image_shape
        ``(height, width)``, px.
    volume_shape
        ``(z, y, x)``, voxels.
    voxel_size
        Å.
    snr
        Signal-to-noise ratio of each image.
    correlation
        Correlation with the truth, within the measured wedge and below ``max_frequency``: ``plain``
        (back-projection without weighting and CTF) and ``Wiener`` (with both).
    max_frequency
        Cycles per voxel.
    seconds
        Wall time of each step, in their order: ``simulate``, ``write``, ``read``, ``plain``, ``Wiener``,
        ``compare``.
    """

    tomogram: Path
    picture: Path
    tomogram_set: Path
    truth: Path
    n_tilts: int
    image_shape: tuple[int, int]
    volume_shape: tuple[int, int, int]
    voxel_size: float
    snr: float
    correlation: dict[str, float]
    max_frequency: float
    seconds: dict[str, float]


def run_demo(
    folder: str | os.PathLike[str],
    n_threads: int | None = None,
    progress: Progress | None = None,
    *,
    size: tuple[int, int, int] = SIZE,
) -> DemoReport:
    """Run the demo; the same version writes the same files.

    Parameters
    ----------
    folder
        Folder for ``tomogram.mrc``, ``demo.png`` and the folder ``simulated`` with the tilt series; made if need be.
    n_threads
        Default: the cores available to the process.
    progress
        Called as ``progress(stage, done, total)``, from any thread.
    size
        ``(width, height, depth)`` of the tomogram, px.

    Raises
    ------
    DataError
        If a file cannot be written.
    """
    from fourierrecon.display.panels import Panel, slices_png
    from fourierrecon.io import read_tilt_series
    from fourierrecon.io.volumes.mrc import write_mrc
    from fourierrecon.quality.wedge import wedge_correlation, wedge_mask
    from fourierrecon.reconstruction import reconstruct
    from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
    from fourierrecon.simulation.phantom import cell_like_specimen
    from fourierrecon.simulation.simulate import simulate, write_simulation
    from fourierrecon.weighting import NoWeighting, Wiener

    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {place}: {error.strerror}; choose another one") from error
    clock = _Clock()
    if progress is not None:
        progress("simulation", 0, 1)
    simulation = simulate(
        cell_like_specimen(size, SEED, pixel_size=PIXEL_SIZE),
        size,
        pixel_size=PIXEL_SIZE,
        ctf=realistic_ctf(len(TILT_ANGLES), SEED),
        snr=SNR,
        seed=SEED,
        n_threads=n_threads,
    )
    clock.lap("simulate")
    files = write_simulation(place / "simulated", simulation)
    clock.lap("write")
    if progress is not None:
        progress("simulation", 1, 1)

    # from here on as the command `reconstruct` does it
    series = read_tilt_series(files.relion5)
    region = Region.of(series)
    clock.lap("read")
    plain = reconstruct(series, region, NoWeighting(), ctf=False, n_threads=n_threads, progress=progress)
    clock.lap("plain")
    weighted = reconstruct(series, region, Wiener(), n_threads=n_threads, progress=progress)
    write_mrc(place / "tomogram.mrc", weighted)
    clock.lap("Wiener")

    truth = simulation.truth_volume(region)
    measured = wedge_mask(region.shape, series.projections)
    margin = min(MARGIN, (min(region.shape) - 1) // 4)
    volumes: dict[str, Volume] = {"plain": plain, "Wiener": weighted}
    correlation = {
        name: wedge_correlation(volume.data, truth.data, measured, MAX_FREQUENCY, margin=margin)
        for name, volume in volumes.items()
    }
    slices_png(
        place / "demo.png",
        [
            Panel("Specimen\nthe truth", truth),
            Panel(f"Plain back-projection\ncorrelation {correlation['plain']:.2f}", plain),
            Panel(f"Wiener, CTF corrected\ncorrelation {correlation['Wiener']:.2f}", weighted),
        ],
    )
    clock.lap("compare")
    return DemoReport(
        tomogram=place / "tomogram.mrc",
        picture=place / "demo.png",
        tomogram_set=files.relion5,
        truth=files.truth,
        n_tilts=series.n_tilts,
        image_shape=series.image_shape,
        volume_shape=region.shape,
        voxel_size=weighted.voxel_size,
        snr=SNR,
        correlation=correlation,
        max_frequency=MAX_FREQUENCY,
        seconds=clock.seconds,
    )


class _Clock:
    """Wall time of steps that follow each other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now
