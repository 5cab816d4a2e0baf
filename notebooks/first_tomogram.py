# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first tomogram
#
# From tilted images to a volume, in a few lines: on a real cell where its tilt series is at hand (*Mycoplasma
# pneumoniae*, EMPIAR-10499), on a simulated one otherwise. `fourierrecon sample mycoplasma` fetches the real one.

# %%
import os
import tempfile
from pathlib import Path

import numpy as np

from fourierrecon import Region, reconstruct
from fourierrecon.display.notebook import show_images, show_sections
from fourierrecon.io import read_mrc_volume, read_tilt_series, write_mrc
from fourierrecon.weighting import Wiener

chosen = os.environ.get("FOURIERRECON_SAMPLE")
places = [Path(p) for p in ([chosen] if chosen else ["../../shared/data/mycoplasma", "../mycoplasma", "mycoplasma"])]
sample = next((place / "tomograms.star" for place in places if (place / "tomograms.star").is_file()), None)

# %% [markdown]
# ## The tilt series
#
# A tilt series is a stack of images of one specimen, together with what is known of each image: its tilt angle, the
# place of the tilt axis, its shift and its defocus. One 4 x 4 matrix for each image holds all of the geometry: it
# takes a point of the specimen to its pixel.

# %%
if sample is not None:
    series = read_tilt_series(sample)
else:
    from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
    from fourierrecon.simulation.phantom import cell_like_specimen
    from fourierrecon.simulation.simulate import simulate

    size = (200, 208, 80)
    optics = realistic_ctf(len(TILT_ANGLES), seed=7, defocus=40000.0)
    series = simulate(cell_like_specimen(size), size, ctf=optics, snr=0.5, seed=7).series

print(f"{series.name}: {series.n_tilts} images of {series.image_shape[1]} x {series.image_shape[0]} px")
print(
    f"tilts {series.tilt_angles.min():.0f} to {series.tilt_angles.max():.0f} degrees, pixels of {series.pixel_size:g} Å"
)

# %% tags=["figure"]
picked = [np.argmin(np.abs(series.tilt_angles - angle)) for angle in (-50, -25, 0, 25, 50)]
show_images({f"{round(series.tilt_angles[tilt])}°": series.images[tilt] for tilt in picked})

# %% [markdown]
# The specimen is dark, because electrons that it scatters are missing from the image. At a high tilt the same
# structures lie closer together. They are fainter, since the beam takes a longer way through the ice.
#
# ## Reconstruct
#
# A `Region` names the voxels that are wanted: here all of the tomogram, with voxels twice as wide as a pixel.
# `reconstruct` does the rest. `Wiener`, the default weighting, makes up for the uneven sampling of Fourier space and
# for the microscope's transfer function. How far it goes depends on the signal-to-noise ratio, which is measured from
# the images at each spatial frequency.

# %%
region = Region.of(series, binning=2)
volume = reconstruct(series, region, weighting=Wiener())
print(f"{volume.data.shape} voxels (z, y, x) of {volume.voxel_size:g} Å")

# %% tags=["figure"]
show_sections(volume, thick="6nm", at=(0.5, 0.48, 0.5))

# %% [markdown]
# The lines show where the other two sections lie. Tops and bottoms of membranes fade out in the sections along the
# beam: the specimen cannot be tilted to 90°, so they were not measured (the *missing wedge*). No reconstruction brings
# them back.
#
# ## Slice by slice

# %% tags=["figure"]
depth, voxel = len(volume.data), volume.voxel_size
slab = max(1, round(60 / voxel))  # the mean over 6 nm: less noise, and structures are as thick
levels = np.linspace(0.25, 0.75, 5) * depth
walk = {f"z = {round((z - depth // 2) * voxel / 10)} nm": volume.data[int(z) - slab // 2 :][:slab] for z in levels}
show_images({title: sections.mean(0) for title, sections in walk.items()})

# %% [markdown]
# ## A closer look
#
# Only the region that is asked for is reconstructed, at any binning. Its lengths are unbinned pixels. Smaller voxels
# hold finer detail, and as much of the noise there as the filter lets through.
# (`taper_falloff` fades the images out towards their borders.)

# %%
side, deep = int(0.4 * min(series.size[:2])), int(series.size[2])
where = np.array([0.3, 0.3, 0.27] if sample else [0.5, 0.5, 0.5])
x, y, z = (float(c) for c in np.array(region.origin) + where * series.size - np.array([side, side, deep]) / 2)
part = Region((x, y, z), (deep, side, side), 1.0)
fine = reconstruct(series, part, weighting=Wiener(), taper_falloff=16)

# %% tags=["figure"]
i, j, k = np.rint((np.array(part.origin) - region.origin + [0, 0, deep / 2]) / region.binning).astype(int)
n = round(side / region.binning)
cut_out = volume.data[k - slab // 2 :][:slab, j : j + n, i : i + n].mean(0)
thin = max(1, round(60 / fine.voxel_size))
section = fine.data[deep // 2 - thin // 2 :][:thin].mean(0)
titles = f"cut out of the whole, voxels of {voxel:g} Å", f"reconstructed with voxels of {fine.voxel_size:g} Å"
show_images(dict(zip(titles, (cut_out, section), strict=True)), voxel_size=voxel, width=7.6)

# %% [markdown]
# ## Into a file
#
# Every program of the field reads MRC files. The header holds the voxel size and the place of voxel 0 in the
# specimen.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "tomogram.mrc"
    write_mrc(path, volume)
    again = read_mrc_volume(path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, voxels of {again.voxel_size:g} Å, origin {again.origin} Å")

# %% [markdown]
# The same from the command line: `fourierrecon reconstruct --t tomograms.star --bin 2 --o tomogram.mrc`.
# [Weightings compared](weightings.ipynb) shows what the weighting does, and [The slice theorem](slice_theorem.ipynb)
# why reconstruction in Fourier space works.

# %% [markdown]
# ## Exercise
#
# Reconstruct the tomogram with `binning=4`, and once more with `weighting="none"`, and put the two side by side with
# `show_sections`. Then take only every second image, `series.select(range(0, series.n_tilts, 2))`. What is lost, and
# which way do the streaks run? (They run along the beams of the images that are left.)
