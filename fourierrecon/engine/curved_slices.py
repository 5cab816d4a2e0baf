"""Curved slices: each sample is inserted twice, on two parabolas, so that every point has the CTF of its own depth.

The image of a specimen whose defocus changes with the depth along the beam is (:mod:`fourierrecon.geometry.ctf_depth`)

``Y(q) = conj(p) V(k - delta n) + p V(k + delta n)``,  ``p = i/2 e^{-i chi} s E``,  ``delta = h lambda q² / 2``

with the point ``k`` of the flat central slice, the beam ``n``, and all else that acts on the image, ``s E``. That is
exact for any thickness and tilt. Its adjoint inserts each sample twice: times ``p`` at ``k - delta n``, the first
sheet, and times ``conj(p)`` at ``k + delta n``, the second. Where ``delta`` is 0 both are the flat slice, and their sum
is ``T Y``.

Lines stay lines of the image (:mod:`fourierrecon.engine.central_slices`), and only their places in a plane shift, by
``-/+ delta (n_o, n_z)``, if the beam does not lean along the planes' axis p. Where it does by more than
:data:`LEANS`, both sheets are sampled, each where it meets the plane. Weights: half of the mean of ``T²`` over the
specimen on each sheet, as each counts for half a slice; both together make one where they are near to each other.

What the kernels need of a tilt stands in a row of numbers, see :class:`CurvedSlices`; frequencies there are those of
the window, ``q_a, q_b``, and ``r = t_a q_a² + t_b q_b²`` is the square in cycles per voxel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine import insertion
from fourierrecon.engine.central_slices import STOP, Slices
from fourierrecon.engine.curved_kernels import (
    AA,
    BEND,
    BEND_O,
    BEND_Z,
    CONSTANT,
    LEAN,
    SCALE,
    TA,
    TB,
    TO_MIDDLE,
    add_lost,
    evaluate,
    spread_rows,
)
from fourierrecon.engine.density_correction import STEP
from fourierrecon.geometry.ctf_depth import PER_SQUARE
from fourierrecon.geometry.region import Region
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.transfer import PER_CYCLE, Transfer

#: Phase error, rad at the ends of the images and the highest frequency, up to which both sheets share their samples.
LEANS = 0.02
#: The same for a projector, whose images are to be exact to some 1e-4.
EXACT_LEANS = 1e-3


@dataclass(frozen=True, eq=False)
class CurvedSlices:
    """Optics of the tilts in use, as the compiled kernels need them.

    Parameters
    ----------
    optics
        ``(n_tilts, 13)``, see :data:`AA` and what follows.
    envelopes, likeness
        Tables of the tilts: :meth:`Transfer.envelopes`, :meth:`Transfer.likeness_tables`.
    to_voxels
        ``(n_tilts, 2)``: cycles per window pixel (a, b) to cycles per voxel.
    sheets
        Sets of samples of an image: 1, or 2 where beams lean along the planes' axis.
    weigh_ctf
        Whether weights hold the mean of CTF², or 1 in its place.
    """

    optics: NDArray[np.float64]
    envelopes: NDArray[np.float32]
    likeness: NDArray[np.float32]
    to_voxels: NDArray[np.float64]
    sheets: int
    weigh_ctf: bool

    @classmethod
    def of(
        cls,
        slices: Slices,
        transfer: Transfer,
        region: Region,
        *,
        pixel_size: float,
        used: NDArray[np.int64],
        along: NDArray[np.int64],
        plane_axis: int,
        step: NDArray[np.float64],
        exact: bool = False,
    ) -> CurvedSlices:
        """Find the optics of a plan.

        Parameters
        ----------
        slices
            Flat slices of the tilts in use.
        transfer
            Transfer of all tilts, with a CTF at each depth.
        region, pixel_size
            Region, and bin-1 px in Å.
        used, along, plane_axis
            As for :class:`~fourierrecon.engine.plan.Plan`.
        step
            Bin-1 px per window pixel, ``(x, y)``.
        exact
            Sample both sheets unless :data:`EXACT_LEANS` allows for less, in place of :data:`LEANS`.
        """
        depth = transfer.depth
        assert depth is not None
        voxel_size = pixel_size * region.binning
        bend = depth.bend(voxel_size)
        order = [plane_axis, 1 - plane_axis, 2]
        middle_z, middle_o = slices.middle
        origin = np.zeros(3)
        origin[order] = 0.0, middle_o, middle_z
        origin = np.asarray(region.origin) + region.binning * origin
        turned = np.stack([along, 1 - along], axis=1)
        to_voxels = (region.binning / step)[turned]
        m, n = slices.matrices, depth.rows[used][:, order]
        lean = n[:, 0] / m[:, 0, 0]
        reach = slices.period * np.abs(m[:, 0, 0]) / 2
        limit = EXACT_LEANS if exact else LEANS
        shared = bool((2 * np.pi * abs(bend) * STOP**2 * np.abs(lean) * reach <= limit).all())
        optics = np.zeros((len(used), 13))
        for row, tilt in enumerate(used):
            phases = transfer.phases(int(tilt), voxel_size)
            # the depth of the grid's origin; along p of what the middle of the window shows there
            at = depth.depth(int(tilt), origin) / voxel_size - lean[row] * slices.offsets[row, 0]
            ta, tb = to_voxels[row] ** 2
            aa, bb = phases[[0, 2]] if along[row] == 0 else phases[[2, 0]]
            optics[row, AA : CONSTANT + 1] = (
                (aa + bend * at) * ta, phases[1] * np.sqrt(ta * tb), (bb + bend * at) * tb, phases[3], phases[4],
            )  # fmt: skip
            optics[row, TO_MIDDLE] = bend * (depth.middle_depth(int(tilt)) / voxel_size - at)
            optics[row, [TA, TB, BEND, SCALE]] = ta, tb, bend, phases[5]
        leaning = 0.0 * lean if shared else lean
        optics[:, LEAN] = leaning
        optics[:, [BEND_O, BEND_Z]] = m[:, 0, 1:] * leaning[:, None] - n[:, 1:]
        return cls(
            optics,
            transfer.envelopes(voxel_size)[used],
            transfer.likeness_tables(voxel_size)[used],
            to_voxels,
            1 if shared else 2,
            transfer.weighs_ctf,
        )

    def select(self, chosen: NDArray[np.int64]) -> CurvedSlices:
        """Give those of some of the tilts, by number among those in use."""
        return replace(
            self,
            optics=self.optics[chosen],
            envelopes=self.envelopes[chosen],
            likeness=self.likeness[chosen],
            to_voxels=self.to_voxels[chosen],
        )

    def lines_of(self, tilts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the numbers of the lines of some tilts among the samples."""
        return np.asarray((tilts[:, None] * self.sheets + np.arange(self.sheets)).ravel())

    def leaning(self, row: int, sheet: int) -> tuple[float, float, float]:
        """Give what :func:`~fourierrecon.engine.central_slices.sample_lines` needs: ``q_a`` changes by the first number
        times ``c_a q_a² + c_b q_b²``, which are the others.
        """
        optics = self.optics[row]
        sign = 1 - 2 * sheet
        return sign * optics[LEAN], optics[BEND] * optics[TA], optics[BEND] * optics[TB]

    @property
    def farthest(self) -> float:
        """Largest shift of a sample in a plane, cycles per voxel."""
        return float((np.abs(self.optics[:, BEND]) * STOP**2 * np.abs(self.optics[:, [BEND_O, BEND_Z]]).max(1)).max())


class CurvedLines:
    """The lines of all images on one plane, on both sheets; one for each thread, with its buffers.

    Parameters
    ----------
    slices, curved
        Geometry.
    weighted
        Whether weights are inserted too.
    """

    def __init__(self, slices: Slices, curved: CurvedSlices, weighted: bool) -> None:
        self.slices, self.curved, self.weighted = slices, curved, weighted
        n_tilts, n_rows = len(slices.matrices), 2 * slices.half_rows + 1
        shape = n_tilts * curved.sheets, n_rows
        self.factors = np.zeros(shape, np.complex64)
        self.shifts = np.zeros(shape, np.float32)
        self.weights = np.zeros(shape if weighted else (0, 0), np.float32)
        self.cursor = np.empty((2 * n_tilts, 2), np.int64)
        self._flat_cursor = np.empty((n_tilts, 2), np.int64)
        self._row = np.empty(n_rows, np.float32)
        self.j = 0
        #: Rows and columns that lines reach beyond flat ones.
        self.more = int(np.ceil(curved.farthest * max(slices.grid))) + 1
        #: Whether some line turns back along o, so that a plane must be spread in one go.
        self.turns_back = bool((np.abs(slices.lines[:, 2, 1]) <= self._steepest()).any())
        self.samples: Complex = np.empty((0, 0), np.complex64)

    def _steepest(self) -> NDArray[np.float64]:
        """Bound on what the bend changes ``k_o`` by from one sample to the next, ``(n_tilts,)``."""
        optics, lines = self.curved.optics, self.slices.lines
        per_row = np.hypot(np.sqrt(optics[:, TA]) * lines[:, 0, 1], np.sqrt(optics[:, TB]) / self.slices.row_length)
        return np.asarray(2.2 * np.abs(optics[:, BEND] * optics[:, BEND_O]) * STOP * per_row)

    def begin(self, j: int, samples: Complex, weights: Real) -> None:
        """Take the samples of plane ``j``, ``(n_lines, n_rows)``, and evaluate what they are inserted with."""
        s, c = self.slices, self.curved
        self.j, self.samples = j, samples
        evaluate(
            s.lines, j, s.half_rows, s.row_length, STOP**2, c.optics, c.to_voxels, c.envelopes, PER_CYCLE, c.likeness,
            PER_SQUARE, c.weigh_ctf, c.sheets, s.fill, self._row, self.factors, self.shifts, self.weights,
        )  # fmt: skip

    def start(self, limit: float) -> None:
        """Start over, with the samples within ``limit`` of the tilt axis only (cycles per voxel along o)."""
        s = self.slices
        insertion.start(s.lines, self.j, s.half_rows, STOP**2, limit, self._flat_cursor)
        self.cursor[0::2] = self._flat_cursor
        self.cursor[1::2] = self._flat_cursor

    def spread(self, first: int, last: int, left: int, done: int, block: Real) -> None:
        """Spread the samples whose taps begin in a block of rows; see :func:`insertion.spread_rows`."""
        s = self.slices
        spread_rows(
            self.samples, self.factors, self.shifts, self.weights, s.fill, s.lines, self.curved.optics,
            self.curved.sheets, self.j, first, last, left, done, self.cursor, block, *s.grid, *s.tables, s.width,
        )  # fmt: skip

    def add_lost(self, first: int, left: int, grid: Complex, limit: float, fade: float, weak: float) -> None:
        """Add to the samples what the spectrum of the region lacks of them; see :mod:`.density_correction`."""
        s = self.slices
        band = self._flat_cursor
        add_lost(
            self.samples, self.factors, self.shifts, self.weights, s.fill, s.lines, self.curved.optics,
            self.curved.sheets, self.j, first, left, band, grid, *s.grid, s.tables[0], s.tables[1], s.width, limit,
            fade, np.float32(weak), np.float32(STEP),
        )  # fmt: skip
