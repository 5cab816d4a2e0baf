"""How long one waits for a virtual tomogram: to open it, and for an XY section where nobody has looked yet.

Images of noise are as good as any: nothing depends on what they show. Memory: about 8 bytes for each pixel of all
images, and the samples.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from fourierrecon import TiltSeries, open_virtual
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.simulation.microscope import realistic_ctf


def noise(side: int, n_tilts: int) -> TiltSeries:
    """Make a series of ``side x side`` px whose tomogram is half as deep, of 2 Å pixels.

    Parameters
    ----------
    side, n_tilts
        Pixels, and number of images.
    """
    images = np.random.default_rng(0).standard_normal((n_tilts, side, side), dtype=np.float32)
    centre, size = (side / 2, side / 2, side / 4), (float(side), float(side), side / 2)
    matrices = projection_matrices((side, side), centre, np.linspace(-60, 60, n_tilts), 3.0)
    return TiltSeries(images, matrices, 2.0, size=size, ctf=realistic_ctf(n_tilts), hand=1, hand_assumed=False)


@contextmanager
def timed(what: str, *, shown: bool) -> Iterator[None]:
    """Print how long something took."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    if shown:
        taken, used = time.perf_counter() - wall, time.process_time() - cpu
        print(f"  {what:16} {taken:6.2f} s, {used:6.2f} s of CPU time", flush=True)


def main() -> None:
    """Open virtual tomograms with one CTF an image, and with the CTF at each depth, and look into them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=2048, help="pixels of the images")
    parser.add_argument("--images", type=int, default=41)
    parser.add_argument("--weighting", default="wiener:snr=10")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default=None)
    parser.add_argument("--ctf_depth", nargs="*", default=["off", "on"])
    chosen = parser.parse_args()
    for side in (128, chosen.side):  # the first run compiles the loops
        series, shown = noise(side, chosen.images), side == chosen.side
        for mode in chosen.ctf_depth:
            options = {"weighting": chosen.weighting, "n_threads": chosen.threads, "ctf_depth": mode}
            if shown:
                print(f"{side} x {side} x {side // 2} voxels, {chosen.weighting}, ctf_depth={mode}")
            with timed("open", shown=shown):
                tomogram = open_virtual(series, memory=chosen.memory, **options)
            for z in (side // 4, side // 8):
                with timed(f"section {z}", shown=shown):
                    tomogram[z]
            tomogram.close()


if __name__ == "__main__":
    main()
