"""Charts and figures as pure functions."""

import re
import xml.etree.ElementTree as ET

import pytest

from sightline.report import figures
from sightline.report.charts import Axes, Line, category_bars, histogram, interval_bar, line_chart, share_bar, ticks


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - made by the function under test


def test_a_figure_that_is_not_known_says_so() -> None:
    for show in (figures.percent, figures.points, figures.count, figures.milliseconds, figures.seconds, figures.megabytes, figures.p_value):
        assert show(None) == show(float("nan")) == "not recorded"
    assert figures.interval(None, None) == figures.moment(0.0) == figures.digest("") == "not recorded"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figures.percent(0.931), "93.1\u202f%"),
        (figures.points(0.042), "+4.2"),
        (figures.points(-0.017), "−1.7"),
        (figures.points(-0.0001), "±0.0"),
        (figures.count(1204), "1\u202f204"),
        (figures.seconds(12.34), "12.3\u202fs"),
        (figures.seconds(125.3), "2\u202fmin 05\u202fs"),
        (figures.milliseconds(0.456), "0.46\u202fms"),
        (figures.megabytes(410_000), "410\u202fkB"),
        (figures.megabytes(1_520_000), "1.5\u202fMB"),
        (figures.p_value(0.0004), "<\u202f0.001"),
        (figures.interval(0.026, 0.058), "+2.6 … +5.8"),
        (figures.interval(-0.01, None), "at least −1.0"),
        (figures.moment(86_400.0), "1970-01-02 00:00 UTC"),
    ],
)
def test_figures_read_as_people_write_them(shown: str, expected: str) -> None:
    assert shown == expected


def test_ticks_are_round_and_inside_the_range() -> None:
    assert ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0, 1204) == [0.0, 500.0, 1000.0]
    assert ticks(0.512, 0.938) == [0.6, 0.7, 0.8, 0.9]
    assert ticks(1, 10) == [2, 4, 6, 8, 10]


def test_an_interval_bar_puts_zero_in_the_middle_and_keeps_to_its_width() -> None:
    svg = parse(interval_bar(-5.0, 0.0, 5.0, margin=0.03, span=0.1))
    interval = next(node for node in svg if node.get("class") == "interval")
    assert (interval.get("x1"), interval.get("x2")) == ("5.0", "145.0")
    assert next(node for node in svg if node.get("class") == "point").get("cx") == "75.0"
    assert next(node for node in svg if node.get("class") == "margin").get("x1") == "54.0"


def test_an_interval_bar_without_numbers_draws_no_evidence() -> None:
    assert {node.get("class") for node in parse(interval_bar(None, None, None, margin=None, span=0.1))} == {"grid", "zero"}


def test_a_share_bar_is_as_long_as_its_share() -> None:
    assert parse(share_bar(0.5, 1.0))[0].get("width") == "60.0"
    assert share_bar(None, 1.0) == share_bar(float("inf"), 1.0) == share_bar(1.0, 0.0) == ""


def test_a_line_chart_puts_the_largest_value_on_top_and_leaves_out_what_is_not_finite() -> None:
    svg = line_chart([Line("loss", "a", [(1, 2.0), (2, float("nan")), (3, 0.0)])], Axes("epoch"), title="loss")
    points = re.search(r'points="([^"]+)"', svg)
    assert points
    (left, top), (right, bottom) = (map(float, pair.split(",")) for pair in points.group(1).split())
    assert left < right
    assert top < bottom


def test_charts_without_data_are_a_sentence() -> None:
    assert line_chart([], Axes("x"), title="t").startswith("<p")
    assert line_chart([Line("one", "a", [(0, 1)])], Axes("x"), title="t").startswith("<p")
    assert histogram([0, 1], [1], [], title="t").startswith("<p")
    assert histogram([1, 1], [1], [1], title="t").startswith("<p")
    assert category_bars([], [], [], title="t").startswith("<p")


def test_histograms_are_shares_so_that_sample_sizes_do_not_matter() -> None:
    few = histogram([0, 0.5, 1], [1, 3], [2, 2], title="t")
    many = histogram([0, 0.5, 1], [100, 300], [2, 2], title="t")
    assert few == many


def test_a_histogram_of_nothing_has_no_bars() -> None:
    svg = histogram([0, 0.5, 1], [0, 0], [0, 0], title="t")
    assert "<rect" not in svg


def test_chart_texts_are_escaped() -> None:
    for svg in (
        line_chart([Line("<b>", "a", [(0, 1), (1, 2)])], Axes("<x>"), title='"<t>'),
        category_bars(["<i>"], [1], [1], title='"<t>'),
    ):
        assert not re.search(r"<(b|x|t|i)>", svg.replace('<i class="key', ""))
        assert "&quot;&lt;t&gt;" in svg
