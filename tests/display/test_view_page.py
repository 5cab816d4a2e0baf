"""The page of ``view`` in a real browser: slices, sliders, keys, mouse, contrast, and a phone's width."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Volume
from fourierrecon.display.picks import Picks
from fourierrecon.display.planes import open_volume
from fourierrecon.display.server import ViewServer
from fourierrecon.io import write_mrc
from tests.helpers.browser import Page, browsing

pytestmark = pytest.mark.browser

SHAPE = (30, 50, 40)
VALUES = np.random.default_rng(2).normal(0, 1, SHAPE).astype(np.float32)
BUSY = "document.querySelectorAll('.frame[aria-busy=true]').length"
READY = (
    "document.querySelectorAll('.frame[aria-busy=false]').length == 3"
    f" && !!document.getElementById('white-is').textContent && {BUSY} == 0"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_mrc(tmp_path / "volume.mrc", Volume(VALUES, 20.0, (100.0, -50.0, 5.0)))
    return tmp_path / "volume.mrc"


@contextmanager
def showing(browser: Page, path: Path, picks: Sequence[Picks] = (), thickness: int = 1) -> Iterator[Page]:
    """Serve a volume, and open its page with thin slabs."""
    with ViewServer(open_volume(path), picks=picks, diameter=200) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            browser.troubles.clear()
            browser.resize(1280, 800)
            browser.open(server.address)
            browser.wait(READY)
            if thickness:
                slide(browser, "slab", thickness)
                browser.wait(f"percentiles.slab == {thickness} && {READY}")
            yield browser
        finally:
            browser.open("about:blank")
            server.shutdown()
            thread.join()


@pytest.fixture
def page(browser: Page, path: Path) -> Iterator[Page]:
    with showing(browser, path) as page:
        yield page


def picture(page: Page, axis: str) -> NDArray[np.int64]:
    """Give the greys of a slice as the browser shows them."""
    page.wait(f"{BUSY} == 0")
    width, height, greys = page.run(
        f"(() => {{ const c = document.querySelector('[data-axis={axis}] canvas');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "return [c.width, c.height, [...d].filter((_, i) => i % 4 == 0)]; })()"
    )
    return np.array(greys).reshape(height, width)


def expected(page: Page, plane: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give the greys of a plane with the contrast that the page has now."""
    black, white = page.run("greys()")
    return np.asarray(np.clip((plane - black) / (white - black), 0, 1) * 255)


def slide(page: Page, name: str, value: float) -> None:
    page.run(
        f"(() => {{ const s = document.getElementById('{name}'); s.value = {value};"
        "for (const kind of ['input', 'change']) s.dispatchEvent(new Event(kind, {bubbles: true})); })()"
    )


def place(page: Page) -> tuple[int, int, int]:
    """Give the cross as the table tells it, (x, y, z)."""
    x, y, z = page.run(
        "[...document.querySelectorAll('#at-cross td')].slice(0, 3).map(cell => Number(cell.textContent))"
    )
    return x, y, z


def box(page: Page, axis: str) -> dict[str, float]:
    return dict(page.run(f"document.querySelector('.frame[data-axis={axis}]').getBoundingClientRect().toJSON()"))


def test_slices_are_those_of_the_volume(page: Page) -> None:
    assert page.troubles == []
    assert page.run("document.title") == "volume.mrc – fourierrecon"
    for axis, plane in (("z", VALUES[15]), ("y", VALUES[:, 25]), ("x", VALUES[:, :, 20].T)):
        np.testing.assert_allclose(picture(page, axis), expected(page, plane), atol=0.6)
    black, white = page.run("greys()")
    np.testing.assert_allclose([black, white], np.percentile(VALUES[[3, 9, 15, 21, 27]], [0.3, 99.7]), rtol=1e-4)


def test_sliders_change_the_slices(page: Page) -> None:
    slide(page, "slide-z", 3)
    np.testing.assert_allclose(picture(page, "z"), expected(page, VALUES[3]), atol=0.6)
    slide(page, "slide-x", 39)
    np.testing.assert_allclose(picture(page, "x"), expected(page, VALUES[:, :, 39].T), atol=0.6)
    assert place(page) == (39, 25, 3)
    cells = page.run("[...document.querySelectorAll('#at-cross td')].map(cell => cell.textContent)")
    assert cells[3:6] == ["880.0", "450.0", "65.0"]
    assert float(cells[6]) == pytest.approx(VALUES[3, 25, 39], abs=2e-4)
    assert page.troubles == []


def test_slabs_are_means_and_contrast_follows(page: Page) -> None:
    span = np.ptp(page.run("greys()"))
    slide(page, "slab", 9)
    page.wait(f"greys()[1] - greys()[0] < {0.6 * span}")
    np.testing.assert_allclose(picture(page, "z"), expected(page, VALUES[11:20].mean(axis=0)), atol=0.6)
    assert page.run("document.getElementById('slab-is').textContent") == "9 voxels, 18.0 nm"


def test_contrast(page: Page) -> None:
    slide(page, "black", 40)
    slide(page, "white", 60)
    shown = picture(page, "z")
    np.testing.assert_allclose(shown, expected(page, VALUES[15]), atol=0.6)
    assert 0.35 < (shown == 0).mean() < 0.45
    page.run("document.getElementById('invert').click()")
    np.testing.assert_array_equal(picture(page, "z"), 255 - shown)
    slide(page, "black", 80)
    assert page.run("Number(document.getElementById('white').value)") > 80


def test_keys(page: Page) -> None:
    page.run("document.querySelector('.frame[data-axis=z]').focus()")
    keys = ["PageUp", "PageUp", "PageDown", "ArrowLeft", "ArrowUp", "ArrowUp"]
    for key in keys:
        page.press(key)
    assert place(page) == (19, 23, 16)
    np.testing.assert_allclose(picture(page, "z"), expected(page, VALUES[16]), atol=0.6)
    np.testing.assert_allclose(picture(page, "y"), expected(page, VALUES[:, 23]), atol=0.6)
    page.press("PageDown", shift=True)
    assert place(page) == (19, 23, 6)
    page.press("End")
    page.press("ArrowDown", shift=True)
    assert place(page) == (19, 33, 29)
    page.press("PageUp")
    assert place(page) == (19, 33, 29)
    # the next slice by the keyboard alone
    page.press("Tab")
    page.press("ArrowDown")
    page.press("Home")
    assert place(page) == (19, 0, 29)
    # a slider that has the focus takes the keys itself
    page.run("document.getElementById('slide-x').focus()")
    page.press("ArrowRight")
    assert place(page) == (20, 0, 29)


def test_mouse(page: Page) -> None:
    frame = box(page, "z")
    x, y = frame["x"] + 10.5 / 40 * frame["width"], frame["y"] + 40.5 / 50 * frame["height"]
    page.mouse("mouseMoved", x, y)
    pointer = "[...document.querySelectorAll('#at-pointer td')].map(cell => cell.textContent)"
    page.wait(f"{pointer}[0] == '10'")
    cells = page.run(pointer)
    assert cells[:6] == ["10", "40", "15", "300.0", "750.0", "305.0"]
    assert float(cells[6]) == pytest.approx(VALUES[15, 40, 10], abs=2e-4)
    page.mouse("mousePressed", x, y, button="left", clickCount=1)
    page.mouse("mouseReleased", x, y, button="left", clickCount=1)
    assert place(page) == (10, 40, 15)
    np.testing.assert_allclose(picture(page, "y"), expected(page, VALUES[:, 40]), atol=0.6)
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-120)
    page.wait("at.z == 16")
    np.testing.assert_allclose(picture(page, "z"), expected(page, VALUES[16]), atol=0.6)
    assert page.troubles == []


def test_scale_bars(page: Page) -> None:
    for axis, width in (("z", 40), ("y", 40), ("x", 30)):
        bar = page.run(
            f"(() => {{ const b = document.querySelector('[data-axis={axis}] .bar');"
            "return [b.querySelector('i').getBoundingClientRect().width, b.textContent]; })()"
        )
        nanometres = float(bar[1].removesuffix(" nm"))
        assert bar[0] == pytest.approx(nanometres / 2 / width * box(page, axis)["width"], rel=0.01)


def test_one_slice_alone(page: Page) -> None:
    page.run("document.querySelector('[data-show=y]').click()")
    shown = page.run("[...document.querySelectorAll('figure')].filter(f => f.offsetWidth).length")
    assert shown == 1
    slide(page, "slide-y", 7)
    np.testing.assert_allclose(picture(page, "y"), expected(page, VALUES[:, 7]), atol=0.6)


@pytest.mark.parametrize("size", [(390, 844), (320, 568), (844, 390), (1280, 800), (820, 500)])
def test_nothing_overflows(page: Page, size: tuple[int, int]) -> None:
    width, height = size
    page.resize(width, height, phone=width < 820)
    page.wait(f"innerWidth == {width}")
    page.wait("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    assert page.run("document.documentElement.scrollWidth") <= width
    out = page.run(
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.unseen, .cross') && e.offsetWidth &&"
        f"(e.getBoundingClientRect().right > {width} + 0.5 || e.getBoundingClientRect().left < -0.5"
        "|| (getComputedStyle(e).overflowX != 'hidden' && e.scrollWidth > e.clientWidth + 1 && e.clientWidth)))"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert out == []
    assert len(picture(page, "z")) == 50
    assert all(box(page, axis)["width"] > 20 for axis in "xyz")


def test_every_control_has_a_name(page: Page) -> None:
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles: dict[str, list[str]] = {}
    for node in tree:
        if not node["ignored"]:
            roles.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert sorted(roles["slider"]) == sorted(
        ["z (XY slice)", "y (XZ slice)", "x (YZ slice)", "Slab thickness", "Black", "White"]
    )
    assert sorted(roles["checkbox"]) == ["Cross", "Invert"]
    assert all(roles["button"])
    assert [name.split(".")[0] for name in roles["application"]] == [
        "XY slice, z 15 of 0 to 29", "XZ slice, y 25 of 0 to 49", "YZ slice, x 20 of 0 to 39"
    ]  # fmt: skip


def test_trouble_is_told_and_forgotten(page: Page, path: Path) -> None:
    whole = path.read_bytes()
    with path.open("rb+") as file:
        file.truncate(2000)
    slide(page, "slide-z", 4)
    page.wait("document.getElementById('trouble').textContent.includes('has become shorter')")
    assert page.run("document.getElementById('trouble').offsetHeight") > 0
    with path.open("rb+") as file:
        file.write(whole)
    slide(page, "slide-z", 5)
    page.wait("document.getElementById('trouble').hidden")
    np.testing.assert_allclose(picture(page, "z"), expected(page, VALUES[5]), atol=0.6)


def test_a_volume_of_unknown_size_and_one_slice(browser: Page, tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.full((1, 60, 80), 3, np.int8))
    with showing(browser, tmp_path / "a.mrc") as page:
        assert "does not tell their size" in page.run("document.getElementById('facts').textContent")
        assert page.run("document.querySelector('[data-axis=z] .bar').textContent") == "20 voxels"
        assert page.run("document.querySelectorAll('#at-cross td')[3].textContent") == "unknown"
        assert picture(page, "z").shape == (60, 80)
        assert page.troubles == []


def test_it_opens_at_10_nm(browser: Page, path: Path) -> None:
    with showing(browser, path, thickness=0) as page:
        assert page.run("document.getElementById('slab-is').textContent") == "5 voxels, 10.0 nm"
        np.testing.assert_allclose(picture(page, "z"), expected(page, VALUES[13:18].mean(axis=0)), atol=0.6)


def test_level_and_window_in_grey_values(page: Page) -> None:
    page.run(
        "(() => { for (const [id, v] of [['level', 0.25], ['window', 1.5]]) { const i = document.getElementById(id);"
        "i.value = v; i.dispatchEvent(new Event('input', {bubbles: true})); } })()"
    )
    assert page.run("greys()") == [-0.5, 1.0]
    np.testing.assert_allclose(picture(page, "z"), np.clip((VALUES[15] + 0.5) / 1.5, 0, 1) * 255, atol=0.6)
    share = page.run("Number(document.getElementById('black').value)")
    assert share == pytest.approx(100 * (VALUES < -0.5).mean(), abs=3)
    # they stay when the slab changes, and go when a slider is moved
    slide(page, "slab", 3)
    page.wait("percentiles.slab == 3")
    assert page.run("greys()") == [-0.5, 1.0]
    slide(page, "black", 10)
    assert page.run("document.getElementById('black-is').textContent").endswith("(10.0 %)")


def test_zoom_and_pan(page: Page) -> None:
    frame = box(page, "z")
    x, y = frame["x"] + 10.5 / 40 * frame["width"], frame["y"] + 40.5 / 50 * frame["height"]
    for _ in range(2):
        page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100, modifiers=2)
    page.wait("zoom == 4")
    # the voxel under the pointer has stayed there, and a click hits it; the slice itself has not changed
    page.mouse("mousePressed", x, y, button="left", clickCount=1)
    page.mouse("mouseReleased", x, y, button="left", clickCount=1)
    assert place(page) == (10, 40, 15)
    bar = page.run("document.querySelector('[data-axis=z] .bar i').getBoundingClientRect().width")
    text = page.run("document.querySelector('[data-axis=z] .bar').textContent")
    assert bar == pytest.approx(float(text.removesuffix(" nm")) / 2 / 40 * 4 * frame["width"], rel=0.01)
    # dragged by a fourth of the width: that is a sixteenth of the voxels
    before = page.run("slices.z.offset('x')")
    page.mouse("mousePressed", x, y, button="right", clickCount=1)
    page.mouse("mouseMoved", x - frame["width"] / 4, y, button="right", buttons=2)
    page.mouse("mouseReleased", x - frame["width"] / 4, y, button="right", clickCount=1)
    assert page.run("slices.z.offset('x')") == pytest.approx(before + 0.25, abs=0.01)
    assert place(page) == (10, 40, 15)
    page.run("document.querySelector('.frame[data-axis=z]').focus()")
    for key in ("Home", "0"):
        page.press(key)
    assert page.run("[zoom, slices.z.offset('x'), slices.z.offset('y')]") == [1, 0, 0]
    assert page.troubles == []


def test_the_cross_stays_in_sight(page: Page) -> None:
    page.run("document.getElementById('closer').click()")
    page.run("document.getElementById('closer').click()")
    slide(page, "slide-x", 39)
    seen = page.run("slices.z.placeOf('x', at.x)")
    assert 0 < seen < 1


def test_points(browser: Page, path: Path) -> None:
    voxels = np.array([[10, 40, 15], [30, 5, 18], [5, 5, 2], [20, 25, 200]], float)
    with showing(browser, path, [Picks(name="ribosomes", voxels=voxels)]) as page:
        page.wait("sets.length == 1 && !!sets[0].voxels")
        # a diameter of 200 Å is a radius of 5 voxels: the slice z = 15 cuts the first two
        page.wait("slices.z.marked == 2")
        assert "ribosomes (4)" in page.run("document.getElementById('sets').textContent")
        ring = page.run(
            "(() => { const m = slices.z.marks, s = m.width / 40, d = m.getContext('2d');"
            "const at = (x, y) => d.getImageData(Math.round(x * s), Math.round(y * s), 1, 1).data[3];"
            "return [at(15.5, 40.5), at(10.5, 40.5), at(34.5, 5.5)]; })()"
        )
        # on the circle of the first, in its middle, on the smaller circle (radius 4) of the second
        assert ring[0] > 50
        assert ring[1] == 0
        assert ring[2] > 50
        page.run("document.getElementById('set-0').click()")
        assert page.run("slices.z.marked") == 0


def test_the_picture_is_what_is_shown(page: Page) -> None:
    page.run("document.querySelector('[data-show=z]').click()")
    width, height, greys = page.run(
        "(() => { const s = picture(), d = s.getContext('2d').getImageData(0, 0, s.width, s.height).data;"
        "return [s.width, s.height, [...d].filter((_, i) => i % 4 == 0)]; })()"
    )
    shown = np.array(greys).reshape(height, width)
    frame = box(page, "z")
    assert (width, height) == (pytest.approx(frame["width"], abs=1), pytest.approx(frame["height"], abs=1))
    rows, columns = ((np.arange(n) + 0.5) * size / n for n, size in ((50, height), (40, width)))
    small = shown[np.ix_(rows.astype(int), columns.astype(int))]
    # away from the scale bar
    np.testing.assert_allclose(small[:40], picture(page, "z")[:40], atol=1)
