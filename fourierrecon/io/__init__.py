"""Files in and out: tilt series of RELION, IMOD, AreTomo and Warp, MRC stacks and volumes."""

from fourierrecon.io.files import check_writable
from fourierrecon.io.mrc import (
    FileImages,
    MrcStack,
    map_mrc_volume,
    read_mrc_volume,
    write_mrc,
    write_stack,
    writing_mrc,
)
from fourierrecon.io.relion import write_relion4_set, write_relion5_set
from fourierrecon.io.sources import Extras, read_all_series, read_series
from fourierrecon.io.star import list_tomograms, read_tilt_series

__all__ = [
    "Extras",
    "FileImages",
    "MrcStack",
    "check_writable",
    "list_tomograms",
    "map_mrc_volume",
    "read_all_series",
    "read_mrc_volume",
    "read_series",
    "read_tilt_series",
    "write_mrc",
    "write_relion4_set",
    "write_relion5_set",
    "write_stack",
    "writing_mrc",
]
