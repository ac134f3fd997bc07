"""A figure of a verdict reads as its unit and its metric ask for."""

import pytest
from report_world import variants_file

from sightline.report.charts import interval_bar
from sightline.report.values import attempt_text, change_text, images_text, interval_text, limit_text, metric_text, title_of, value_text
from sightline.report.variants import MAX_SLICES, variant_table
from sightline.report.views import CheckView, VariantsView, VerdictView


def check(unit: str = "share", metric: str = "accuracy", **fields: object) -> CheckView:
    return CheckView.model_validate({"unit": unit, "metric": metric, **fields})


@pytest.mark.parametrize(
    ("unit", "metric", "value", "expected"),
    [
        ("share", "accuracy", 0.9312, "93.1\u202f%"),
        ("share", "ECE", 0.031, "3.1\u202f%"),
        ("share", "AP", 0.5124, "0.512"),
        ("share", "AP50", 0.7, "0.700"),
        ("share", "mIoU", 0.61, "0.610"),
        ("share", "Dice", 0.75, "0.750"),
        ("share", "macro F1", 0.801, "0.801"),
        ("MB", "model size", 12.4, "12.4\u202fMB"),
        ("MB", "model size", 12400.0, "12\u202f400\u202fMB"),
        ("ms", "latency p95", 3.912, "3.91\u202fms"),
        ("USD", "cost", 0.00042, "0.00042\u202fUSD"),
        ("", "", 0.931, "0.931"),
        ("share", "accuracy", None, "not recorded"),
    ],
)
def test_a_value_is_shown_in_its_unit(unit: str, metric: str, value: float | None, expected: str) -> None:
    assert value_text(check(unit, metric), value) == expected


def test_a_difference_has_a_sign_and_the_unit_of_the_check() -> None:
    share = check(reference=0.5, value=0.48, estimate=-0.021, interval=(-0.03, -0.01))
    assert (change_text(share), interval_text(share)) == ("−2.1 points", "−3.0 … −1.0")
    slower = check("ms", "latency p50", reference=3.1, value=3.4, estimate=0.3, interval=(-0.1, 0.44))
    assert (change_text(slower), interval_text(slower)) == ("+0.3\u202fms", "−0.1\u202fms … +0.44\u202fms")


def test_an_absolute_check_has_a_limit_and_no_difference() -> None:
    size = check("MB", "model size", value=0.41, estimate=0.41, margin=200.0, lower_is_better=True)
    assert (change_text(size), interval_text(size), limit_text(size)) == ("", "", "at most 200\u202fMB")
    score = check(metric="AP", value=0.5, estimate=0.5, margin=0.3, interval=(0.45, 0.55))
    assert (limit_text(score), interval_text(score)) == ("at least 0.300", "0.450 … 0.550")
    assert limit_text(check(reference=0.5, estimate=0.0, margin=0.01)) == ""


def test_the_margin_of_an_error_stands_to_the_right_of_zero() -> None:
    better, worse = (
        interval_bar(0.0, 0.0, 0.0, margin=0.05, span=0.1, lower_is_better=lower_is_better) for lower_is_better in (False, True)
    )
    assert 'class="margin" x1="40.0"' in better
    assert 'class="margin" x1="110.0"' in worse


def test_images_in_groups_say_so() -> None:
    assert images_text(check(num_images=340, num_clusters=28)) == "340 images in 28 groups"
    assert images_text(check(num_images=340, num_clusters=340)) == images_text(check(num_images=340)) == "340 images"
    assert (images_text(check(num_images=1)), images_text(check())) == ("1 image", "")


def test_a_metric_is_told_once() -> None:
    verdict = VerdictView(metric="AP")
    assert metric_text(check(metric="AP", kind="overall", name="overall", value=0.5), verdict) == "AP"
    assert metric_text(check(metric="AP", kind="slice", name="site=A", value=0.5), verdict) == ""
    assert metric_text(check(metric="ECE", kind="calibration", name="calibration", value=0.5), verdict) == "ECE"
    assert metric_text(check(metric="AP50", name="AP50", value=0.5), verdict) == ""
    assert metric_text(check(kind="answers", name="valid answers"), verdict) == ""


def test_the_look_says_its_attempt_and_its_level_where_they_are_recorded() -> None:
    told = attempt_text(VerdictView(looks=4, attempt=3, alpha=0.0125))
    assert told == "look 4 at this golden set · attempt 3 in the alpha ledger · α of this look 1.2\u202f%"
    assert attempt_text(VerdictView(looks=4)) == "look 4 at this golden set"


def test_a_metric_begins_a_line_as_it_is_written() -> None:
    assert [title_of(metric) for metric in ("accuracy", "macro F1", "mIoU", "AP", "")] == ["Accuracy", "Macro F1", "mIoU", "AP", ""]


def test_the_variants_are_shown_overall_and_on_the_slices_where_one_loses_most() -> None:
    table = variant_table(VariantsView.model_validate(variants_file(11)))
    assert table is not None
    assert [row.name for row in table.rows] == ["overall", *(f"site={place}" for place in range(10, 10 - MAX_SLICES, -1))]
    assert table.rows[1].cells == (("90.0\u202f%", ""), ("79.0\u202f%", "−11.0"), ("–", ""))
    assert table.num_left == 3


def test_a_table_of_variants_that_does_not_fit_its_rows_is_not_shown() -> None:
    torn = variants_file()
    torn["columns"][1]["values"] = torn["columns"][1]["values"][:-1]
    assert variant_table(VariantsView.model_validate(torn)) is None
    assert variant_table(VariantsView()) is None
    assert variant_table(None) is None
