"""Reads points from binary models of IMOD (``.mod``), in which all numbers are big-endian.

As the format is published (IMOD's *Binary file format*): an identifier of 8 bytes and a header of 232; then chunks. An
object (``OBJT``) has 176 bytes, a contour (``CONT``) the number of its points, three integers, and 3 floats a point;
a mesh (``MESH``) the numbers of its vertices and indices, two integers, 3 floats a vertex and an integer an index. Any
other chunk has a mark of 4 bytes, its size, and its content; ``IEOF`` ends the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError

#: Bytes of the identifier and header; of an object; of the integers that begin contours and meshes.
HEADER, OBJECT, INTEGERS = 8 + 232, 176, 16


def read_model(path: Path) -> tuple[NDArray[np.float64], list[int], list[int]]:
    """Read the points of all contours.

    Parameters
    ----------
    path
        ``.mod`` file.

    Returns
    -------
    points
        ``(n_points, 3)``: x, y, z as the file has them.
    objects, contours
        0-based number of each point's object, and of its contour in it.

    Raises
    ------
    DataError
        If the file cannot be read, is cut off, or no model of IMOD.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if not raw.startswith(b"IMOD"):
        raise DataError(f"{path}: cannot be read as a model of IMOD: it does not begin with IMOD")
    parts, objects, contours = [np.empty((0, 3))], list[int](), list[int]()
    place, n_objects, n_contours = HEADER, 0, 0
    while True:
        mark, start = raw[place : place + 4], place + 4
        first, second = (int(n) for n in np.frombuffer(raw[start : start + 8].ljust(8, b"\0"), ">i4"))
        # a chunk of another kind, or of the integers and floats of a contour or mesh
        size = {b"IEOF": 0, b"OBJT": OBJECT, b"CONT": INTEGERS + 12 * first}.get(mark, 4 + first)
        if mark == b"MESH":
            size = INTEGERS + 12 * first + 4 * second
        sound = mark in (b"IEOF", b"OBJT") or (first >= 0 and (second >= 0 or mark != b"MESH"))
        end = start + size
        if len(mark) < 4 or not sound or end > len(raw):
            raise DataError(
                f"{path}: cannot be read as a model of IMOD: it is cut off, or damaged, at byte {place}; copy it again"
            )
        if mark == b"IEOF":
            return np.concatenate(parts), objects, contours
        if mark == b"OBJT":
            n_objects, n_contours = n_objects + 1, 0
        elif mark == b"CONT":
            parts.append(np.frombuffer(raw, ">f4", 3 * first, start + INTEGERS).reshape(-1, 3).astype(float))
            objects += [max(n_objects - 1, 0)] * first
            contours += [n_contours] * first
            n_contours += 1
        place = end
