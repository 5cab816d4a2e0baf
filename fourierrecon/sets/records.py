"""Records of what became of the tomograms of a set, in files in the folder of the products.

Each run writes one file, whole: ``outcomes.json``, or for a part of a set ``outcomes-I-of-N.json``, as parts may run
side by side.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourierrecon.errors import DataError
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.images import Repairs
from fourierrecon.io import Supplement
from fourierrecon.io.files import replacing
from fourierrecon.io.json_text import brief, fits, read_object
from fourierrecon.sets.asked import asked_of
from fourierrecon.sets.fits import plain
from fourierrecon.tomogram.fitting import Fit
from fourierrecon.tomogram.tilt_choice import TiltChoice

if TYPE_CHECKING:
    from fourierrecon.sets.outcomes import Outcome
    from fourierrecon.sets.recipe import Recipe

FORMAT = "fourierrecon outcomes 1"
#: Of which kind the facts of a tomogram are (see :func:`fourierrecon.io.json_text.fits`).
FIELDS: dict[str, object] = {
    **dict.fromkeys(("status", "finished", "error", "source", "halves"), str),
    **dict.fromkeys(("seconds", "binning"), float),
    "notes": [str],
    "volumes": {...: str},
    "extras": {...: (str, float)},
    "offsets": {...: (bool, float)},
    "origin": [(float, None)] * 3,
    "size": [(float, "auto", None)] * 3,
    "like": (str, None),
    "skip_bad_images": bool,
    "tilts": {"exclude": [float], "max_tilt": (float, None)},
    "fit": dict,
    "how": {...: str},
    "options": {...: str},
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a run on a set wrote about one tomogram.

    Parameters
    ----------
    name
        Name of the tomogram.
    status
        ``failed``, ``there`` or ``done``.
    finished
        Time when it was finished, ISO 8601.
    seconds
        Time that the reconstruction took.
    error, notes
        What went wrong, and warnings.
    volumes
        Files by part, a key of :data:`fourierrecon.sets.file_names.PARTS`; of several weightings and binnings those
        of the first.
    source, extras, corrections
        Source of the tilt series, as for :class:`fourierrecon.sets.recipe.Recipe`.
    binning, origin, size
        Region, as for :meth:`fourierrecon.geometry.region.Region.of`; the binning is 0 where the tomogram failed.
    like
        Orientation of the volumes.
    halves
        Kind of the half volumes, ``tilts`` or ``frames``; empty if there are none.
    skipped
        Whether images that are blank or not finite were left out.
    tilts, fit
        Images that were left out on request, and how the tomogram was fitted to its specimen.
    how
        Other facts for people, by label.
    options
        What was asked for, from :func:`fourierrecon.sets.asked.asked_of`; empty in records of before.
    """

    name: str
    status: str
    finished: str
    seconds: float
    source: Path
    error: str = ""
    notes: tuple[str, ...] = ()
    volumes: Mapping[str, Path] = field(default_factory=dict)
    extras: Supplement = field(default_factory=Supplement)
    corrections: AlignmentCorrections = field(default_factory=AlignmentCorrections)
    binning: float = 0.0
    origin: tuple[float | None, float | None, float | None] = (None, None, None)
    size: tuple[Any, Any, Any] = (None, None, None)
    like: str | None = None
    halves: str = ""
    skipped: bool = False
    tilts: TiltChoice = field(default_factory=TiltChoice)
    fit: Fit = field(default_factory=Fit)
    repairs: Repairs | None = None
    how: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


def outcomes_path(folder: Path, part: str | None = None) -> Path:
    """Give the file that keeps what became of the tomograms of a set, or of a part of it.

    Parameters
    ----------
    folder
        Folder of the products.
    part
        ``i/n``; None: the whole set.
    """
    return folder / ("outcomes.json" if part is None else f"outcomes-{part.replace('/', '-of-')}.json")


def keep_outcomes(recipe: Recipe, outcomes: Iterable[Outcome], part: str | None = None) -> Path:
    """Write records of what became of tomograms; records of other tomograms by earlier runs stay.

    Parameters
    ----------
    recipe
        What was to be made.
    outcomes
        What became of it.
    part
        ``i/n``, the part of the set that the outcomes are of; None: the whole.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    path = outcomes_path(recipe.folder, part)
    found = _read(path) if path.exists() else {}
    for outcome in outcomes:
        if outcome.stale:
            continue  # the files are of an earlier run, and so is its record
        entry = _entry(recipe, outcome)
        before = found.get(outcome.name, {})
        if outcome.status == "there" and before.get("volumes") == entry["volumes"]:
            # nothing was made now: time, warnings and SNR are those of the run that made the volumes
            entry |= {key: before[key] for key in ("seconds", "finished") if key in before}
            entry["how"] |= {key: before["how"][key] for key in ("SNR", "images") if key in before.get("how", {})}
            entry["notes"] = list(dict.fromkeys([*before.get("notes", []), *entry["notes"]]))
        found[outcome.name] = entry
    with replacing(path) as file:
        file.write(json.dumps({"format": FORMAT, "tomograms": found}, indent=1, default=str).encode())
    return path


def read_outcomes(folder: Path) -> dict[str, Record]:
    """Read the records of the tomograms in a folder, by name; of several runs the last one counts.

    Parameters
    ----------
    folder
        Folder that a set was reconstructed into.

    Raises
    ------
    DataError
        If a file there is no such list.
    """
    records: dict[str, Record] = {}
    for path in sorted(folder.glob("outcomes*.json")):
        for name, entry in _read(path).items():
            try:
                record = _record(folder, name, entry)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{path}, {name}: not whole ({error}); remove the file") from error
            if name not in records or records[name].finished < record.finished:
                records[name] = record
    return records


def _entry(recipe: Recipe, outcome: Outcome) -> dict[str, Any]:
    first = outcome.made[0] if outcome.made else None
    volumes: dict[str, str] = {}
    for product in outcome.made:
        volumes.setdefault(product.part, str(product.path.relative_to(recipe.folder)))
    settings = recipe.settings
    how = {
        "weighting": ", ".join(weighting.words for weighting in recipe.weightings),
        "CTF": ", ".join(
            dict.fromkeys(settings.correction.words(weighting.divides) for weighting in recipe.weightings)
        ),
        "SNR": "; ".join(outcome.snr),
        "images": "; ".join(outcome.images),
        "threads": str(settings.n_threads or "all cores"),
        "corrections": str(recipe.corrections),
        "grey values": recipe.finish.all_words + " (viewing copy)" * recipe.finish.viewing_copy,
        "specimen": first.fit.words if first else "",
        "other volumes": ", ".join(
            product.path.name for product in outcome.made if str(product.path.relative_to(recipe.folder)) not in
            volumes.values()
        ),
    }  # fmt: skip
    return {
        "status": outcome.status,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(outcome.seconds, 3),
        "error": outcome.error,
        "notes": list(outcome.notes),
        "volumes": volumes,
        "source": str(recipe.source.absolute()),
        "extras": {key: value for key, value in asdict(recipe.extras).items() if value is not None},
        "offsets": asdict(recipe.corrections),
        "binning": first.binning if first else 0.0,
        "origin": list(recipe.origin),
        "size": list(recipe.size),
        "like": recipe.like,
        "halves": recipe.halves or "",
        "skip_bad_images": recipe.skip_bad_images,
        "tilts": asdict(recipe.tilts),
        "fit": plain(asdict(first.fit if first else Fit())),
        "repairs": asdict(settings.repairs),
        "how": {label: value for label, value in how.items() if value},
        "options": {name: value for name, value in asked_of(recipe).items() if value},
    }


def _record(folder: Path, name: str, entry: Mapping[str, Any]) -> Record:
    # of runs before there were such options
    entry = {"tilts": {"exclude": [], "max_tilt": None}, "fit": plain(asdict(Fit())), "options": {}, **entry}
    wrong = [field for field, kind in FIELDS.items() if not fits(entry[field], kind)]
    if wrong:
        raise TypeError(f"{wrong[0]} is {brief(entry[wrong[0]])}")
    extras: dict[str, Any] = {
        key: Path(value) if key in ("stack", "mdoc") else float(value) for key, value in entry["extras"].items()
    }
    x, y, z = entry["origin"]
    width, height, depth = entry["size"]
    return Record(
        name=name,
        status=str(entry["status"]),
        finished=str(entry["finished"]),
        seconds=float(entry["seconds"]),
        source=Path(entry["source"]),
        error=str(entry["error"]),
        notes=tuple(map(str, entry["notes"])),
        volumes={part: folder / path for part, path in entry["volumes"].items()},
        extras=Supplement(**extras),
        corrections=AlignmentCorrections(**entry["offsets"]),
        binning=float(entry["binning"]),
        origin=(x, y, z),
        size=(width, height, depth),
        like=entry["like"],
        halves=str(entry["halves"]),
        skipped=bool(entry["skip_bad_images"]),
        tilts=TiltChoice(tuple(int(n) for n in entry["tilts"]["exclude"]), entry["tilts"]["max_tilt"]),
        fit=Fit.from_record(entry["fit"]),
        repairs=Repairs(**entry["repairs"]) if "repairs" in entry else None,
        how={str(label): str(value) for label, value in entry["how"].items()},
        options={str(name): str(value) for name, value in entry["options"].items()},
    )


def _read(path: Path) -> dict[str, Any]:
    found = read_object(path, "not a list of outcomes of fourierrecon; remove it")
    if found.get("format") != FORMAT:
        raise DataError(f"{path}: format is {brief(found.get('format'))}; this version reads {FORMAT!r}; remove it")
    if not isinstance(found.get("tomograms"), dict):
        raise DataError(f"{path}: no tomograms in it; not a list of outcomes of fourierrecon; remove it")
    return dict(found["tomograms"])
