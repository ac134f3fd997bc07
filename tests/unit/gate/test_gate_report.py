import re
from xml.etree import ElementTree

import pytest

from sightline.evaluate.verdict import Check, Confusion
from sightline.gate.gallery import Gallery, Picture
from sightline.gate.report import Page, render
from sightline.gate.threshold_table import Kept, ThresholdRow, ThresholdTable
from sightline.gate.variant_table import VariantColumn, VariantTable
from tests.unit.gate.rich_verdict import budget, curves, paired, rich_page, rich_verdict, variants, waived_verdict


@pytest.fixture(scope="module")
def page() -> str:
    return render(rich_page())


def _section(page: str, start: str, end: str) -> str:
    return page[page.index(f"<h2>{start}") : page.index(f"<h2>{end}")]


def _body(page: str) -> ElementTree.Element:
    body = page[page.index("<main>") : page.index("</main>") + len("</main>")]
    body = re.sub(r"<(img|br|col)((?: [^>]*?)?)>", r"<\1\2/>", body).replace("&nbsp;", " ")
    return ElementTree.fromstring(body)  # noqa: S314 - our own page


def test_the_sections_come_in_the_order_of_a_decision(page):
    titles = [re.sub(r"<span>.*?</span>", "", title).strip() for title in re.findall(r"<h2>(.*?)</h2>", page)]
    assert titles == [
        "What blocks",
        "Other checks",
        "Slices",
        "Discovered weak slices",
        "Slices and variants",
        "Robustness",
        "Calibration",
        "Kinds of errors",
        "Newly broken",
        "Newly fixed",
        "Masks that got worse",
        "Must-pass cases",
        "How it was decided",
    ]


def test_the_page_opens_with_the_sentence(page):
    verdict = rich_verdict()
    title = re.search(r"<h1>(.*?)</h1>", page)
    assert title is not None
    assert "must not ship" in title[1]
    assert title[1] == verdict.reason.replace("<", "&lt;").replace(">", "&gt;")


def test_the_page_is_well_formed_small_and_needs_nothing_from_outside(page):
    for text in (page, render(rich_page(waived_verdict())), render(Page(rich_verdict()))):
        assert len(text) < 1_500_000
        assert "<script" not in text
        assert not re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(?!data:image/jpeg)[a-z]+:""", text)
        _body(text)


def test_names_from_data_are_escaped(page):
    waived = render(rich_page(waived_verdict()))
    for text, name in ((page, "&lt;b&gt;Uneven&lt;/b&gt;"), (page, "a/&lt;img&gt;.jpg"), (waived, "Ada &lt;Lovelace&gt;")):
        assert name in text
    assert "<b>Uneven" not in page + waived
    assert "<Lovelace>" not in waived


def test_what_blocks_lists_each_blocking_check_once_and_what_to_label(page):
    blocks = _section(page, "What blocks", "Other checks")
    for name in ("must-pass cases", "material=brass", "overall", "against the last audited model"):
        assert blocks.count(f'<td class="name">{name}') == 1
    assert blocks.index("material=brass") < blocks.index("material=steel")
    listed = re.search(r"<pre[^>]*>(.*?)</pre>", blocks, re.S)
    assert listed is not None
    assert listed[1] == "material=steel\t320\n"


def _failing(name: str, change: float, **fields) -> Check:
    return paired(name, "slice", slice=name, value=0.9 + change, outcome="fail", detail="a regression is shown", **fields)


def test_at_most_eight_blocking_rows_are_open_and_crosses_of_failing_slices_are_folded():
    many = [_failing(f"station={i:02d}", -0.1) for i in range(10)]
    page = render(Page(rich_verdict(checks=[paired("overall", "overall"), *many, _failing("light=dim & station=03", -0.4)])))
    blocks = _section(page, "What blocks", "Other checks")
    opened, folded = blocks.split("<details>")
    assert opened.count('<td class="name">') == 8
    assert "<summary>3 more, 1 of them parts of failing slices</summary>" in folded
    assert "part of station=03 · 400 images" in folded
    assert "light=dim" not in opened


def test_a_row_tells_images_p_value_and_detail_in_one_line(page):
    blocks = _section(page, "What blocks", "Other checks")
    assert ">340 images · p &lt; 0.001 · worse: 104 images broken, 9 fixed" in blocks
    tested = paired("overall", "overall", p_value=0.93, test="Tango score test, non-inferiority", detail="worse")
    assert ">400 images · non-inferiority p = 0.930 · worse<" in render(Page(rich_verdict(checks=[tested])))


def test_there_is_no_axis_where_few_rows_have_an_interval():
    without = [_failing(f"station={i}", -0.1, interval=None) for i in range(3)]
    page = render(Page(rich_verdict(checks=[paired("overall", "overall", outcome="inconclusive"), *without])))
    assert 'class="axis"' not in page
    assert "The bar is" not in page
    drawn = render(Page(rich_verdict(checks=[paired("overall", "overall", outcome="inconclusive"), without[0]])))
    assert 'class="axis"' in _section(drawn, "What blocks", "Slices")
    assert drawn.count("The bar is the confidence interval") == 1


def test_plain_figures_are_a_compact_table_and_no_checks():
    names = [f"AP of class {i}" for i in range(20)]
    figures = [paired(n, "agreement", metric="AP", value=0.85, required=False, outcome="info", interval=None) for n in names]
    page = render(Page(rich_verdict(task="detection", metric="AP", checks=[paired("overall", "overall", metric="AP"), *figures])))
    shown = _section(page, "More figures", "Kinds of errors")
    assert shown.count("AP of class") == 20
    assert "<summary>5 more figures</summary>" in shown
    assert '<td class="n loss-2">−5.0 pts</td>' in shown
    assert "AP of class" not in _section(page, "Checks", "More figures")
    assert "agreement with the trained model" in _section(render(rich_page()), "Other checks", "Slices")


def _kept(num_answers: int, num_kept: int, num_right: int) -> Kept:
    precision = num_right / num_kept if num_kept else None
    return Kept(num_answers, num_kept, num_right, num_kept / num_answers, precision, (0.81, 0.99) if num_kept else None)


def test_thresholds_have_a_section_and_a_class_without_one_says_so():
    rare = ThresholdRow("<b>Fray</b>", None, _kept(9, 0, 0), _kept(3, 0, 0), "9 validation answers; at least 45 are needed")
    free = ThresholdRow("Free", 0.87654, _kept(300, 200, 199), _kept(90, 60, 56), "")
    page = render(Page(rich_verdict(), thresholds=ThresholdTable(0.95, 0.9, (rare, free), _kept(93, 60, 56))))
    shown = _section(page, "Decision thresholds", "Kinds of errors")
    assert "<b>87.7 %</b>" in shown
    assert "60 of 90" in shown
    assert "93.3 %<small>[81.0 %, 99.0 %]</small>" in shown
    assert "within chance" in shown
    assert "A person looks at every answer: 9 validation answers; at least 45 are needed." in shown
    assert shown.index(">Free<") < shown.index("&lt;b&gt;Fray&lt;/b&gt;")
    assert "answers 64.5 % of the golden images by itself and is right on 93.3 % of these [81.0 %, 99.0 %]" in shown
    assert "<b>Fray" not in page
    _body(page)


def test_thresholds_that_keep_nothing_are_told_as_such():
    rows = tuple(ThresholdRow(f"c{i}", None, _kept(9, 0, 0), _kept(3, 0, 0), "too few") for i in range(1000))
    page = render(Page(rich_verdict(), thresholds=ThresholdTable(0.95, 0.9, rows, _kept(93, 0, 0))))
    assert "no golden image is answered without a person" in page
    assert page.count("A person looks at every answer") == 120
    assert "880 further ones: see thresholds.json" in page


def test_a_discovered_slice_says_how_many_broken_images_it_explains():
    found = paired("dark", "discovered-slice", slice="dark", required=False, outcome="info", num_broken=8)
    checks = [paired("overall", "overall"), found]
    page = render(Page(rich_verdict(checks=checks, flips={"num_broken": 30, "num_fixed": 2})))
    assert "explains at least 8 of the 30 newly broken images" in page


def test_nothing_blocks_a_model_that_passes():
    page = render(Page(rich_verdict(checks=[paired("overall", "overall", margin=0.03)], cases=(), errors=())))
    assert "What blocks" not in page
    assert "<h2>Checks</h2>" in page


def test_an_override_stands_at_the_top_and_the_waived_check_is_never_called_passed():
    page = render(rich_page(waived_verdict()))
    assert "Pass by override" in page[: page.index("<h1>")]
    box = page[page.index('<div class="override">') : page.index('<dl class="figures">')]
    for text in ("Ada &lt;Lovelace&gt;", "2026-01-31", "brass is no longer sold", "1 check would block and does not pass: material=brass"):
        assert text in box
    row = re.search(r'<tr class="(\w+)">\s*<td class="name">material=brass<small>.*?</tr>', page, re.S)
    assert row is not None
    assert row[1] == "waived"
    assert "Pass" not in row[0]
    assert "Waived" in row[0]


def test_waived_checks_without_an_override_say_that_nobody_signed():
    page = render(Page(waived_verdict().model_copy(update={"overrides": ()})))
    assert "does not say by whom" in page


def test_each_unit_has_its_own_figures(page):
    checks = _section(page, "Other checks", "Slices")
    for text in ("12.40 MB", "0.37 ms", "0.0021 USD", "4.8 %", "+2.7 pts"):
        assert text in checks


def test_ap_is_shown_as_a_score_and_its_difference_in_points():
    check = paired("overall", "overall", metric="AP", reference=0.563, value=0.512, outcome="fail", margin=0.03, interval=(-0.09, -0.02))
    page = render(Page(rich_verdict(task="detection", metric="AP", checks=[check], cases=(), errors=())))
    for text in ("<dt>AP, new model</dt><dd>0.512", "<dt>AP, current model</dt><dd>0.563", "−5.1 pts"):
        assert text in page
    assert "Accuracy" not in page


def test_slices_are_grouped_by_what_they_are(page):
    slices = _section(page, "Slices <span>worst first", "Discovered")
    assert re.findall(r"<h3>(.*?) <span>", slices) == ["Critical", "Declared", "Crosses", "Image properties"]
    crosses = slices[slices.index("<h3>Crosses") : slices.index("<h3>Image properties")]
    assert crosses.count("light=") == 3
    assert "image.brightness=low" in slices[slices.index("<h3>Image properties") :]


def test_more_than_15_slices_are_folded_and_a_thousand_are_cut():
    page = render(rich_page())
    assert "<summary>7 more slices</summary>" in page
    many = [paired(f"class={i}", "slice", slice=f"class={i}", value=0.9 - i / 10_000) for i in range(1000)]
    big = render(Page(rich_verdict(checks=[paired("overall", "overall"), *many])))
    assert len(big) < 1_500_000
    assert "880 further slices with smaller losses" in big
    assert big.index("class=999") < big.index("class=998")


def test_discovered_slices_never_look_as_if_they_blocked(page):
    found = _section(page, "Discovered", "Slices and variants")
    assert "Found on one half of the golden images, measured on the other; never blocks" in found
    assert "bright and blurred" in found


def test_a_variant_that_could_not_be_judged_says_why_in_its_column(page):
    table = _section(page, "Slices and variants", "Robustness")
    assert "no GPU on this machine" in table
    assert "material=brass −12.0" in table
    assert table.index("overall") < table.index("material=brass") < table.index("class=&lt;b&gt;")


def test_a_wide_variant_table_shows_the_slices_that_lose_most():
    slices = ("overall", *(f"site={i:03d}" for i in range(200)))
    first = VariantColumn("champion", "judged", (0.9,) * 201, (None,) * 201, "", None, None)
    other = VariantColumn("int8", "judged", (0.9,) * 201, (0.0, *(-i / 1000 for i in range(200))), "pass", 1.0, 2.0)
    page = render(Page(rich_verdict(), variants=VariantTable(slices, (10,) * 201, (first, other))))
    table = _section(page, "Slices and variants", "Robustness")
    assert table.count("site=") == 24 + 1
    assert "176 further slices" in table
    assert table.index("site=199") < table.index("site=198")


def test_robustness_draws_both_models_for_each_corruption(page):
    drawn = _section(page, "Robustness", "Calibration")
    assert drawn.count('<b class="old"') == 5
    assert "dark (brightness at 50 %)" in drawn
    assert "robustness:" not in drawn


def test_reliability_curves_stay_inside_their_plot_and_end_at_100_percent(page):
    drawn = _section(page, "Calibration", "Kinds of errors")
    assert drawn.count("<polyline") == 2
    assert ">100 %<" in drawn
    positions = [float(value) for pair in re.findall(r'points="([^"]+)"', drawn) for value in re.split(r"[ ,]", pair)]
    assert all(0 <= position <= 280 for position in positions)
    assert "Calibration" not in render(Page(rich_verdict(), variants=variants())).replace("calibration", "")


def test_one_curve_alone_is_the_new_model():
    page = render(Page(rich_verdict(), reliability=curves()[1:]))
    assert 'class="c1"' in page
    assert 'class="c0"' not in page


def test_errors_that_grew_most_come_first_and_long_lists_are_folded(page):
    errors = _section(page, "Kinds of errors", "Newly broken")
    assert errors.index("Crack taken for Free") < errors.index("Fray taken for") < errors.index("no valid answer for Fray")
    assert "<summary>3 more kinds</summary>" in errors
    assert ">+49<" in errors
    assert ">−17<" in errors


def test_a_first_model_has_no_comparison_anywhere():
    check = Check(
        name="overall",
        kind="overall",
        required=True,
        outcome="pass",
        num_images=400,
        value=0.97,
        estimate=0.97,
        interval=(0.95, 0.98),
        margin=0.6,
    )
    changes = {"champion": "none", "champion_generation": 0, "cases": (), "alpha": 0.05}
    page = render(Page(rich_verdict(checks=[check], errors=(Confusion(name="Crack taken for Free", candidate=12),), **changes)))
    assert "current model</dt>" not in page
    assert "Range, 95 % each side" in page
    assert "most frequent first" in page
    assert '<b class="old"' not in page


def test_bars_stay_inside_their_drawing_and_only_shares_have_one(page):
    bars = re.findall(r'<svg class="bar.*?</svg>', page, re.S)
    positions = [float(value) for drawing in bars for value in re.findall(r'(?:x1|x2|cx)="([^"]+)"', drawing)]
    assert positions
    assert all(0 <= position <= 220 for position in positions)
    alone = render(Page(rich_verdict(checks=[budget("model size", "size", 240, "MB", 200, outcome="fail")], cases=(), errors=())))
    assert '<svg class="bar' not in alone


def test_pictures_beyond_the_budget_are_left_out_but_counted():
    picture = Picture(f"data:image/jpeg;base64,{'A' * 300_000}", "Crack", (("new", "Free"),), "material=brass", "a.jpg")
    page = render(Page(rich_verdict(), (Gallery("Newly broken", "worst first", 40, (picture,) * 6),)))
    assert page.count("<figure>") == 2
    assert "the first 2 of 40" in page
    assert len(page) < 1_500_000


def test_the_end_says_what_this_look_may_spend_and_under_which_policy(page):
    end = page[page.index("<h2>How it was decided") :]
    assert "attempt 3 in the alpha ledger" in end
    assert "probability 0.34 %" in end
    assert "<td>critical_slices</td><td>material=brass</td>" in end
    assert "<td>anchor_margin</td><td>not set</td>" in end
