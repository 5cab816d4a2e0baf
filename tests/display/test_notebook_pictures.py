"""Pictures for notebooks: how many panels they have, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest

from fourierrecon import Volume
from fourierrecon.display.notebook import show_images, show_sections
from fourierrecon.errors import UsageError


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Draw into no window, and leave no figure open."""
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")


def volume() -> Volume:
    z, y, x = np.indices((20, 30, 40))
    return Volume((100.0 * z + 10.0 * y + x).astype(np.float32), 20.0, (0.0, 0.0, 0.0))


def pictures() -> list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    return [np.asarray(image.get_array()) for axis in plt.gcf().axes for image in axis.images]


def test_three_sections_of_one_volume() -> None:
    show_sections(volume(), thick="1vx", at=(0.25, 0.5, 0.5))
    xy, yz, xz = pictures()
    assert (xy.shape, yz.shape, xz.shape) == ((30, 40), (30, 20), (20, 40))
    np.testing.assert_array_equal(xy, volume().data[4])


def test_sections_of_several_volumes_and_arrays() -> None:
    show_sections({"one": volume(), "two": -volume().data, "three": volume().data}, thick="2vx", voxel_size=20.0)
    assert len(pictures()) == 6
    assert [axis.get_title() for axis in plt.gcf().axes[:3]] == ["one", "two", "three"]
    np.testing.assert_allclose(pictures()[1], -volume().data[9:11].mean(0))


def test_images_in_rows() -> None:
    show_images({f"{n}": volume().data[n] for n in range(5)}, columns=3, voxel_size=20.0)
    assert len(pictures()) == 5
    assert len(plt.gcf().axes) == 6


def test_nothing_to_show() -> None:
    with pytest.raises(UsageError, match="there is none"):
        show_images({})
    with pytest.raises(UsageError, match="there is none"):
        show_sections({})
