"""TiltSeries: the images, projection matrices, optics and exposure of one tilt series. What every reader returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import DataError, UsageError

if TYPE_CHECKING:
    from fourierrecon.geometry.displacement import DisplacementField

#: Largest voltage (kV), aberration (mm), defocus (Å), angle of defocus or phase (degrees; turns may add up) and scale.
MOST_VOLTAGE, MOST_ABERRATION, MOST_DEFOCUS, MOST_ANGLE, MOST_SCALE = 1e4, 1e3, 1e6, 1e3, 1e3
#: Largest B-factors, Å², and B-factors per exposure, Å² per e⁻/Å².
MOST_B_FACTOR, MOST_B_PER_EXPOSURE = 1e6, 1e3
#: Largest tilt angles, also of the tilt axis, degrees.
MOST_TILT = 360.0
#: ``rlnTomoHand`` where a source does not tell it: RELION's default, what its import writes for IMOD and AreTomo.
USUAL_HAND = -1


class ImageStack(Protocol):
    """Images by number: an array, or a reader that loads one image at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n_tilts, height, width)``."""
        ...

    def __getitem__(self, index: int, /) -> NDArray[np.generic]:
        """Give image ``index``, ``(height, width)``."""
        ...


class ImageFile(Protocol):
    """One file of images."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels as stored, in the byte order of this machine."""
        ...

    @property
    def pixel_size(self) -> float:
        """Pixel size by the file's header, Å; 0 where the header does not know it."""
        ...


@runtime_checkable
class ImagesInFiles(ImageStack, Protocol):
    """Images that lie in files; ``isinstance`` tells them from arrays."""

    @property
    def sections(self) -> Sequence[tuple[Path, int]]:
        """File of each image, and its 0-based number there."""
        ...

    @property
    def places(self) -> Sequence[tuple[Path, int]] | None:
        """The sections, or None where other programs would not read these images there (turned rows, TIFF)."""
        ...

    @property
    def stacks(self) -> Sequence[ImageFile]:
        """The files that hold the images, each once."""
        ...

    @property
    def column(self) -> str:
        """Column of a STAR file that names the images; empty where that is the usual one."""
        ...


@dataclass(frozen=True, eq=False)
class CtfParameters:
    """What the contrast transfer functions of a tilt series depend on; one value or one a tilt.

    Parameters
    ----------
    voltage
        Acceleration voltage, kV.
    spherical_aberration
        Cs, mm.
    amplitude_contrast
        Fraction of amplitude contrast Q0, 0 to 1.
    defocus_u, defocus_v
        Defocus along and across the astigmatism axis, Å, underfocus positive, ``(n_tilts,)``.
    defocus_angle
        Angle of ``defocus_u`` from the image's x towards its y, degrees, ``(n_tilts,)``.
    phase_shift
        Phase shift of a phase plate, degrees, ``(n_tilts,)``.
    scale
        Factor on the whole function (``rlnCtfScalefactor``), ``(n_tilts,)``.
    b_factor
        Damping ``exp(-B q²/4)`` of the images (``rlnCtfBfactor``), Å², ``(n_tilts,)``.

    Examples
    --------
    >>> from fourierrecon import CtfParameters
    >>> CtfParameters.of(2, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=[30000, 32000])
    CtfParameters(300 kV, Cs 2.7 mm, 2 tilts, defocus 3.00 to 3.20 µm)
    """

    voltage: float
    spherical_aberration: float
    amplitude_contrast: float
    defocus_u: NDArray[np.float64]
    defocus_v: NDArray[np.float64]
    defocus_angle: NDArray[np.float64]
    phase_shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    b_factor: NDArray[np.float64]

    def __repr__(self) -> str:
        defocus = (self.defocus_u + self.defocus_v) / 2e4
        return (
            f"CtfParameters({self.voltage:g} kV, Cs {self.spherical_aberration:g} mm, {len(defocus)} tilts, "
            f"defocus {defocus.min():.2f} to {defocus.max():.2f} µm)"
        )

    @classmethod
    def of(
        cls,
        n_tilts: int,
        *,
        voltage: float,
        spherical_aberration: float,
        amplitude_contrast: float,
        defocus_u: ArrayLike,
        defocus_v: ArrayLike | None = None,
        defocus_angle: ArrayLike = 0.0,
        phase_shift: ArrayLike = 0.0,
        scale: ArrayLike = 1.0,
        b_factor: ArrayLike = 0.0,
    ) -> CtfParameters:
        """Build from single values or sequences; a single value holds for every tilt.

        Raises
        ------
        DataError
            If a value makes no sense or is not finite.
        """

        def per_tilt(value: ArrayLike, name: str, largest: float) -> NDArray[np.float64]:
            array = np.array(np.broadcast_to(np.asarray(value, float), n_tilts))
            sound = np.abs(array) <= largest
            if not sound.all():
                bad = int(np.argmin(sound))
                raise DataError(f"{name} of tilt {bad + 1} is {array[bad]:g}; allowed: up to {largest:g} either way")
            return array

        if not 0 < voltage < MOST_VOLTAGE:
            raise DataError(f"voltage {voltage:g} kV must be positive (300 and 200 are usual), below {MOST_VOLTAGE:g}")
        if not abs(spherical_aberration) < MOST_ABERRATION:
            raise DataError(
                f"spherical aberration {spherical_aberration:g} mm must be below {MOST_ABERRATION:g} (2.7 is usual)"
            )
        if not 0 <= amplitude_contrast <= 1:
            raise DataError(f"amplitude contrast {amplitude_contrast:g} must lie in 0 to 1 (0.07 to 0.1 is usual)")
        return cls(
            float(voltage),
            float(spherical_aberration),
            float(amplitude_contrast),
            per_tilt(defocus_u, "defocus U", MOST_DEFOCUS),
            per_tilt(defocus_u if defocus_v is None else defocus_v, "defocus V", MOST_DEFOCUS),
            per_tilt(defocus_angle, "defocus angle", MOST_ANGLE),
            per_tilt(phase_shift, "phase shift", MOST_ANGLE),
            per_tilt(scale, "CTF scale factor", MOST_SCALE),
            per_tilt(b_factor, "B-factor", MOST_B_FACTOR),
        )

    def select(self, index: NDArray[np.int64]) -> CtfParameters:
        """Give those of some of the tilts, by 0-based number."""
        per_tilt = {f.name: getattr(self, f.name)[index] for f in fields(self) if np.ndim(getattr(self, f.name))}
        return replace(self, **per_tilt)


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
        RELION's ``rlnTomoHand`` where the source tells it: 1 or -1, the sign by which the defocus grows with the depth
        along the beam. Nothing here depends on it.
    excluded
        1-based numbers, in the source, of the images that it excludes; they are not in the series.
    z_reversed
        The world's z counts against that of IMOD's and RELION's, as Warp's does.
    middle
        World coordinates ``(x, y, z)`` of the middle of a tomogram of any size, where the source does not know the
        size and matrices carry their frame with them (IMOD without THICKNESS).
    pivot
        World coordinates ``(x, y, z)`` that the tilt axis goes through, where the source tells them and they need not
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
    local: DisplacementField | None = None

    def __post_init__(self) -> None:
        where = f"{self.source}: " if self.source else ""
        shape = tuple(self.images.shape)
        if len(shape) != 3 or 0 in shape:
            raise DataError(f"{where}images have shape {shape}; needed: (n_tilts, height, width), none of them 0")
        projections = np.asarray(self.projections, float)
        if projections.shape != (shape[0], 4, 4):
            raise DataError(
                f"{where}projection matrices have shape {projections.shape}, but the stack holds {shape[0]} images; "
                f"needed: one 4 x 4 matrix an image"
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
                raise DataError(f"{where}{len(values)} {label} for {shape[0]} images; needed: one an image")
        if self.ctf is not None and len(self.ctf.defocus_u) != shape[0]:
            raise DataError(f"{where}{len(self.ctf.defocus_u)} defocus values for {shape[0]} images")

    def __repr__(self) -> str:
        (height, width), angles = self.image_shape, self.tilt_angles
        return (
            f"TiltSeries({self.name!r}, {self.n_tilts} images of {width} x {height} px, {self.pixel_size:.4g} Å/px, "
            f"tilts {angles.min():.3g}° to {angles.max():.3g}°)"
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
        index = np.asarray(tilts, int)
        if index.size == 0 or index.min() < 0 or index.max() >= self.n_tilts:
            raise UsageError(f"tilts must be chosen from 0 to {self.n_tilts - 1}, at least one")
        per_exposure = self.b_factor_per_exposure
        return replace(
            self,
            images=chosen_images(self.images, tilts),
            projections=self.projections[index],
            ctf=None if self.ctf is None else self.ctf.select(index),
            exposure=None if self.exposure is None else self.exposure[index],
            own_exposure=self.own_exposure[index],
            b_factor_per_exposure=None if per_exposure is None else per_exposure[index],
            tilt_angles=self.tilt_angles[index],
            local=None if self.local is None else self.local.select(index),
        )


def tilt_angles_of(projections: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tilt angles that projection matrices have, degrees in (-180, 180], ``(n_tilts,)``.

    The beams of a tilt series lie in the plane perpendicular to the tilt axis; the angles count in it from the place
    next to z. With ``P = Rz Ry(tilt) Rx(x tilt)`` and one x tilt for all, these are the tilts, whatever the x tilt.
    Nothing tells the sign: the axis points to larger y, or to smaller x where it lies nearer to x.

    Parameters
    ----------
    projections
        ``(n_tilts, 4, 4)``.
    """
    beams = np.cross(projections[:, 0, :3], projections[:, 1, :3])
    beams /= np.linalg.norm(beams, axis=1, keepdims=True)
    # an image seen from behind has the same beam
    beams *= -1 if beams[np.argmax(np.abs(beams[:, 2])), 2] < 0 else 1
    _, spread, directions = np.linalg.svd(beams)
    axis, told = directions[2], len(beams) > 1 and spread[1] > 0.02 * np.sqrt(len(beams))
    if len(beams) > 2:
        told = told and spread[2] < spread[1] / 3
    if not told or abs(axis[2]) > 0.9:
        # beams close together, or in all directions, do not define the axis: take x or y, about which they turn most
        steep = np.abs(beams[:, :2]).sum(0)
        sines = -beams[:, 0] if steep[0] >= steep[1] else -beams[:, 1]
        return np.asarray(np.degrees(np.arcsin(np.clip(sines, -1, 1))))
    axis = axis * (np.sign(axis[1]) if abs(axis[1]) >= abs(axis[0]) else -np.sign(axis[0]))
    zero = np.array([0.0, 0.0, 1.0]) - axis[2] * axis
    return np.asarray(np.degrees(np.arctan2(beams @ np.cross(zero, axis), beams @ zero)))


def _step(exposure: NDArray[np.float64]) -> float:
    """Give the usual step between exposures: the middle one of those that are steps."""
    steps = np.diff(np.sort(exposure[np.isfinite(exposure)]))
    return float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0


def chosen_images(images: ImageStack, tilts: Sequence[int]) -> ImageStack:
    """Give some images of a stack, by 0-based number; images in files stay there until they are used."""
    index = np.asarray(tilts, int)
    return _FileSelection(images, index) if isinstance(images, ImagesInFiles) else _Selection(images, index)


def source_of(images: ImageStack, i: int) -> tuple[int, int]:
    """Tell images apart: the same for image ``i`` of two stacks if one is a selection of the other."""
    if isinstance(images, _Selection):
        return source_of(images.images, int(images.index[i]))
    return id(images), i


@dataclass(frozen=True, eq=False)
class _Selection:
    """Some images of a stack, in a given order."""

    images: ImageStack
    index: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.index), *self.images.shape[1:])

    def __getitem__(self, i: int, /) -> NDArray[np.generic]:
        return self.images[int(self.index[i])]


@dataclass(frozen=True, eq=False)
class _FileSelection(_Selection):
    """Some images of a stack in files; an :class:`ImagesInFiles` itself."""

    images: ImagesInFiles

    @property
    def sections(self) -> list[tuple[Path, int]]:
        return [self.images.sections[int(i)] for i in self.index]

    @property
    def places(self) -> list[tuple[Path, int]] | None:
        places = self.images.places
        return None if places is None else [places[int(i)] for i in self.index]

    @property
    def stacks(self) -> Sequence[ImageFile]:
        return self.images.stacks

    @property
    def column(self) -> str:
        return self.images.column
