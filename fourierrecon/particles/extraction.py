"""What is extracted of a set, and how; whatever a run is, one process or many, it is told by this record."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from fourierrecon.engine.settings import Settings
from fourierrecon.errors import UsageError
from fourierrecon.geometry.coordinate_frames import coordinate_frame
from fourierrecon.io import Supplement
from fourierrecon.particles.boxes import ROOM, check_sizes

#: Layouts of boxes, for people.
LAYOUTS: dict[str, str] = {
    "volumes": "subtomograms, divided by their weights",
    "relion": "RELION's pseudo-subtomograms: data and weight terms",
    "relion-stacks": "RELION 5's stacks of images, times their transfer functions",
    "warp": "Warp's subtomograms, with volumes of their CTF",
    "warp-stacks": "Warp's stacks of images, times their transfer functions",
}
#: Exposure filter and tilt weight that Warp has, where a layout of its own is asked for.
WARP_WEIGHTS = {"warp": ("bfactor", "cos"), "warp-stacks": ("grant", "cos")}


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What is to be extracted, and how. Other processes can be sent it.

    Parameters
    ----------
    source
        Set or tilt series, of any program.
    picks
        File of points.
    folder
        Folder for the boxes.
    box, binning, window
        As for :class:`~fourierrecon.particles.BoxMaker`.
    layout
        One of :data:`LAYOUTS`.
    frame, picked_binning
        Frame of the points, and the binning of the volume that was picked in.
    snr
        Signal-to-noise ratio that ``volumes`` are divided with.
    diameter
        Diameter of the particle, Å: outside of it, volumes of Warp are normalised. Default: the side of the box.
    invert
        Turn dense matter bright, as RELION and Warp have it. Default: for their layouts.
    extras, settings
        What the source lacks, and how images are treated.
    resume
        Go on in a folder that an earlier run left: boxes that are there stay. Else such a folder is refused.

    Raises
    ------
    UsageError
        If an option makes no sense.
    """

    source: Path
    picks: Path
    folder: Path
    box: int
    binning: int = 1
    window: int | None = None
    layout: str = "volumes"
    frame: str | None = None
    picked_binning: float = 1.0
    snr: float = 10.0
    diameter: float | None = None
    invert: bool | None = None
    extras: Supplement = field(default_factory=Supplement)
    settings: Settings = field(default_factory=Settings)
    resume: bool = True

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise UsageError(f'layout="{self.layout}": unknown; available: {", ".join(LAYOUTS)}')
        if not self.snr > 0:
            raise UsageError(f"snr={self.snr:g} must be above 0")
        if self.diameter is not None and self.layout != "warp":
            raise UsageError(f'diameter={self.diameter:g}: only layout="warp" normalises boxes; leave it out')
        if self.diameter is not None and not self.diameter > 0:
            raise UsageError(f"diameter={self.diameter:g} Å must be above 0")
        if self.frame is not None:
            coordinate_frame(self.frame)
        check_sizes(self.box, ROOM * self.box if self.window is None else self.window, self.binning)

    @property
    def treatment(self) -> Settings:
        """How images are treated: as the settings say, and with the weights of Warp in its layouts."""
        exposure, tilt_weight = WARP_WEIGHTS.get(self.layout, (None, None))
        own = self.settings
        return replace(own, exposure=own.exposure or exposure, tilt_weight=own.tilt_weight or tilt_weight)

    @property
    def record(self) -> dict[str, object]:
        """What boxes depend on besides their tilt series and points, for the file beside them."""
        s = self.treatment
        return {
            "source": str(self.source.absolute()), "picks": str(self.picks.absolute()), "box": self.box,
            "binning": self.binning, "window": self.window, "layout": self.layout, "frame": self.frame,
            "picked_binning": self.picked_binning, "snr": self.snr, "diameter": self.diameter, "invert": self.inverts,
            "ctf": s.correction.ctf_mode, "exposure": s.exposure, "tilt_weight": s.tilt_weight,
            "ctf_depth": s.ctf_depth, "defocus_hand": s.defocus_hand, "local": s.local, "repairs": str(s.repairs),
        }  # fmt: skip

    @property
    def inverts(self) -> bool:
        """Whether dense matter becomes bright."""
        return self.layout != "volumes" if self.invert is None else self.invert

    @property
    def premultiplied(self) -> bool:
        """Whether boxes were multiplied with the CTF, and not divided by its square."""
        return self.layout != "volumes" and self.settings.correction.ctf_mode != "none"

    @property
    def stacks(self) -> bool:
        """Whether boxes are stacks of images, not volumes."""
        return self.layout.endswith("stacks")

    @property
    def settles(self) -> bool:
        """Whether boxes are made where a refinement put the particles: Warp's lists have no other place for that."""
        return self.layout.startswith("warp")
