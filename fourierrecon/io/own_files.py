"""Files that are written under a fixed name carry a mark, so that no file of the user's own is replaced by one."""

from __future__ import annotations

from pathlib import Path

from fourierrecon.errors import UsageError

#: The mark stands within so many bytes from the beginning.
BEGINNING = 1000


def refuse_unmarked(path: Path, mark: str, writer: str) -> None:
    """Refuse to replace a file that was not written here.

    An empty file holds nothing to lose. What is no regular file is refused where it is written.

    Parameters
    ----------
    path
        File that is to be written.
    mark
        Text near the beginning of each such file that is written here.
    writer
        What writes such files, for the message.

    Raises
    ------
    UsageError
        If the file exists without the mark.
    """
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            beginning = file.read(BEGINNING)
    except OSError:
        beginning = b"unreadable"  # so it is not known to be ours
    if beginning and mark.encode() not in beginning:
        raise UsageError(
            f"{path} was not written by {writer}, and would be replaced; move it away, or choose another folder"
        )
