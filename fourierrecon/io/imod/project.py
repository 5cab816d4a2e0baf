"""Finds the files of a tilt series that IMOD (eTomo) aligned, by its command files and by their usual names."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.imod.text import Options, angle, beside, number, read_angles, read_command_file, read_rows
from fourierrecon.text import counted


class Files:
    """The files of a series, found from the folder, ``tilt.com`` or ``.xf`` file given."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.tilt_com: Path | None = None
        self.xf: Path | None = None
        is_folder = os.path.isdir(source)
        self.folder = source if is_folder else source.parent
        if not is_folder and not os.path.isfile(source):
            raise DataError(f"{str(source)!r} not found; give an eTomo folder, its tilt.com or a .xf file")
        if is_folder:
            self._find()
        elif source.suffix.lower() == ".com":
            self.tilt_com = source
        elif source.suffix.lower() == ".xf":
            self.xf = source
            self.tilt_com = self._command_file_of(source.stem)
        else:
            raise DataError(f"{source} is neither a .com nor a .xf file; give an eTomo folder, its tilt.com or a .xf")
        #: ``a`` or ``b`` for the axes of a double tilt series, whose command files are ``tilta.com``...
        match = re.match(r"tilt([ab])\.com$", self.tilt_com.name if self.tilt_com else "")
        self.axis = match[1] if match else ""
        self._options: dict[str, Options] = {}
        self.base = self._base()

    def _find(self) -> None:
        """Find the command file or, without one, the alignment in a folder."""
        commands = [self.folder / f"tilt{axis}.com" for axis in ("", "a", "b")]
        commands = [path for path in commands if os.path.isfile(path)]
        transforms = sorted(p for p in self.folder.glob("[!.]*.xf") if not p.stem.endswith("_fid"))
        found = commands or transforms
        if not found:
            raise DataError(
                f"{self.folder} holds neither tilt.com nor a .xf file; give the folder that eTomo worked in"
            )
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise DataError(f"{self.folder} holds more than one alignment: {names}; give one of these files")
        self.tilt_com, self.xf = (found[0], None) if commands else (None, found[0])

    def _command_file_of(self, base: str) -> Path | None:
        """Give the ``tilt.com`` beside a ``.xf`` file, if it is of the same series."""
        for axis in ("", "a", "b"):
            path = self.folder / f"tilt{axis}.com"
            if os.path.isfile(path):
                options = read_command_file(path, "tilt")
                names = [options.text(name) for name in ("TILTFILE", "InputProjections")]
                if any(re.match(rf"(.*[/\\])?{re.escape(base)}(_ali)?\.\w+$", name) for name in names):
                    return path
        return None

    def options(self, name: str, program: str) -> Options:
        """Give the options in a command file; none if there is no such file, or no ``tilt.com`` to go with it."""
        if name not in self._options:
            path = self.folder / f"{name}{self.axis}.com"
            if name == "tilt" and self.tilt_com:
                path = self.tilt_com
            known = self.tilt_com is not None and os.path.isfile(path)
            self._options[name] = read_command_file(path, program) if known else Options(path)
        return self._options[name]

    def _base(self) -> str:
        """Give the name that the files of the series have in common."""
        if self.xf:
            return self.xf.stem
        tilt, newst = self.options("tilt", "tilt"), self.options("newst", "newstack")
        for options, name in ((newst, "TransformFile"), (tilt, "TILTFILE"), (tilt, "InputProjections")):
            if stem := Path(re.split(r"[/\\]", options.text(name))[-1]).stem:
                return stem.removesuffix("_ali").removesuffix("_fid")
        found = sorted(p.stem for p in self.folder.glob("[!.]*.xf") if not p.stem.endswith("_fid"))
        if len(found) != 1:
            raise DataError(
                f"{tilt.path} does not name the series (option TILTFILE), and {len(found)} .xf files lie beside it; "
                f"give the .xf file"
            )
        return found[0]

    def named(self, options: Options, name: str, *endings: str) -> Path | None:
        """Find the file that an option names, else the first that has one of these endings."""
        found = beside(self.folder, options.text(name))
        if found is None and self.folder.absolute().name.endswith("_Imod"):
            # AreTomo 3 makes this folder where the raw stack is
            found = beside(self.folder.absolute().parent, options.text(name))
        names = (self.folder / f"{self.base}{ending}" for ending in endings)
        return found or next((path for path in names if os.path.isfile(path)), None)

    def transforms(self, newst: Options) -> Path:
        """Find the ``.xf`` file."""
        found = self.xf or self.named(newst, "TransformFile", ".xf")
        if found is None:
            name = newst.text("TransformFile")
            where, what = (newst.where("TransformFile"), name) if name else (self.folder, f"{self.base}.xf")
            raise DataError(f"{where}: {what} not found; was the final aligned stack not made yet?")
        return found

    def angles(
        self, tilt: Options, n: int, noted: tuple[str, NDArray[np.float64]] | None = None
    ) -> NDArray[np.float64]:
        """Read the tilt angles of all views, degrees, ``(n,)``; without a file ``noted`` ones, named for messages."""
        entries = tilt.entries.get("angles", [])
        if entries:
            words = [(line, word) for line, text in entries for word in re.split(r"[,\s]+", text)]
            places = [f"{tilt.path}, line {line}, ANGLES" for line, _ in words]
            angles = [angle(number(word, where), where) for (_, word), where in zip(words, places, strict=True)]
            if len(angles) != n:
                raise DataError(
                    f"{tilt.where('ANGLES')}: {counted(len(angles), 'angle')} for {counted(n, 'view')}; needed: one a "
                    "view"
                )
            return np.array(angles)
        found = self.named(tilt, "TILTFILE", ".tlt", ".rawtlt")
        if found is None and noted is not None:
            warnings.warn(f"{noted[0]}: nominal tilt angles taken, as there is no .tlt nor .rawtlt file", stacklevel=3)
            return noted[1]
        if found is None:
            raise DataError(f"{self.folder}: {self.base}.tlt not found, nor .rawtlt; put the tilt angles there")
        if found.suffix == ".rawtlt":
            warnings.warn(f"{found}: nominal tilt angles taken, as there is no .tlt file beside it", stacklevel=3)
        return read_angles(found, n)

    def x_tilts(self, tilt: Options, n: int) -> NDArray[np.float64]:
        """Read the tilts about x, degrees, ``(n,)``."""
        # without tilt.com nothing says whether the program tilt used such a file: it is there for that
        found = self.named(tilt, "XTILTFILE", *(() if self.tilt_com else (".xtilt",)))
        if found is None and tilt.text("XTILTFILE"):
            raise DataError(f"{tilt.where('XTILTFILE')}: {tilt.text('XTILTFILE')} not found; copy it there")
        if found is None:
            return np.zeros(n)
        # AreTomo 3 counts the dark images where its .xf does not, and the other way round; all its x tilts are 0
        values = {value for _, row in read_rows(found, 1, 10_000, "an x tilt") for value in row}
        return np.full(n, angle(values.pop(), str(found))) if len(values) == 1 else read_angles(found, n, "x tilt")
