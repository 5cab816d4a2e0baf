"""The tables of `benchmarks/quality.py`: by purpose, over all phantoms, and of each scene and level of noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MEASURES = {
    "fsc_0.5": "FSC 0.5, Å",
    "fsc_0.143": "FSC 0.143, Å",
    "correlation": "correlation",
    "match": "match",
    "match_white": "match, whitened",
    "match_modelled": "match, times transfer",
    "match_transfer": "match, whitened, times transfer",
    "contrast": "contrast",
    "membranes": "membranes",
    "halves": "halves 0.143, Å",
    "seconds": "time, s",
}
#: Measures of which less is better.
LESS = {"fsc_0.5", "fsc_0.143", "halves", "seconds"}
#: Scenes of the short table, by how their names begin; any that begins otherwise is thin.
SPECIMENS = {"thin": "", "thick": "300 nm thick", "real cell": "real cell"}
#: How the names of methods begin that go over the data many times, and take that much longer.
ITERATIONS = ("cg ", "sirt ", "tv ", "ASTRA SIRT", "ASTRA CGLS")
#: What a tomogram is for, and the measure that tells.
PURPOSES = {
    "to look at: contrast of ribosomes": "contrast",
    "to segment: contrast of membranes": "membranes",
    "densities: correlation with the truth": "correlation",
    "fine detail: FSC 0.143, Å": "fsc_0.143",
    "template matching, volume as it is: peak": "match",
    "template matching, whitened: peak": "match_white",
    "template matching, template times transfer: peak": "match_modelled",
    "template matching, whitened, template times transfer: peak": "match_transfer",
}
#: Methods of the short table.
SHORT = ("wiener (default)", "wiener, SNR 10", "wiener, CTF multiply", "exact, CTF phase-flip", "pre-weight")


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Write a table for each phantom and level of noise; the best of each measure in bold."""
    lines: list[str] = []
    for scene, snr in dict.fromkeys((row["scene"], row["snr"]) for row in rows):
        part = [row for row in rows if (row["scene"], row["snr"]) == (scene, snr)]
        measures = [name for name in MEASURES if name in part[0]]
        best = {m: _best(m, part) for m in measures}
        lines += ["", f"**{scene}" + (f", SNR {snr:g} in the images**" if snr else "**"), ""]
        lines.append("| method | " + " | ".join(MEASURES[m] for m in measures) + " |")
        lines.append("|---" * (len(measures) + 1) + "|")
        for row in part:
            cells = [_cell(m, row.get(m, np.inf), row.get(m) == best[m]) for m in measures]
            lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    return "\n".join(lines).strip() + "\n"


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Write one table of means over all phantoms with truth: of each measure relative to the best of its row."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows:
        if row["snr"] is not None:
            groups.setdefault((row["scene"], row["snr"]), []).append(row)
    measures = [m for m in MEASURES if m != "seconds" and any(m in row for g in groups.values() for row in g)]
    ratios: dict[str, dict[str, list[float]]] = {}
    for part in groups.values():
        for m in measures:
            best = _best(m, part)
            for row in part:
                if m not in row:
                    continue
                ratio = best / row[m] if m in LESS else row[m] / best
                ratios.setdefault(row["method"], {}).setdefault(m, []).append(ratio)
    lines = ["| method | " + " | ".join(MEASURES[m].removesuffix(", Å") for m in measures) + " |"]
    lines.append("|---" * (len(measures) + 1) + "|")
    for name, found in ratios.items():
        lines.append(
            f"| {name} | " + " | ".join(f"{np.nanmean(found[m]):.2f}" if m in found else "–" for m in measures) + " |"
        )
    return "\n".join(lines) + "\n"


def purposes(record: dict[str, Any]) -> str:
    """Write the short table: by purpose and specimen means of some methods, the best in one pass, and by iteration."""
    lines = [f"| for | specimen | {' | '.join(SHORT)} | best in one pass | best iteration |"]
    lines.append("|---" * (len(SHORT) + 4) + "|")
    for purpose, measure in PURPOSES.items():
        for specimen in SPECIMENS:
            found: dict[str, list[float]] = {}
            for row in record["rows"]:
                if _specimen(row["scene"]) == specimen and np.isfinite(row.get(measure, np.nan)):
                    found.setdefault(row["method"], []).append(row[measure])
            if not found:
                continue
            # not those that were run at one level of noise alone, nor volumes of other voxel sizes
            most = max(len(values) for values in found.values())
            means = {
                method: float(np.mean(values))
                for method, values in found.items()
                if len(values) == most and "voxels of" not in method
            }
            least, bests = measure in LESS, []
            for iterates in (False, True):
                some = {method: mean for method, mean in means.items() if method.startswith(ITERATIONS) == iterates}
                first = (min if least else max)(some, key=lambda method: some[method], default="")
                bests.append(f"{_cell(measure, some[first], False)}: {first}" if first else "–")
            texts = [_cell(measure, means.get(method, np.nan), False) for method in SHORT]
            cells = [f"**{text}**" if text == bests[0].partition(":")[0] else text for text in texts]
            lines.append(f"| {purpose} | {specimen} | {' | '.join([*cells, *bests])} |")
    return "\n".join(lines) + "\n"


def _specimen(scene: str) -> str:
    return next((name for name, start in SPECIMENS.items() if start and scene.startswith(start)), "thin")


def _best(measure: str, part: Sequence[dict[str, Any]]) -> float:
    values = [row[measure] for row in part if np.isfinite(row.get(measure, np.nan))] or [np.nan]
    return float(min(values) if measure in LESS else max(values))


def report(record: dict[str, Any]) -> str:
    """Write all tables of a record."""
    left_out = "".join(f"- {name}: left out, {reason}.\n" for name, reason in record["left_out"].items())
    names = "".join(f"- `{name}`: {method}.\n" for method, found in record["profiles"].items() for name in found)
    about = f"Phantoms {record['side']} voxels wide, {', '.join(f'{k} {v}' for k, v in record['machine'].items())}"
    parts = [
        f"{about}, {record['date']}.", summary(record["rows"]),
        "Profiles that are one of these; the others have rows of their own:", names, tables(record["rows"]), left_out,
    ]  # fmt: skip
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def _cell(measure: str, value: float, best: bool) -> str:
    digits = {"correlation": 3, "match": 1, "contrast": 2, "membranes": 2, "seconds": 2}.get(measure, 1)
    text = f"{value:.{digits}f}" if np.isfinite(value) else "–"
    return f"**{text}**" if best else text
