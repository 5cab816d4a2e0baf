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

import matplotlib.pyplot as plt
import numpy as np

from fourierrecon import Region, reconstruct
from fourierrecon.io import read_mrc_volume, read_tilt_series, write_mrc
from fourierrecon.weighting import Wiener

plt.rcParams.update({"figure.dpi": 100, "font.size": 9, "axes.titlesize": 10})
chosen = os.environ.get("FOURIERRECON_SAMPLE")
places = [Path(p) for p in ([chosen] if chosen else ["../../shared/data/mycoplasma", "../mycoplasma", "mycoplasma"])]
sample = next((place / "tomograms.star" for place in places if (place / "tomograms.star").is_file()), None)

# %% [markdown]
# ## The tilt series
#
# A tilt series is a stack of images of one specimen, and what is known of each: the tilt angle, where the tilt axis
# lies, shifts, defocus. All of the geometry is in one 4 x 4 matrix for each image, which takes a point of the
# specimen to its pixel.

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
figure, axes = plt.subplots(1, 5, figsize=(10, 2.4), layout="constrained")
for axis, tilt in zip(axes, picked, strict=True):
    image = np.asarray(series.images[tilt], np.float32)
    black, white = np.percentile(image, (0.5, 99.5))
    axis.imshow(image, cmap="gray", vmin=black, vmax=white, origin="lower", interpolation="antialiased")
    axis.set(title=f"{round(series.tilt_angles[tilt])}°", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The specimen is dark: electrons that it scatters are missing from the image. At high tilt the same things move
# closer together, and the picture is fainter, since the beam's way through the ice is longer.
#
# ## Reconstruct
#
# A `Region` says which voxels are wanted: here all of the tomogram, with a voxel twice as wide as a pixel.
# `reconstruct` does the rest. `Wiener`, the default, divides by what was measured, and by how much the microscope
# weakened it. How far depends on the signal-to-noise ratio, which is measured from the images by spatial frequency.

# %%
region = Region.of(series, binning=2)
volume = reconstruct(series, region, weighting=Wiener())
print(f"{volume.data.shape} voxels (z, y, x) of {volume.voxel_size:g} Å")


# %% tags=["figure"]
def grey(axis, section, title):
    """Show a section, with a scale of greys of its own."""
    black, white = np.percentile(section, (0.3, 99.7))
    axis.imshow(section, cmap="gray", vmin=black, vmax=white, origin="lower", interpolation="lanczos")
    axis.set(title=title, xticks=[], yticks=[])


def scale_bar(axis, section, voxel_size, nm):
    """Draw a bar into the lower left corner of a section."""
    x, y, length = 0.05 * section.shape[1], 0.05 * section.shape[0], nm * 10 / voxel_size
    axis.plot([x, x + length], [y, y], color="white", lw=6, solid_capstyle="butt")
    axis.plot([x, x + length], [y, y], color="black", lw=3, solid_capstyle="butt")
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.75}
    axis.text(x + length / 2, y + 0.025 * section.shape[0], f"{nm} nm", ha="center", fontsize=8, bbox=box)


data, voxel = volume.data, volume.voxel_size
depth, height, width = data.shape
slab = max(1, round(60 / voxel))  # the mean over 6 nm: less noise, and structures are as thick
k, j, i = depth // 2, round(0.48 * height), round(0.5 * width)
xy, xz, yz = (
    data[k - slab // 2 :][:slab].mean(0),
    data[:, j - slab // 2 :][:, :slab].mean(1),
    data[:, :, i - slab // 2 :][:, :, :slab].mean(2).T,
)
scale = 6.2 / width
figure, axes = plt.subplots(
    2, 2, figsize=((width + depth) * scale + 0.4, (height + depth) * scale + 0.6), layout="constrained",
    width_ratios=[width, depth], height_ratios=[height, depth],
)  # fmt: skip
grey(axes[0, 0], xy, "XY: as the images see it at 0°")
grey(axes[0, 1], yz, "YZ")
grey(axes[1, 0], xz, "XZ: across the beam")
axes[0, 0].axhline(j, color="#0072B2", lw=0.8, alpha=0.8)
axes[0, 0].axvline(i, color="#D55E00", lw=0.8, alpha=0.8)
for axis, colour in ((axes[1, 0], "#0072B2"), (axes[0, 1], "#D55E00")):
    axis.spines[:].set(color=colour, lw=1.5)
axes[1, 1].axis("off")
scale_bar(axes[0, 0], xy, voxel, 100 if width * voxel > 4000 else 50)
plt.show()

# %% [markdown]
# The lines say where the other two sections lie. Tops and bottoms of membranes fade out in the sections along the
# beam: the specimen cannot be tilted to 90°, so they were not measured (the *missing wedge*). No method brings them
# back.
#
# ## Slice by slice

# %% tags=["figure"]
levels = np.linspace(0.25, 0.75, 5) * depth
figure, axes = plt.subplots(1, 5, figsize=(10.5, 2.4 * height / width), layout="constrained")
for axis, level in zip(axes, levels.astype(int), strict=True):
    grey(axis, data[level - slab // 2 :][:slab].mean(0), f"z = {round((level - depth // 2) * voxel / 10)} nm")
plt.show()

# %% [markdown]
# ## A closer look
#
# Another region, another binning: only what is asked for is reconstructed. Lengths are in unbinned pixels, whatever
# the binning. Finer voxels hold finer detail, and the noise there, as far as the filter lets it through.
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
coarse_section = data[k - slab // 2 :][:slab, j : j + n, i : i + n].mean(0)
fine_slab = max(1, round(60 / fine.voxel_size))
fine_section = fine.data[deep // 2 - fine_slab // 2 :][:fine_slab].mean(0)
figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.9), layout="constrained")
grey(axes[0], coarse_section, f"cut out of the whole, voxels of {voxel:g} Å")
grey(axes[1], fine_section, f"reconstructed with voxels of {fine.voxel_size:g} Å")
scale_bar(axes[1], fine_section, fine.voxel_size, 50 if sample else 20)
plt.show()

# %% [markdown]
# ## Into a file
#
# MRC, as every program of the field reads it; the header holds the voxel size and where voxel 0 lies in the specimen.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "tomogram.mrc"
    write_mrc(path, volume)
    again = read_mrc_volume(path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, voxels of {again.voxel_size:g} Å, origin {again.origin} Å")

# %% [markdown]
# The same from the command line: `fourierrecon reconstruct --t tomograms.star --bin 2 --o tomogram.mrc`.
# What the weighting does: [Weightings compared](weightings.ipynb). Why any of this works: [The slice
# theorem](slice_theorem.ipynb).

# %% [markdown]
# ## Exercise
#
# Reconstruct the same region with `binning=4` and with `weighting="none"`, and put the central sections side by side.
# Then take every second image only, `series.select(range(0, series.n_tilts, 2))`: what is lost, and where in the
# section do the streaks run? (Along the beams of the images that are left.)
