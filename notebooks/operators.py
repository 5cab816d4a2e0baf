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
# # Projection as an operator
#
# `TomographicProjector` is the projection of a volume into the images of a tilt series, with its adjoint, at the speed
# of a reconstruction. It is a `LinearOperator` of SciPy, so that solvers, denoisers and networks that want a forward
# model can use it. This notebook has three recipes of about ten lines: conjugate gradients, plug-and-play with a
# denoiser, and a dual-axis series. The package's own iterations, `weighting="cg:20"`, `"sirt:30"` and `"tv:0.03"`,
# are built on the same operator.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import LinearOperator, lsqr

from fourierrecon import Region, reconstruct
from fourierrecon.operators import TomographicProjector
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate

plt.rcParams.update({"figure.dpi": 100, "font.size": 9, "axes.titlesize": 10, "legend.frameon": False})
SIZE, SNR = (96, 96, 40), 10.0
cell = cell_like_specimen(SIZE, seed=3)
simulation = simulate(cell, SIZE, ctf=realistic_ctf(41), snr=0.3, seed=3, tilt_axis_angle=0.0, shifts=0.0)
series, region = simulation.series, Region.of(simulation.series)
truth = simulation.truth_volume(region).data

# %% [markdown]
# ## Forth and back
#
# `forward` takes a volume `(z, y, x)`, `adjoint` takes images `(n_tilts, height, width)`. CTF, exposure, masks and
# binning are part of the operator. The two belong together to rounding: the *dot test*.

# %%
A = TomographicProjector(series, region)
print(A.volume_shape, "->", A.image_shape, " as a matrix", A.shape, A.dtype)
rng = np.random.default_rng(0)
v, y = rng.standard_normal(A.volume_shape), rng.standard_normal(A.image_shape)
one, other = np.vdot(A.forward(v), y), np.vdot(v, A.adjoint(y))
print(f"<A v, y> = {one:.6f}, <v, A* y> = {other:.6f}")

# %% [markdown]
# The image of the truth is the image of the series, but for its level and its noise.

# %% tags=["figure"]
drawn = A.forward(truth)
figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.2), layout="constrained")
for axis, image, title in ((axes[0], series.images[20], "image at 0°"), (axes[1], drawn[20], "image of the truth")):
    axis.imshow(image, cmap="gray")
    axis.set(title=title, xticks=[], yticks=[])

# %% [markdown]
# ## Recipe: conjugate gradients
#
# The least-squares solution, with Tikhonov's regularisation, by a solver of SciPy. Images without their means are the
# data; a vector is a volume or a stack of images that is flattened. One SNR for all frequencies is crude: `cg:20` and
# the Wiener filter use the one that they measure by frequency.

# %%
data = np.stack([series.images[f] - np.mean(series.images[f]) for f in range(series.n_tilts)]).ravel()
solution, _, steps, misfit, *_ = lsqr(A, data, damp=np.sqrt(SIZE[2] / SNR), iter_lim=15)
least_squares = solution.reshape(A.volume_shape)
print(f"{steps} steps, misfit {misfit / np.linalg.norm(data):.3f} of the data")

# %% [markdown]
# ## Recipe: plug-and-play
#
# A denoiser takes the place of a regularisation: a step towards the data, then the denoiser, and so on. Any denoiser
# will do, also a network; here it is a Gaussian that acts on a part of the volume. The step is one over the largest
# eigenvalue of `A* A`: less than the number of images times the voxels that the longest beam crosses.

# %%
rate = 1 / (series.n_tilts * SIZE[2] / np.cos(np.radians(60)))


def denoise(volume):
    return 0.5 * volume + 0.5 * gaussian_filter(volume, 1.0)


played = reconstruct(series, region).data
for _ in range(10):
    played = played + 5 * rate * A.adjoint(data.reshape(A.image_shape) - A.forward(played))
    played = denoise(played)

# %% [markdown]
# ## Recipe: two tilt axes
#
# A second series of the same specimen, its axis turned by 90°, is a second block of rows. Two operators on top of each
# other are one operator; no combination of two tomograms is needed.

# %%
second = simulate(cell, SIZE, ctf=realistic_ctf(41), snr=0.3, seed=4, tilt_axis_angle=90.0, shifts=0.0).series
B = TomographicProjector(second, region)
both = LinearOperator(
    (A.shape[0] + B.shape[0], A.shape[1]),
    matvec=lambda v: np.concatenate([A @ v, B @ v]),
    rmatvec=lambda y: A.rmatvec(y[: A.shape[0]]) + B.rmatvec(y[A.shape[0] :]),
    dtype=np.float32,
)
more = np.stack([second.images[f] - np.mean(second.images[f]) for f in range(second.n_tilts)]).ravel()
dual = lsqr(both, np.concatenate([data, more]), damp=np.sqrt(SIZE[2] / SNR), iter_lim=15)[0].reshape(A.volume_shape)

# %% [markdown]
# The figure shows XZ sections, where the missing wedge is worst. Of this noisy series, least squares with one SNR for
# all frequencies stay behind the Wiener filter, which knows it by frequency. The second axis helps them.

# %% tags=["figure"]
volumes = {
    "truth": truth,
    "wiener": reconstruct(series, region).data,
    "cg (lsqr)": least_squares,
    "plug-and-play": played,
    "tv:0.03": reconstruct(series, region, "tv:0.03").data,
    "two axes (lsqr)": dual,
}
figure, axes = plt.subplots(3, 2, figsize=(8.2, 6), layout="constrained")
inside = (slice(4, -4), slice(12, -12), slice(12, -12))
for axis, (name, volume) in zip(axes.flat, volumes.items(), strict=True):
    section = gaussian_filter(volume, 0.7)[:, 46:51].mean(1)
    likeness = np.corrcoef(volume[inside].ravel(), truth[inside].ravel())[0, 1]
    axis.imshow(section, cmap="gray", vmin=np.percentile(section, 1), vmax=np.percentile(section, 99))
    axis.set(title=f"{name}: correlation {likeness:.2f}", xticks=[], yticks=[])

# %% [markdown]
# ## Masks, exposure, binning
#
# All that `reconstruct` knows of the images is part of the operator: a taper at their borders, the damage by exposure,
# a region of any binning. Images stay those of the series, with all their pixels.

# %%
damped = replace(series, exposure=3.0 * np.arange(series.n_tilts))
C = TomographicProjector(
    damped, Region.of(series, binning=2), exposure="grant", taper_distance=2, taper_falloff=4, n_threads=2
)
v, y = rng.standard_normal(C.volume_shape), rng.standard_normal(C.image_shape)
print(C.volume_shape, f"{np.vdot(C.forward(v), y):.5f}", f"{np.vdot(v, C.adjoint(y)):.5f}")
