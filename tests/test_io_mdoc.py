"""SerialEM's mdoc: what it notes of each tilt, joined to a series; every fault named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import DataError
from fourierrecon.geometry import projection_matrices
from fourierrecon.io import FileImages, write_stack
from fourierrecon.io.mdoc import join_mdoc, read_mdoc
from fourierrecon.tilt_series import TiltSeries

pytest.importorskip("mdocfile", reason="mdocfile is not installed")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "metadata" / "teamtomo_parsers_testdata" / "mdocfile"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside this checkout")

MDOC = r"""PixelSpacing = 5.4
ImageFile = TS_01.mrc
ImageSize = 924 958
T = not in brackets = fine

[T = SerialEM: Digitized on some Krios                       30-Nov-15  15:14:20    ]

[ZValue = 0]
TiltAngle = 0.001
MinMaxMean = not three numbers
ExposureDose = 2
PixelSpacing = 5.4
SubFramePath = D:\DATA\frames\TS_01_000_0.0.mrc
DateTime = 30-Nov-15  15:21:38

[ZValue = 1]
TiltAngle = 3.0
ExposureDose = 2.5
SubFramePath = D:\DATA\frames\TS_01_001_3.0.mrc
DateTime = 30-Nov-15  15:22:37

[ZValue = 2]
TiltAngle = -3.0
ExposureDose = 3
SubFramePath = D:\DATA\frames\TS_01_002_-3.0.mrc
DateTime = 30-Nov-15  15:22:07
"""


@pytest.fixture
def mdoc(tmp_path: Path) -> Path:
    path = tmp_path / "TS_01.mrc.mdoc"
    path.write_text(MDOC)
    return path


def edit(path: Path, *changes: tuple[str, str]) -> Path:
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def series_of(angles: list[float], **rest: object) -> TiltSeries:
    images = np.zeros((len(angles), 8, 10), np.float32)
    matrices = projection_matrices((8, 10), (0, 0, 0), angles)
    return TiltSeries(images, matrices, 5.4, tilt_angles=np.array(angles), **rest)  # type: ignore[arg-type]


def test_what_is_read(mdoc: Path) -> None:
    notes = read_mdoc(mdoc)
    assert [image.z for image in notes.images] == [0, 1, 2]
    assert [image.tilt_angle for image in notes.images] == [0.001, 3, -3]
    assert [image.exposure for image in notes.images] == [2, 2.5, 3]
    assert [image.prior_exposure for image in notes.images] == [None] * 3
    assert [image.pixel_size for image in notes.images] == [5.4, None, None]
    assert notes.images[2].file_name == "TS_01_002_-3.0.mrc"
    # the third was taken before the second
    assert [image.order for image in notes.images] == [0, 2, 1]
    exposure = notes.exposure_before
    assert exposure is not None
    np.testing.assert_allclose(exposure, [0, 5, 2])


@pytest.mark.parametrize("ends", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "latin-1"])
def test_line_ends_and_encodings(mdoc: Path, ends: str, encoding: str) -> None:
    want = read_mdoc(mdoc).images
    mdoc.write_bytes(MDOC.replace("some", "Göttingen's").replace("\n", ends).encode(encoding))
    assert read_mdoc(mdoc).images == want


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        ((("30-Nov-15  15:22:07", "1-dec-2015 00:00:00"),), [0, 2, 4.5]),
        ((("TiltAngle", "PriorRecordDose = 7\nTiltAngle"),), [7, 7, 7]),
        ((("TiltAngle", "PriorRecordDose = 0\nTiltAngle"),), [0, 5, 2]),
        ((("TiltAngle = 3.0", "PriorRecordDose = 7\nTiltAngle = 3.0"),), [0, 5, 2]),
    ],
)
def test_exposure_before(mdoc: Path, changes: tuple[tuple[str, str], ...], want: list[float]) -> None:
    exposure = read_mdoc(edit(mdoc, *changes)).exposure_before
    assert exposure is not None
    np.testing.assert_allclose(exposure, want)


@pytest.mark.parametrize("time", ["30-Nov-15 15:22", "31-Nov-15 15:22:07", "30-Nov-15 25:00:00", ""])
def test_order_of_the_file_where_a_time_is_not_known(mdoc: Path, time: str) -> None:
    edit(mdoc, ("30-Nov-15  15:22:07", time))
    with pytest.warns(UserWarning, match=r"line 22: this section has no readable DateTime") as caught:
        exposure = read_mdoc(mdoc).exposure_before
    assert caught[0].filename == __file__
    assert exposure is not None
    np.testing.assert_allclose(exposure, [0, 2, 4.5])


def test_frame_sets(mdoc: Path) -> None:
    want = read_mdoc(mdoc).images
    # one that tilts follow is no tilt; alone they are tilts, whatever their numbers
    edit(mdoc, ("[ZValue = 0]", "[FrameSet = 0]\nTiltAngle = 60\n\n[ZValue = 0]"))
    assert read_mdoc(mdoc).images == want
    edit(mdoc, ("[FrameSet = 0]\nTiltAngle = 60\n\n", ""))
    for i in range(3):
        edit(mdoc, (f"[ZValue = {i}]", "[FrameSet = 0]"))
    assert read_mdoc(mdoc).images == want


def test_joined_by_z_value(mdoc: Path) -> None:
    series = join_mdoc(series_of([0, 3, -3]), mdoc)
    assert series.exposure is not None
    np.testing.assert_allclose(series.exposure, [0, 5, 2])
    # an offset of all angles, or their sign, is no difference; sections may come in any order
    text = mdoc.read_text()
    head, first, second, third = text.split("\n[ZValue")
    mdoc.write_text("\n[ZValue".join([head, third, first, second]))
    for angles in ([-7.0, -4.0, -10.0], [0.1, -3, 3]):
        series = join_mdoc(series_of(angles), read_mdoc(mdoc))
        assert series.exposure is not None
        np.testing.assert_allclose(series.exposure, [0, 5, 2])
    with pytest.raises(DataError, match=r"the tilt angles stray by 6 degrees, 2 allowed; .* another order"):
        join_mdoc(series_of([-3, 0, 3]), mdoc)
    with pytest.raises(DataError, match=r"3 sections for 2 images"):
        join_mdoc(series_of([0, 3]), mdoc)


def test_joined_by_file_name(mdoc: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"TS_01_{name}.MRC" for name in ("002_-3.0", "001_3.0")]
    for file in files:
        write_stack(file, np.zeros((1, 8, 10), np.float32), 5.4)
    images = FileImages([(file, None) for file in files])
    series = TiltSeries(images, projection_matrices((8, 10), (0, 0, 0), [-3, 3]), 5.4)
    joined = join_mdoc(series, mdoc)
    assert joined.exposure is not None
    np.testing.assert_allclose(joined.exposure, [2, 5])
    with pytest.raises(DataError, match="3 sections for 2 images, and their file names do not tell"):
        join_mdoc(series, edit(mdoc, ("_001_", "_1_")))


def test_nothing_to_join(mdoc: Path, tmp_path: Path) -> None:
    series = series_of([0, 3, -3], exposure=np.array([1.0, 2, 3]))
    assert join_mdoc(series, tmp_path / "not even read.mdoc") is series
    edit(mdoc, ("ExposureDose = 2.5", "ExposureDose = 0"), ("= 2\n", "= 0\n"), ("= 3\n", "= 0\n"))
    bare = series_of([0, 3, -3])
    with pytest.warns(UserWarning, match="tells no exposure") as caught:
        assert join_mdoc(bare, mdoc) is bare
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("[ZValue", "[Value")], r"no line begins with \[ZValue"),
        ([("ZValue = 1", "ZValue = one")], r"line 16, section \[ZValue = one\]: ZValue is not of the kind"),
        ([("ZValue = 1", "ZValue = -1")], "its number must be 0 or more"),
        ([("ZValue = 1", "ZValue = 0")], "section 0 is there more than once"),
        ([("ZValue = 1", "MontSection = 1")], r"line 16: \[MontSection = 1\] begins a montage"),
        ([("TiltAngle = 3.0\n", "")], "TiltAngle is missing; was the file cut short"),
        ([("TiltAngle = 3.0", "TiltAngle =")], "TiltAngle is missing"),
        ([("TiltAngle = 3.0", "TiltAngle = up")], "TiltAngle is not of the kind"),
        ([("TiltAngle = 3.0", "TiltAngle = 3_0")], "line 16, .*: TiltAngle '3_0' is not a number"),
        ([("TiltAngle = 3.0", "TiltAngle = 400")], "TiltAngle 400 makes no sense"),
        ([("TiltAngle = 3.0", "TiltAngle = nan")], "TiltAngle nan makes no sense"),
        ([("ExposureDose = 2.5", "ExposureDose = -2.5")], "ExposureDose -2.5 makes no sense"),
        ([("ExposureDose = 2.5", "ExposureDose = 1e99")], r"ExposureDose 1e\+99 makes no sense"),
    ],
)
def test_faults(mdoc: Path, changes: list[tuple[str, str]], message: str) -> None:
    edit(mdoc, *changes)
    with pytest.raises(DataError, match=message) as caught:
        read_mdoc(mdoc)
    assert str(mdoc) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_none(mdoc: Path, tmp_path: Path) -> None:
    for content, message in ((b"", "is empty"), (MDOC.encode("utf-16"), "not plain text"), (b"hello", "no .mdoc")):
        mdoc.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_mdoc(mdoc)
    for missing in (tmp_path / "gone.mdoc", tmp_path):
        with pytest.raises(DataError, match=r"cannot read .*(No such file|directory)"):
            read_mdoc(missing)


# real files


@needs_shared
def test_real_files() -> None:
    notes = read_mdoc(SHARED / "tilt_series.mdoc")
    assert len(notes.images) == 41
    assert [image.order for image in notes.images] == list(range(41))
    assert (notes.images[1].tilt_angle, notes.images[1].file_name) == (3.00113, "TS_01_001_3.0.mrc")
    assert notes.exposure_before is None  # SerialEM's dose was not calibrated
    frames = read_mdoc(SHARED / "frame_set_multiple.mdoc")
    assert [image.z for image in frames.images] == list(range(len(frames.images)))
    exposure = frames.exposure_before
    assert exposure is not None
    np.testing.assert_allclose(exposure[:3], [0, 7.66184, 15.3237], atol=1e-3)
    assert len(read_mdoc(SHARED / "frame_set_single.mdoc").images) == 1
