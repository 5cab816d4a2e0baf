"""Hash the voxels of 13 reconstructions, to see whether a change of the code changes results.

Run it before and after the change: ``python benchmarks/same_volumes.py --out before.json``, then
``python benchmarks/same_volumes.py --against before.json``. It uses the command line alone, so that modules may move.
Hashes hold for one machine: other vector units round differently.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import mrcfile

#: Options of each case, after ``reconstruct --t SET --o OUTPUT``; SNR and CTF are named, so that defaults may change.
CASES = {
    "wiener": ["--SNR", "10", "--bin", "2"],
    "wiener, bin 1": ["--SNR", "100", "--bin", "1"],
    "wiener, bin 3.3": ["--SNR", "10", "--bin", "3.3"],
    "wiener, no CTF": ["--SNR", "10", "--bin", "2", "--noctf"],
    "pre-weight": ["--pre_weight", "--SNR", "10", "--bin", "2"],
    "pre-weight, bin 1": ["--pre_weight", "--SNR", "10", "--bin", "1"],
    "none": ["--no_weight", "--bin", "2"],
    "none, means kept, no CTF": ["--no_weight", "--noctf", "--keep_mean", "--bin", "1"],
    "taper": ["--SNR", "10", "--bin", "2", "--td", "2", "--tf", "4"],
    "sub-region": ["--SNR", "10", "--bin", "1", "--x0", "20", "--w", "61", "--h", "50", "--d", "33"],
    "little memory": ["--SNR", "10", "--bin", "1", "--w", "240", "--h", "256", "--d", "128", "--memory", "400MB"],
    "halves and two binnings": ["--SNR", "10", "--bin", "2", "--bin", "4", "--halves", "tilts"],
    "zarr": ["--SNR", "10", "--bin", "2"],
}


def voxels_of(path: Path) -> bytes:
    """Give the voxels of a volume, without header, labels and compression."""
    if path.suffix == ".zarr":
        import zarr

        return bytes(zarr.open_group(str(path), mode="r")["0"][...].tobytes())
    with mrcfile.open(path, permissive=True) as file:
        return bytes(file.data.tobytes())


def run(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "fourierrecon", *words], check=True, stdout=subprocess.DEVNULL)


def hashes(folder: Path) -> dict[str, str]:
    """Reconstruct every case in a folder, and give the hash of its voxels."""
    run("simulate", str(folder / "set"), "--size", "120", "128", "48", "--angpix", "10", "--SNR", "0.5", "--seed", "3")
    found = {}
    for number, (name, options) in enumerate(CASES.items()):
        output = folder / f"{number}{'.zarr' if name == 'zarr' else '/' if 'halves' in name else '.mrc'}"
        target = f"{output}/" if "halves" in name else str(output)
        run("reconstruct", "--t", str(folder / "set/tomograms.star"), "--o", target, *options)
        files = sorted(output.rglob("*.mrc")) if "halves" in name else [output]
        found[name] = hashlib.sha256(b"".join(voxels_of(path) for path in files)).hexdigest()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="write the hashes here (JSON)")
    parser.add_argument("--against", type=Path, help="compare with these")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = hashes(Path(folder))
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=1) + "\n")
    before = json.loads(chosen.against.read_text()) if chosen.against else {}
    for name, value in found.items():
        same = "" if not before else "same" if before.get(name) == value else "DIFFERENT"
        print(f"{name:28} {value[:16]} {same}")
    return int(bool(before) and before != found)


if __name__ == "__main__":
    raise SystemExit(main())
