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
# # The slice theorem, and how a tomogram is put together
#
# The Fourier transform of a projection is a slice through the Fourier transform of the specimen. The rest of this
# notebook computes with that exactly, and shows which frequencies are not measured. Every picture is in the plane
# across the tilt axis (x to the right, z, the beam at 0°, upwards), in which a whole image is one line.

# %%
import matplotlib.pyplot as plt
import numpy as np

from fourierrecon.engine.gridding_kernel import GriddingKernel

plt.rcParams.update({"figure.dpi": 100, "font.size": 9, "axes.titlesize": 10, "legend.frameon": False})
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
N = 128
pixels = np.arange(N) - N // 2

# %% [markdown]
# ## A specimen that can be projected exactly
#
# The specimen is made of Gaussian blobs: a ring (a membrane), and some particles inside. The projection of a blob is a
# blob on a line, so projections at any angle are known without a grid.

# %%
rng = np.random.default_rng(4)
turn = np.linspace(0, 2 * np.pi, 80, endpoint=False)
ring = np.stack([38 * np.cos(turn), 27 * np.sin(turn)], 1)
inside = np.array([[-16, 6], [12, 11], [2, -12], [-8, -6], [20, -6], [45, 30], [-45, -28]], float)
centres = np.concatenate([ring, inside])
sigmas = np.concatenate([np.full(80, 1.6), [3.2, 3.2, 3.2, 1.8, 1.8, 2.4, 2.4]])

z, x = np.meshgrid(pixels, pixels, indexing="ij")
specimen = sum(np.exp(-((x - a) ** 2 + (z - b) ** 2) / (2 * s * s)) for (a, b), s in zip(centres, sigmas, strict=True))


def project(degrees):
    """Give the image at a tilt: sums along the beam, at the places ``pixels`` across it."""
    angle = np.radians(degrees)
    across = centres @ [np.cos(angle), np.sin(angle)]
    blobs = np.exp(-((pixels[:, None] - across) ** 2) / (2 * sigmas**2)) * sigmas * np.sqrt(2 * np.pi)
    return blobs.sum(1)


def transform(image):
    """Fourier transform about the middle pixel, zero frequency in the middle."""
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(image)))


frequency = np.fft.fftshift(np.fft.fftfreq(N))
spectrum = transform(specimen)

# %% [markdown]
# ## Projection and slice
#
# The left panel shows the specimen with two beams, the middle one the two images. The right one shows the specimen's
# Fourier transform, with the lines on which the transforms of these images lie: through the origin, perpendicular to
# the beam.

# %% tags=["figure"]
LIMIT = 0.25
shades = {"cmap": "magma", "vmin": 0, "vmax": 3.5, "extent": (-0.5, 0.5, -0.5, 0.5), "origin": "lower"}
figure, axes = plt.subplots(1, 3, figsize=(10.4, 3.5), layout="constrained", width_ratios=[1, 1.15, 1])
axes[0].imshow(specimen, cmap="gray_r", origin="lower", extent=(-64, 64, -64, 64))
axes[2].imshow(np.log10(1 + np.abs(spectrum)), **shades)
for degrees, colour in ((0, BLUE), (40, ORANGE)):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for offset in (-36, -18, 0, 18, 36):
        start, end = (
            np.array([c, s]) * offset - 50 * np.array([-s, c]),
            np.array([c, s]) * offset + 50 * np.array([-s, c]),
        )
        axes[0].annotate("", start, end, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 0.7, "alpha": 0.8})
    axes[1].plot(pixels, project(degrees) + (0 if degrees else 37), color=colour, lw=1.6)
    axes[1].text(16, 30 + (0 if degrees else 36), f"image at {degrees}°", color=colour, ha="center")
    axes[2].axline((0, 0), (c, s), color=colour, lw=1.8)
axes[0].set(title="specimen and beams", xlim=(-64, 64), ylim=(-64, 64), xticks=[], yticks=[], xlabel="x", ylabel="z")
axes[1].set(title="images: sums along the beams", xlabel="pixel", yticks=[], xlim=(-64, 64))
axes[1].spines[["top", "right", "left"]].set_visible(False)
axes[2].set(
    title="Fourier transform of the specimen", xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), xlabel="$k_x$ (1/px)"
)
axes[2].set(ylabel="$k_z$ (1/px)", xticks=[-0.2, 0, 0.2], yticks=[-0.2, 0, 0.2])
plt.show()

# %% [markdown]
# Is it true? The next cell computes the transform of the image at 40° and, independently, the specimen's own transform
# along that line, as an explicit sum over all pixels at frequencies that lie between those of any grid:

# %%
degrees = 40
along = transform(project(degrees))
kx, kz = frequency * np.cos(np.radians(degrees)), frequency * np.sin(np.radians(degrees))
line = np.array([(specimen * np.exp(-2j * np.pi * (a * x + b * z))).sum() for a, b in zip(kx, kz, strict=True)])
print(f"largest difference: {np.abs(along - line).max() / np.abs(line).max():.1e} of the largest value")

# %% tags=["figure"]
figure, axis = plt.subplots(figsize=(7.6, 2.7), layout="constrained")
axis.plot(frequency, line.real, color="0.7", lw=5, label="the specimen's transform on the line")
axis.plot(frequency, along.real, color=ORANGE, lw=1.4, label="transform of the image at 40°")
axis.set(xlabel="frequency (1/px)", xlim=(-0.25, 0.25), ylabel="real part")
axis.spines[["top", "right"]].set_visible(False)
axis.legend(loc="upper right")
plt.show()

# %% [markdown]
# ## Slice by slice into Fourier space
#
# So every image fills one line. Put the lines together and transform back, and the specimen appears; more lines show it
# better. A line in Fourier space is, in real space, the image smeared out along its beam. To add the lines therefore
# means to add these smears: *back-projection*.

# %%
TILTS = np.arange(-60, 61, 3)


def back_project(tilts, weights=1.0):
    """Smear all images, their samples times weights ``(frequencies,)``, along their beams; give the mean."""
    volume = np.zeros((N, N))
    for degrees in tilts:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        filtered = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(transform(project(degrees)) * weights))).real
        volume += np.interp((x * c + z * s).ravel(), pixels, filtered).reshape(N, N)
    return volume / len(tilts)


stages = {"1 image": [0], "5 images": TILTS[::10], "41 images": TILTS}
volumes = {name: back_project(tilts) for name, tilts in stages.items()}

# %% tags=["figure"]
figure, axes = plt.subplots(2, 4, figsize=(10, 5.1), layout="constrained")
for axis, (name, tilts) in zip(axes[0], stages.items(), strict=False):
    for degrees in tilts:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        colours = np.log10(1 + np.abs(transform(project(degrees))))
        axis.scatter(frequency * c, frequency * s, c=colours, s=3, cmap="magma", vmin=0, vmax=3.5)
    axis.set(
        title=name, facecolor="0.9", xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal", xticks=[], yticks=[]
    )
axes[0, 3].imshow(np.log10(1 + np.abs(spectrum)), **shades)
axes[0, 3].set(title="the truth", xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), xticks=[], yticks=[])
for axis, data in zip(axes[1], [*volumes.values(), specimen], strict=True):
    axis.imshow(data, cmap="gray_r", origin="lower", vmax=np.percentile(data, 99.7))
    axis.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("Fourier space")
axes[1, 0].set_ylabel("specimen")
plt.show()

# %% [markdown]
# The volume from 41 images has two faults. It is **blurred**: near the origin the lines crowd, so low frequencies were
# added many times. And the ring is **open** above and below: no line passes through the two wedges beyond ±60°.
#
# ## Weights
#
# The first fault has a remedy: divide by the density of the lines. For evenly spaced tilts the density falls as one
# over the distance from the origin, and the weight is a ramp. Close to the origin, lines are nearer to each other than
# a specimen of 64 px can tell apart; the weight is flat there.

# %%
spacing = np.radians(3.0)
ramp = np.maximum(np.abs(frequency) * spacing * 64, 1 / len(TILTS))
weighted = back_project(TILTS, np.minimum(ramp, 1))

# %% tags=["figure"]
angle = np.degrees(np.arctan2(*np.meshgrid(frequency, frequency, indexing="ij")))
measured = np.abs((angle + 90) % 180 - 90) <= 61.5
best = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum * measured))).real
figure, axes = plt.subplots(1, 4, figsize=(10.2, 2.75), layout="constrained", width_ratios=[1.25, 1, 1, 1])
axes[0].plot(frequency, np.minimum(ramp, 1), color=GREEN, lw=1.8)
axes[0].set(title="weight of a sample", xlabel="frequency along the line (1/px)", ylim=(0, 1.05), xlim=(-0.5, 0.5))
axes[0].spines[["top", "right"]].set_visible(False)
for axis, (name, data) in zip(
    axes[1:],
    {"41 images, as they are": volumes["41 images"], "weighted": weighted, "best possible": best}.items(),
    strict=True,
):
    axis.imshow(data, cmap="gray_r", origin="lower", vmin=np.percentile(data, 2), vmax=np.percentile(data, 99.7))
    axis.set(title=name, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The right panel shows the specimen with the two wedges cut out of its transform: no method can get more out of these
# images.
#
# ## Onto a grid
#
# Smearing takes as many steps as voxels times images, and interpolates in the images. A fast Fourier transform takes
# far fewer, but needs its samples on a grid, and those of the slices lie between its points. To take the nearest point
# costs accuracy. **Gridding** is as exact as its kernel is wide: each sample is *spread* over a few grid points with a
# smooth kernel, and the reconstruction is divided by the kernel's transform afterwards (*deapodised*), which undoes
# the spreading.

# %%
kernel = GriddingKernel(width=5, oversampling=1.5)


def spread(tilts, kernel):
    """Spread the samples of all images on an oversampled grid, transform, deapodise."""
    size = round(N * kernel.oversampling)
    grid = np.zeros((size, size), complex)
    taps = np.arange(kernel.width)
    for degrees in tilts:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        place = np.outer([s, c], frequency) * size + size // 2  # rows and columns of the samples, between grid points
        near = np.ceil(place - kernel.width / 2).astype(int)[..., None] + taps
        rows, columns = kernel.values(near - place[..., None])
        shares = rows[:, :, None] * columns[:, None, :] * transform(project(degrees))[:, None, None]
        np.add.at(grid, (near[0, :, :, None] % size, near[1, :, None, :] % size), shares)
    volume = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(grid))).real * size**2 / N
    cut = slice(size // 2 - N // 2, size // 2 + N // 2)
    undo = kernel.deapodisation(N, size)
    return volume[cut, cut] * undo[:, None] * undo / len(tilts)


def explicit(tilts, points):
    """Evaluate what it should be at some points ``(n, 2)``, as a sum over all samples."""
    total = np.zeros(len(points))
    for degrees in tilts:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        wave = np.exp(2j * np.pi * frequency * (points @ [c, s])[:, None])
        total += (wave @ transform(project(degrees))).real / N
    return total / len(tilts)


points = rng.integers(-44, 44, (200, 2)).astype(float)
columns, rows = (points + N // 2).astype(int).T
exact = explicit(TILTS, points)
for width in (2, 3, 4, 5, 6):
    gridded = spread(TILTS, GriddingKernel(width, 1.5))[rows, columns]
    print(f"kernel of {width} points: relative error {np.linalg.norm(gridded - exact) / np.linalg.norm(exact):.0e}")

# %% tags=["figure"]
figure, axes = plt.subplots(1, 3, figsize=(10.2, 3.3), layout="constrained", width_ratios=[1, 1.1, 1])
for row in range(-9, 10):
    axes[0].plot(np.arange(-9, 10), np.full(19, row), ".", color="0.75", ms=3, zorder=0)
step = kernel.oversampling  # samples of an image lie this many grid cells apart
for degrees in np.arange(-60, 61, 15):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    at = np.arange(-8, 9) * step
    axes[0].plot(at * c, at * s, ".-", color=BLUE, lw=0.4, ms=5)
c, s = np.cos(np.radians(45)), np.sin(np.radians(45))
place = np.array([c, s]) * 4 * step
axes[0].plot(*place, "o", color=ORANGE, ms=7)
axes[0].add_patch(plt.Rectangle(place - 2.5, 5, 5, facecolor=ORANGE, alpha=0.25))
axes[0].set(title="samples (blue) and grid points", xlim=(-9, 9), ylim=(-9, 9), aspect="equal", xticks=[], yticks=[])
fine = np.linspace(-3.2, 3.2, 400)
axes[1].plot(fine, kernel.values(fine), color=ORANGE, lw=1.8)
taps = np.arange(-2, 3) + 0.24
axes[1].vlines(taps, 0, kernel.values(taps), color="0.4", lw=1)
axes[1].plot(taps, kernel.values(taps), "o", color="0.4", ms=5)
axes[1].set(title="kernel: shares of five grid points", xlabel="distance from the sample (cells)", ylim=(0, 1.05))
axes[1].spines[["top", "right"]].set_visible(False)
across = np.linspace(-0.5, 0.5, 201)
axes[2].plot(
    across, kernel.transform(across / kernel.oversampling) / kernel.transform(np.zeros(1)), color=GREEN, lw=1.8
)
axes[2].set(title="what deapodisation divides by", xlabel="place in the volume (of its width)", ylim=(0, 1.05))
axes[2].spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# Each additional point of the kernel makes the error five to fifteen times smaller. fourierrecon works this way, with
# kernels of 4 to 6 points, and one shortcut: every slice cuts the planes across the tilt axis in straight lines,
# exactly as drawn here. So a tomogram is put together plane by plane, and one plane fits into the processor's cache.
# [Weightings compared](weightings.ipynb) shows what the Fourier grid is divided by, and [The CTF](ctf.ipynb) what the
# microscope does.

# %% [markdown]
# ## Exercise
#
# Leave every second image out, `back_project(TILTS[::2], ...)` with twice the `spacing` in the ramp, and look at the
# ring. At which frequency are neighbouring lines farther apart than one over its width of 76 px? (Crowther's rule: at
# one over the width times the angle between two tilts, in radians.)
