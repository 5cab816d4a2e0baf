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
# # One specimen, many coordinate frames
#
# Programs of the field turn axes around, exchange them, and count from 0, from 1 or from the middle, in pixels or in
# Å. This notebook takes a specimen that is not its own mirror image, a right-handed helix, through all of them: first
# as points, then as volumes. [Conventions](../docs/conventions.md) has the formulas of each coordinate frame.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fourierrecon import Region, reconstruct
from fourierrecon.geometry.axis_order import LIKE, Orientation
from fourierrecon.geometry.coordinate_frames import COORDINATE_FRAMES, Box, conversion, convert, mirrors
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.simulate import simulate

plt.rcParams.update({"figure.dpi": 100, "font.size": 9, "axes.titlesize": 10})
SIZE, PIXEL = (96, 88, 64), 10.0  # width, height, depth in px; Å
turn = np.linspace(0, 1.9 * np.pi, 90)
helix = np.stack([48 + 26 * np.cos(turn), 44 + 26 * np.sin(turn), 14 + 38 * turn / turn[-1]], axis=1)
start = helix[0]  # a ball marks where it begins, at low z

# %% [markdown]
# ## A point, written down by everybody
#
# The ball lies at voxel (74, 44, 14) of the unbinned tomogram. The table has the same place in each coordinate frame,
# for unbinned volumes and, where a frame counts voxels, for volumes with a binning of 4.

# %%
box = Box(SIZE, PIXEL)
rows = {}
for name, frame in COORDINATE_FRAMES.items():
    at_1 = convert(start[None], conversion("relion5-px", name, box))[0]
    at_4 = convert(start[None], conversion("relion5-px", name, box, target_binning=4.0))[0] if frame.binned else None
    rows[name] = {
        "unit": frame.unit,
        "unbinned": "  ".join(f"{c:g}" for c in at_1.round(2)),
        "binning 4": "" if at_4 is None else "  ".join(f"{c:g}" for c in at_4.round(2)),
        "mirrored": "yes" if mirrors(conversion("relion5-px", name, box)) else "",
    }
pd.DataFrame(rows).T

# %% [markdown]
# *Mirrored* means that one axis was turned around, or two were exchanged: the numbers, drawn in the same axes, then
# show a left hand in place of a right one. Here the first coordinate points to the right, the second into the depth
# and the third upwards, and the helix climbs like a screw (blue) or like its mirror image (orange):

# %% tags=["figure"]
shown = ["volume", "imod-tilt", "aretomo", "warp"]
figure = plt.figure(figsize=(10.2, 3.0))
for number, name in enumerate(shown):
    matrix = conversion("relion5-px", name, box)
    points = convert(helix, matrix)
    axis = figure.add_subplot(1, len(shown), number + 1, projection="3d", box_aspect=(1, 1, 1))
    colour = "#D55E00" if mirrors(matrix) else "#0072B2"
    axis.plot(*points.T, color=colour, lw=3)
    axis.scatter(*points[0], color="black", s=40, depthshade=False)
    centre, reach = (points.max(0) + points.min(0)) / 2, np.ptp(points, axis=0).max() / 2 + 4
    axis.plot(points[:, 0], points[:, 1], centre[2] - reach, color="0.8", lw=2)  # its shadow on the floor
    axis.set(xticklabels=[], yticklabels=[], zticklabels=[], title=name)
    for limits, c in zip((axis.set_xlim, axis.set_ylim, axis.set_zlim), centre, strict=True):
        limits(c - reach, c + reach)
    axis.view_init(28, -60)
    axis.tick_params(length=0)
figure.subplots_adjust(left=0, right=1, bottom=0, top=0.88, wspace=0.02)
plt.show()

# %% [markdown]
# ## Volumes
#
# Now the helix is made of matter, with a bar along x at its upper end. It is projected, reconstructed, and stored with
# the axes of each program, as `--like` does. The pictures show the array of the file as a viewer does: the fastest
# axis to the right, the next one up, and the slowest one as colour. The circles are the points of the helix,
# **converted by the table above** into that program's frame: they must lie on the matter.

# %%
bar = np.stack([np.linspace(60, 84, 16), np.full(16, 78.0), np.full(16, 50.0)], axis=1)
specimen = Gaussians.join(
    [
        Gaussians(np.concatenate([helix, bar]), np.array(2.0), np.array(1.0)),
        Gaussians(start[None], np.array(4.5), np.array(4.0)),
    ]
)
series = simulate(specimen, SIZE, tilt_axis_angle=0.0, tilt_angles=np.arange(-70.0, 71, 2), snr=None).series
volume = reconstruct(series, Region.of(series), ctf=False).data


def as_stored(volume, orientation):
    """Order the voxels as in a file, the slowest axis first."""
    turned = volume[::-1] if orientation.flip_z else volume
    return turned.transpose(1, 0, 2) if orientation.swap else turned


#: The frame that counts voxels of a program's own volume, and the place of the first one.
COUNTS = {
    "relion": ("volume", 0.0),
    "imod": ("imod-voxel", 1.0),
    "imod-tilt": ("imod-tilt", np.array([0.5, 0.5, 0])),
    "aretomo": ("volume", 0.0),
    "aretomo-flipvol": ("aretomo", 0.0),
    "warp": ("warp", 0.0),
}


def voxels_in(like, points):
    """Give voxels, from 0 and the fastest axis first, of the volume of a program."""
    frame, first = COUNTS[like]
    found = convert(points, conversion("relion5-px", frame, box)) - first
    return found[:, [0, 2, 1]] if like == "aretomo" else found  # no frame of its own: as -FlipVol 0 stores it


# %% tags=["figure"]
def depth_colours(data):
    """Colour every pixel by the slab in which matter is strongest, as bright as it is."""
    dense = -data
    strength = np.clip((dense - np.percentile(dense, 90)) / np.percentile(dense, 99.7) - 0.15, 0, 1)
    depth = np.argmax(strength, axis=0) / (len(data) - 1)
    return np.clip(plt.get_cmap("turbo")(0.08 + 0.84 * depth)[..., :3] * np.sqrt(strength.max(0))[..., None], 0, 1)


figure, axes = plt.subplots(2, 3, figsize=(9.4, 5.6), layout="constrained")
order = ["relion", "imod", "imod-tilt", "warp", "aretomo-flipvol", "aretomo"]
for axis, like in zip(axes.flat, order, strict=True):
    orientation = Orientation.like(like, series)
    points = voxels_in(like, helix[::6])
    axis.imshow(depth_colours(as_stored(volume, orientation)), origin="lower", interpolation="bilinear")
    axis.plot(points[:, 0], points[:, 1], "o", mfc="none", mec="white", ms=6, mew=0.9)
    fast, middle, slow = orientation.axes
    axis.set(title=f"--like {like}", xlabel=f"{fast} (fastest)", ylabel=middle, xticks=[], yticks=[])
    axis.text(0.98, 0.03, f"colour: {slow}", transform=axis.transAxes, ha="right", color="w")
plt.show()

# %% [markdown]
# They do. The numbers say the same: each is the mean density at the points of the helix, at the nearest voxels of the
# stored array, over the value that 99 % of the voxels stay below. Points in a wrong frame give next to nothing, as the
# last line shows.

# %%
for like in LIKE:
    stored = -as_stored(volume, Orientation.like(like, series))
    i, j, k = np.rint(voxels_in(like, helix)).astype(int).T
    print(f"{like:16} {stored[k, j, i].mean() / np.percentile(stored, 99):.2f}")
i, j, k = np.rint(helix).astype(int).T
print(f"{'wrong frame':16} {stored[k, j, i].mean() / np.percentile(stored, 99):.2f}")

# %% [markdown]
# ## The hand that nobody can see
#
# Axes are bookkeeping: the specimen stays as it is. A wrong *sign of the tilt angles* is another matter. Then the very
# same images give the mirror image, just as sharp. Only a structure of known hand in the specimen shows it;
# `--flip_hand` sets it right.

# %%
flipped = AlignmentCorrections(flip_hand=True).apply(series)
mirrored = reconstruct(flipped, Region.of(flipped), ctf=False).data

# %% tags=["figure"]
figure, axes = plt.subplots(1, 3, figsize=(9.4, 2.9), layout="constrained")
axes[0].imshow(np.asarray(series.images[35]), cmap="gray", origin="lower")
axes[0].set_title("the image at 0°, in both cases")
axes[1].imshow(depth_colours(volume), origin="lower", interpolation="bilinear")
axes[1].set_title("tilt angles as they were")
axes[2].imshow(depth_colours(mirrored), origin="lower", interpolation="bilinear")
axes[2].set_title("with the other sign")
for axis in axes:
    axis.set(xticks=[], yticks=[])
colours = figure.colorbar(plt.cm.ScalarMappable(cmap="turbo"), ax=axes, ticks=[0, 1], label="z")
colours.ax.set_yticklabels(["first", "last"])
plt.show()

# %% [markdown]
# On the command line, `fourierrecon convert-coords` converts points, `reconstruct --like PROGRAM` writes volumes with
# the axes of a program, and `reconstruct --passport` writes a file that holds all of these matrices.

# %% [markdown]
# ## Exercise
#
# Convert the end of the helix, `helix[-1]`, into the frame `relion5`, and take it back with
# `conversion("relion5", "relion5-px", box)`. Then do the same by way of `imod-tilt`: which axis has changed its
# direction on the way? (z does, as that frame counts from the other side; the way back turns it again.)
