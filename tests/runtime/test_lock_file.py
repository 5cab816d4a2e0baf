"""Lock files in folders that several people share."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fourierrecon.errors import DataError
from fourierrecon.runtime.lock_file import open_lock
from fourierrecon.sets.lock import LOCK, locked


@pytest.mark.parametrize(
    ("folder", "file"), [(0o755, 0o644), (0o775, 0o664), (0o2770, 0o660), (0o777, 0o666), (0o700, 0o600)]
)
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_whoever_may_write_in_the_folder_may_lock(tmp_path: Path, folder: int, file: int, umask: int) -> None:
    tmp_path.chmod(folder)
    before = os.umask(umask)
    try:
        with locked(tmp_path, "1/2"):
            pass
        with locked(tmp_path):
            modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob(f"{LOCK}*")}
    finally:
        os.umask(before)
    assert modes == {file}


def test_no_link_is_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    (tmp_path / LOCK).symlink_to(other)
    with pytest.raises(DataError, match="is a link, no lock file; remove it"), locked(tmp_path):
        pass
    assert other.read_text() == "precious"


def test_other_things_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is no regular file; remove it"):
        open_lock(tmp_path / "pipe")


def test_a_file_that_may_only_be_read_is_locked_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, mode)

    for name in (LOCK, f"{LOCK}-turn"):
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "open", refuse)
    with locked(tmp_path), pytest.raises(DataError, match="another process works there"), locked(tmp_path):
        pass
