"""Draws images.png: a section of the real cell with planted hot pixels, without them, and without its gold beads.

Run in the folder that holds ``mycoplasma/``, which ``fourierrecon sample mycoplasma`` writes:
``python PATH/docs/images_figure.py``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from fourierrecon import read_tilt_series, reconstruct

SERIES = Path("mycoplasma/tomograms.star")
#: The section that cuts two beads, and the half of it that is shown.
SECTION, SHOWN = 16, (slice(70, 158), slice(0, 110))


def main() -> None:
    """Reconstruct three times, and draw an image and a section of each."""
    series = read_tilt_series(SERIES)
    rng = np.random.default_rng(0)
    spoilt = np.stack([np.array(series.images[tilt], np.float32) for tilt in range(series.n_tilts)])
    hot = rng.choice(spoilt.size, spoilt.size // 5000, replace=False)
    spoilt.reshape(-1)[hot] += spoilt.std() * np.resize((20, 100), len(hot))
    spoilt_series = replace(series, images=spoilt)
    volumes = {
        "hot pixels kept": reconstruct(spoilt_series, binning=4, hot_pixels=False),
        "replaced (default)": reconstruct(spoilt_series, binning=4),
        "and beads erased": reconstruct(spoilt_series, binning=4, erase_beads=10.0),
    }
    figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    section = volumes["and beads erased"].data[SECTION][SHOWN]
    limits = np.percentile(section, (0.3, 99.7)) * 1.3
    for axis, (title, volume) in zip(axes, volumes.items(), strict=True):
        axis.imshow(volume.data[SECTION][SHOWN], cmap="gray", vmin=limits[0], vmax=limits[1])
        axis.set(title=title, xticks=[], yticks=[])
    picture = Path(__file__).with_name("images.png")
    figure.savefig(picture, dpi=80)
    Image.open(picture).convert("L").quantize(64).save(picture, optimize=True)


if __name__ == "__main__":
    main()
