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
# # A weighting of your own
#
# A *weighting* makes up for the uneven sampling of Fourier space. It is a small object that `reconstruct` takes. This
# notebook writes two of them and compares them with those of fourierrecon, on a specimen whose truth is known. No
# package needs to be installed for that; the last section shows how the command line finds them.

# %%
from dataclasses import dataclass
from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np

from fourierrecon import Region, reconstruct
from fourierrecon.display.notebook import show_sections
from fourierrecon.quality.wedge import wedge_correlation, wedge_mask
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate
from fourierrecon.weighting import NoWeighting, TiltViews, Weighting, Wiener, available, from_text, register

plt.rcParams.update({"figure.dpi": 100, "font.size": 9, "axes.titlesize": 10, "legend.frameon": False})
SIZE = (160, 152, 64)
simulation = simulate(cell_like_specimen(SIZE, seed=3), SIZE, snr=1.0, seed=3, tilt_axis_angle=0.0)
series, region = simulation.series, Region.of(simulation.series)
truth = simulation.truth_volume(region).data
measured = wedge_mask(region.shape, series.projections)


# %% [markdown]
# ## First hook: a filter for each image
#
# Weighted back-projection, as most programs have it, is a ramp: each image is multiplied, in Fourier space, by the
# distance from the tilt axis, so that slices count less where they crowd. `views.matrices` describes how all images
# look at the specimen: the frequency `q` of image `f` is the point `q @ matrices[f]` of the specimen's Fourier space.


# %%
@register
@dataclass(frozen=True)
class SoftRamp(Weighting):
    """Filter each image by the distance from the tilt axis, in cycles per voxel, and at least by `floor`."""

    name: ClassVar[str] = "softramp"
    divides_by_count: ClassVar[bool] = True  # a mean over the images that see a voxel, as in `none`

    floor: float = 0.01

    def image_filter(self, tilt, frequency_x, frequency_y, views):
        slices = views.matrices
        normals = np.cross(slices[:, 0], slices[:, 1])
        axis = np.linalg.svd(normals)[2][2]  # the direction that all slices share
        x, y = slices[tilt] - np.outer(slices[tilt] @ axis, axis)  # without the part along the axis
        distance = np.linalg.norm(frequency_x[..., None] * x + frequency_y[..., None] * y, axis=-1)
        return np.maximum(distance, self.floor).astype(np.float32)


# %% [markdown]
# Its effect can be seen before anything is reconstructed. The left panel has the factors for the image at 0°, the next
# one their course along a row, with two values of `floor`. The right panels show an image before and after; it has
# less noise than the series, so that the effect is visible.

# %% tags=["figure"]
views = TiltViews(series.projections[:, :2, :3], depth=SIZE[2], voxel_size=10.0)
f = np.linspace(-0.5, 0.5, 201, dtype=np.float32)
figure, axes = plt.subplots(1, 4, figsize=(10.2, 2.6), layout="constrained", width_ratios=[1, 1.3, 1, 1])
axes[0].imshow(SoftRamp().image_filter(20, f[None], f[:, None], views), cmap="viridis", extent=(-0.5, 0.5, -0.5, 0.5))
axes[0].set(
    title="factors at 0°", xlabel="$q_x$ (1/px)", ylabel="$q_y$ (1/px)", xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5]
)
for floor, colour in ((0.01, "#0072B2"), (0.1, "#D55E00")):
    row = SoftRamp(floor=floor).image_filter(20, f[None], np.zeros((1, 1), np.float32), views)[0]
    axes[1].plot(f, row, color=colour, lw=1.8, label=f"floor {floor:g}")
axes[1].set(xlabel="$q_x$ (1/px)", ylim=(0, 0.55), title="along a row")
axes[1].spines[["top", "right"]].set_visible(False)
axes[1].legend(loc="upper center")
image = np.asarray(
    simulate(cell_like_specimen(SIZE, seed=3), SIZE, snr=20, seed=3, tilt_axis_angle=0.0).series.images[20]
)
qx, qy = (np.fft.fftfreq(n).astype(np.float32) for n in image.shape[::-1])
after = np.fft.ifft2(np.fft.fft2(image) * SoftRamp().image_filter(20, qx[None], qy[:, None], views)).real
for axis, picture, title in ((axes[2], image, "image"), (axes[3], after, "filtered")):
    black, white = np.percentile(picture, (0.5, 99.5))
    axis.imshow(picture, cmap="gray", vmin=black, vmax=white)
    axis.set(title=title, xticks=[], yticks=[])
plt.show()


# %% [markdown]
# ## Second hook: the Fourier grid
#
# With `uses_weights = True`, `normalise` gets the grid plane by plane after all images are inserted: `data`, the sum of
# all samples at a grid point, and `weights`, how much the slices measured there. It changes `data` in place. Wiener
# divides by `weights + 1/snr`. The class below lies between that and no division: it divides by a power of the weights.


# %%
@register
@dataclass(frozen=True)
class Power(Weighting):
    """Divide by a power of the weights: 0 does nothing, 1 evens all out."""

    name: ClassVar[str] = "power"
    uses_weights: ClassVar[bool] = True

    power: float = 0.5
    floor: float = 0.1

    def normalise(self, data, weights):
        data /= (weights + np.float32(self.floor)) ** np.float32(self.power)


# %% [markdown]
# ## Side by side
#
# In Python a weighting is an object. `register` gave both a name as well: the command line uses `from_text`.

# %%
weightings = {
    "none": NoWeighting(),
    "softramp": SoftRamp(),
    "power:power=0.5": from_text("power:power=0.5"),
    "wiener:snr=3": Wiener(snr=3),
}
volumes = {name: reconstruct(series, region, s, ctf=False).data for name, s in weightings.items()}
match = {name: wedge_correlation(v, truth, measured, max_frequency=0.25, margin=6) for name, v in volumes.items()}
print("known by name:", ", ".join(available()))
print("correlation with the truth, in what was measured:")
print("  ".join(f"{name} {value:.2f}" for name, value in match.items()))

# %% tags=["figure"]
titled = {f"{name}\n{match[name]:.2f}": data for name, data in volumes.items()}
show_sections({"truth": truth, **titled}, voxel_size=10, thick="5nm")

# %% [markdown]
# How does the power matter?

# %%
powers = np.linspace(0, 1.25, 6)
found = [
    wedge_correlation(
        reconstruct(series, region, Power(power=p), ctf=False).data, truth, measured, max_frequency=0.25, margin=6
    )
    for p in powers
]

# %% tags=["figure"]
figure, axis = plt.subplots(figsize=(5.6, 2.7), layout="constrained")
axis.plot(powers, found, "o-", color="#009E73", lw=1.6)
for name, colour in (("none", "0.6"), ("softramp", "#0072B2"), ("wiener:snr=3", "#D55E00")):
    axis.axhline(match[name], color=colour, lw=1, ls="--")
    axis.text(1.29, match[name], name.partition(":")[0], color=colour, va="center")
axis.set(xlim=(-0.03, 1.28), xlabel="power of the weights", ylabel="correlation with the truth")
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# With as much noise as signal in the images, a power between 0 and 1 gives the best correlation. Correlation is not
# all that counts: with a power other than 1, the volume is no longer a density whose projections are the images.
#
# ## For others
#
# To make a weighting available on the command line, put the class into a package of your own and name it in its
# `pyproject.toml` (`register` is not needed then):
#
# ```toml
# [project.entry-points."fourierrecon.weighting"]
# softramp = "my_weightings:SoftRamp"
# ```
#
# After `pip install`, `fourierrecon reconstruct ... --weighting softramp:floor=0.02` finds it. A wrong name or
# parameter is an error that lists the right ones:

# %%
for wrong in ("softrampp", "softramp:flor=0.02"):
    try:
        from_text(wrong)
    except ValueError as error:
        print(error)

# %% [markdown]
# ## Exercise
#
# Give `SoftRamp` a second parameter, `cutoff`, that sets the filter to zero beyond a frequency. Check with
# `from_text("softramp:floor=0.02,cutoff=0.3")` that the command line would find it, and with
# `shell_correlation` of `fourierrecon.quality` that the volume below that frequency has not changed.
