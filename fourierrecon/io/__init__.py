"""Files in and out: tilt series of any program, image stacks, points, and volumes as MRC and OME-Zarr.

Files go in, and :class:`~fourierrecon.tilt_series.TiltSeries` or :class:`~fourierrecon.volume.Volume` come out, or the
other way. Images are read one at a time, when they are used. Whatever is written is there whole or not at all. This
room knows ``geometry``, ``volume``, ``tilt_series``, ``runtime`` and ``errors``; it knows nothing of weightings, of the
engine or of quality.

The verbs: :func:`read_tilt_series`, :func:`list_tomograms`, :func:`read_volume`, :func:`write_volume`,
:func:`writing_volume`, :func:`open_stack`, :func:`write_stack`, :func:`write_relion4_set`, :func:`write_relion5_set`.
"""

from fourierrecon.io.files import check_writable
from fourierrecon.io.relion.write import write_relion4_set, write_relion5_set
from fourierrecon.io.stacks.mrc import MrcStack
from fourierrecon.io.stacks.open import FileImages, open_stack
from fourierrecon.io.stacks.write import write_stack
from fourierrecon.io.tilt_series import Supplement, list_tomograms, read_all_tilt_series, read_tilt_series
from fourierrecon.io.volumes.formats import map_volume, open_volume, read_volume, write_volume, writing_volume
from fourierrecon.io.volumes.mrc import read_mrc_volume, write_mrc, writing_mrc
from fourierrecon.io.volumes.zarr import read_zarr_volume

__all__ = [
    "FileImages",
    "MrcStack",
    "Supplement",
    "check_writable",
    "list_tomograms",
    "map_volume",
    "open_stack",
    "open_volume",
    "read_all_tilt_series",
    "read_mrc_volume",
    "read_tilt_series",
    "read_volume",
    "read_zarr_volume",
    "write_mrc",
    "write_relion4_set",
    "write_relion5_set",
    "write_stack",
    "write_volume",
    "writing_mrc",
    "writing_volume",
]
