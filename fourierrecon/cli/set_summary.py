"""Lines of a run on a set: how its tomograms are made, what was wrong, each kind of it a few times, and a summary."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from fourierrecon.cli.console import say
from fourierrecon.cli.messages_table import in_options
from fourierrecon.errors import FourierReconError
from fourierrecon.text import counted
from fourierrecon.transfer import CTF_MODES

if TYPE_CHECKING:
    from fourierrecon.sets.outcomes import Outcome
    from fourierrecon.sets.recipe import Recipe

#: How many messages of one kind are shown; the others are counted.
SHOWN = 3


def describe_recipe(console: Console, recipe: Recipe, name: str | None) -> None:
    """Print with which voxels, weighting and CTF the tomograms of a set are made.

    Parameters
    ----------
    console
        Screen to write to.
    recipe
        What is to be made.
    name
        A tomogram of the set, whose pixel size stands for that of all; None: not known.
    """
    from fourierrecon.io import read_tilt_series

    pixel = 0.0
    with suppress(FourierReconError, OSError):  # its own error comes when it is made
        if name is not None:
            pixel = read_tilt_series(recipe.source, name, recipe.extras).pixel_size
    say(console, "voxels", "; ".join(_voxels(binning, pixel) for binning in recipe.binnings or (0.0,)))
    say(console, "weighting", "; ".join(weighting.words for weighting in recipe.weightings))
    correction = recipe.settings.correction
    modes = dict.fromkeys(
        correction.ctf_mode or ("wiener" if weighting.divides else "multiply") for weighting in recipe.weightings
    )
    named = (("exposure", correction.exposure), ("tilt weight", correction.tilt_weight))
    more = "".join(f"; {label} {value}" for label, value in named if value is not None)
    say(console, "CTF", "; ".join(map(_mode_words, modes)) + more)


def _voxels(binning: float, pixel: float) -> str:
    """Describe voxels: a binning above 0 is voxel over pixel, one below is a voxel size, 0 is the default."""
    from fourierrecon.geometry.region import DEFAULT_VOXEL, default_binning

    if binning < 0:
        return f"{-binning:g} Å"
    if binning == 0 and not pixel:
        return f"about {DEFAULT_VOXEL:g} Å (the default)"
    factor, default = binning or default_binning(pixel), "" if binning else ", the default"
    return f"{factor * pixel:.4g} Å (binning {factor:g}{default})" if pixel else f"binning {factor:g}"


def _mode_words(mode: str) -> str:
    """Say what a correction of the CTF does, without what other programs call it."""
    return "not corrected" if mode == "none" else f"{mode}: {CTF_MODES[mode].partition(' (')[0]}"


class Messages:
    """Shows messages about tomograms; of those that differ only in names and numbers, a few.

    Parameters
    ----------
    console
        Screen to write to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: Counter[tuple[str, str]] = Counter()

    def show(self, label: str, name: str, text: str) -> None:
        """Show a message, unless enough of its kind were shown.

        Parameters
        ----------
        label
            ``warning``, ``failed`` or ``stale``.
        name
            Name of the tomogram.
        text
            The message.
        """
        kind = label, re.sub(r"[\d.]+", "0", text.replace(name, ""))
        self._seen[kind] += 1
        if self._seen[kind] <= SHOWN:
            say(self._console, label, f"{name}: {in_options(text)}")

    def rest(self, where: Path) -> None:
        """Show how many messages were not shown.

        Parameters
        ----------
        where
            File that holds all of them.
        """
        for label in dict.fromkeys(label for label, _ in self._seen):
            more = sum(max(count - SHOWN, 0) for (kind, _), count in self._seen.items() if kind == label)
            if more:
                # what is left as it is has the records of the run that made it
                listed = "" if label == "stale" else f"; {where} lists them"
                say(self._console, label, f"{counted(more, 'more tomogram')} in the same way{listed}")
        self._seen.clear()


def sum_up(
    console: Console,
    done: str,
    outcomes: Sequence[Outcome],
    path: Path | None,
    *,
    end: str = "",
    repeat: bool,
    where: Path,
) -> int:
    """Show how many tomograms are done, stale and failed, and the list; give the exit status.

    Parameters
    ----------
    console
        Screen to write to.
    done
        How many are done, in words.
    outcomes
        What became of each.
    path
        List of tomograms that was written, or None.
    end
        What comes after the counts.
    repeat
        Show again what failed and why, as much was shown since.
    where
        File that holds all that was wrong.
    """
    stale, failed = (sum(outcome.status == status for outcome in outcomes) for status in ("stale", "failed"))
    left = f"{stale} left as {'it is' if stale == 1 else 'they are'}; " if stale else ""
    say(console, "summary", f"{done}; {left}{failed} failed{end}")
    messages = Messages(console)
    for status in ("stale", "failed") if repeat else ():
        for outcome in outcomes:
            if outcome.status == status:
                messages.show(status, outcome.name, outcome.error or outcome.stale)
    messages.rest(where)
    if path is not None:
        say(console, "wrote", f"{path}: the list of tomograms, as RELION 5 reads it")
    return status_of(outcomes)


def status_of(outcomes: Sequence[Outcome]) -> int:
    """Give the exit status: 2 where an option makes no sense for a tomogram, as for that one alone; 1 for other faults.

    Parameters
    ----------
    outcomes
        What became of each tomogram.
    """
    if any(outcome.usage for outcome in outcomes):
        return 2
    return int(any(outcome.error or outcome.stale for outcome in outcomes))


def remedy(outcomes: Sequence[Outcome]) -> str:
    """Say what to do about tomograms that failed; an empty text where nothing can be done by running it again.

    Parameters
    ----------
    outcomes
        What became of each tomogram.
    """
    failed = [outcome for outcome in outcomes if outcome.error]
    curable = [outcome for outcome in failed if "please report it" not in outcome.error]
    if not curable:
        return ""
    # the same files would fail in the same way
    first = "" if all(outcome.transient for outcome in curable) else "correct what the errors name, then "
    return f"{first}run the same command again: it makes what is missing"
