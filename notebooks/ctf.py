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
# # The CTF, and what correction does
#
# Biological specimens hardly absorb electrons; they shift their phase. Defocus makes that visible, at a price: the
# *contrast transfer function* (CTF) multiplies every frequency of the image by a number between -1 and 1. This
# notebook shows that function, its effect on an image, and how far a reconstruction can undo it.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from fourierrecon import CtfParameters, Region, reconstruct
from fourierrecon.ctf import contrast_transfer
from fourierrecon.display.notebook import show_images
from fourierrecon.quality.fsc import fourier_shell_correlation
from fourierrecon.quality.wedge import wedge_mask
from fourierrecon.simulation.microscope import TILT_ANGLES, apply_ctf, realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate
from fourierrecon.weighting import Wiener

plt.rcParams.update({"figure.dpi": 100, "font.size": 9, "axes.titlesize": 10, "legend.frameon": False})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.6"

# %% [markdown]
# ## The function
#
# The function begins at a small value (the *amplitude contrast*, 7 % here), rises to a first peak, and then swings
# faster and faster. More defocus moves the peak to lower frequencies: contrast at low resolution grows, and fine
# detail has more zeros. At a zero nothing is transferred. Where the function is negative, dark becomes bright.

# %%
optics = {"voltage": 300.0, "spherical_aberration": 2.7, "amplitude_contrast": 0.07, "defocus_angle": 0.0}
frequency = np.linspace(0, 0.05, 600)  # 1/Å
curves = {
    f"{defocus / 1e4:.1f} µm": contrast_transfer(
        CtfParameters.of(1, defocus_u=defocus, defocus_v=defocus, **optics), 0, frequency, 0.0
    )
    for defocus in (15000.0, 30000.0, 50000.0)
}
astigmatic = CtfParameters.of(1, defocus_u=34000.0, defocus_v=26000.0, **{**optics, "defocus_angle": 30.0})
f = np.linspace(-0.05, 0.05, 400)
rings = contrast_transfer(astigmatic, 0, f[None], f[:, None])

# %% tags=["figure"]
figure, axes = plt.subplots(1, 2, figsize=(9.4, 3.3), layout="constrained", width_ratios=[1.7, 1])
for (label, curve), colour in zip(curves.items(), (GREEN, BLUE, ORANGE), strict=True):
    axes[0].plot(10 * frequency, curve, color=colour, lw=1.7, label=label)
axes[0].axhline(0, color="0.4", lw=0.8)
axes[0].axhspan(-1, 0, color="0.94", zorder=0)
axes[0].text(0.01, -0.94, "contrast reversed", color="0.4")
axes[0].set(xlabel="spatial frequency (1/nm)", ylabel="CTF", xlim=(0, 0.5), ylim=(-1.02, 1.02))
axes[0].spines[["top", "right"]].set_visible(False)
axes[0].legend(loc="lower left", bbox_to_anchor=(0.0, 0.12), title="underfocus", alignment="left")
axes[1].imshow(rings, cmap="RdBu_r", vmin=-1, vmax=1, extent=(-0.5, 0.5, -0.5, 0.5), origin="lower")
axes[1].set(title="with astigmatism: 2.6 to 3.4 µm", xlabel="$f_x$ (1/nm)", ylabel="$f_y$ (1/nm)")
axes[1].set(xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5])
plt.show()

# %% [markdown]
# ## One image
#
# The pictures show a slice of a cell, projected without and with the CTF (5 µm underfocus, no noise), and two ways to
# correct it. To **multiply** by the CTF once more sets the contrast right (CTF² is never negative), but makes weak
# frequencies weaker. To **divide** by it, as far as it is not too small, is the Wiener filter of one image:
# `CTF / (CTF² + 1/SNR)`.

# %%
SIZE = (200, 208, 80)
specimen = cell_like_specimen(SIZE, seed=7)
one = CtfParameters.of(1, defocus_u=50000.0, defocus_v=50000.0, **optics)
ideal, seen = (
    np.asarray(simulate(specimen, SIZE, tilt_angles=[0.0], shifts=0.0, ctf=ctf, snr=None).series.images[0])
    for ctf in (None, one)
)


def filtered(image, factors):
    """Multiply the transform of an image by real factors."""
    return np.fft.ifft2(np.fft.fft2(image - image.mean()) * factors).real


fy, fx = (np.fft.fftfreq(n, 10.0) for n in ideal.shape)  # 1/Å
ctf = contrast_transfer(one, 0, fx[None], fy[:, None])
images = {
    "without CTF": ideal,
    "as the microscope sees it": seen,
    "multiplied by the CTF": filtered(seen, ctf),
    "Wiener, SNR 100": filtered(seen, ctf / (ctf**2 + 1 / 100)),
}

# %% tags=["figure"]
figure, axes = plt.subplots(2, 4, figsize=(10.2, 4.1), layout="constrained", height_ratios=[2.6, 1])
weights = {"without CTF": np.ones_like(frequency)}
curve = curves["5.0 µm"]
weights["as the microscope sees it"] = curve
weights["multiplied by the CTF"] = curve**2
weights["Wiener, SNR 100"] = curve**2 / (curve**2 + 1 / 100)
for (title, image), (above, below) in zip(images.items(), axes.T, strict=True):
    black, white = np.percentile(image[20:-20, 20:-20], (0.3, 99.7))
    above.imshow(image, cmap="gray", vmin=black, vmax=white, interpolation="lanczos")
    above.set(title=title, xticks=[], yticks=[])
    below.plot(10 * frequency, weights[title], color=BLUE, lw=1.5)
    below.axhline(0, color="0.5", lw=0.8)
    below.set(ylim=(-1.05, 1.1), xlim=(0, 0.5), xlabel="frequency (1/nm)")
    below.set(xticks=[0, 0.2, 0.4], yticks=[-1, 0, 1])
    below.spines[["top", "right"]].set_visible(False)
axes[1, 0].set_ylabel("passes")
plt.show()

# %% [markdown]
# The fringes along membranes appear because the CTF takes contrast at low resolution away and reverses finer detail.
# Division restores the contrast at low resolution. Frequencies at the zeros stay lost.
#
# ## A tilt series can fill the gaps
#
# Near the origin of Fourier space many slices overlap. If their defocus differs, their zeros lie at different places,
# and the sum of CTF² has none. A series taken at one nominal defocus (here 5 µm, which strays by 0.04 µm) has its
# zeros almost at one place; one whose defocus is spread on purpose, by 2 µm, fills them.

# %%
series_optics = realistic_ctf(len(TILT_ANGLES), seed=7, defocus=50000.0)
spread = np.linspace(-10000, 10000, len(TILT_ANGLES))
wider = replace(series_optics, defocus_u=series_optics.defocus_u + spread, defocus_v=series_optics.defocus_v + spread)
sums = {
    "one image": contrast_transfer(series_optics, 20, frequency, 0.0) ** 2,
    "mean over 41, 5 µm": np.mean(
        [contrast_transfer(series_optics, t, frequency, 0.0) ** 2 for t in range(41)], axis=0
    ),
    "mean over 41, 4 to 6 µm": np.mean([contrast_transfer(wider, t, frequency, 0.0) ** 2 for t in range(41)], axis=0),
}

# %% tags=["figure"]
figure, axis = plt.subplots(figsize=(7.6, 2.9), layout="constrained")
for (label, curve), colour, width in zip(sums.items(), (GREY, BLUE, ORANGE), (1.2, 1.8, 1.8), strict=True):
    axis.plot(10 * frequency, curve, color=colour, lw=width, label=label)
axis.set(xlabel="spatial frequency (1/nm)", ylabel="CTF²", xlim=(0, 0.5), ylim=(0, 1.3), yticks=[0, 0.5, 1])
axis.spines[["top", "right"]].set_visible(False)
axis.legend(ncols=3, loc="upper center")
plt.show()

# %% [markdown]
# ## Three tomograms
#
# One series without noise gives three tomograms. The first ignores the CTF. For the second, the images are multiplied
# by it beforehand, so that signs are right. The third is multiplied, and divided by the sum of CTF² plus 1/SNR on the
# Fourier grid (`ctf=True`). All three make up for the density of the slices.

# %%
simulation = simulate(specimen, SIZE, ctf=series_optics, snr=None, seed=7)
series = simulation.series
region = Region.of(series)
truth = simulation.truth_volume(region).data
stack = np.asarray(series.images)
signed = apply_ctf(stack - stack.mean((1, 2), keepdims=True), series_optics, series.pixel_size, margin=0)
volumes = {
    "CTF ignored": reconstruct(series, region, Wiener(snr=10), ctf=False).data,
    "multiplied": reconstruct(replace(series, images=signed), region, Wiener(snr=10), ctf=False).data,
    "multiplied and divided": reconstruct(series, region, Wiener(snr=100), ctf=True).data,
}
measured = wedge_mask(region.shape, series.projections)
soft = np.multiply.outer(np.hanning(region.shape[0]), np.outer(*(np.hanning(n) ** 0.25 for n in region.shape[1:])))
curves = {
    name: fourier_shell_correlation(data, truth, n_shells=40, mask=soft, fourier_mask=measured)
    for name, data in volumes.items()
}

# %% tags=["figure"]
show_images({title: data[37:43].mean(0) for title, data in {"truth": truth, **volumes}.items()})
figure, axis = plt.subplots(figsize=(7.6, 3.1), layout="constrained")
for (name, (shells, correlation)), colour in zip(curves.items(), (GREY, ORANGE, GREEN), strict=True):
    axis.plot(shells, correlation, color=colour, lw=1.8, label=name)
axis.axhline(0, color="0.5", lw=0.8)
axis.set(xlabel="spatial frequency (1/nm)", ylabel="correlation with the truth", xlim=(0, 0.5), ylim=(-1.02, 1.02))
axis.spines[["top", "right"]].set_visible(False)
axis.legend(loc="lower left")
plt.show()

# %% [markdown]
# Where the CTF is negative and was ignored, detail correlates negatively with the specimen: it has the wrong sign.
# Averages over particles from such tomograms would cancel it. Multiplication repairs the sign. Within a shell of
# frequencies it is as good as division, since the CTF is nearly one number there. But the strengths differ from shell
# to shell, and the section lacks contrast at low resolution; division restores it. At the zeros, and where noise
# outgrows the signal, nothing helps. [Weightings compared](weightings.ipynb) is about the choice of the SNR.

# %% [markdown]
# ## Exercise
#
# Halve the defocus of the tilt series and draw the three sections again. Which of them changes most, and why does the
# one that is multiplied by the CTF look sharper now? (The first peak moves to higher frequencies, so that fine
# detail counts more; the lowest frequencies get weaker still.)
