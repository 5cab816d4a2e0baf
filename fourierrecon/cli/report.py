"""The command ``report``, and ``reconstruct --report``: a page on tomograms, and a table of their figures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourierrecon.cli.messages_table import in_options
from fourierrecon.cli.options import Threads, output_option, read_memory, running_option
from fourierrecon.errors import UsageError
from fourierrecon.text import quoted

if TYPE_CHECKING:
    from rich.console import Console

    from fourierrecon.report.findings import Findings
    from fourierrecon.report.subjects import Subject
    from fourierrecon.tomogram.request import Request
    from fourierrecon.tomogram.specimen import Specimen
    from fourierrecon.transfer import Correction

#: Names of the page and of the table of figures, in the folder that a set was reconstructed into.
PAGE, TABLE = "report.html", "metrics.csv"


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="What reconstruct --o FOLDER/ made.", show_default=False)
    ],
    o: Annotated[
        Path | None,
        output_option("FILE", "Page to write (HTML). Default: FOLDER/report.html", "--o", "-o"),
    ] = None,
    j: Threads = None,
    memory: Annotated[
        int | None,
        running_option(
            "SIZE",
            "Most memory to use, as 6GB; where it is short, fewer threads run. Default: 80 % of the free memory",
            "--memory",
            parser=read_memory,
        ),
    ] = None,
) -> None:
    """Report on all tomograms of a folder: one HTML file with pictures and figures, and metrics.csv beside it.

    Each image is compared with the reprojection of its tomogram: which are misaligned, blank, bad or of a wrong angle.
    """
    from fourierrecon.cli.console import screen

    report_folder(screen(), folder, o, n_threads=j, memory=memory)


def check_replaceable(page: Path, *, table: bool = True) -> None:
    """Refuse to replace a page, or a table beside it, that is no report.

    Parameters
    ----------
    page
        HTML file that is to be written.
    table
        Whether ``metrics.csv`` is to be written beside it.

    Raises
    ------
    UsageError
        If there is such a file.
    """
    from fourierrecon.report.metrics import check_table
    from fourierrecon.report.page import check_page

    check_page(page)
    if table:
        check_table(page.with_name(TABLE))


def report_folder(
    console: Console,
    folder: Path,
    page: Path | None = None,
    *,
    n_threads: int | None = None,
    memory: int | None = None,
) -> None:
    """Write the report on a folder that ``reconstruct --o FOLDER/`` made, and say what was found.

    Parameters
    ----------
    console
        Where to say it.
    folder
        With the products.
    page
        HTML file; default: ``report.html`` in the folder. ``metrics.csv`` lies beside it.
    n_threads
        Default: the cores available to the process; fewer where the memory is short.
    memory
        Largest resident memory of the process, bytes. Default: 80 % of what is available.

    Raises
    ------
    UsageError
        If the name of the page is that of another kind of file, or a file that is no report would be replaced.
    DataError
        If there are no tomograms, the page cannot be written, or a tomogram takes more memory.
    """
    from fourierrecon.cli.console import say, size_of
    from fourierrecon.report.assessment import find_out
    from fourierrecon.report.metrics import write_metrics
    from fourierrecon.report.page import write_report
    from fourierrecon.report.subjects import subjects_in
    from fourierrecon.tomogram.output_paths import folders_of

    page = page or folder / PAGE
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--o {page}: a report is an .html file")
    check_replaceable(page)
    started = time.perf_counter()
    subjects = subjects_in(folder)
    found = []
    for subject in subjects:
        findings = _in_options(find_out(subject, n_threads=_threads(subject, n_threads, memory)))
        found.append(findings)
        say(console, "report", describe(findings))
    with folders_of(page):
        write_report(page, f"Tomograms in {folder.resolve().name}", found, _advice(found), wording=in_options)
        table = write_metrics(page.with_name(TABLE), found)
    say(console, "table", str(table))
    say(console, "wrote", f"{page} ({size_of(page)}) after {time.perf_counter() - started:.1f} s")
    say(console, "next", f"open {quoted(str(page))} in a browser{_remedy(found)}")


def _threads(subject: Subject, n_threads: int | None, memory: int | None) -> int:
    """Give the number of threads, up to one asked for, with which a tomogram fits into the memory.

    Raises
    ------
    DataError
        If it does not fit with one.
    """
    from fourierrecon.engine.room import check_room
    from fourierrecon.errors import DataError
    from fourierrecon.report.assessment import report_memory
    from fourierrecon.runtime.threads import available_cores

    threads = n_threads or available_cores()
    if subject.series is None or subject.region is None:
        return threads
    while True:
        try:
            check_room("the report", report_memory(subject.series, subject.region.shape, threads), memory)
        except DataError:
            if threads == 1:
                raise
            threads -= 1
        else:
            return threads


def report_set(console: Console, source: Path, folder: Path, *, n_threads: int | None = None) -> None:
    """Reconstruct a set without binning, with half volumes of even and odd frames, and report on it.

    Parameters
    ----------
    console
        Where to say what goes on.
    source
        RELION set that names the images of both halves.
    folder
        For the products.
    n_threads
        Default: the cores available to the process.

    Raises
    ------
    UsageError, DataError
        If nothing can be done at all.
    """
    from fourierrecon.cli.set_progress import show_set
    from fourierrecon.engine.settings import Settings
    from fourierrecon.sets.recipe import Recipe

    check_replaceable(folder / PAGE)
    recipe = Recipe(
        source=source, folder=folder, binnings=(1.0,), settings=Settings(n_threads=n_threads), halves="frames",
        redo=("inputs", "options", "version"),
    )  # fmt: skip
    show_set(console, recipe)
    report_folder(console, folder, n_threads=n_threads)


def report_one(
    console: Console,
    page: Path,
    path: Path,
    request: Request,
    *,
    correction: Correction,
    like: str | None,
    seconds: float,
    skipped: bool = False,
    notes: Sequence[str] = (),
    repairs: Sequence[str] = (),
    specimen: Specimen | None = None,
    n_threads: int | None = None,
) -> None:
    """Write the report on one tomogram that was just made, and say what was found.

    Parameters
    ----------
    console
        Where to say it.
    page
        HTML file.
    path
        The tomogram.
    request
        What it was made from; its series has all images, those that were left out as well.
    correction, like
        As for ``reconstruct``.
    seconds
        That it took.
    skipped
        Whether images that are blank or not finite were left out.
    notes
        Warnings that were given.
    repairs
        What was repaired in its images, in lines.
    specimen
        The slab that the tomogram was fitted to.
    n_threads
        Default: the cores available to the process.

    Raises
    ------
    DataError
        If the page cannot be written.
    """
    from fourierrecon.cli.console import say, size_of
    from fourierrecon.report.assessment import find_out
    from fourierrecon.report.page import write_report
    from fourierrecon.report.subjects import Subject
    from fourierrecon.transfer import Transfer

    series = request.series
    transfer = Transfer.of(series, correction, divides=request.weighting.divides, region=request.region)
    facts: tuple[tuple[str, str], ...] = (
        ("weighting", request.weighting.words),
        ("CTF", transfer.words),
        *([("CTF by depth", in_options(transfer.depth_words))] if transfer.depth_words else []),
        *(("images", line) for line in repairs),
        ("source", str(request.source.absolute())),
    )
    subject = Subject(
        series.name,
        path,
        series,
        request.region,
        like,
        notes=tuple(notes),
        seconds=seconds,
        facts=facts,
        skipped=skipped,
        specimen=specimen,
    )
    found = _in_options(find_out(subject, n_threads=n_threads))
    say(console, "report", describe(found))
    write_report(page, f"Tomogram {series.name}", [found], _advice([found]), wording=in_options)
    say(console, "page", f"{page} ({size_of(page)}){_remedy([found])}")


def describe(found: Findings) -> str:
    """Say in one line what was found of a tomogram.

    Parameters
    ----------
    found
        Its figures.
    """
    from fourierrecon.report.page import finding_words

    name = found.subject.name
    if found.error:
        return f"{name}: failed: {finding_words(found)}"
    parts = []
    if found.resolution is not None:
        parts.append(f"resolution {found.resolution:.1f} Å")
    if found.correlation is not None:
        parts.append(f"agreement {found.correlation:.2f}")
    elif found.no_agreement:
        parts.append(f"images were not compared with the tomogram ({found.no_agreement})")
    if found.slab is not None and found.slab.found:
        parts.append(f"specimen {found.slab.thickness / 10:.0f} nm thick")
    return f"{name}: {', '.join([*parts, finding_words(found) or 'nothing stands out'])}"


def _in_options(found: Findings) -> Findings:
    """Name options where the library names arguments, in the texts that lines, table and page all show."""
    return replace(found, error=in_options(found.error), notes=tuple(in_options(note) for note in found.notes))


def _remedy(found: Iterable[Findings]) -> str:
    """Say what to do about images that are flagged."""
    flagged = any(each.flagged for each in found)
    return "; look at the images it names, and take bad ones out of the set" if flagged else ""


def _advice(found: Iterable[Findings]) -> str:
    """Say on the page what to do next."""
    flags = {row.flag for each in found for row in each.flagged}
    if {"blank", "not finite", "no CTF"} & flags:
        return (
            "Blank images: reconstruct --skip_bad_images leaves them out. Others: look at them, and take bad ones out "
            "of the set."
        )
    if flags:
        return "Look at the images that are named, take bad ones out of the set, and reconstruct again."
    return ""
