"""The page of a report in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fourierrecon.report.findings import Findings
from fourierrecon.report.page import write_report
from tests.helpers.browser import Page, browsing


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page, made: Path) -> Page:
    browser.open("about:blank")
    browser.troubles.clear()
    browser.resize(1280, 900)
    browser.open((made / "report.html").as_uri())
    browser.wait("document.readyState == 'complete' && !!document.getElementById('shown').textContent")
    return browser


OUT = (
    "[...document.querySelectorAll('body *')].filter(e => e.offsetWidth && !e.closest('.tilts .scroll, .skip')"
    " && (e.getBoundingClientRect().right > innerWidth + 0.5 || e.getBoundingClientRect().left < -0.5))"
    ".map(e => e.outerHTML.slice(0, 90))"
)
NAMES = "[...document.querySelectorAll('#set tbody tr')].filter(r => !r.hidden).map(r => r.cells[1].textContent)"


def press(page: Page, key: str, code: int, text: str = "") -> None:
    more = {"text": text} if text else {}
    for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)


def click(page: Page, heading: str) -> None:
    page.run(
        f"[...document.querySelectorAll('#set th button')].find(b => b.textContent.startsWith('{heading}')).click()"
    )


@pytest.mark.browser
def test_every_picture_loads(page: Page) -> None:
    count, broken = page.run(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth > 0, () => false)))"
        ".then(all => [all.length, all.filter(good => !good).length])"
    )
    assert (count, broken) == (2 * 4, 0)
    assert page.run("[...document.images].every(i => i.alt.includes('section of TS_'))")
    assert page.troubles == []


@pytest.mark.browser
def test_sorting(page: Page) -> None:
    click(page, "Tomogram")
    assert page.run(NAMES) == ["TS_<b>", "TS_2", "TS_10"]
    click(page, "Tomogram")
    assert page.run(NAMES) == ["TS_10", "TS_2", "TS_<b>"]
    assert page.run("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "descending"
    click(page, "Resolution")
    assert page.run(NAMES) == ["TS_2", "TS_10", "TS_<b>"]
    click(page, "Resolution")
    # what is not known stays last
    assert page.run(NAMES) == ["TS_10", "TS_2", "TS_<b>"]
    click(page, "Findings")
    assert page.run(NAMES) == ["TS_2", "TS_10", "TS_<b>"]
    assert page.run("document.querySelectorAll('th[aria-sort]').length") == 1


def fill(page: Page, control: str, value: str) -> None:
    page.run(
        f"(() => {{ const c = document.getElementById('{control}'); c.value = '{value}';"
        "c.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


@pytest.mark.browser
def test_filtering(page: Page) -> None:
    fill(page, "words", "MISALIGNED wrong")
    assert page.run(NAMES) == ["TS_10"]
    assert page.run("document.getElementById('shown').textContent") == "1 of 3"
    assert page.run("[...document.querySelectorAll('details')].filter(d => !d.hidden).length") == 1
    fill(page, "words", "ts_")
    fill(page, "status", "failed")
    assert page.run(NAMES) == ["TS_<b>"]
    fill(page, "words", "nothing like it")
    assert page.run(NAMES) == []
    assert page.run("document.getElementById('none').offsetHeight") > 0
    page.run("document.getElementById('words').focus()")
    press(page, "Escape", 27)
    fill(page, "status", "")
    assert len(page.run(NAMES)) == 3


@pytest.mark.browser
def test_keyboard_alone(page: Page) -> None:
    page.run("document.activeElement.blur()")
    seen = []
    for _ in range(40):
        page.press("Tab")
        focus = page.run(
            "(() => { const e = document.activeElement; return [e.tagName, e.id, e.textContent.slice(0, 20),"
            " getComputedStyle(e).outlineStyle] })()"
        )
        if focus[0] == "BODY":
            break
        seen.append(focus)
        if focus[0] == "BUTTON" and focus[2].startswith("Agreement"):
            press(page, "Enter", 13, "\r")
            assert page.run("document.querySelector('th[aria-sort]').textContent.trim()").startswith("Agreement")
            assert page.run(NAMES) == ["TS_10", "TS_2", "TS_<b>"]
        if focus[0] == "A" and focus[2] == "TS_2":
            press(page, "Enter", 13, "\r")
            break
    kinds = {kind for kind, *_ in seen}
    assert {"A", "INPUT", "SELECT", "BUTTON"} <= kinds
    # whatever has the focus shows it
    assert all(outline != "none" for *_, outline in seen)
    page.wait("document.querySelector('details:target')?.open && document.activeElement.tagName == 'SUMMARY'")
    assert page.run("document.activeElement.textContent").startswith("TS_2")
    press(page, "Enter", 13, "\r")
    assert not page.run("document.querySelector('details:target').open")


@pytest.mark.browser
@pytest.mark.parametrize("size", [(390, 844), (320, 568), (844, 390), (1280, 900), (641, 800)])
def test_nothing_overflows(page: Page, size: tuple[int, int]) -> None:
    width, height = size
    page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.resize(width, height, phone=width < 640)
    page.wait(f"innerWidth == {width}")
    page.wait("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    assert page.run("document.documentElement.scrollWidth") <= width
    if width < 641 or width > 1000:
        assert page.run(OUT) == []
    # texts of charts stay readable
    scale = page.run("Math.min(...[...document.querySelectorAll('svg.chart')].map(s => s.clientWidth / 380))")
    assert scale > 0.6


@pytest.mark.browser
def test_faults_stand_out_in_colour_and_words(page: Page) -> None:
    page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    rows = page.run(
        "[...document.querySelectorAll('#t0 .tilts tbody tr')].map(r => [r.cells[2].textContent, "
        "getComputedStyle(r.cells[0]).backgroundColor, r.cells[r.cells.length - 1].textContent])"
    )
    assert len(rows) == 41
    named = {number + 1: row for number, row in enumerate(rows) if row[0]}
    assert {number: row[0] for number, row in named.items()} == {13: "misaligned", 21: "wrong angle", 31: "blank"}
    plain = rows[0][1]
    assert len({row[1] for row in named.values()} | {plain}) == 4
    assert all(row[2] for row in named.values())
    # and in the charts
    assert page.run(
        "[...document.querySelectorAll('#t0 .charts.one svg')].map(s => s.querySelectorAll('.cross').length)"
    ) == [3, 2]


@pytest.mark.browser
def test_controls_and_pictures_have_names(page: Page) -> None:
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    assert {"searchbox", "combobox", "button", "link", "image"} <= {role for role, _ in named}
    for role, name in named:
        if role in ("searchbox", "combobox", "button", "link", "image", "img", "region"):
            assert name, role


@pytest.mark.browser
def test_a_single_tomogram_is_open(browser: Page, figures: dict[str, Findings], tmp_path: Path) -> None:
    write_report(tmp_path / "a.html", "one", [figures["TS_2"]])
    browser.troubles.clear()
    browser.open((tmp_path / "a.html").as_uri())
    browser.wait("document.readyState == 'complete' && document.title == 'one'")
    assert browser.run("document.querySelector('details').open")
    browser.run("document.querySelector('summary').click()")
    assert browser.run("document.querySelector('details').open")
    assert browser.troubles == []
