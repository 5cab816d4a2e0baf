"""The record of one tilt series: images, projection matrices, optics and exposure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from html import escape
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import DataError, UsageError, as_numbers, check_type
from fourierrecon.text import counted
from fourierrecon.tilt_series.ctf_parameters import CtfParameters
from fourierrecon.tilt_series.images import ImageStack, chosen_images
from fourierrecon.tilt_series.matrices import projection_matrices, tilt_angles_of

if TYPE_CHECKING:
    from fourierrecon.geometry.displacement import DisplacementField

#: Largest tilt angles, also of the tilt axis, degrees.
MOST_TILT = 360.0
#: ``rlnTomoHand`` where a source does not tell it: RELION's default, what its import writes for IMOD and AreTomo.
USUAL_HAND = -1


@dataclass(frozen=True, eq=False)
class TiltSeries:
    """One tilt series with its alignment. Coordinates: see :mod:`fourierrecon.geometry`.

    Parameters
    ----------
    images
        ``(n_tilts, height, width)``: an array, or a stack that loads one image at a time.
    projections
        ``(n_tilts, 4, 4)``: world point (bin-1 pixels) to image pixel, ``(u, v) = (P X)[:2]``, pixel
        centres at integers, 0-based.
    pixel_size
        Pixel size of the images as given, Å.
    name
        Name of the tomogram.
    ctf
        Parameters of the contrast transfer functions, if known.
    exposure
        Electron exposure before each image, e⁻/Å², ``(n_tilts,)``, if known.
    tilt_angles
        Tilt angles, degrees, ``(n_tilts,)``; default: read off the projection matrices. Weights by tilt, corrections
        of the alignment and messages use them; positions come from the matrices alone.
    size
        ``(width, height, depth)`` of the tomogram in bin-1 pixels, if known.
    world_origin
        Default origin of a region, the world coordinate of voxel 0 on every axis: 1 in IMOD's and
        RELION 4's frame, 0 in RELION 5's.
    rotation_centre
        World coordinates ``(x, y, z)`` of the rotation centre where the frame hangs on the tomogram's
        size (RELION 5); None where the matrices carry their frame with them (RELION 4).
    coordinate_frame
        Text about the coordinate frame, for the user.
    source
        File that the series was read from, for messages.
    ctf_missing
        Where ``ctf`` is None: the columns that the source lacks for it, for messages.
    hand
        RELION's ``rlnTomoHand`` where the source gives it: 1 or -1, the sign by which the defocus grows with the depth
        along the beam. The CTF at each depth depends on it.
    hand_assumed
        The source does not tell the hand: it is the usual one, turned by a correction of the alignment.
    excluded
        1-based numbers, in the source, of the images that it excludes; they are not in the series.
    z_reversed
        The world's z counts against that of IMOD's and RELION's, as Warp's does.
    middle
        World coordinates ``(x, y, z)`` of the middle of a tomogram of any size, where the source does not know the
        size and matrices carry their frame with them (IMOD without THICKNESS).
    pivot
        World coordinates ``(x, y, z)`` that the tilt axis goes through, where the source gives them and they need not
        be the middle of the tomogram (IMOD).
    own_exposure
        Exposure of each image itself, e⁻/Å², ``(n_tilts,)``; default: the usual step between those before (of a
        single image 0).
    b_factor_per_exposure
        B-factors per exposure (``rlnCtfBfactorPerElectronDose``), Å² per e⁻/Å², ``(n_tilts,)``, if the source has them.
    local
        What the alignment leaves over after the projections: displacements of the projected points; None: nothing.

    Examples
    --------
    Any array of images and matrices will do; ``read_tilt_series`` takes them from a program's files.

    >>> import numpy as np
    >>> from fourierrecon import TiltSeries
    >>> from fourierrecon.geometry.projection import projection_matrices
    >>> tilts = np.linspace(-60, 60, 41)
    >>> matrices = projection_matrices((60, 64), (32.0, 30.0, 12.0), tilts, tilt_axis_angle=85.0)
    >>> TiltSeries(np.zeros((41, 60, 64), np.float32), matrices, pixel_size=10.0, name="TS_01")
    TiltSeries('TS_01', 41 images of 64 x 60 px, 10 Å/px, tilts -60° to 60°)
    """

    images: ImageStack
    projections: NDArray[np.float64]
    pixel_size: float
    name: str = "tomogram"
    _: KW_ONLY
    ctf: CtfParameters | None = None
    exposure: NDArray[np.float64] | None = None
    tilt_angles: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    size: tuple[float, float, float] | None = None
    world_origin: float = 0.0
    rotation_centre: tuple[float, float, float] | None = None
    coordinate_frame: str = "projection matrices, 0-based world"
    source: str = ""
    ctf_missing: tuple[str, ...] = ()
    hand: int | None = None
    excluded: tuple[int, ...] = ()
    z_reversed: bool = False
    middle: tuple[float, float, float] | None = None
    pivot: tuple[float, float, float] | None = None
    own_exposure: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    b_factor_per_exposure: NDArray[np.float64] | None = None
    hand_assumed: bool = False
    local: DisplacementField | None = None

    def __post_init__(self) -> None:
        where = f"{self.source}: " if self.source else ""
        if not hasattr(self.images, "shape"):
            check_type(
                "images", self.images, (Sequence,), "an array (n_tilts, height, width); read_tilt_series reads files"
            )
            object.__setattr__(self, "images", np.asarray(self.images, np.float32))
        check_type("pixel_size", self.pixel_size, (Real,), "a number, Å")
        shape = tuple(self.images.shape)
        if len(shape) != 3 or 0 in shape:
            raise DataError(f"{where}images have shape {shape}; needed: (n_tilts, height, width), none of them 0")
        projections = as_numbers("projections", self.projections)
        if projections.shape != (shape[0], 4, 4):
            raise DataError(
                f"{where}projection matrices have shape {projections.shape}, but the stack holds "
                f"{counted(shape[0], 'image')}; needed: one 4 x 4 matrix an image"
            )
        if not np.isfinite(projections).all():
            bad = int(np.argmin(np.isfinite(projections).all((1, 2))))
            raise DataError(f"{where}projection matrix of tilt {bad + 1} holds a value that is not finite")
        scale = np.linalg.svd(projections[:, :2, :3], compute_uv=False)
        if (scale < 0.5).any() or (scale > 2).any():
            bad = int(np.argmax(((scale < 0.5) | (scale > 2)).any(1)))
            raise DataError(
                f"{where}projection matrix of tilt {bad + 1} magnifies by {scale[bad, 0]:.3g} and {scale[bad, 1]:.3g}; "
                f"it must map bin-1 pixels of the world to image pixels, so about 1"
            )
        if not (np.isfinite(self.pixel_size) and self.pixel_size > 0):
            raise DataError(f"{where}pixel size {self.pixel_size:g} Å must be positive; correct it in the set")
        object.__setattr__(self, "projections", projections)
        if len(self.tilt_angles) == 0:
            object.__setattr__(self, "tilt_angles", tilt_angles_of(projections))
        if len(self.own_exposure) == 0:
            own = np.full(shape[0], 0.0 if self.exposure is None else _step(self.exposure))
            object.__setattr__(self, "own_exposure", own)
        per_tilt = (
            ("tilt angles", self.tilt_angles),
            ("exposures", self.exposure),
            ("exposures of images themselves", self.own_exposure),
            ("B-factors per exposure", self.b_factor_per_exposure),
        )
        for label, values in per_tilt:
            if values is not None and len(values) != shape[0]:
                raise DataError(f"{where}{len(values)} {label} for {counted(shape[0], 'image')}; needed: one an image")
        if self.ctf is not None and len(self.ctf.defocus_u) != shape[0]:
            raise DataError(f"{where}{len(self.ctf.defocus_u)} defocus values for {counted(shape[0], 'image')}")

    @classmethod
    def from_angles(
        cls,
        images: ImageStack | ArrayLike,
        tilt_angles: ArrayLike,
        pixel_size: float,
        *,
        tilt_axis_angle: ArrayLike = 0.0,
        shifts: ArrayLike = 0.0,
        x_tilt: ArrayLike = 0.0,
        size: tuple[float, float, float] | None = None,
        name: str = "tomogram",
        ctf: CtfParameters | None = None,
        exposure: ArrayLike | None = None,
    ) -> TiltSeries:
        """Make a tilt series from images, angles and shifts.

        The rotation centre is the world's origin: positions ``(x, y, z)`` count from the middle of the tomogram. It
        appears in each image at pixel ``(width // 2, height // 2)`` plus the shift.

        Parameters
        ----------
        images
            ``(n_tilts, height, width)``: an array, or a stack as from :func:`fourierrecon.io.open_stack`.
        tilt_angles
            Degrees, ``(n_tilts,)``.
        pixel_size
            Å.
        tilt_axis_angle
            Angle of the tilt axis from the images' y axis, degrees, as ``rlnTomoZRot`` has it; one value or
            ``(n_tilts,)``.
        shifts
            ``(x, y)`` in pixels by which the specimen is displaced in each image, ``(n_tilts, 2)``.
        x_tilt
            Tilt about the specimen's x axis, degrees; one value or ``(n_tilts,)``.
        size
            ``(width, height, depth)`` of the tomogram in pixels. Default: width and height of the images, 300 nm deep.
        name, ctf, exposure
            As for :class:`TiltSeries`.

        Raises
        ------
        DataError, UsageError
            If numbers do not fit each other, or are none.

        Examples
        --------
        >>> import numpy as np
        >>> from fourierrecon import TiltSeries
        >>> images = np.random.default_rng(0).normal(size=(5, 60, 64)).astype(np.float32)
        >>> TiltSeries.from_angles(images, [-40, -20, 0, 20, 40], 10.0, tilt_axis_angle=85)
        TiltSeries('tomogram', 5 images of 64 x 60 px, 10 Å/px, tilts -40° to 40°)
        """
        stack = images if hasattr(images, "shape") else np.asarray(as_numbers("images", images), np.float32)
        angles = np.atleast_1d(as_numbers("tilt_angles", tilt_angles))
        shape = tuple(stack.shape)
        if angles.shape != shape[:1]:
            raise DataError(f"tilt_angles have shape {angles.shape}, images {shape}; needed: one angle an image")
        each = {
            label: as_numbers(label, value)
            for label, value in (("tilt_axis_angle", tilt_axis_angle), ("shifts", shifts), ("x_tilt", x_tilt))
        }
        for label, value in each.items():
            wanted = (len(angles), 2) if label == "shifts" else (len(angles),)
            if value.ndim and value.shape != wanted:
                raise DataError(f"{label} has shape {value.shape}; needed: {wanted}, or one value")
        return cls(
            stack,  # type: ignore[arg-type]
            projection_matrices(shape[1:], (0.0, 0.0, 0.0), angles, **each) if len(shape) == 3 else np.empty(0),
            pixel_size,
            name,
            ctf=ctf,
            exposure=None if exposure is None else as_numbers("exposure", exposure),
            tilt_angles=angles,
            size=size,
            rotation_centre=(0.0, 0.0, 0.0),
            coordinate_frame="angles and shifts (world about the rotation centre)",
        )

    def __repr__(self) -> str:
        (height, width), angles = self.image_shape, self.tilt_angles
        return (
            f"TiltSeries({self.name!r}, {counted(self.n_tilts, 'image')} of {width} x {height} px, "
            f"{self.pixel_size:.4g} Å/px, tilts {angles.min():.3g}° to {angles.max():.3g}°)"
        )

    def _repr_html_(self) -> str:
        """Give a table for notebooks: a line on the series, then angle, exposure and defocus of each image."""
        columns: dict[str, NDArray[np.float64]] = {"tilt angle (°)": self.tilt_angles}
        if self.exposure is not None:
            columns["exposure before (e⁻/Å²)"] = self.exposure
        if self.ctf is not None:
            columns["defocus (µm)"] = (self.ctf.defocus_u + self.ctf.defocus_v) / 2e4
        head = "".join(f"<th>{label}</th>" for label in ("image", *columns))
        rows = "".join(
            f"<tr><td>{number}</td>" + "".join(f"<td>{value:.4g}</td>" for value in values) + "</tr>"
            for number, values in enumerate(zip(*columns.values(), strict=True), 1)
        )
        return (
            f"<p>{escape(repr(self))}</p><div style='max-height:20em;overflow:auto;display:inline-block'>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )

    @property
    def n_tilts(self) -> int:
        """Number of images."""
        return int(self.images.shape[0])

    @property
    def image_shape(self) -> tuple[int, int]:
        """``(height, width)`` of the images, px."""
        return int(self.images.shape[1]), int(self.images.shape[2])

    def select(self, tilts: Sequence[int]) -> TiltSeries:
        """Give the series of some of the tilts, by 0-based number; the images stay on disk if they are there.

        Raises
        ------
        UsageError
            If no tilt is chosen, or one that does not exist.
        """
        numbers = np.atleast_1d(as_numbers("tilts", tilts))
        index = numbers.astype(int)
        if numbers.ndim != 1 or (index != numbers).any():
            raise UsageError("tilts must be whole numbers, one for each image to keep")
        if index.size == 0 or index.min() < 0 or index.max() >= self.n_tilts:
            raise UsageError(f"tilts must be chosen from 0 to {self.n_tilts - 1}, at least one")
        per_exposure = self.b_factor_per_exposure
        return replace(
            self,
            images=chosen_images(self.images, [int(i) for i in index]),
            projections=self.projections[index],
            ctf=None if self.ctf is None else self.ctf.select(index),
            exposure=None if self.exposure is None else self.exposure[index],
            own_exposure=self.own_exposure[index],
            b_factor_per_exposure=None if per_exposure is None else per_exposure[index],
            local=None if self.local is None else self.local.select(index),
            tilt_angles=self.tilt_angles[index],
        )


def _step(exposure: NDArray[np.float64]) -> float:
    """Give the usual step between exposures: the middle one of those that are steps."""
    steps = np.diff(np.sort(exposure[np.isfinite(exposure)]))
    return float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
