"""The transfer function of each image: ``T = CTF x envelope x scale``, in the data and in the weights.

A sample of an image is ``T`` times the specimen plus noise. So data are multiplied by ``T`` and weights are ``T²``,
whatever acts on the signal: the contrast transfer function, the damage by exposure, B-factors, and scale factors of
steep images. Every weighting sees ``T²`` where it would see CTF², so nothing is passed over twice.

Exposure: ``exp(-N / (2 N_c(q)))`` with the critical exposure ``N_c`` (:mod:`fourierrecon.tilt_series.exposures`); or
``exp(-B q²/4)`` with ``B`` growing by 4 Å² per e⁻/Å². ``N`` is the exposure at the middle of an image: that before it,
and half of its own.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.ctf import kernel_coefficients, phase_coefficients
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.ctf_depth import CTF_DEPTHS, DepthCtf, choose_depth
from fourierrecon.geometry.region import Region
from fourierrecon.text import counted
from fourierrecon.tilt_series import CtfParameters, TiltSeries
from fourierrecon.tilt_series.exposures import accumulated, by_voltage, critical_exposure

#: What is done with the CTF: factor of the data, and whether the weights are its square. What others call it.
CTF_MODES = {
    "wiener": "data times CTF, divided by CTF² (RELION: 3D Wiener filter with CTF; pytom-match-pick: no --defocus)",
    "multiply": "data times CTF, nothing divided by it (RELION 5.1: premultiplied, --skip_fourier_wiener)",
    "phase-flip": "data times the sign of the CTF (IsoNet2: --isCTFflipped True; pytom-match-pick: "
    "--tomogram-ctf-model phase-flip)",
    "first-peak": "as wiener, the CTF taken as 1 up to its first peak (RELION: --ctf_intact_first_peak)",
    "absolute": "data times CTF, divided by its absolute value: phase flipped, images weighted by it (Warp; IsoNet2: "
    "--isCTFflipped True; pytom-match-pick: --tomogram-ctf-model phase-flip)",
    "none": "no CTF (RELION 4: noctf; IsoNet2: --isCTFflipped False; pytom-match-pick: --defocus alone)",
}
EXPOSURES = {
    "grant": "filter of Grant & Grigorieff",
    "bfactor": "B-factor that grows with exposure",
    "none": "no exposure filter",
}
TILT_WEIGHTS = ("cos", "none")
#: Modes whose weights hold the CTF.
WEIGHED = ("wiener", "first-peak", "absolute")
#: Numbers by which compiled loops know what the CTF becomes.
AS_IT_IS, SIGN, FROM_FIRST_PEAK = 0, 1, 2
#: B-factor per exposure where the set gives none, Å² per e⁻/Å².
B_PER_EXPOSURE = 4.0
#: Intervals in which envelopes are tabulated, up to the corner of the image's Fourier square.
STEPS = 2048


@dataclass(frozen=True)
class Correction:
    """What is asked for; None leaves it to the weighting and to what the set gives.

    Parameters
    ----------
    ctf_mode
        One of :data:`CTF_MODES`; None: ``wiener``, or ``multiply`` where the weighting divides by nothing.
    exposure
        One of :data:`EXPOSURES`; None: ``bfactor`` where the set gives one per exposure
        (``rlnCtfBfactorPerElectronDose``), else ``none``.
    tilt_weight
        ``cos``: images without scale factors (``rlnCtfScalefactor``) count by the cosine of their tilt; None: ``none``.
    ctf_depth
        One of :data:`~fourierrecon.geometry.ctf_depth.CTF_DEPTHS`: the CTF at the depth of each point, or one for each
        image. None: ``auto``, as it matters.
    defocus_hand
        1 or -1, in place of the hand that the tilt series gives; None: that one.

    Raises
    ------
    UsageError
        If a name is unknown, or the hand is no hand.
    """

    ctf_mode: str | None = None
    exposure: str | None = None
    tilt_weight: str | None = None
    ctf_depth: str | None = None
    defocus_hand: int | None = None

    def __post_init__(self) -> None:
        for argument, value, known in (
            ("ctf_mode", self.ctf_mode, CTF_MODES),
            ("exposure", self.exposure, EXPOSURES),
            ("tilt_weight", self.tilt_weight, TILT_WEIGHTS),
            ("ctf_depth", self.ctf_depth, CTF_DEPTHS),
        ):
            if value is not None and value not in known:
                raise UsageError(f'{argument}="{value}": unknown; available: {", ".join(known)}')

        if self.defocus_hand not in (None, 1, -1):
            raise UsageError(f"defocus_hand={self.defocus_hand} is no hand; give 1 or -1")

    def words(self, divides: bool) -> str:
        """What is asked for, in words, with a weighting that divides by something or not."""
        named = (("exposure", self.exposure), ("tilt weight", self.tilt_weight), ("CTF by depth", self.ctf_depth))
        ctf = (
            "CTF not corrected"
            if self.ctf_mode == "none"
            else f"CTF {self.ctf_mode or ('wiener' if divides else 'multiply')}"
        )
        return ", ".join([ctf, *(f"{label} {value}" for label, value in named if value is not None)])

    @classmethod
    def from_words(cls, text: str) -> Correction | None:
        """Read the correction that a volume's label or passport tells of (:attr:`Transfer.words`); None: it tells none.

        Parameters
        ----------
        text
            Words on the making of a volume; others around them do not matter.
        """
        mode = re.search(rf"\bCTF (not corrected|{'|'.join(CTF_MODES)})\b", text)
        if mode is None:
            return None
        exposure = re.search(rf"\bexposure ({'|'.join(EXPOSURES)})\b", text)
        return cls(
            ctf_mode="none" if mode[1] == "not corrected" else mode[1],
            exposure=None if exposure is None else exposure[1],
            tilt_weight="cos" if "tilt weight cos" in text else None,
        )

    def exposure_of(self, series: TiltSeries) -> str:
        """Give the exposure filter for a tilt series, one of :data:`EXPOSURES`."""
        per_exposure = series.b_factor_per_exposure
        given = per_exposure is not None and bool(per_exposure.any())
        return self.exposure or ("bfactor" if given else "none")

    @classmethod
    def of(
        cls,
        ctf: bool = True,
        ctf_mode: str | None = None,
        exposure: str | None = None,
        tilt_weight: str | None = None,
        ctf_depth: str | None = None,
        defocus_hand: int | None = None,
    ) -> Correction:
        """Combine the switch ``ctf`` with the modes by name.

        Raises
        ------
        UsageError
            If a name is unknown, or a mode is given for a CTF that is switched off.
        """
        if not ctf and ctf_mode not in (None, "none"):
            raise UsageError(f'ctf=False and ctf_mode="{ctf_mode}" exclude each other; give one of them')
        if not ctf and ctf_depth == "on":
            raise UsageError('ctf=False and ctf_depth="on" exclude each other; give one of them')
        return cls(ctf_mode if ctf else "none", exposure, tilt_weight, ctf_depth, defocus_hand)


@dataclass(frozen=True, eq=False)
class Transfer:
    """Transfer functions of all images of a tilt series.

    Parameters
    ----------
    mode
        One of :data:`CTF_MODES`.
    ctf
        Parameters of the CTF; None where the mode is ``none``.
    scale
        Factor on each image's function, ``(n_tilts,)``.
    damping
        Functions of the spatial frequency that act as well: for each tilt a B-factor (Å²) and an exposure (e⁻/Å², of
        the critical exposure at 300 kV), ``(n_tilts, 2)``.
    exposure, tilt_weight
        As asked for, or found in the set.
    depth, depth_words
        The CTF at each depth, None where there is one for each image; and which was chosen, and why.
    """

    mode: str
    ctf: CtfParameters | None
    scale: NDArray[np.float64]
    damping: NDArray[np.float64]
    _: KW_ONLY
    exposure: str = "none"
    tilt_weight: str = "none"
    depth: DepthCtf | None = None
    depth_words: str = ""

    def __repr__(self) -> str:
        return f"Transfer({self.words}, {counted(len(self.scale), 'tilt')})"

    @classmethod
    def of(
        cls, series: TiltSeries, correction: Correction, *, divides: bool = True, region: Region | None = None
    ) -> Transfer:
        """Find out what acts on the images of a tilt series.

        Parameters
        ----------
        series
            Tilt series with optics, exposures and geometry.
        correction
            The correction that is asked for.
        divides
            The weighting divides by something, so that there can be a CTF² in it.
        region
            Region that the CTF may be needed at each depth of; None: one CTF for each image.

        Raises
        ------
        UsageError
            If the mode makes no sense with the weighting.
        DataError
            If the CTF or exposures are missing, or exposures make no sense.
        """
        mode = correction.ctf_mode or ("wiener" if divides else "multiply")
        if mode in WEIGHED and not divides:
            raise UsageError(
                f'ctf_mode="{mode}" divides by the CTF, and plain back-projection (none) divides by nothing; choose '
                f'ctf_mode="multiply", phase-flip or none, or another weighting'
            )
        ctf = None if mode == "none" else series.ctf
        where = series.source or series.name
        if mode != "none" and ctf is None:
            raise DataError(
                f"{where}: the CTF needs {', '.join(series.ctf_missing) or 'defocus and optics'}; "
                f"add what is missing, or switch the CTF off (ctf=False)"
            )
        n = series.n_tilts
        scale = np.ones(n) if ctf is None else ctf.scale.copy()
        weight = correction.tilt_weight or "none"
        if weight == "cos" and (ctf is None or (ctf.scale == 1).all()):
            scale *= cosines(series)
        elif weight == "cos":
            weight = "rlnCtfScalefactor of the set, which goes first"
        damping = np.zeros((n, 2))
        if ctf is not None:
            damping[:, 0] = ctf.b_factor
        per_exposure, exposure = series.b_factor_per_exposure, correction.exposure_of(series)
        if exposure == "bfactor":
            given = per_exposure is not None and per_exposure.any()
            per = per_exposure if per_exposure is not None and given else np.full(n, B_PER_EXPOSURE)
            damping[:, 0] += per * accumulated(series)
        elif exposure == "grant":
            damping[:, 1] = accumulated(series) / by_voltage(series)
        depth, words = None, ""
        if ctf is not None and region is not None:
            possible = mode in ("wiener", "multiply")
            depth, words = choose_depth(
                series, region, correction.ctf_depth, possible=possible, hand=correction.defocus_hand
            )
        return cls(mode, ctf, scale, damping, exposure=exposure, tilt_weight=weight, depth=depth, depth_words=words)

    @classmethod
    def plain(cls, n_tilts: int, ctf: CtfParameters | None = None) -> Transfer:
        """Give that of a CTF alone, or of nothing."""
        scale = np.ones(n_tilts) if ctf is None else ctf.scale
        return cls("none" if ctf is None else "wiener", ctf, scale, np.zeros((n_tilts, 2)))

    @property
    def applies(self) -> bool:
        """Whether images are multiplied with anything but 1."""
        return self.ctf is not None or bool(self.damping.any()) or bool((self.scale != 1).any())

    @property
    def weighs_ctf(self) -> bool:
        """Whether the weights hold CTF², or its absolute value, not 1 in its place."""
        return self.mode in WEIGHED

    @property
    def power(self) -> int:
        """Power of ``|T|`` that weights are: 2, or 1 where data are divided by the absolute value."""
        return 1 if self.mode == "absolute" else 2

    @property
    def form(self) -> int:
        """What the CTF becomes, as compiled loops know it."""
        return {"phase-flip": SIGN, "first-peak": FROM_FIRST_PEAK}.get(self.mode, AS_IT_IS)

    def phases(self, tilt: int, voxel_size: float) -> NDArray[np.float64]:
        """Coefficients for :func:`fourierrecon.ctf.transfer`: phase in turns, and scale; voxel size in Å."""
        coefficients = kernel_coefficients(self.ctf, tilt, voxel_size)
        coefficients[5] = self.scale[tilt]
        return coefficients

    def envelopes(self, voxel_size: float) -> NDArray[np.float32]:
        """Tabulate what damps the images, for frequencies ``i / per_cycle`` cycles per voxel; see :data:`PER_CYCLE`.

        Returns
        -------
        envelopes
            ``(n_tilts, STEPS + 2)``, or ``(n_tilts, 0)`` where nothing does.
        """
        if not self.damping.any():
            return np.empty((len(self.scale), 0), np.float32)
        q = np.arange(STEPS + 2) / (PER_CYCLE * voxel_size)
        return np.stack([self.damped(tilt, q) for tilt in range(len(self.scale))]).astype(np.float32)

    def damped(self, tilt: int, frequency: ArrayLike) -> NDArray[np.float64]:
        """Give the envelope of one image at spatial frequencies, 1/Å."""
        q = np.asarray(frequency, float)
        b, exposure = self.damping[tilt]
        if b == exposure == 0:
            return np.ones_like(q)
        inverse = np.zeros_like(q)  # one over the critical exposure
        inverse[q > 0] = 1 / critical_exposure(q[q > 0])
        return np.asarray(np.exp(-b * q * q / 4 - exposure * inverse / 2))

    def evaluate(self, tilt: int, frequency_x: ArrayLike, frequency_y: ArrayLike) -> NDArray[np.float64]:
        """Give ``T`` of one image at spatial frequencies along its columns and rows, 1/Å; they broadcast."""
        fx, fy = np.asarray(frequency_x, float), np.asarray(frequency_y, float)
        squared = fx * fx + fy * fy
        values = self.scale[tilt] * self.damped(tilt, np.sqrt(squared))
        if self.ctf is None:
            return np.asarray(values)
        xx, xy, yy, quartic, constant = phase_coefficients(self.ctf, tilt)
        chi = xx * fx * fx + xy * fx * fy + yy * fy * fy + quartic * squared * squared + constant
        wave = np.sin(chi)
        sign = np.where(wave < 0, -1.0, 1.0)
        if self.form == SIGN:
            wave = sign
        elif self.form == FROM_FIRST_PEAK:
            wave = np.where(np.abs(chi) < np.pi / 2, sign, wave)
        return np.asarray(values * wave)

    def likeness_tables(self, voxel_size: float) -> NDArray[np.float32]:
        """Give :meth:`DepthCtf.likeness_tables`, or ``(n_tilts, 0)`` where each image has one CTF."""
        if self.depth is None:
            return np.empty((len(self.scale), 0), np.float32)
        return self.depth.likeness_tables(voxel_size)

    def phases_in_middle(self, tilt: int, voxel_size: float) -> NDArray[np.float64]:
        """Give :meth:`phases` for the middle of the specimen, which weights are made for."""
        coefficients = self.phases(tilt, voxel_size)
        if self.depth is not None:
            coefficients[[0, 2]] += self.depth.bend(voxel_size) * self.depth.middle_depth(tilt) / voxel_size
        return coefficients

    def weight(self, tilt: int, frequency_x: ArrayLike, frequency_y: ArrayLike) -> NDArray[np.float64]:
        """Give what weights hold of one image, at frequencies in 1/Å: ``T²``, its mean in depth, or ``|T|``."""
        if self.depth is None or self.ctf is None:
            return np.asarray(np.abs(self.evaluate(tilt, frequency_x, frequency_y)) ** self.power)
        fx, fy = np.asarray(frequency_x, float), np.asarray(frequency_y, float)
        squared = fx * fx + fy * fy
        xx, xy, yy, quartic, constant = phase_coefficients(self.ctf, tilt)
        chi = xx * fx * fx + xy * fx * fy + yy * fy * fy + quartic * squared * squared + constant
        chi = chi + 2 * np.pi * self.depth.bend(1.0) * squared * self.depth.middle_depth(tilt)
        mean = (1 - self.depth.likeness(tilt, squared) * np.cos(2 * chi)) / 2
        return np.asarray((self.scale[tilt] * self.damped(tilt, np.sqrt(squared))) ** 2 * mean)

    @property
    def words(self) -> str:
        """What is done, in words."""
        by_depth = (
            " at each depth" if self.depth is not None else ", one CTF for each image" if self.depth_words else ""
        )
        parts = ["CTF not corrected" if self.mode == "none" else f"CTF {self.mode}{by_depth}"]
        if self.exposure != "none":
            parts.append(f"exposure {self.exposure}")
        if self.ctf is not None and self.ctf.b_factor.any():
            parts.append("B-factors of the set")
        if self.ctf is not None and (self.ctf.scale != 1).any():
            parts.append("scale factors of the set")
        elif self.tilt_weight == "cos":
            parts.append("tilt weight cos")
        return ", ".join(parts)

    def record(self) -> dict[str, object]:
        """Say what was done for the passport of a volume."""
        return {
            "mode": self.mode,
            "meaning": CTF_MODES[self.mode],
            "ctf_depth": self.depth_words or None,
            "by_depth": None if self.depth is None else self.depth.record(),
            "exposure": self.exposure,
            "tilt_weight": self.tilt_weight,
            "b_factor_angstrom2": self.damping[:, 0].tolist() if self.damping[:, 0].any() else None,
            "exposure_at_300_kv": self.damping[:, 1].tolist() if self.damping[:, 1].any() else None,
            "scale": self.scale.tolist(),
        }


#: Entries of a table of envelopes per cycle per voxel: the corner of the image's square is the last.
PER_CYCLE = STEPS / float(np.sqrt(0.5))


def cosines(series: TiltSeries) -> NDArray[np.float64]:
    """Cosines of the angles between beam and z, ``(n_tilts,)``: what a slab's thickness along the beam goes by."""
    beams = np.cross(series.projections[:, 0, :3], series.projections[:, 1, :3])
    return np.asarray(np.abs(beams[:, 2]) / np.linalg.norm(beams, axis=1))
