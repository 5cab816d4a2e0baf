"""Turns the arguments that messages of the library name into options of the command line."""

from __future__ import annotations

import re

from fourierrecon.text import in_one_line

#: Option for each argument of the library that a message names: as ``memory=...``, or with a value.
OPTIONS = {
    # what is read
    "name": "--tn",
    "stack": "--stack",
    "pixel_size": "--angpix",
    "images": "--halves",
    "mdoc": "--mdoc",
    "voltage": "--voltage",
    "spherical_aberration": "--Cs",
    "amplitude_contrast": "--Q0",
    # alignment
    "tilt_angle": "--tiltangle_offset",
    "x_tilt": "--x_tilt",
    "z_shift": "--z_shift",
    "flip_hand": "--flip_hand",
    "local": "--local",
    "residual": "--local_residual",
    # weighting, CTF and images
    "weighting": "--weighting",
    "snr": "--SNR",
    "ctf_mode": "--ctf_mode",
    "exposure": "--exposure",
    "tilt_weight": "--tilt_weight",
    "ctf_depth": "--ctf_depth",
    "defocus_hand": "--defocus_hand",
    "keep_mean": "--keep_mean",
    "flatten": "--flatten",
    "skip_bad_images": "--skip_bad_images",
    "taper_distance": "--td",
    "taper_falloff": "--tf",
    "exclude": "--exclude",
    "max_tilt": "--max_tilt",
    "level": "--level",
    # grey values
    "invert": "--invert",
    "normalise": "--normalise",
    "lowpass": "--lowpass",
    "deconvolve": "--deconvolve",
    "deconvolve_strength": "--deconvolve_strength",
    "deconvolve_falloff": "--deconvolve_falloff",
    "viewing_copy": "--viewing_copy",
    "ome_version": "--ome_version",
    "aligned_stack": "--aligned_stack",
    "hot_pixels": "--hot_pixels",
    "intensities": "--intensities",
    "erase_beads": "--erase_beads",
    # region
    "origin": "--x0 --y0 --z0",
    "size": "--w --h --d",
    "width": "--w",
    "height": "--h",
    "depth": "--d",
    "binning": "--bin",
    "voxel_size": "--binned_angpix",
    # what is written
    "folder": "--o",
    "output": "--o",
    "like": "--like",
    "passport": "--passport",
    "preview": "--preview",
    "picture": "--png",
    "report": "--report",
    "dtype": "--dtype",
    "ending": "--format",
    # sets
    "halves": "--halves",
    "projection": "--do_proj",
    "centre": "--centre_proj",
    "companions": "--companions",
    "redo": "--redo",
    "part": "--shard",
    # running
    "n_threads": "--j",
    "memory": "--memory",
    "scratch": "--scratch",
    "port": "--port",
    # clusters
    "scheduler": "--scheduler",
    "kind": "--cluster",
    "cluster": "--cluster",
    "workers": "--workers",
    "tls": "--tls_ca --tls_cert --tls_key",
    "tls_ca": "--tls_ca",
    "tls_cert": "--tls_cert",
    "tls_key": "--tls_key",
    # import and convert-coords
    "version": "--as",
    "rotations_only": "--rotations_only",
    "source": "--from",
    "frame": "--from",
    "volume": "--volume",
    # extract
    "picks": "--picks",
    "box": "--box",
    "window": "--window",
    "layout": "--kind",
    "diameter": "--diameter",
    "resume": "--resume",
    "set": "--t",
    # tilts
    "thickness": "--thickness",
}
#: Options of commands that name an argument otherwise.
OF_COMMANDS = {
    "convert": {"voxel_size": "--angpix"},
    "convert-coords": {"size": "--size"},
}
# not within a path, a weighting as wiener:snr=10, or a representation as Wiener(snr=10)
_ARGUMENT = re.compile(
    rf"(?<![\w/.:,])(?<!\w\()({'|'.join(OPTIONS)})="
    r'(?:(\.\.\.|True\b)|"([^"]*)"|\'([^\']*)\'|(?=(?:\w+://\S|[\w+-]+(?:\.\d+)?(?![.:]?[\w/-]))))'
)


def in_options(message: str, command: str = "") -> str:
    """Name options of the command line where the library names its arguments.

    ``memory=...`` becomes ``--memory``, ``halves="tilts"`` becomes ``--halves tilts``, ``pixel_size=-3`` becomes
    ``--angpix -3``, and a switch, ``skip_bad_images=True``, becomes ``--skip_bad_images``.

    Parameters
    ----------
    message
        Text of an error or a warning of the library.
    command
        Command whose options are meant, for arguments that several commands name differently.
    """
    options = OPTIONS | OF_COMMANDS.get(command, {})

    def option(found: re.Match[str]) -> str:
        name, no_value, *quoted = found.groups("")
        return options[name] if no_value else f"{options[name]} {''.join(quoted)}"

    return _ARGUMENT.sub(option, message.replace("ctf=False", "--noctf"))


def warning_in_options(message: str, command: str = "") -> str:
    """Give a warning of the library as one line that names options.

    Parameters
    ----------
    message
        Text of the warning.
    command
        As for :func:`in_options`.
    """
    return in_options(in_one_line(message), command)
