"""SerialEM's mdoc: what it notes of each tilt, joined to a series; every fault named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import DataError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io import FileImages, Supplement, read_tilt_series, write_stack
from fourierrecon.io.serialem.mdoc import join_mdoc, read_mdoc
from fourierrecon.tilt_series import TiltSeries
from tests.helpers.real_data import real_data

pytest.importorskip("mdocfile", reason="mdocfile is not installed")


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


TILTS = np.arange(-60.0, 61, 3)
#: Place of each tilt in a dose-symmetric order of acquisition.
TURN = np.argsort(np.argsort(np.abs(TILTS) + 0.1 * (TILTS < 0)))


def notes_of(
    path: Path,
    order: Sequence[int] = range(41),
    date: str = "02-Mar-2025  10:{:02d}:00",
    angles: np.ndarray = TILTS,
    turn: np.ndarray = TURN,
) -> Path:
    """Write an mdoc that lists tilts in this order, 3 e⁻/Å² each."""
    text = "PixelSpacing = 10\nImageFile = TS_01.st\n"
    for z, i in enumerate(order):
        text += f"\n[ZValue = {z}]\nTiltAngle = {angles[i]:.4f}\nExposureDose = 3\n"
        text += f"DateTime = {date.format(turn[i])}\n"
    path.write_text(text)
    return path


def joined(series: TiltSeries, path: Path) -> np.ndarray:
    exposure = join_mdoc(series, path).exposure
    assert exposure is not None
    return exposure


BY_ANGLE = list(range(41))
ACQUIRED = [int(i) for i in np.argsort(TURN)]


@pytest.mark.parametrize("order", [BY_ANGLE, ACQUIRED, BY_ANGLE[::-1]], ids=["sorted", "acquired", "reversed"])
@pytest.mark.parametrize("offset", [0.0, 9.5, -15.0])
@pytest.mark.parametrize("out", [(), (1, 2, 41), (1, 2, 3), (20,)], ids=str)
@pytest.mark.filterwarnings("ignore:.*fit with the other sign")
def test_joined_by_angle(order: list[int], offset: float, out: tuple[int, ...], tmp_path: Path) -> None:
    kept = np.delete(np.arange(41), [i - 1 for i in out])
    jitter = np.random.default_rng(1).uniform(-0.3, 0.3, 41)  # refined tilt by tilt
    series = series_of(list((TILTS + offset + jitter)[kept]), excluded=out)
    np.testing.assert_allclose(joined(series, notes_of(tmp_path / "a.mdoc", order)), 3 * TURN[kept])
    # of the images that are used only
    rest = [i for i in order if i in kept]
    whole = joined(series, notes_of(tmp_path / "b.mdoc", rest))
    np.testing.assert_allclose(whole, 3 * np.argsort(np.argsort(TURN[kept])))


def test_joined_in_the_order_of_acquisition(tmp_path: Path) -> None:
    # a stack that nobody has sorted; its excluded images are numbered in its own order
    angles = TILTS[ACQUIRED] + 10
    series = series_of(list(np.delete(angles, [0, 5])), excluded=(1, 6))
    np.testing.assert_allclose(
        joined(series, notes_of(tmp_path / "a.mdoc", ACQUIRED)), 3.0 * np.delete(np.arange(41), [0, 5])
    )


def test_images_that_never_came_into_the_stack(tmp_path: Path) -> None:
    kept = np.arange(3, 38)
    path = notes_of(tmp_path / "a.mdoc", ACQUIRED)
    np.testing.assert_allclose(joined(series_of(list(TILTS[kept] + 0.4)), path), 3 * TURN[kept])
    with pytest.raises(DataError, match=r"41 sections for 35 images, and the tilt angles differ; .* another series"):
        join_mdoc(series_of(list(TILTS[kept] + 1.5)), path)
    with pytest.raises(DataError, match=r"41 sections for 42 images"):
        join_mdoc(series_of([*TILTS, 63.0]), path)
    with pytest.raises(DataError, match=r"stray by 30 degrees, 2 allowed"):
        join_mdoc(series_of([*TILTS[:-1], 90.0]), path)


def test_of_two_images_of_one_tilt_the_later_one_counts(tmp_path: Path) -> None:
    angles = np.append(TILTS, TILTS[4] + 0.02)
    path = notes_of(tmp_path / "a.mdoc", [*ACQUIRED, 41], angles=angles, turn=np.append(TURN, 41))
    with pytest.warns(UserWarning, match=r"sections \d+, 41 \(ZValue\) are of one tilt; 41, the last, counts"):
        exposure = joined(series_of(list(TILTS)), path)
    want = 3.0 * TURN
    want[4] = 3 * 41
    np.testing.assert_allclose(exposure, want)


def test_angles_of_the_other_sign(tmp_path: Path) -> None:
    path = notes_of(tmp_path / "a.mdoc")
    with pytest.warns(UserWarning, match=r"matched by tilt angle; .* fit with the other sign"):
        np.testing.assert_allclose(joined(series_of(list(-TILTS)), path), 3 * TURN[::-1])
    notes_of(path, BY_ANGLE[10:])
    with pytest.warns(UserWarning, match="opposite signs"):
        np.testing.assert_allclose(joined(series_of(list(-TILTS[10:])), path), 3 * np.argsort(np.argsort(TURN[10:])))


def test_images_that_warp_leaves_out(tmp_path: Path) -> None:
    """UseTilt of Warp, beside an mdoc of the whole series in the order of acquisition."""
    write_stack(tmp_path / "TS_01.mrc", np.random.default_rng(1).normal(size=(41, 8, 10)).astype(np.float32), 4.0)
    out = [0, 1, 40]
    words = {
        "Angles": map(str, TILTS),
        "UseTilt": [str(i not in out) for i in range(41)],
        "AxisAngle": ["85"] * 41,
        "AxisOffsetX": ["0"] * 41,
        "AxisOffsetY": ["0"] * 41,
        "MoviePath": [f"{i}.tif" for i in range(41)],
    }
    tables = "".join(f"<{tag}>{chr(10).join(values)}</{tag}>" for tag, values in words.items())
    (tmp_path / "TS_01.xml").write_text(f'<TiltSeries AreAnglesInverted="False">{tables}</TiltSeries>')
    notes = notes_of(tmp_path / "a.mdoc", ACQUIRED)
    with pytest.warns(UserWarning, match="left out, as UseTilt says"):
        series = read_tilt_series(tmp_path / "TS_01.xml", None, Supplement(mdoc=notes))
    np.testing.assert_allclose(series.exposure, 3 * np.delete(TURN, out))  # type: ignore[arg-type]


@pytest.mark.parametrize("date", ["2025-03-02  10:{:02d}:00", "02-Mrz-25 10:{:02d}:00", "2025-03-02T10:{:02d}:00"])
def test_dates_of_other_kinds(date: str, tmp_path: Path) -> None:
    np.testing.assert_allclose(joined(series_of(list(TILTS)), notes_of(tmp_path / "a.mdoc", date=date)), 3 * TURN)


@pytest.mark.parametrize("date", ["", "yesterday", "02.03.2025 10:{:02d}", "02-Mar-2025  10:00:00"])
def test_an_order_that_is_not_known_gives_no_exposures(date: str, tmp_path: Path) -> None:
    bare, path = series_of(list(TILTS)), notes_of(tmp_path / "a.mdoc", date=date)
    with pytest.warns(UserWarning, match="the order of the images is not known|add DateTime") as caught:
        assert join_mdoc(bare, path) is bare
    assert "add DateTime or PriorRecordDose" in str(caught[1].message)
    # angles that go to and fro are in the order of acquisition
    with pytest.warns(UserWarning, match="count as taken in the order of the file"):
        np.testing.assert_allclose(joined(bare, notes_of(path, ACQUIRED, date)), 3 * TURN)


def test_numbers_of_frames_tell_the_order_where_dates_do_not(tmp_path: Path) -> None:
    path = notes_of(tmp_path / "a.mdoc", date="")
    text = path.read_text()
    for i, angle in enumerate(TILTS):
        old = f"TiltAngle = {angle:.4f}\n"
        text = text.replace(old, f"{old}SubFramePath = D:\\frames\\TS_01_{TURN[i] + 1:03d}_{angle:.1f}.eer\n")
    path.write_text(text)
    with pytest.warns(UserWarning, match="in the order of the numbers in the names of their frames"):
        np.testing.assert_allclose(joined(series_of(list(TILTS)), path), 3 * TURN)
    # one that is there twice tells nothing
    path.write_text(text.replace("TS_01_007", "TS_01_008"))
    with pytest.warns(UserWarning, match="the order of the images is not known|add DateTime"):
        assert join_mdoc(series_of(list(TILTS)), path).exposure is None


def test_months_in_two_unknown_languages_give_no_exposures(tmp_path: Path) -> None:
    path = notes_of(tmp_path / "a.mdoc", date="02-Mrz-2025 10:{:02d}:00")
    path.write_text(path.read_text().replace("-Mrz-", "-Mai-", 3))
    bare = series_of(list(TILTS))
    with pytest.warns(UserWarning, match="the order of the images is not known|add DateTime"):
        assert join_mdoc(bare, path) is bare


def test_joined_by_file_name(mdoc: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"TS_01_{name}.MRC" for name in ("002_-3.0", "001_3.0")]
    for file in files:
        write_stack(file, np.zeros((1, 8, 10), np.float32), 5.4)
    images = FileImages([(file, None) for file in files])
    series = TiltSeries(images, projection_matrices((8, 10), (0, 0, 0), [-3, 3]), 5.4)
    joined = join_mdoc(series, mdoc)
    assert joined.exposure is not None
    np.testing.assert_allclose(joined.exposure, [2, 5])
    # where the names do not tell, the angles do
    other = join_mdoc(series, edit(mdoc, ("_001_", "_1_"), ("TiltAngle = -3.0", "TiltAngle = -3.2")))
    np.testing.assert_allclose(other.exposure, [2, 5])  # type: ignore[arg-type]


def test_what_is_given_wins(mdoc: Path) -> None:
    series = series_of([0, 3, -3], exposure=np.array([1.0, 2, 3]))
    with pytest.warns(UserWarning, match=r"its exposures are used, which are not those of tomogram \(up to 3 e"):
        np.testing.assert_allclose(joined(series, mdoc), [0, 5, 2])


def test_nothing_to_join(mdoc: Path) -> None:
    edit(mdoc, ("ExposureDose = 2.5", "ExposureDose = 0"), ("= 2\n", "= 0\n"), ("= 3\n", "= 0\n"))
    bare = series_of([0, 3, -3])
    with pytest.warns(UserWarning, match="gives no exposure") as caught:
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


def test_real_files() -> None:
    real = real_data("metadata/teamtomo_parsers_testdata/mdocfile")
    notes = read_mdoc(real / "tilt_series.mdoc")
    assert len(notes.images) == 41
    assert [image.order for image in notes.images] == list(range(41))
    assert (notes.images[1].tilt_angle, notes.images[1].file_name) == (3.00113, "TS_01_001_3.0.mrc")
    assert notes.exposure_before is None  # SerialEM's dose was not calibrated
    frames = read_mdoc(real / "frame_set_multiple.mdoc")
    assert [image.z for image in frames.images] == list(range(len(frames.images)))
    exposure = frames.exposure_before
    assert exposure is not None
    np.testing.assert_allclose(exposure[:3], [0, 7.66184, 15.3237], atol=1e-3)
    assert len(read_mdoc(real / "frame_set_single.mdoc").images) == 1
