"""Works out the figures of a report: the tilt series, the volume and the half volumes of one tomogram are read."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourierrecon.display.preview import preview_memory
from fourierrecon.display.sections import sections, thickness_in_voxels
from fourierrecon.errors import DataError, FourierReconError
from fourierrecon.geometry.sound_images import numbers_in_source
from fourierrecon.io.volumes.formats import map_volume
from fourierrecon.quality.agreement import TiltAgreement, tilt_agreement
from fourierrecon.quality.bad_images import find_bad_images
from fourierrecon.quality.fsc import ShellCorrelation, shell_correlation
from fourierrecon.quality.masks import soft_box
from fourierrecon.quality.specimen_slab import SpecimenSlab, estimate_slab
from fourierrecon.quality.tilt_matching import FINEST, SAMPLES
from fourierrecon.quality.wedge import tilt_range_mask, wedge_mask
from fourierrecon.report.findings import WORDS, Findings, TiltRow
from fourierrecon.report.subjects import Subject, oriented, snr_of, volume_facts
from fourierrecon.runtime.memory import forget, release
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tomogram import checks
from fourierrecon.transfer import Correction
from fourierrecon.volume import Volume

#: Voxels of the box in the middle that spectrum and Fourier shell correlation are taken from, at the most.
MOST = 1 << 22
#: Part of each of its sides over which it fades out.
FALLOFF = 0.1
#: Grey values are taken from so many voxels at the most.
GREYS = 1 << 20


def report_memory(series: TiltSeries, shape: tuple[int, int, int], n_threads: int) -> int:
    """Give the bytes of memory that a report on a volume takes.

    Parameters
    ----------
    series
        Tilt series that the volume was made from.
    shape
        ``(z, y, x)`` voxels.
    n_threads
        Number of threads, each of which holds an image.
    """
    depth, height, width = shape
    pixels = math.prod(series.image_shape)
    # small copies of all images, to be compared; their pixels are rounded by whole voxels, so down to two thirds
    small = series.n_tilts * pixels / max(1.0, FINEST / SAMPLES / 1.5 / series.pixel_size) ** 2
    box = min(MOST, depth * height * width)
    return preview_memory(shape) + 30 * box + n_threads * 24 * pixels + int(16 * small)


def find_out(subject: Subject, *, n_threads: int | None = None) -> Findings:
    """Work out all figures of one tomogram; troubles become part of the findings and are not raised.

    Parameters
    ----------
    subject
        The tomogram.
    n_threads
        Number of threads. Default: the cores available to the process.
    """
    started = time.perf_counter()
    release()
    findings = Findings(subject=subject, error=subject.error, facts=subject.facts, notes=subject.notes)
    volume: Volume | None = None
    if subject.path is not None:
        try:
            volume = oriented(map_volume(subject.path), subject)
            findings = _of_volume(findings, volume)
            facts = _merged(subject.facts, volume_facts(subject.path))
            findings = replace(findings, facts=facts, snr=snr_of(subject.path))
        except (FourierReconError, OSError) as error:
            findings, volume = replace(findings, error=f"{subject.path}: {error}"), None
    if subject.series is not None:
        made = Correction.from_words(" ".join(f"{label} {text}" for label, text in findings.facts))
        rows, problem = _tilts(subject, subject.series, volume, made, n_threads)
        findings = replace(findings, tilts=rows, no_agreement=problem)
    return replace(findings, seconds=time.perf_counter() - started)


def _of_volume(findings: Findings, volume: Volume) -> Findings:
    """Add the figures of the volume and of its halves; a volume without contrast is an error."""
    subject = findings.subject
    step = max(1, math.ceil((volume.data.size / GREYS) ** (1 / 3)))
    sample = _sample(volume.data, step)
    if not np.isfinite(sample).all():
        raise DataError(
            f"{(~np.isfinite(sample)).mean():.2%} of its voxels are not finite; remove the file, and reconstruct again"
        )
    if sample.size > 1 and sample.min() == sample.max() == volume.data.min() == volume.data.max():
        raise DataError(f"every voxel is {sample.flat[0]:g}; look at its images, at their CTF and at the region")
    slab, no_slab = _slab(volume, subject)
    depth = volume.data.shape[0]
    # the middle of the specimen shows more than that of the box
    at = 0.5 if slab is None or not slab.found else 0.5 + slab.centre / (depth * volume.voxel_size)
    thick = thickness_in_voxels(None, volume.voxel_size)
    greys = (*np.percentile(sample, (0, 0.3, 50, 99.7, 100)), sample.std()) if sample.size else ()
    findings = replace(
        findings,
        shape=volume.data.shape,
        voxel_size=volume.voxel_size,
        views=sections(volume, thick, (min(max(at, 0.05), 0.95), 0.5, 0.5)),
        thick=thick,
        slab=slab,
        no_slab=no_slab,
        greys=tuple(float(g) for g in greys),
    )
    if volume.voxel_size > 0 and min(volume.data.shape) >= 4:
        box = _box(volume, slab)
        measured = _wedge(box, subject)
        part = _part(volume.data, box)
        findings = replace(findings, spectrum=_spectrum(part, volume.voxel_size, measured))
        del part
        if subject.halves is not None:
            try:
                halves = [_part(oriented(map_volume(path), subject).data, box) for path in subject.halves]
                findings = replace(findings, curve=_curve(halves[0], halves[1], volume.voxel_size, measured))
            except (FourierReconError, OSError) as error:
                findings = replace(findings, notes=(*findings.notes, f"the half volumes cannot be compared: {error}"))
    return findings


def _slab(volume: Volume, subject: Subject) -> tuple[SpecimenSlab | None, str]:
    """Find the slab in the volume, and the reason why there is none; a slab that the volume was fitted to wins."""
    slab: SpecimenSlab | None = None
    problem = ""
    try:
        slab = estimate_slab(volume)
        problem = slab.problem
    except FourierReconError as error:
        problem = str(error)
    if subject.specimen is None or subject.series is None or subject.region is None:
        return slab, problem
    measured = subject.specimen.slab_in(subject.region, subject.series.pixel_size)
    if measured is None:
        return slab, problem
    if slab is not None:
        measured = replace(measured, contrast=slab.contrast, z=slab.z, profile=slab.profile)
    return measured, ""


def _tilts(
    subject: Subject, series: TiltSeries, volume: Volume | None, made: Correction | None, n_threads: int | None
) -> tuple[tuple[TiltRow, ...], str]:
    """Make the rows of all images, and give the reason why they were not compared with the volume, if so.

    The volume is ``made`` with this correction; None: it is not known.
    """
    region = subject.region
    bad: dict[int, str] = {}
    agreement: dict[int, TiltAgreement] = {}
    problem = "" if volume is not None else "there is no tomogram to compare them with"
    try:
        corrected = made is None or made.ctf_mode != "none"
        bad = find_bad_images(series, ctf=corrected, n_threads=n_threads)
        good = [tilt for tilt in range(series.n_tilts) if tilt not in bad]
        if volume is not None and region is None:
            problem = "the volume's place in its tilt series is not known"
        elif volume is not None and good:
            rows = tilt_agreement(series.select(good), volume, correction=made, n_threads=n_threads)
            agreement = dict(zip(good, rows, strict=True))
    except (FourierReconError, OSError) as error:
        problem = str(error)
    coverage = None if region is None else checks.visibility(series, region).mean(1)
    numbers = numbers_in_source(series)
    rows_of: list[TiltRow] = []
    for tilt, angle in enumerate(series.tilt_angles):
        found = agreement.get(tilt)
        flag = bad[tilt].partition(":")[0] if tilt in bad else found.flag if found else ""
        reason = bad.get(tilt, "") + "; left out" * (tilt in bad and subject.skipped)
        ctf = series.ctf
        rows_of.append(
            TiltRow(
                number=numbers[tilt],
                angle=float(angle),
                defocus=None if ctf is None else float(ctf.defocus_u[tilt] + ctf.defocus_v[tilt]) / 2e4,
                exposure=None if series.exposure is None else float(series.exposure[tilt]),
                coverage=None if coverage is None else float(coverage[tilt]),
                agreement=found,
                flag=flag,
                words=_words(flag, reason, found, series.pixel_size),
            )
        )
    rows_of += [TiltRow(number=number, flag="excluded", words=WORDS["excluded"]) for number in series.excluded]
    return tuple(sorted(rows_of, key=lambda row: row.number)), problem


def _words(flag: str, reason: str, found: TiltAgreement | None, pixel_size: float) -> str:
    """Describe the fault of an image, with figures."""
    if reason or found is None:
        return reason
    if flag == "misaligned":
        pixels = math.hypot(*found.shift) / pixel_size
        return f"misaligned: lies {pixels:.1f} px ({math.hypot(*found.shift):.0f} Å) or more aside of its reprojection"
    if flag == "wrong angle":
        return f"wrong angle: {found.best_angle:.0f}° fits better than {found.tilt_angle:.0f}°"
    return WORDS.get(flag, flag)


def _box(volume: Volume, slab: SpecimenSlab | None) -> tuple[slice, slice, slice]:
    """Choose a box in the middle, at full resolution: of z what the specimen takes, and the faces' fading."""
    depth, height, width = volume.data.shape
    low, high = 0, depth
    if slab is not None and slab.found:
        half = (slab.thickness / 2) / volume.voxel_size
        middle = (depth - 1) / 2 + slab.centre / volume.voxel_size
        room = half * (1 + 2 * FALLOFF) + 2
        low, high = max(0, math.floor(middle - room)), min(depth, math.ceil(middle + room))
        if high - low < 4:
            low, high = 0, depth
    share = min(1.0, math.sqrt(MOST / ((high - low) * height * width)))
    sides = [max(4, int(share * n)) for n in (height, width)]
    starts = [(n - s) // 2 for n, s in zip((height, width), sides, strict=True)]
    return (slice(low, high), *(slice(a, a + s) for a, s in zip(starts, sides, strict=True)))  # type: ignore[return-value]


def _wedge(box: tuple[slice, slice, slice], subject: Subject) -> NDArray[np.bool_] | None:
    """Find the Fourier points of a box that the tilts measured; None where nothing is known of them."""
    depth, height, width = (s.stop - s.start for s in box)
    if subject.series is None:
        return None
    if subject.region is not None:
        return wedge_mask((depth, height, width), subject.series.projections)
    angles = subject.series.tilt_angles
    low, high = float(angles.min()), float(angles.max())
    return tilt_range_mask((depth, height, width), (low, high)) if 0 < high - low < 180 else None


def _curve(
    a: NDArray[np.generic], b: NDArray[np.generic], voxel_size: float, measured: NDArray[np.bool_] | None
) -> ShellCorrelation:
    depth, height, width = a.shape
    mask = soft_box((depth, height, width), (FALLOFF * depth, FALLOFF * height, FALLOFF * width))
    first, second = (np.asarray(each, np.float32) for each in (a, b))
    return shell_correlation(first, second, voxel_size, mask=mask, measured=measured)


def _sample(data: NDArray[np.generic], step: int) -> NDArray[np.float64]:
    """Take every so many voxels along each axis, plane by plane."""
    found = []
    for plane in data[::step]:
        found.append(np.asarray(plane[::step, ::step], np.float64).ravel())
        forget(data)
    return np.concatenate(found)


def _part(data: NDArray[np.generic], box: tuple[slice, slice, slice]) -> NDArray[np.float32]:
    """Copy a box out of a volume."""
    part = np.array(data[box], np.float32)
    forget(data)
    return part


def _spectrum(
    data: NDArray[np.float32], voxel_size: float, measured: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Average amplitudes over shells of the measured wedge."""
    import scipy.fft

    from fourierrecon.runtime.threads import available_cores

    depth, height, width = data.shape
    mask = soft_box((depth, height, width), (FALLOFF * depth, FALLOFF * height, FALLOFF * width))
    finite = np.where(np.isfinite(data), data, np.float32(0))
    finite -= np.float32(finite.mean(dtype=float))
    finite *= mask
    spectrum = scipy.fft.rfftn(finite, workers=available_cores(), overwrite_x=True)
    across = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width) ** 2
    shells = max(4, round((depth * height * width) ** (1 / 3) / 2))
    counts, power = np.zeros(shells), np.zeros(shells)
    for z, along in enumerate(np.fft.fftfreq(depth)):
        shell = (np.sqrt(along**2 + across) * 2 * shells).astype(np.int64)
        chosen = shell < shells
        if measured is not None:
            chosen &= measured[z]
        counts += np.bincount(shell[chosen], minlength=shells)
        power += np.bincount(shell[chosen], np.abs(spectrum[z][chosen]) ** 2, shells)
    amplitude = np.sqrt(power / np.maximum(counts, 1))
    if not amplitude.max() > 0:
        return None
    return (np.arange(shells) + 0.5) / (2 * shells * voxel_size), amplitude / amplitude.max()


def _merged(facts: tuple[tuple[str, str], ...], more: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Add facts, but for those that are known under their label."""
    known = {label for label, _ in facts}
    return (*facts, *(fact for fact in more if fact[0] not in known))
