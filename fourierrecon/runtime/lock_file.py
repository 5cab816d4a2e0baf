"""Opens files that processes of several people lock in turn, in a folder that they share."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TextIO, cast

from fourierrecon.errors import DataError


def open_lock(path: Path) -> TextIO:
    """Open a file for locking; make it if there is none.

    Whoever may write in its folder may lock it: a new file gets the folder's rights to read and write, whatever the
    umask is. A file that may only be read is locked all the same, where the file system allows that.

    Parameters
    ----------
    path
        Path of the file.

    Raises
    ------
    DataError
        If something else than a file has its name: a link would lead to a file that is none of ours.
    OSError
        If it cannot be opened.
    """
    flags = os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    mode = "a+"
    try:
        handle = os.open(path, flags | os.O_RDWR, 0o600)
    except PermissionError:
        mode, handle = "r", os.open(path, (flags & ~(os.O_CREAT | os.O_APPEND)) | os.O_RDONLY)
    except OSError as error:
        if path.is_symlink():
            raise DataError(f"{path} is a link, no lock file; remove it") from error
        raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise DataError(f"{path} is no regular file; remove it")
    rights = path.parent.stat().st_mode & 0o666
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != rights:
        os.fchmod(handle, rights)
    return cast(TextIO, os.fdopen(handle, mode))
