"""Options of other programs, and what stands for them here."""

from __future__ import annotations

from collections.abc import Sequence

_LEAVE_CROPPING = "binning is always by Fourier cropping here: leave it out"
_NO_GPU = "everything runs on the CPU: leave it out; --j N sets the number of threads"
_THREADS = "use --j"
_DEPTH = "the depth of the tomogram is --d, in unbinned pixels"
_BINNING = "use --bin, or --binned_angpix for a voxel size in Å"
_INPUT = "use --t, for sets of RELION as for tilt series of IMOD, AreTomo, Warp or EMAN2"
_OUTPUT = "use --o"
_CONTRAST = "grey values keep the contrast of the images unless --invert is given: leave it out"
_HALVES = "use --halves frames or --halves tilts, with a folder: --o FOLDER/"
#: Remedy by option, in small letters and without its first hyphens.
INSTEAD = {
    # RELION
    "fc": _LEAVE_CROPPING,
    "fourier": "reconstruction is always in Fourier space here: leave it out",
    "skip_fourier_wiener": "use --profile relion5.1-premultiply: the CTF is applied and not divided by",
    "skip_wiener": "use --no_weight: the CTF is applied and nothing is divided",
    "theme": "leave it out; NO_COLOR=1 in the environment turns colours off",
    "do_even_odd": _HALVES,
    # AreTomo
    "gpu": _NO_GPU,
    "outbin": _BINNING,
    "volz": _DEPTH,
    "inmrc": _INPUT,
    "outmrc": _OUTPUT,
    "pixsize": "the pixel size of the images is --angpix; the files mostly name it",
    "kv": "use --voltage",
    "flipvol": "use --like aretomo-flipvol",
    "wbp": "use --profile aretomo-wbp, or leave it out for the 3D Wiener filter",
    "fakesirtiterations": "use --profile imod-sirtlike:N",
    "sart": "use --weighting sirt:N for N iterations, or leave it out for the 3D Wiener filter",
    "flipint": _CONTRAST,
    "ampcontrast": "use --Q0",
    "tiltaxis": "the tilt axis comes with the alignment; give the .aln file with --t",
    "angfile": "the angles come with the alignment; give the .aln file with --t",
    "patch": "alignment is not done here; give the .aln file with --t",
    "alignz": "alignment is not done here; give the .aln file with --t",
    "tiltcor": "use --tiltangle_offset with the angle",
    # IMOD
    "thickness": _DEPTH,
    "input": _INPUT,
    "inputprojections": _INPUT,
    "output": _OUTPUT,
    "outputfile": _OUTPUT,
    "imagebinned": _BINNING,
    "usegpu": _NO_GPU,
    "radial": "use --weighting ramp:cutoff=0.35,sigma=0.035, or --profile imod-ramp",
    "hamminglikefilter": "use --weighting ramp:hamming=0.1, for example",
    "mode": "use --dtype",
    "width": "use --w",
    "tiltfile": "the angles come with the alignment; give tilt.com or eTomo's folder with --t",
    "offset": "use --tiltangle_offset",
    "xaxistilt": "use --x_tilt",
    "shift": "use --z_shift",
    "fullimage": "use --w and --h",
    # Warp
    "dont_invert": _CONTRAST,
    "normalized": "use --normalise",
    "dont_normalize": "leave it out: grey values stay as they are unless --normalise is given",
    "deconv": "use --deconvolve",
    "deconv_strength": "use --deconvolve_strength",
    "deconv_falloff": "use --deconvolve_falloff",
    "excludelist": "use --exclude, with the same numbers",
    "excludelist2": "use --exclude, with the same numbers",
    "darktol": "use --skip_bad_images, or --exclude with the numbers of the images",
    "corrctf": "the CTF is corrected by default; Warp's and IsoNet's filter is --deconvolve",
    "settings": _INPUT,
    "input_processing": _INPUT,
    "output_processing": _OUTPUT,
    "input_data": _INPUT,
    "output_angpix": _BINNING,
    "halfmap_frames": _HALVES,
    "halfmap_tilts": _HALVES,
    "device_list": _NO_GPU,
    "perdevice": _NO_GPU,
    # EMAN2, and what many programs have
    "clipz": _DEPTH,
    "threads": _THREADS,
    "cpus": _THREADS,
    "cpu": _THREADS,
    "nthreads": _THREADS,
    "voxel_size": _BINNING,
    "voxelsize": _BINNING,
    "binning": _BINNING,
    "overwrite": "a file is replaced when the new one is whole, volumes of a set with --redo",
    "depth": _DEPTH,
}


def instead_of(words: Sequence[str]) -> str:
    """Give the answer to the first option of another program; an empty text if there is none.

    Parameters
    ----------
    words
        Command line without the program's name.
    """
    for word in words:
        if word.startswith("-"):
            option = word.partition("=")[0]
            name = option.lstrip("-").replace("-", "_").lower()
            if name in INSTEAD:
                return f"no option {option}; {INSTEAD[name]}"
    return ""
