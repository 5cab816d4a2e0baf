"""Which weighting is best for what: phantoms with truth and a real cell, all weightings, modes and other packages.

For each volume: resolution against the truth where the tilts measured (Fourier shell correlation at 0.5 and 0.143),
correlation with it, height of a match with a ribosome, contrast of ribosomes in single voxels, agreement of halves of
frames, time. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray
from quality_methods import LEFT_OUT, METHODS, Images, Method, Ours
from quality_scenes import INSIDE, OUTSIDE, Scene, scenes
from quality_tables import report
from speed import describe_machine

from fourierrecon import Region, TiltSeries
from fourierrecon.quality.fsc import shell_correlation
from fourierrecon.quality.masks import soft_box
from fourierrecon.quality.spectrum import fourier_filter
from fourierrecon.quality.wedge import wedge_correlation, wedge_mask

#: Variances of signal over noise in the images.
LEVELS = (0.3, 0.1, 0.03)
#: Highest frequency that counts in matches and correlations, cycles per voxel.
FINEST = 0.4
#: Specimens that slow methods are not run for, Å; others they are run for at this level of noise alone.
THICK, ONE_LEVEL = 1500.0, 0.1
#: Side of cubes for transfer functions, voxels: more than a ribosome and its surroundings.
SIDE = 48
#: Ribosomes of the real cell, the volume they are looked for in, and how far the voxels of their middles reach, Å.
RIBOSOMES, FINDER, MIDDLE = 60, "wiener, SNR 1000", 25.0


class Judge:
    """Measures volumes of one scene.

    Parameters
    ----------
    scene
        What is in them.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.wedge = wedge_mask(scene.shape, scene.blank.projections, scene.ice / scene.pixel_size)
        self.box = soft_box(scene.shape, (4, 8, 8))
        self.centres, self.turns = scene.particles
        self.templates = {
            int(turn): scipy.fft.rfftn(fourier_filter(scene.template(int(turn)), self.wedge, FINEST), workers=2)
            for turn in np.unique(self.turns)
        }
        self.inside, self.background = scene.zones
        self.membranes = scene.membranes
        depth, height, width = scene.shape
        fz, fy = np.fft.fftfreq(depth)[:, None, None], np.fft.fftfreq(height)[:, None]
        radius = np.sqrt(fz**2 + fy**2 + np.fft.rfftfreq(width) ** 2)
        self.shells = (radius * min(scene.shape)).round().astype(np.int64).ravel()

    def measure(
        self, volume: Images, halves: tuple[Images, Images] | None, transfer: Images | None = None
    ) -> dict[str, float]:
        """Give all measures but time; with the transfer function of the volume also what needs that."""
        scene = self.scene
        truth = shell_correlation(volume, scene.truth, scene.pixel_size, mask=self.box, measured=self.wedge)
        found = {
            "fsc_0.5": truth.resolution(0.5),
            "fsc_0.143": truth.resolution(0.143),
            "correlation": wedge_correlation(volume, scene.truth, self.wedge, FINEST, margin=(4, 8, 8)),
            "match": self.match(volume, white=False),
            "match_white": self.match(volume, white=True),
            "contrast": contrast(volume, self.inside, self.background),
        }
        if self.membranes is not None:
            found["membranes"] = contrast(volume, self.membranes, self.background)
        if transfer is not None:
            grid = self._on_grid(transfer)
            found["match_modelled"] = self.match(volume, white=False, transfer=grid)
            found["match_transfer"] = self.match(volume, white=True, transfer=grid)
        if halves is not None:
            frames = shell_correlation(*halves, scene.pixel_size, mask=self.box, measured=self.wedge)
            found["halves"] = frames.resolution(0.143)
        return found

    def _on_grid(self, transfer: Images) -> Any:
        """Give a transfer function, a cube, on the frequencies of the volumes."""
        point = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(transfer)).real)
        padded = np.zeros(self.scene.shape, np.float32)
        here, there = [], []
        for n, side in zip(self.scene.shape, point.shape, strict=True):
            half = min(n // 2, side // 2)
            here.append(slice(n // 2 - half, n // 2 + half))
            there.append(slice(side // 2 - half, side // 2 + half))
        padded[tuple(here)] = point[tuple(there)]
        return scipy.fft.rfftn(np.fft.ifftshift(padded), workers=2)

    def match(self, volume: Images, *, white: bool, transfer: Any = 1) -> float:
        """Give the mean height of matches with ribosomes in their orientations, in standard deviations elsewhere.

        ``white``: volume and template are divided by the root of the mean power of the volume in each shell. The
        template is multiplied by ``transfer``.
        """
        spectrum = scipy.fft.rfftn(volume - volume.mean(), workers=2)
        if white:
            number = np.bincount(self.shells)
            power = np.bincount(self.shells, (np.abs(spectrum) ** 2 * self.wedge).ravel()) / np.maximum(number, 1)
            gains = np.divide(1, power, out=np.zeros_like(power), where=power > 0)
            spectrum *= gains.astype(np.float32)[self.shells].reshape(spectrum.shape)
        heights = []
        for turn, template in self.templates.items():
            map_ = scipy.fft.irfftn(spectrum * (template * transfer).conj(), self.scene.shape, workers=2)
            elsewhere = map_[self.background]
            best = scipy.ndimage.maximum_filter(map_, 3)
            at = np.round(self.centres[self.turns == turn]).astype(int)
            heights += list((best[tuple(at.T[::-1])] - elsewhere.mean()) / elsewhere.std())
        return float(np.mean(heights))


def contrast(volume: Images, inside: NDArray[np.bool_], background: NDArray[np.bool_]) -> float:
    """Give how much darker single voxels of ribosomes are than those elsewhere, in standard deviations elsewhere."""
    around = volume[background]
    return float((around.mean(dtype=float) - volume[inside].mean(dtype=float)) / around.std(dtype=float))


def run(method: Method, series: Sequence[TiltSeries], region: Region) -> tuple[list[Images], float]:
    """Reconstruct the whole series and its halves; give the volumes, and the seconds of the whole."""
    started = time.perf_counter()
    call = method.prepare(series[0], region)
    first = call(series[0], region)
    seconds = time.perf_counter() - started
    return [first, *(call(half, region) for half in series[1:])], seconds


def on_phantoms(
    chosen: Sequence[Method], which: Sequence[Scene], levels: Sequence[float], halves: bool
) -> list[dict[str, Any]]:
    """Measure all methods on all phantoms."""
    rows = []
    tiny = Scene("to compile what is not compiled yet", (24, 32, 32), 200.0)
    for method in chosen:
        run(method, [tiny.noisy(0.1)[0]], tiny.region)
    for scene in which:
        judge = Judge(scene)
        for level in levels:
            series = scene.noisy(level)
            for method in chosen:
                if method.slow and (scene.ice > THICK or level != ONE_LEVEL):
                    continue
                both = halves and not method.needs  # others filter halves as they filter the whole: nothing new
                volumes, seconds = run(method, series if both else series[:1], scene.region)
                pair = (volumes[1], volumes[2]) if both else None
                ours = method.prepare if isinstance(method.prepare, Ours) and scene.ice < THICK else None
                transfer = None if ours is None else ours.transfer(series[0], scene.region, SIDE)
                found = judge.measure(volumes[0], pair, transfer) | {"seconds": seconds}
                rows.append({"scene": scene.name, "snr": level, "method": method.name, **found})
                print(f"{scene.name}, SNR {level:g}, {method.name}: {found}", file=sys.stderr)
    return rows


def on_cell(chosen: Sequence[Method], path: Path, binning: float, others: Sequence[Path] = ()) -> list[dict[str, Any]]:
    """Measure contrast on a real cell, of our volumes and of those of other programs.

    Parameters
    ----------
    chosen
        Methods.
    path
        STAR file of the tilt series.
    binning
        Of our volumes.
    others
        Volumes of other programs of the same frame: voxel 0 at the same point, any voxel size.
    """
    from fourierrecon.io.tilt_series import read_tilt_series
    from fourierrecon.io.volumes.formats import read_volume

    series = read_tilt_series(path)
    region = Region.of(series, binning=binning)
    finder = next(method for method in METHODS if method.name == FINDER)
    inside, background = _blobs(run(finder, [series], region)[0][0], series.pixel_size * binning)
    rows = []
    for method in chosen:
        if method.needs:
            continue  # those need a tilt axis along y
        volumes, seconds = run(method, [series], region)
        found = {"contrast": contrast(volumes[0], inside, background), "seconds": seconds}
        rows.append({"scene": "real cell", "snr": None, "method": method.name, **found})
        print(f"real cell, {method.name}: {found}", file=sys.stderr)
    for file in others:
        other = read_volume(file)
        zones = [
            _there(zone, series.pixel_size * binning / other.voxel_size, other.data.shape)
            for zone in (inside, background)
        ]
        found = {"contrast": contrast(other.data, zones[0], zones[1])}
        name = f"{file.stem}, voxels of {other.voxel_size:g} Å"
        rows.append({"scene": "real cell", "snr": None, "method": name, **found})
        print(f"real cell, {name}: {found}", file=sys.stderr)
    return rows


def _blobs(volume: Images, voxel_size: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find ribosomes: voxels in their middles, and voxels far from all.

    They are the :data:`RIBOSOMES` darkest places of their size, which is picked out by a difference of Gaussians of
    80 and 160 Å; places at the borders, near the faces and beside beads do not count. Single voxels are compared:
    nothing is averaged over a ribosome.
    """
    sigma = INSIDE / voxel_size
    blurred = scipy.ndimage.gaussian_filter(volume, sigma) - scipy.ndimage.gaussian_filter(volume, 2 * sigma)
    beads = volume < volume.mean() - 6 * volume.std()
    near_beads = scipy.ndimage.binary_dilation(beads, iterations=round(200 / voxel_size))
    depth, height, width = volume.shape
    inner = np.zeros(volume.shape, bool)
    inner[depth // 3 : -(depth // 3), height // 5 : -(height // 5), width // 5 : -(width // 5)] = True
    allowed = inner & ~near_beads
    peaks = (blurred == scipy.ndimage.minimum_filter(blurred, round(260 / voxel_size))) & allowed
    places = np.argwhere(peaks)
    places = places[np.argsort(blurred[tuple(places.T)])[:RIBOSOMES]]
    marks = np.ones(volume.shape, bool)
    marks[tuple(places.T)] = False
    away = scipy.ndimage.distance_transform_edt(marks, voxel_size)
    return (away < MIDDLE) & allowed, (away > OUTSIDE) & allowed


def _there(zone: NDArray[np.bool_], ratio: float, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Give the voxels of another grid that lie nearest to those of a zone; ``ratio`` is this voxel over that one."""
    places = np.round(np.argwhere(zone) * ratio).astype(int)
    places = places[(places < shape).all(1)]
    there = np.zeros(shape, bool)
    there[tuple(places.T)] = True
    return there


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--side", type=int, default=112, help="width of the phantoms, voxels")
    parser.add_argument("--scenes", nargs="+", help="only those whose names contain one of these")
    parser.add_argument("--methods", nargs="+", help="only those whose names contain one of these")
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS, help="variance of signal over noise")
    parser.add_argument("--no_halves", action="store_true", help="do not reconstruct halves of frames")
    parser.add_argument("--cell", type=Path, help="STAR file of a real tilt series with ribosomes")
    parser.add_argument("--cell_bin", type=float, default=2.0)
    parser.add_argument("--cell_others", type=Path, nargs="+", default=[], help="volumes of it by other programs")
    parser.add_argument("--json", type=Path, help="write all figures here")
    asked = parser.parse_args(arguments)
    record = _measure_all(asked)
    if asked.json:
        asked.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(report(record), end="")


def _measure_all(asked: argparse.Namespace) -> dict[str, Any]:
    def named(name: str, wanted: Sequence[str] | None) -> bool:
        return wanted is None or any(word in name for word in wanted)

    chosen = [m for m in METHODS if named(m.name, asked.methods)]
    left_out = {m.name: m.missing for m in chosen if m.missing} | (LEFT_OUT if asked.methods is None else {})
    chosen = [m for m in chosen if not m.missing]
    which = [s for s in scenes(asked.side) if named(s.name, asked.scenes)]
    rows = on_phantoms(chosen, which, asked.levels, not asked.no_halves)
    if asked.cell:
        rows += on_cell(chosen, asked.cell, asked.cell_bin, asked.cell_others)
    date = datetime.now(UTC).date().isoformat()
    machine = describe_machine()
    profiles = {m.name: list(m.profiles) for m in chosen if m.profiles}
    return {
        "date": date, "machine": machine, "side": asked.side, "rows": rows, "left_out": left_out, "profiles": profiles,
    }  # fmt: skip


if __name__ == "__main__":
    main()
