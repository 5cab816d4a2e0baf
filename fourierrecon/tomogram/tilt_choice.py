"""Leaves out images of a tilt series that the user names, or whose tilt is too steep."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from fourierrecon.errors import UsageError
from fourierrecon.geometry.sound_images import numbers_in_source
from fourierrecon.tilt_series import TiltSeries

_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")


@dataclass(frozen=True)
class TiltChoice:
    """Images to leave out.

    Parameters
    ----------
    exclude
        Their numbers in the source, from 1, as IMOD's ``EXCLUDELIST`` and our messages count.
    max_tilt
        Largest tilt that is kept, degrees either way, of the angles after corrections; None: any.
    """

    exclude: tuple[int, ...] = ()
    max_tilt: float | None = None

    def __post_init__(self) -> None:
        if self.max_tilt is not None and not 0 < self.max_tilt <= 180:
            raise UsageError(f"max_tilt={self.max_tilt:g} must be above 0 degrees, and 180 at the most")

    def __bool__(self) -> bool:
        return bool(self.exclude) or self.max_tilt is not None

    def apply(self, series: TiltSeries) -> tuple[TiltSeries, list[int]]:
        """Leave the images out.

        Returns
        -------
        The rest of the tilt series, which lists the others as excluded; and the 0-based numbers that were kept.

        Raises
        ------
        UsageError
            If a number is beyond the series, or fewer than two images are left.
        """
        numbers = numbers_in_source(series)
        known = {*numbers, *series.excluded}
        beyond = [number for number in self.exclude if number not in known]
        if beyond:
            raise UsageError(
                f'exclude="{list_of(beyond)}" is beyond the images of {series.name}, which count from 1 to {max(known)}'
            )
        steep = 360.0 if self.max_tilt is None else self.max_tilt
        kept = [
            i
            for i, number in enumerate(numbers)
            if number not in self.exclude and abs(series.tilt_angles[i]) <= steep + 1e-6
        ]
        if len(kept) < 2:
            angles = abs(series.tilt_angles)
            raise UsageError(
                f"{series.name}: {len(kept)} of {series.n_tilts} images are left (tilts from "
                f"{angles.min():.1f}° to {angles.max():.1f}° either way); leave out fewer (exclude=..., max_tilt=...)"
            )
        if len(kept) == series.n_tilts:
            return series, kept
        left_out = {number for i, number in enumerate(numbers) if i not in kept}
        return replace(series.select(kept), excluded=tuple(sorted(left_out | set(series.excluded)))), kept


def read_numbers(text: str) -> tuple[int, ...]:
    """Read a list of numbers and ranges, ``3,7-9``.

    Raises
    ------
    UsageError
        If it is none.
    """
    numbers: set[int] = set()
    for part in (piece.strip() for piece in text.split(",")):
        found = _RANGE.fullmatch(part.replace(" ", ""))
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last:
            raise UsageError(f'exclude="{text}": {part!r} is no number or range from 1 on; give a list as 3,7-9')
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


def list_of(numbers: list[int] | tuple[int, ...]) -> str:
    """Write numbers as a list with ranges, ``3,7-9``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)
