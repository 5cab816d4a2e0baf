"""Options that do nothing beside others, or without them: one table, gone through before a command runs.

What the user asked for and would not get is refused. Where a command line of RELION is right all the same, since RELION
passes such an option over as well, a warning names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fourierrecon.errors import UsageError

#: Values of a command's options, by the first spelling of each; arguments by their names.
Values = Mapping[str, Any]
#: Gives the reason why an option does nothing, as "without --do_proj"; an empty text if it does something.
Reason = Callable[[Values], str]


@dataclass(frozen=True)
class Need:
    """Options that need others.

    Parameters
    ----------
    options
        Their first spellings. They count where they are given, whatever their value.
    reason
        Why they do nothing.
    example
        Command line in which each of them does nothing; it stands in the place of the star.
    harmless
        RELION takes the option and passes it over: it is named in a warning, not refused.
    """

    options: tuple[str, ...]
    reason: Reason
    example: str
    harmless: bool = False


def without(option: str) -> Reason:
    """Give the reason for options that belong to another one."""
    return lambda values: "" if values.get(option) else f"without {option}"


def beside(option: str, *answers: object, words: str = "") -> Reason:
    """Give the reason for options that another one makes void: a switch, or one of these values of it."""

    def reason(values: Values) -> str:
        value = values.get(option)
        if not (value in answers if answers else value):
            return ""
        return f"with {option}{f' {value}' if isinstance(value, str) else ''}{words}"

    return reason


def no_resume(values: Values) -> str:
    """Give the reason for options that say what is kept of earlier runs."""
    return "" if values.get("--resume", True) else "with --no_resume, which makes all volumes anew"


def no_ctf(values: Values) -> str:
    """Give the reason for options on a CTF that is not corrected."""
    return "with --noctf" if values.get("--noctf") or values.get("--ctf") is False else ""


def one_ctf(values: Values) -> str:
    """Give the reason for the hand of the defocus where all depths have one CTF."""
    named = _profile_of(values)
    mode, depth = (values.get(f"--{name}") or getattr(named, name, None) for name in ("ctf_mode", "ctf_depth"))
    if reason := no_ctf(values):
        return reason
    for option, value, void in (
        ("--ctf_mode", mode, mode not in (None, "wiener", "multiply")),
        ("--ctf_depth", depth, depth == "off"),
    ):
        if void:
            return f"with {option} {value}" if values.get(option) else f"with --profile {values['--profile']}"
    return ""


def no_snr(values: Values) -> str:
    """Give the reason for a signal-to-noise ratio where no weighting takes one, or each has its own."""
    from fourierrecon.weighting import from_text

    if values.get("--no_weight") or values.get("--pre_weight") or "--weighting" not in values:
        return ""  # no_weight has a row of its own
    named, texts = _profile_of(values), values["--weighting"]
    texts = texts or ([named.weighting] if named else [])
    if not texts or any(hasattr(from_text(text), "snr") and "snr=" not in text for text in texts):
        return ""
    own = any("snr=" in text for text in texts)
    source = f"--weighting {', '.join(texts)}" if values["--weighting"] else f"--profile {values['--profile']}"
    return f"with {source}, which has its own" if own else f"with {source}, which takes none"


def one_file(values: Values) -> str:
    """Give the reason for options of sets where one file is written."""
    from fourierrecon.tomogram.output_paths import is_folder

    output = values.get("--o")
    return "" if output is None or is_folder(output) else f"with --o {output}, which is one file"


def a_set(values: Values) -> str:
    """Give the reason for a picture of one tomogram where a set is made."""
    if values.get("--o") is None or one_file(values):
        return ""
    return f"with --o {values['--o']}: a set has thumbnails (fourierrecon preview draws sheets)"


def other_ending(values: Values) -> str:
    """Give the reason for a format where the name of the one file says another."""
    from fourierrecon.io.volumes.formats import is_zarr

    if "--t" not in values or not (reason := one_file(values)):
        return ""
    fits = (values["--format"] == "zarr") == is_zarr(values["--o"])
    return "" if fits else f"{reason}: the name of a file gives its format (--o NAME.zarr)"


def a_volume(values: Values) -> str:
    """Give the reason for options on tilt series where a volume is shown."""
    from fourierrecon.cli.view import TILT_SERIES

    if "--tn" not in values:
        return ""  # convert takes nothing but volumes
    path = values.get("source") or values.get("volume")
    if not isinstance(path, Path) or path.suffix.lower() in TILT_SERIES or (path.is_dir() and path.suffix != ".zarr"):
        return ""
    return "" if values.get("--points") else f"with {path}, which is a volume"


def _profile_of(values: Values) -> Any:
    from fourierrecon.tomogram.profiles import find

    return find(values["--profile"]) if values.get("--profile") else None


_SET = "reconstruct --t a.star --o all/"
_ONE = "reconstruct --t a.star --o a.mrc"
#: All of them. Options that contradict each other by their values are refused where the values are read.
NEEDS = (
    Need(("--i",), beside("--t", words=", which goes first"), f"{_ONE} *", harmless=True),
    Need(("--centre_proj", "--thickness_proj"), without("--do_proj"), f"{_SET} *", harmless=True),
    Need(("--SNR",), beside("--no_weight"), f"{_ONE} --no_weight *", harmless=True),
    Need(("--SNR",), no_snr, f"{_ONE} --weighting sirtlike *"),
    Need(("--SNR",), beside("--kind", "relion", "relion-stacks", "warp", "warp-stacks"),
         "extract --t a.star --picks p.star --box 32 --o p/ --kind relion *"),
    Need(("--defocus_hand",), one_ctf, f"{_ONE} --noctf *"),
    Need(("--local_residual",), beside("--local", False, words=" off"), f"{_ONE} --local off *"),
    Need(("--deconvolve_strength", "--deconvolve_falloff"), without("--deconvolve"), f"{_ONE} *"),
    Need(("--generate_split_tomograms",), beside("--halves", "tilts"),
         f"{_SET} --halves tilts *"),
    Need(("--redo", "--only_do_unfinished"), no_resume, f"{_SET} --no_resume *"),
    Need(("--only_do_unfinished",), one_file, f"{_ONE} *", harmless=True),
    Need(("--preview",), a_set, f"{_SET} *"),
    Need(("--format",), other_ending, f"{_ONE} *"),
    Need(("--workers",), without("--cluster"), f"{_SET} *"),
    Need(("--tls_ca", "--tls_cert", "--tls_key"),
         lambda values: "" if (values.get("--scheduler") or "").startswith("tls://") else "without --scheduler tls://",
         f"{_SET} --scheduler tcp://host:1 *"),
    Need(("--ctf_depth",), lambda values: no_ctf(values) if isinstance(values["--ctf_depth"], bool) else "",
         "simulate out --noctf *"),
    Need(("--from", "--diameter"), lambda values: without("--points")(values) if "--points" in values else "",
         "view a.mrc *"),
    Need(("--tn", "--stack", "--mdoc", "--angpix", "--voltage", "--Cs", "--Q0"), a_volume, "info a.mrc *"),
    Need(("--rotations_only",), beside("--as", "relion4", words=", which holds all of an alignment"),
         "import a.xf --o new --as relion4 *"),
)  # fmt: skip


def check_needs(given: Sequence[str], values: Values) -> Iterator[str]:
    """Go through the table for a command line.

    Parameters
    ----------
    given
        First spellings of the options that the user gave.
    values
        Of all options of the command.

    Yields
    ------
    warning
        For each option that does nothing and does no harm.

    Raises
    ------
    UsageError
        For one that does nothing otherwise.
    """
    for need in NEEDS:
        idle = [option for option in need.options if option in given]
        reason = need.reason(values) if idle else ""
        if not reason:
            continue
        kind, _, other = reason.partition(" ")
        remedy = "leave it out" if kind == "with" else f"give {other}, too, or leave it out"
        text = f"{', '.join(idle)}: does nothing {reason}; {remedy}"
        if not need.harmless:
            raise UsageError(text)
        yield text


def check_repeated(words: Sequence[str], options: Mapping[str, tuple[str, int]]) -> None:
    """Refuse options that are given twice with different values: only the last one would count.

    Parameters
    ----------
    words
        Command line after the command.
    options
        First spelling and number of values of each option, by all of its spellings; both spellings of a switch are one
        option. Those that may be repeated have an empty first spelling.

    Raises
    ------
    UsageError
        If there is one.
    """
    found: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        if word == "--":
            return
        spelling, equals, value = word.partition("=")
        if spelling.startswith("--"):
            spelling = f"--{spelling[2:].replace('-', '_')}"
        name, n_values = options.get(spelling, ("", 0))
        values = [value] if equals else [next(rest, "") for _ in range(n_values)]
        given = [name if n_values else spelling, *values]
        before = found.setdefault(name, given)
        if name and before != given:
            raise UsageError(f"{' '.join(before)} and {' '.join(given)}: an option counts once; give one of them")
