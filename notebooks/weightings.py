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
# # Three weightings, side by side
#
# A tilt series measures a specimen unevenly. In Fourier space every image is a slice through the origin; all slices
# cross at the tilt axis. Low frequencies are therefore measured many times, and high ones once. Between the slices and
# in the wedge beyond the last tilt, nothing is measured. In addition the microscope multiplies every image by its
# contrast transfer function (CTF), which is small at low frequencies and passes through zero at some high ones.
#
# A *weighting* decides how to make up for both. This notebook compares three of those that come with `fourierrecon`;
# the page [Weightings](../docs/weighting.md) describes all of them.
#
# | | what is done | linear in the images |
# |---|---|---|
# | `none` | nothing: every voxel is the mean of the pixels that it projects to | yes |
# | `preweight` | each image is filtered before it is inserted, by how many other slices come near | yes |
# | `wiener` | the sum of all slices is divided, on the Fourier grid, by the sum of their CTF² plus 1/SNR | yes |
#
# The first part uses a simulated cell, whose truth is known, the second a real one. Everything runs in seconds.

# %% tags=["setup"]
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fourierrecon import Region, reconstruct
from fourierrecon.display.notebook import show_sections
from fourierrecon.io import read_tilt_series
from fourierrecon.quality.fsc import fourier_shell_correlation
from fourierrecon.quality.wedge import wedge_correlation, wedge_mask
from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate
from fourierrecon.weighting import NoWeighting, PreWeight, Wiener

plt.rcParams.update({"figure.dpi": 100, "font.size": 9, "axes.titlesize": 10, "legend.frameon": False})
COLOURS = {"none, no CTF": "0.55", "none": "#D55E00", "preweight": "#0072B2", "wiener": "#009E73"}

# %% [markdown]
# ## A specimen with known truth
#
# A slice of a cell made of Gaussians: two-layered membranes, ribosomes, a microtubule, small proteins, gold beads.
# Its projections are exact, so whatever differs from the truth comes from the tilt series or from the reconstruction.
# The tilt series has 41 images from −60° to 60° in steps of 3°, with 10 Å per pixel and about 5 µm of underfocus. It
# is made twice: without noise, and with twice as much noise as signal (a ratio of variances of 0.5).

# %% tags=["phantom"]
SIZE = (200, 208, 80)  # width, height, depth, px
specimen = cell_like_specimen(SIZE, seed=7)
optics = realistic_ctf(len(TILT_ANGLES), seed=7, defocus=50000.0)
clean = simulate(specimen, SIZE, ctf=optics, snr=None, seed=7)
noisy = simulate(specimen, SIZE, ctf=optics, snr=0.5, seed=7)

figure, axes = plt.subplots(2, 3, figsize=(8, 5.7), layout="constrained")
for row, (label, simulation) in zip(axes, {"no noise": clean, "noisy": noisy}.items(), strict=True):
    row[0].set_ylabel(label)
    for axis, tilt in zip(row, (0, 20, 40), strict=True):
        image = np.asarray(simulation.series.images[tilt])
        black, white = np.percentile(image, (0.3, 99.7))
        axis.imshow(image, cmap="gray", vmin=black, vmax=white)
        axis.set(xticks=[], yticks=[])
for axis, tilt in zip(axes[0], (0, 20, 40), strict=True):
    axis.set_title(f"{TILT_ANGLES[tilt]:.0f}°")
plt.show()

# %% [markdown]
# The CTF makes the dark and bright fringes along the membranes: it passes little contrast at low resolution, and
# reverses that of fine detail beyond its first zero (here at 32 Å).
#
# ## The same images, four volumes
#
# `none` appears twice. Without the CTF it is a mere mean of the images. With the CTF, each image is multiplied by its
# own CTF first: contrast that the microscope reversed is set right, but weak contrast gets weaker still.
# `reconstruct` takes the weighting as an object; everything else stays the same.

# %% tags=["phantom"]
WEIGHTINGS = {
    "none, no CTF": (NoWeighting(), False),
    "none": (NoWeighting(), True),
    "preweight": (PreWeight(snr=10), True),
    "wiener": (Wiener(snr=10), True),
}
region = Region.of(noisy.series)
truth = noisy.truth_volume(region).data


def reconstruct_all(series, region):
    return {name: reconstruct(series, region, weighting, ctf=ctf).data for name, (weighting, ctf) in WEIGHTINGS.items()}


from_clean = reconstruct_all(clean.series, region)
from_noisy = reconstruct_all(noisy.series, region)
print("From images without noise:")
show_sections({"truth": truth, **from_clean}, voxel_size=10, thick="5nm")
print("From noisy images:")
show_sections({"truth": truth, **from_noisy}, voxel_size=10, thick="5nm")


# %% [markdown]
# The sections show:
#
# - **none** blurs, because low frequencies are counted too often. The tilt axis lies along y, so everything is
#   smeared along x in the XY section: membranes that run along x stand out, those along y are faint.
# - **none** with the CTF has no contrast at low resolution: the CTF is small there, and has now been applied twice.
# - **preweight** and **wiener** take the streaks away. Membranes are equally strong all round, and small proteins are
#   points.
# - In the XZ sections, no volume shows the tops and bottoms of the vesicles: they lie in the missing wedge. No
#   weighting brings back frequencies that were not measured.
# - Weighting makes noise visible. It raises all that was measured weakly, signal and noise alike.
#
# ## The same in Fourier space
#
# The power of the volumes in the plane across the tilt axis shows the slices themselves. These volumes are from the
# noisy images, whose noise fills every slice up to the highest frequencies. The scale is logarithmic, relative to the
# strongest point in each panel.


# %% tags=["phantom"]
def power_across_axis(data):
    """Power in the plane (kz, kx) across the tilt axis, the mean over a few planes near ky = 0, logarithmic."""
    z, y, x = (np.hanning(n) for n in data.shape)
    spectrum = np.fft.fftn((data - data.mean()) * z[:, None, None] * y[:, None] * x)
    power = np.fft.fftshift((np.abs(spectrum[:, [-5, -4, -3, 3, 4, 5]]) ** 2).mean(1))
    return np.log10(power / power.max() + 1e-12)


panels = {"truth": truth, **from_noisy}
figure, axes = plt.subplots(1, len(panels), figsize=(10, 2.45), layout="constrained", sharey=True)
for axis, (title, data) in zip(axes, panels.items(), strict=True):
    image = axis.imshow(
        power_across_axis(data), cmap="magma", vmin=-5, vmax=0, extent=(-0.5, 0.5, 0.5, -0.5), interpolation="none"
    )
    axis.set(title=title, xlabel="$k_x$ (1/nm)", xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5])
axes[0].set_ylabel("$k_z$ (1/nm)")
figure.colorbar(image, ax=axes, label="power, decades", shrink=0.66, pad=0.01)
plt.show()

# %% [markdown]
# Every image is a line through the centre; the notches at the rim are the ends of the lines. The empty wedges above
# and below were not measured. Without weighting and CTF the power is heaped up in the centre, where the lines lie
# close. `none` with the CTF has dark rings, the zeros of the CTF, and hardly more power in the centre than between
# the rings: contrast at low resolution is lost. The two weightings follow the truth in the centre. Farther out the
# specimen has no detail, and they show noise, evenly spread.
#
# ## How near to the truth?
#
# The table has the correlation with the truth below 0.25 cycles per voxel (40 Å), **within the wedge** that was
# measured. Both volumes are cut to that wedge in Fourier space: the missing one is the same for all, and does not
# count.

# %% tags=["phantom"]
measured = wedge_mask(region.shape, noisy.series.projections)


def match(data):
    return wedge_correlation(data, truth, measured, max_frequency=0.25, margin=8)


table = pd.DataFrame(
    {
        "no noise": {name: match(data) for name, data in from_clean.items()},
        "noisy": {name: match(data) for name, data in from_noisy.items()},
    }
)
table.round(2)


# %% [markdown]
# One number does not tell where in Fourier space the differences lie. The Fourier shell correlation (FSC) with the
# truth, again within the wedge, shows them frequency by frequency:


# %% tags=["phantom"]
def soft_edge(n, width=12):
    """Weights along one side of a volume, which fade in and out over `width` voxels."""
    to_edge = np.minimum(np.arange(n), np.arange(n)[::-1])
    return 0.5 - 0.5 * np.cos(np.pi * np.clip((to_edge + 0.5) / width, 0, 1))


soft = soft_edge(SIZE[2])[:, None, None] * soft_edge(SIZE[1])[:, None] * soft_edge(SIZE[0])


def shell_correlation(data):
    # a hard cut at the faces of the box would put false signal into the highest frequencies
    return fourier_shell_correlation(data, truth, n_shells=40, mask=soft, fourier_mask=measured)


figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
for axis, (title, volumes) in zip(axes, {"no noise": from_clean, "noisy": from_noisy}.items(), strict=True):
    for name, data in volumes.items():
        frequency, fsc = shell_correlation(data)
        style = "--" if name == "none, no CTF" else "-"
        axis.plot(frequency, fsc, style, color=COLOURS[name], lw=1.8, label=name)
    axis.axhline(0, color="0.7", lw=0.8, zorder=0)
    axis.axvline(1 / 3.17, color="0.7", lw=0.8, ls=":", zorder=0)
    axis.text(1 / 3.17, -0.97, " first zero\n of the CTF", color="0.4", fontsize=8)
    axis.set(title=title, xlabel="spatial frequency (1/nm)", xlim=(0, 0.5), ylim=(-1.02, 1.02))
    axis.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("correlation with the truth")
axes[0].legend(loc="lower left")
plt.show()

# %% [markdown]
# - Without the CTF, the correlation becomes negative beyond the first zero: this detail is there with the wrong sign.
# - With the CTF, `none` has the right sign everywhere. Still, within each shell it gives far too much weight to
#   frequencies near the tilt axis, where the slices crowd.
# - `preweight` and `wiener` follow each other closely. At a zero of the CTF nothing was measured, and all fail.
# - With noise, all curves fall where the noise outgrows the signal. A weighting balances the measurements; it cannot
#   improve them.
#
# ## How large an SNR?
#
# `1/SNR` is added to the sum of CTF² before the division. SNR is the power of the signal over that of the noise in an
# image, at frequencies where the CTF is 1. Where CTF² is below 1/SNR, the data are left weak. At the lowest
# frequencies the CTF is about 0.1 and its square about 0.01. So a **low** SNR suppresses contrast at low resolution:
# membranes have bright fringes, and some of the streaks are left. A **high** one restores that contrast, and lets
# noise through, most of all at frequencies around the zeros of the CTF. **auto**, the default, measures the ratio from
# the images themselves at each spatial frequency: it is high at low frequencies, and falls below 1 for fine detail.

# %% tags=["phantom"]
by_snr = {snr: reconstruct(noisy.series, region, Wiener(snr=snr)).data for snr in (1, 10, 100, "auto")}
titled = {f"wiener, SNR {snr}": data for snr, data in by_snr.items()}
show_sections({"truth": truth, **titled}, voxel_size=10, thick="5nm")

figure, axis = plt.subplots(figsize=(6.2, 3.2), layout="constrained")
for (snr, data), colour in zip(by_snr.items(), ("#A6DBC9", "#009E73", "#00563F", "#D55E00"), strict=True):
    frequency, fsc = shell_correlation(data)
    axis.plot(frequency, fsc, color=colour, lw=1.8, label=f"SNR {snr}: correlation {match(data):.2f} below 0.25/nm")
axis.set(
    xlabel="spatial frequency (1/nm)",
    ylabel="correlation with the truth",
    xlim=(0, 0.5),
    ylim=(0, 1.02),
    title="Wiener, noisy images",
)
axis.spines[["top", "right"]].set_visible(False)
axis.legend(loc="lower left", fontsize=8)
plt.show()


# %% [markdown]
# Of the constants, 100 is nearest to the truth at low resolution; in fine detail they differ little. `auto` is at
# least as near everywhere, and shows less grain.
#
# ## A real cell
#
# The same on a real tilt series: *Mycoplasma pneumoniae* (EMPIAR-10499, 41 images at 10 Å, 1.6 to 2 µm underfocus).
# `fourierrecon sample` fetches it. Its truth is not known: look for ribosomes (dark grains of 20 to 25 nm) and for the
# membrane around the cell.


# %% tags=["real"]
def find_sample():
    """Give the set of the sample, or None if it is not here."""
    chosen = os.environ.get("FOURIERRECON_SAMPLE")
    usual = ("../../shared/data/mycoplasma", "../mycoplasma", "mycoplasma")
    folders = [Path(place) for place in ([chosen] if chosen else usual)]
    return next((folder / "tomograms.star" for folder in folders if (folder / "tomograms.star").is_file()), None)


sample = find_sample()
if sample is None:
    print(
        "The tilt series of the real cell is not here. To get it (56 MB to download), run\n\n"
        "    fourierrecon sample mycoplasma\n\n"
        "set FOURIERRECON_SAMPLE to the path of that folder, and run this notebook again."
    )
else:
    cell = read_tilt_series(sample)
    field = Region.of(cell, binning=2)
    print(f"{cell.n_tilts} images of {cell.image_shape[1]} x {cell.image_shape[0]} px, voxels of 20 Å")
    from_cell = reconstruct_all(cell, field)
    del from_cell["none, no CTF"]
    show_sections(from_cell, voxel_size=20, thick="5nm", at=(0.5, 0.48, 0.5))

# %% [markdown]
# With `none` the streaks hide almost everything in the plane; `preweight` and `wiener` show single ribosomes and the
# two edges of the cell. The XZ section shows how thick the cell is; its upper and lower faces are faint, since they
# lie in the missing wedge.
#
# The next pictures are by Wiener with four ratios. Of the constants, 100 shows the membrane and the ribosomes best, on
# a grainier ground:

# %% tags=["real"]
if sample is not None:
    made = {f"wiener, SNR {snr}": reconstruct(cell, field, Wiener(snr=snr)) for snr in (1, 10, 100, "auto")}
    show_sections(made, thick="5nm", at=(0.5, 0.48, 0.5))

# %% [markdown]
# ## Which one?
#
# - **wiener** (the default) for looking at a tomogram and for most other uses.
# - **preweight** for very large tomograms, or where parts of one are reconstructed separately: each image is filtered
#   alone, so the parts fit together whatever their size. Give it the thickness of the specimen if that is much less
#   than the depth of the region: `PreWeight(thickness=1500)`, in Å.
# - **none** to check an alignment, or as the input of another program that weights by itself.
#
# The page [Weightings](../docs/weighting.md) has the formulas, the scale of the grey values, and the way to add a
# weighting of your own.

# %% [markdown]
# ## Exercise
#
# Simulate the series with a tenth of the SNR (`snr=0.05`), and find the constant SNR whose volume is nearest to the
# truth. How near is `"wiener:snr=auto"`? (It should be as near or nearer at every level of noise, since its ratio
# falls with the frequency.)
