"""Who follows a run on a set: hears what happens beside the outcomes, and shows how far a tomogram is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fourierrecon.runtime.threads import Progress


class Follower:
    """Hears how a run goes on. All methods do nothing here; a subclass overrides those that it needs."""

    def starts(self, names: Sequence[str]) -> None:
        """Hear which tomograms the run is about, before the first one begins."""

    def begins(self, name: str) -> Progress | None:
        """Hear that a tomogram begins on this machine, and give what to call as ``progress(stage, done, total)``."""
        return None

    def notes(self, label: str, text: str) -> None:
        """Hear something worth a line, with one word for what it is about, as ``note`` or ``cluster``."""

    def waits(self, text: str) -> None:
        """Hear of a tilt series in a watched folder that is not complete yet, or that is left out, and why."""

    def lists(self, path: Path | None) -> None:
        """Hear where the list of tomograms was written; None: there is no list now."""
