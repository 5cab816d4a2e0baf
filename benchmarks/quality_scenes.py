"""Phantoms with their truth for `quality.py`: what lies in the ice, how thick it is, and what the microscope did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon import CtfParameters, Region, TiltSeries
from fourierrecon.ctf import contrast_transfer
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import ctf_margin, dose_symmetric_exposures, realistic_ctf
from fourierrecon.simulation.phantom import bilayer, gold_bead, ribosome

Float = NDArray[np.float64]
Images = NDArray[np.float32]
TILTS = np.arange(-60.0, 61.0, 3.0)
#: Ribosomes lie in one of so many orientations.
ORIENTATIONS = 4
#: What belongs to a ribosome lies within this of its centre; what is farther away from all is background. Å.
INSIDE, OUTSIDE = 80.0, 170.0
#: Specimen that one defocus holds for, along the beam, Å.
LAYER = 100.0
#: Exposure of each image, e⁻/Å².
PER_TILT = 3.0


@dataclass(frozen=True)
class Scene:
    """A phantom and its images.

    Parameters
    ----------
    name
        In the table.
    shape
        ``(z, y, x)`` voxels of the region, one px each.
    ice
        Thickness of the specimen, Å.
    pixel_size
        Å.
    ribosomes, proteins
        Number of each per µm³ of ice.
    beyond
        How far the specimen goes on outside of the region, times its width.
    vesicles, beads
        Number of vesicles in the ice, and of gold beads on its faces, in the region.
    damaged
        Exposure damps the images (Grant & Grigorieff 2015).
    layered
        The defocus of each layer of the specimen is that of its true depth.
    """

    name: str
    shape: tuple[int, int, int]
    ice: float
    pixel_size: float = 12.0
    ribosomes: float = 15000.0
    proteins: float = 1e6
    beyond: float = 0.3
    vesicles: int = 0
    beads: int = 0
    damaged: bool = False
    layered: bool = False

    @property
    def region(self) -> Region:
        """Voxels that are reconstructed."""
        return Region((0.0, 0.0, 0.0), self.shape)

    @cached_property
    def _made(self) -> tuple[Gaussians, Float, NDArray[np.int64], Gaussians | None]:
        """Specimen, centres of ribosomes, their orientations, and the vesicles alone."""
        depth, height, width = self.shape
        px = self.pixel_size
        rng = np.random.default_rng(11)
        half = self.ice / px / 2
        wide = self.beyond * width
        low = np.array([-wide, -wide, depth / 2 - half])
        high = np.array([width + wide, height + wide, depth / 2 + half])
        volume = float(np.prod((high - low) * px)) / 1e12
        crowd = float(np.prod((high - low)[:2])) / (width * height)
        parts, taken = [], [np.empty((0, 4))]

        def place(radius: float, tries: int = 40) -> Float | None:
            room = np.minimum(radius, (high - low) / 2.001)
            known = np.concatenate(taken)
            for _ in range(tries):
                point = rng.uniform(low + room, high - room)
                if (np.linalg.norm(known[:, :3] - point, axis=1) > known[:, 3] + radius).all():
                    taken.append(np.array([[*point, radius]]))
                    return np.asarray(point)
            return None

        for _ in range(round(self.vesicles * crowd)):
            radius = min(float(rng.uniform(180, 300)), 0.4 * self.ice) / px
            centre = place(radius + 30 / px)
            if centre is not None:
                parts.append(bilayer(centre, radius * rng.uniform(0.85, 1.1, 3), px))
        vesicles = Gaussians.join(parts) if parts else None
        found = [place(130 / px) for _ in range(round(self.ribosomes * volume))]
        centres = np.array([centre for centre in found if centre is not None]).reshape(-1, 3)
        turns = np.arange(len(centres)) % ORIENTATIONS
        parts += [ribosome(c, px, np.random.default_rng(int(k))) for c, k in zip(centres, turns, strict=True)]
        n = round(self.proteins * volume)
        sigmas = np.maximum(rng.uniform(12, 20, n) / px, 0.9)
        parts.append(Gaussians(rng.uniform(low, high, (n, 3)), sigmas, rng.uniform(0.15, 0.5, n)))
        for i in range(round(self.beads * crowd)):
            point = rng.uniform(low, high)
            point[2] = low[2] + 30 / px if i % 2 else high[2] - 30 / px
            parts.append(gold_bead(point, px))
        return Gaussians.join(parts), centres, turns, vesicles

    @cached_property
    def truth(self) -> Images:
        """Densities of the region, ``(z, y, x)``; dense is negative, as in the images."""
        return -self._made[0].density(self.region)

    @cached_property
    def particles(self) -> tuple[Float, NDArray[np.int64]]:
        """Centres ``(x, y, z)`` of the ribosomes that lie in the region with all of their surroundings, and turns."""
        _, centres, turns, _ = self._made
        room = np.array([130.0, 130.0, 0.0]) / self.pixel_size
        whole = ((centres > room) & (centres < np.array(self.shape[::-1]) - 1 - room)).all(1)
        return centres[whole], turns[whole]

    def template(self, turn: int) -> Images:
        """Give a ribosome of one orientation, ``(z, y, x)``, its centre at voxel 0 of a periodic box."""
        depth, height, width = self.shape
        centre = np.array([width // 2, height // 2, depth // 2], float)
        one = ribosome(centre, self.pixel_size, np.random.default_rng(turn))
        return -np.roll(one.density(self.region), (-(depth // 2), -(height // 2), -(width // 2)), (0, 1, 2))

    @cached_property
    def zones(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Voxels within ribosomes, and voxels of the ice that are far from all, ``(z, y, x)``."""
        centres = self._made[1]
        z, y, x = (np.arange(n, dtype=np.float32) for n in self.shape)
        nearest = np.full(self.shape, np.inf, np.float32)
        for cx, cy, cz in centres:
            squared = (z - cz)[:, None, None] ** 2 + ((y - cy)[:, None] ** 2 + (x - cx) ** 2)
            np.minimum(nearest, squared.astype(np.float32), out=nearest)
        nearest = np.sqrt(nearest) * np.float32(self.pixel_size)
        middle, half = self.shape[0] / 2, self.ice / self.pixel_size / 2
        in_ice = (np.abs(z - middle) < half - 20 / self.pixel_size)[:, None, None]
        edge = round(100 / self.pixel_size)
        inner = np.zeros(self.shape, bool)
        inner[:, edge:-edge, edge:-edge] = True
        return (nearest < INSIDE) & inner, (nearest > OUTSIDE) & in_ice & inner

    @cached_property
    def membranes(self) -> NDArray[np.bool_] | None:
        """Voxels within bilayers, ``(z, y, x)``; None where there are no vesicles."""
        vesicles = self._made[3]
        if vesicles is None:
            return None
        density = vesicles.density(self.region)
        edge = round(100 / self.pixel_size)
        density[:, :edge] = density[:, -edge:] = 0
        density[:, :, :edge] = density[:, :, -edge:] = 0
        return np.asarray(density > 0.3 * density.max())

    @cached_property
    def blank(self) -> TiltSeries:
        """The tilt series without noise: tilt axis along y, no shifts, so that any program takes it."""
        depth, height, width = self.shape
        size = width + 32, height + 32
        n = len(TILTS)
        centre = (width / 2, height / 2, depth / 2)
        matrices = projection_matrices((size[1], size[0]), centre, TILTS, np.zeros(n), np.zeros(n), np.zeros((n, 2)))
        ctf = realistic_ctf(n, defocus=30000.0)
        exposure = dose_symmetric_exposures(TILTS, PER_TILT)
        images = np.stack([self._image(matrices, ctf, exposure, tilt, size) for tilt in range(n)])
        box = float(width), float(height), float(depth)
        return TiltSeries(
            images,
            matrices,
            self.pixel_size,
            name=self.name,
            ctf=ctf,
            exposure=exposure,
            tilt_angles=TILTS,
            size=box,
            own_exposure=np.full(n, PER_TILT),
        )

    def _image(self, matrices: Float, ctf: CtfParameters, exposure: Float, tilt: int, size: tuple[int, int]) -> Any:
        """Project the specimen, layer by layer along the beam where depth counts, and multiply by what acts on it."""
        px, margin = self.pixel_size, ctf_margin(ctf, self.pixel_size)
        specimen = self._made[0]
        matrix = matrices[tilt : tilt + 1].copy()
        at = specimen.centres @ matrix[0, :2, :3].T + matrix[0, :2, 3]
        reach = 6 * specimen.sigmas[:, None] + margin
        seen = ((at > -reach) & (at < np.array(size) - 1 + reach)).all(1)
        matrix[:, :2, 3] += margin
        wide = size[1] + 2 * margin, size[0] + 2 * margin
        middle = np.array([*(n / 2 for n in self.shape[::-1])])
        depths = (specimen.centres - middle) @ matrix[0, 2, :3] * px
        layers = np.round(depths / LAYER).astype(int) if self.layered else np.zeros(len(depths), int)
        fy, fx = np.fft.fftfreq(wide[0], px)[:, None], np.fft.rfftfreq(wide[1], px)
        spectrum: Any = 0
        for layer in np.unique(layers[seen]):
            chosen = seen & (layers == layer)
            part = Gaussians(specimen.centres[chosen], specimen.sigmas[chosen], specimen.weights[chosen])
            here = replace(ctf, defocus_u=ctf.defocus_u + layer * LAYER, defocus_v=ctf.defocus_v + layer * LAYER)
            transfer = contrast_transfer(here, tilt, fx, fy)
            spectrum = spectrum + np.fft.rfft2(part.project(matrix, wide)[0]) * transfer
        if self.damaged:
            q = np.maximum(np.hypot(fx, fy), 1e-6)
            critical = 0.24499 * q**-1.6649 + 2.8141
            spectrum = spectrum * np.exp(-(exposure[tilt] + PER_TILT / 2) / (2 * critical))
        image = -np.fft.irfft2(spectrum, wide)[margin : margin + size[1], margin : margin + size[0]]
        return image.astype(np.float32)

    def noisy(self, snr: float, seed: int = 3) -> tuple[TiltSeries, TiltSeries, TiltSeries]:
        """Give the tilt series with noise, and those of even and odd frames; variance of signal over that of noise."""
        clean = np.asarray(self.blank.images)
        sigma = float(np.sqrt(clean.var(axis=(1, 2), dtype=float).mean() / snr))
        halves = []
        for half in (0, 1):
            noise = np.random.default_rng([seed, half]).standard_normal(clean.shape, np.float32)
            halves.append(clean + np.float32(sigma * np.sqrt(2)) * noise)
        full = replace(self.blank, images=(halves[0] + halves[1]) / np.float32(2))
        return full, replace(self.blank, images=halves[0]), replace(self.blank, images=halves[1])


def scenes(side: int) -> list[Scene]:
    """Give all phantoms, ``side`` voxels wide."""
    depth = max(side // 2, 56)
    flat = (depth, side, side)
    ice = min(600.0, 12.0 * depth * 0.85)
    return [
        Scene("thin, few particles", flat, ice, ribosomes=6000, proteins=1e5),
        Scene("thin, crowded", flat, ice),
        Scene("membranes and beads", flat, ice, 12.0, 6000, 3e5, vesicles=6, beads=6),
        Scene("exposure damage", flat, ice, damaged=True),
        Scene("ice beyond the region", flat, ice, beyond=1.5),
        Scene("300 nm thick, true depth", (540, side, side), 3000.0, 6.0, 8000, 5e5, 2.0, layered=True),
    ]
