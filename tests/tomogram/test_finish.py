"""Grey values of tomograms: sign, mean and standard deviation in the specimen, viewing copies, and choice of tilts."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import UsageError
from fourierrecon.io import read_mrc_volume
from fourierrecon.io.volumes.formats import open_volume
from fourierrecon.tomogram.finish import Finish
from fourierrecon.tomogram.tilt_choice import TiltChoice, list_of, read_numbers
from fourierrecon.weighting.filtered import Deconvolution
from tests.helpers.small_sets import small_series, write_small_set

Run = Callable[..., tuple[int, str, str]]


def test_lists_of_numbers() -> None:
    assert read_numbers("3,7-9, 12") == (3, 7, 8, 9, 12)
    assert list_of((3, 7, 8, 9, 12)) == "3,7-9,12"
    for text in ("0", "3-", "9-7", "a", "1.5"):
        with pytest.raises(UsageError, match="is no number or range"):
            read_numbers(text)


def test_choice_of_tilts() -> None:
    series = small_series(1)  # -45 to 45 degrees in 5 steps
    chosen, kept = TiltChoice((2,), 30.0).apply(series)
    assert (kept, chosen.excluded) == ([2, 3], (1, 2, 5))
    assert chosen.tilt_angles == pytest.approx([0, 22.5], abs=1e-6)
    # numbers are those of the source, whatever was left out before
    again, rest = TiltChoice((2, 3)).apply(series.select([0, 1, 2, 3, 4]))
    assert (rest, again.excluded) == ([0, 3, 4], (2, 3))
    assert TiltChoice((1,)).apply(TiltChoice((2, 3)).apply(series)[0])[1] == [1, 2]
    with pytest.raises(UsageError, match=r'exclude="6-7" is beyond .* count from 1 to 5'):
        TiltChoice((6, 7)).apply(series)
    with pytest.raises(UsageError, match="1 of 5 images are left"):
        TiltChoice((), 5.0).apply(series)
    with pytest.raises(UsageError, match="max_tilt=0"):
        TiltChoice((), 0.0)


def test_what_is_done_to_which_file() -> None:
    assert Finish().of_copy is None
    assert Finish(viewing_copy=True).of_copy == Finish(normalise=True)
    both = Finish(invert=True, lowpass=30.0, viewing_copy=True)
    assert (both.of_tomogram, both.of_copy) == (Finish(), Finish(invert=True, lowpass=30.0))
    assert "low-pass 30 Å, inverted" in both.all_words
    assert "deconvolved (strength 1, falloff 1)" in Finish(deconvolution=Deconvolution()).all_words


def test_grey_values_of_a_tomogram(run: Run, two_sets: Path) -> None:
    line = f"reconstruct --t {two_sets}/tomograms.star --tn TS_01 --noctf --bin 2 --j 1 --snr 10"
    assert run(f"{line} --o {two_sets}/a.mrc")[0] == 0
    # five tilts are too few to find a specimen
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, _, err = run(f"{line} --o {two_sets}/b.mrc --invert --normalise --passport")
    assert (status, "statistics are those of the whole tomogram" in err) == (0, True)
    plain, found = (read_mrc_volume(two_sets / name) for name in ("a.mrc", "b.mrc"))
    assert (abs(found.data.mean()) < 1e-5, found.data.std()) == (True, pytest.approx(1, abs=1e-5))
    wanted = -(plain.data - plain.data.mean()) / plain.data.std()
    np.testing.assert_allclose(found.data, wanted, atol=1e-4)
    assert "inverted" in found.label
    passport = json.loads((two_sets / "b.passport.json").read_text())["finish"]
    np.testing.assert_allclose(passport["factor"] * plain.data + passport["offset"], found.data, atol=1e-4)


def test_a_viewing_copy(run: Run, two_sets: Path) -> None:
    line = f"reconstruct --t {two_sets}/tomograms.star --tn TS_01 --noctf --bin 2 --j 1 --snr 10"
    assert run(f"{line} --o {two_sets}/a.mrc")[0] == 0
    status, out, _ = run(f"{line} --o {two_sets}/b.mrc --viewing_copy --invert --lowpass 60")
    assert (status, "b_view.mrc" in out) == (0, True)
    plain, same, copy = (open_volume(two_sets / name) for name in ("a.mrc", "b.mrc", "b_view.mrc"))
    np.testing.assert_array_equal(plain.read().data, same.read().data)
    assert (copy.dtype.name, copy.shape) == ("int8", plain.shape)
    assert "low-pass 60" in copy.label
    assert np.corrcoef(copy.read().data.ravel(), plain.read().data.ravel())[0, 1] < -0.5


def test_a_set_knows_its_options(run: Run, tmp_path: Path) -> None:
    star = write_small_set(tmp_path / "in", 1)
    line = f"reconstruct --t {star} --noctf --bin 2 --j 1 --snr 10 --o {tmp_path}/out/ --halves tilts"
    assert run(f"{line} --invert --viewing_copy --exclude 2")[0] == 0
    folder = tmp_path / "out" / "tomograms"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"rec_TS_01{end}.mrc" for end in ("", "_half1", "_half2", "_view")}
    _, out, _ = run(f"{line} --invert --viewing_copy --exclude 2")
    assert "1 there already" in out
    for other in ("--viewing_copy --exclude 2", "--invert --viewing_copy", "--invert --exclude 2"):
        assert (
            "have changed" in run(f"{line} {other}")[1] or "is of other inputs or options" in run(f"{line} {other}")[1]
        )
    assert run(f"{line} --invert --redo --exclude 2")[0] == 1  # the viewing copy would be that of another volume
    (folder / "rec_TS_01_view.mrc").unlink()
    assert run(f"{line} --invert --redo --exclude 2")[0] == 0
    whole = read_mrc_volume(folder / "rec_TS_01.mrc").data
    halves = [read_mrc_volume(folder / f"rec_TS_01_half{i}.mrc") for i in (1, 2)]
    assert all("inverted" in half.label for half in halves)
    assert np.corrcoef(whole.ravel(), (halves[0].data + halves[1].data).ravel())[0, 1] > 0.7
    assert "# volumes: inverted" in (tmp_path / "out" / "tomograms.star").read_text()
