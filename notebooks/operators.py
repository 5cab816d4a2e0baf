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

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import LinearOperator, lsqr

from fourierrecon import Region, reconstruct
from fourierrecon.display.notebook import show_images
from fourierrecon.operators import TomographicProjector
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate

SIZE, SNR = (96, 96, 40), 10.0
cell = cell_like_specimen(SIZE, seed=3)
simulation = simulate(cell, SIZE, ctf=realistic_ctf(41), snr=0.3, seed=3, tilt_axis_angle=0.0, shifts=0.0)
series, region = simulation.series, Region.of(simulation.series)
truth = simulation.truth_volume(region).data

# %% [markdown]
# ## Forth and back
#
# `forward` takes a volume `(z, y, x)`, `adjoint` takes images `(n_tilts, height, width)`. CTF, exposure, masks and
# binning are part of the operator. The *dot test* shows that the two are adjoint to rounding.

# %%
A = TomographicProjector(series, region)
print(A.volume_shape, "->", A.image_shape, " as a matrix", A.shape, A.dtype)
rng = np.random.default_rng(0)
v, y = rng.standard_normal(A.volume_shape), rng.standard_normal(A.image_shape)
one, other = np.vdot(A.forward(v), y), np.vdot(v, A.adjoint(y))
print(f"<A v, y> = {one:.6f}, <v, A* y> = {other:.6f}")

# %% [markdown]
# The image of the truth differs from that of the series only by its level and its noise.

# %% tags=["figure"]
drawn = A.forward(truth)
show_images({"image at 0°": series.images[20], "image of the truth": drawn[20]}, width=6.4)

# %% [markdown]
# ## Recipe: conjugate gradients
#
# A solver of SciPy finds the least-squares solution with Tikhonov's regularisation. The data are the images without
# their means; a vector is a flattened volume or a flattened stack of images. One SNR for all frequencies is crude:
# `cg:20` and the Wiener filter use a ratio that is measured at each frequency.

# %%
data = np.stack([series.images[f] - np.mean(series.images[f]) for f in range(series.n_tilts)]).ravel()
solution, _, steps, misfit, *_ = lsqr(A, data, damp=np.sqrt(SIZE[2] / SNR), iter_lim=15)
least_squares = solution.reshape(A.volume_shape)
print(f"{steps} steps, misfit {misfit / np.linalg.norm(data):.3f} of the data")

# %% [markdown]
# ## Recipe: plug-and-play
#
# A denoiser takes the place of a regularisation: each step towards the data is followed by the denoiser. Any denoiser
# will do, also a network; here half of the volume goes through a Gaussian. The step is one over a bound on the largest
# eigenvalue of `A* A`, the number of images times the voxels that the longest beam crosses, and five times that.

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
# A second series of the same specimen, its axis turned by 90°, adds a second block of rows. The two stacked operators
# are one operator, so that two tomograms need not be combined.

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
# The figure shows XZ sections, in which the missing wedge shows most. With this noisy series, least squares with one
# SNR for all frequencies are worse than the Wiener filter, which has a ratio for each. The second axis helps them.

# %% tags=["figure"]
volumes = {
    "truth": truth,
    "wiener": reconstruct(series, region).data,
    "cg (lsqr)": least_squares,
    "plug-and-play": played,
    "tv:0.03": reconstruct(series, region, "tv:0.03").data,
    "two axes (lsqr)": dual,
}
inside = (slice(4, -4), slice(12, -12), slice(12, -12))
titled = {}
for name, volume in volumes.items():
    likeness = np.corrcoef(volume[inside].ravel(), truth[inside].ravel())[0, 1]
    titled[f"{name}: correlation {likeness:.2f}"] = gaussian_filter(volume, 0.7)[:, 46:51].mean(1)
show_images(titled, columns=2, width=8.2)

# %% [markdown]
# ## Masks, exposure, binning
#
# The operator takes into account all that `reconstruct` does: a taper at the borders of images, the damage by
# exposure, a region of any binning. Images are those of the series, with all their pixels.

# %%
damped = replace(series, exposure=3.0 * np.arange(series.n_tilts))
C = TomographicProjector(
    damped, Region.of(series, binning=2), exposure="grant", taper_distance=2, taper_falloff=4, n_threads=2
)
v, y = rng.standard_normal(C.volume_shape), rng.standard_normal(C.image_shape)
print(C.volume_shape, f"{np.vdot(C.forward(v), y):.5f}", f"{np.vdot(v, C.adjoint(y)):.5f}")

# %% [markdown]
# ## Exercise
#
# Replace the Gaussian in `denoise` by `scipy.ndimage.median_filter` of 3 voxels. Does the correlation with the truth
# rise, and what becomes of the membranes? Then take 30 steps in place of 10: at which point does it get worse again?
