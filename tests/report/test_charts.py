"""Charts: round ticks, and all that is drawn lies within."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from fourierrecon.report.svg import Axis, Guide, Trace, chart, round_ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 12))
def test_ticks_are_round_and_within(low: float, span: float, most: int) -> None:
    high = low + span
    ticks = round_ticks(low, high, most)
    assert len(ticks) <= most + 1
    if len(ticks) > 1:
        step = ticks[1][0] - ticks[0][0]
        slack = 1e-6 * step + 1e-9 * abs(high)
        assert all(low - slack <= value <= high + slack for value, _ in ticks)
        digits = step / 10 ** math.floor(math.log10(step) + 1e-6)
        # steps are differences of numbers that may be large beside them
        rounding = 4e-16 * max(abs(low), abs(high)) / step
        assert min(abs(digits - each) for each in (1, 2, 2.5, 5, 10)) < 1e-3 + 10 * rounding


def test_charts_are_whole() -> None:
    nan = math.nan
    drawn = chart(
        "a < b",
        Axis("x & y", 0, 10),
        Axis("value", -1, 1, ((0, "<0>"),)),
        [
            Trace([0, 1, 2, 3], [0, nan, 1, 5]),
            Trace([nan], [0], "area"),
            Trace([1, 2], [nan, 0], "dots", "good", ["a", "<b>"]),
            Trace([4], [-7], "crosses", "bad"),
        ],
        [Guide(0.5, upright=False, word="half"), Guide(8, word="8"), Guide(2, 3, word="<band>")],
    )
    root = ElementTree.fromstring(drawn)
    assert root.get("aria-label") == "a < b"
    texts = [element.text for element in root.iter("text")]
    assert {"x & y", "<0>", "<band>", "half"} <= set(texts)
    # values beyond the axes stay within the plot
    assert all(14 <= float(circle.get("cy", "0")) <= 160 for circle in root.iter("circle"))
    assert len(list(root.iter("circle"))) == 2
