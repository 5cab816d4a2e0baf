"""How to reconstruct, whatever it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fourierrecon.runtime.threads import Progress
from fourierrecon.transfer import Correction


@dataclass(frozen=True)
class Settings:
    """How to reconstruct, whatever it is: see :func:`fourierrecon.reconstruction.reconstruct`.

    ``binnings`` are all that there may be volumes of, whether they are asked for at once or later: a volume does not
    depend on which others are made along with it.
    """

    ctf: bool = True
    n_threads: int | None = None
    keep_mean: bool = False
    taper_distance: float = 0.0
    taper_falloff: float = 0.0
    precision: str = "default"
    memory: int | None = None
    scratch: Path | None = None
    progress: Progress | None = None
    binnings: tuple[float, ...] = ()
    ctf_mode: str | None = None
    exposure: str | None = None
    tilt_weight: str | None = None

    @cached_property
    def correction(self) -> Correction:
        """What is done about all that acts on the signal in the images.

        Raises
        ------
        UsageError
            If a name is unknown, or two contradict each other.
        """
        return Correction.of(self.ctf, self.ctf_mode, self.exposure, self.tilt_weight)
