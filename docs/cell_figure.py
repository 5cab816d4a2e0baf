"""Draws cell.png, the picture of the README: central sections of the real cell, as its command makes them.

Run in the folder that holds ``mycoplasma/``, which ``fourierrecon sample mycoplasma`` writes:
``python PATH/docs/cell_figure.py``. The picture is the one of ``reconstruct --preview``, smaller and in grey values.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

SERIES = Path("mycoplasma/tomograms.star")
WIDTH = 800


def main() -> None:
    """Reconstruct with the options of the README, and shrink the preview."""
    with tempfile.TemporaryDirectory() as folder:
        volume = Path(folder) / "cell.mrc"
        command = ["reconstruct", "--t", str(SERIES), "--preview", "--o", str(volume)]
        subprocess.run([sys.executable, "-m", "fourierrecon", *command], check=True)
        picture = Image.open(volume.with_suffix(".png")).convert("L")
    height = round(picture.height * WIDTH / picture.width)
    small = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    small.quantize(64).save(Path(__file__).with_name("cell.png"), optimize=True)


if __name__ == "__main__":
    main()
