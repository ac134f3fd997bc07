import re

import pytest

from sightline.errors import DataError
from sightline.evaluate.verdict import Check, overall_outcome
from sightline.gate.blocking import labels_needed
from sightline.gate.values import count_of, listed, points, probability, value_text
from sightline.gate.words import attempt_sentence, escaped, headline, overall_check, reason, summary, worst_slice
from tests.unit.gate.rich_verdict import OVERRIDE, budget, paired, rich_verdict, waived_verdict

GOOD = paired("overall", "overall", reference=0.874, value=0.912, interval=(0.019, 0.057), margin=0.03)
BRASS = paired("material=brass", "critical-slice", slice="material=brass", reference=0.891, value=0.612, outcome="fail", num_images=340)


def _reason(*checks: Check, **options) -> str:
    return reason(checks, overall_outcome(checks), **options)


@pytest.mark.parametrize(("share", "text"), [(0.038, "+3.8"), (-0.004, "−0.4"), (0.0001, "0.0"), (-0.142, "−14.2")])
def test_points_carry_their_sign(share, text):
    assert points(share) == text


@pytest.mark.parametrize(
    ("unit", "metric", "value", "text"),
    [
        ("share", "accuracy", 0.9123, "91.2 %"),
        ("share", "AP", 0.5123, "0.512"),
        ("share", "ECE", 0.0311, "3.1 %"),
        ("MB", "size", 12.4, "12.40 MB"),
        ("ms", "latency", 0.0371, "0.037 ms"),
        ("USD", "cost", 0.00214, "0.0021 USD"),
        ("MB", "memory", -3.0, "−3.00 MB"),
    ],
)
def test_a_value_is_shown_in_its_unit(unit, metric, value, text):
    assert value_text(Check(name="x", kind="overall", required=True, outcome="pass", unit=unit, metric=metric), value) == text


def test_numbers_agree_with_their_nouns():
    assert count_of(1, "image") == "1 image"
    assert count_of(0, "further slice") == "0 further slices"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert probability(0.003377) == "0.34 %"


def test_a_failing_slice_is_named_with_both_figures():
    assert _reason(GOOD, BRASS) == (
        "The new model must not ship: on images with material=brass it is right 61.2 % of the time, the current model 89.1 % "
        "(−27.9 points, 340 images)."
    )
    assert headline((GOOD, BRASS), "fail").startswith("FAIL · material=brass −27.9 pts [")


def test_ap_reaches_a_value():
    check = paired(
        "material=brass",
        "critical-slice",
        slice="material=brass",
        metric="AP",
        reference=0.563,
        value=0.512,
        outcome="fail",
        num_images=220,
    )
    assert "it reaches AP 0.512, the current model 0.563 (−5.1 points, 220 images)" in _reason(GOOD, check)
    assert headline((GOOD, check), "fail").startswith("FAIL · material=brass AP −5.1 pts [")


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (
            paired("against the last audited model", "anchor", reference=0.93, value=0.87, outcome="fail"),
            "the last audited model 93.0 % (−6.0",
        ),
        (
            paired("parity with the trained model", "parity", reference=0.9, value=0.8, outcome="fail"),
            "the trained model before compilation 90.0 %",
        ),
        (
            paired("calibration", "calibration", metric="ECE", lower_is_better=True, reference=0.02, value=0.051, outcome="fail"),
            "its ECE is 5.1 % against 2.0 % for the current model (+3.1 points)",
        ),
        (
            paired("robustness: blur", "robustness", reference=0.9, value=0.7, outcome="fail"),
            "on corrupted golden images (blur) it is right 70.0 %",
        ),
        (budget("model size", "size", 240.0, "MB", 200.0, outcome="fail"), "model size: 240 MB, at most 200 MB."),
        (budget("memory", "memory", 300.0, "MB", 256.0, outcome="fail"), "memory: 300 MB, at most 256 MB."),
        (budget("cost per 1 000 inferences", "cost", 0.009, "USD", 0.005, outcome="fail"), "inferences: 0.009 USD, at most 0.005 USD."),
        (
            Check(name="gap of site", kind="slice-parity", required=True, outcome="fail", value=0.2, estimate=0.2, detail="A 95 %, B 75 %"),
            "gap of site: A 95 %, B 75 %.",
        ),
    ],
)
def test_each_kind_of_check_has_its_sentence(check, text):
    sentence = _reason(GOOD, check)
    assert sentence.startswith("The new model must not ship: ")
    assert text in sentence
    assert "  " not in headline((GOOD, check), "fail")


def test_a_first_model_below_its_limit_is_told_the_limit():
    low = Check(
        name="class=a",
        kind="slice",
        slice="class=a",
        required=True,
        outcome="fail",
        value=0.2,
        estimate=0.2,
        margin=0.3,
        interval=(0.1, 0.28),
        num_images=1,
    )
    assert "it is right only 20.0 % of the time, at least 30.0 % is needed (1 image)." in _reason(low)


def test_other_failures_are_not_hidden_behind_the_first():
    worse = GOOD.model_copy(update={"outcome": "fail", "value": 0.82, "estimate": -0.054})
    sentence = _reason(worse, BRASS, budget("model size", "size", 240.0, "MB", 200.0, outcome="fail"))
    assert "and −5.4 points over all images; model size fails too." in sentence


FREE = paired("class=Free", "slice", slice="class=Free", reference=1.0, value=0.91, outcome="fail", num_images=333)
CROSS = paired("class=Free & exp=6", "slice", slice="class=Free & exp=6", reference=1.0, value=0.824, outcome="fail", num_images=51)


def test_the_sentence_names_the_slice_and_not_its_part():
    sentence = _reason(GOOD, CROSS, FREE)
    assert "on images with class=Free it is right 91.0 % of the time" in sentence
    assert sentence.endswith("; 1 part of class=Free fails too.")
    more = [CROSS.model_copy(update={"name": name, "slice": name}) for name in ("class=Free & exp=5", "class=Free & exp=4")]
    assert _reason(GOOD, CROSS, FREE, *more).endswith("; 3 parts of class=Free fail too.")
    dim = FREE.model_copy(update={"name": "light=dim", "slice": "light=dim", "value": 0.95, "estimate": -0.05})
    assert "; light=dim fails too, and 1 part of these." in _reason(GOOD, CROSS, FREE, dim.model_copy(update={"interval": (-0.08, -0.02)}))
    assert worst_slice((GOOD, CROSS, FREE)) == FREE
    assert headline((GOOD, CROSS, FREE), "fail").startswith("FAIL · class=Free −9.0 pts")


def test_an_open_check_says_what_to_label():
    steel = paired("material=steel", "critical-slice", slice="material=steel", outcome="inconclusive", labels_needed=1)
    brass = steel.model_copy(update={"name": "b", "slice": "b", "labels_needed": 70})
    assert _reason(GOOD, steel).endswith("not shown to be good enough; label about 1 more image of material=steel.")
    assert "(and of 1 other slice)" in _reason(GOOD, steel, brass)
    assert labels_needed((GOOD, steel, brass, brass)) == (("b", 70), ("material=steel", 1))


def test_a_pass_claims_only_what_the_checks_show():
    fine = paired("site=A", "slice", slice="site=A")
    assert _reason(GOOD, fine).endswith("the current model 87.4 % (+3.8 points), and no slice is shown to be worse.")
    assert "slice" not in _reason(GOOD)
    warned = fine.model_copy(update={"outcome": "warn"})
    assert _reason(GOOD, warned).endswith("; 1 warning: site=A.")
    shown = BRASS.model_copy(update={"kind": "slice", "required": False, "outcome": "info"})
    assert "slice" not in _reason(GOOD, shown)


def test_the_confidence_of_a_first_model_is_that_of_this_look():
    first = Check(
        name="overall", kind="overall", required=True, outcome="pass", value=0.97, estimate=0.97, interval=(0.95, 0.98), num_images=400
    )
    assert "(with 95 % confidence at least 95.0 %)" in _reason(first)
    assert "(with 98.74 % confidence" in _reason(first, alpha=0.0126)


def test_a_waived_check_never_reads_as_passed():
    waived = BRASS.model_copy(update={"outcome": "waived"})
    sentence = _reason(GOOD, waived, overrides=(OVERRIDE,))
    assert sentence.startswith(
        "The new model may ship only by override: Ada <Lovelace> (until 2026-01-31) waived material=brass, which does not pass"
    )
    assert "no slice" not in sentence
    assert "no other slice is shown to be worse" in sentence
    assert headline((GOOD, waived), "pass").startswith("PASS by override of material=brass · accuracy")
    assert "a person waived" in _reason(GOOD, waived)


def test_the_worst_slice_of_an_error_is_the_one_where_it_rose():
    better = paired("a", "slice", slice="a", reference=0.1, value=0.05, lower_is_better=True)
    worse = paired("b", "slice", slice="b", reference=0.1, value=0.2, lower_is_better=True)
    assert worst_slice((better, worse)) == worse


def test_a_verdict_without_any_check_does_not_pass():
    assert reason((), "inconclusive") == "No check could be made, so the new model does not ship."
    assert headline((), "inconclusive") == "INCONCLUSIVE · no required check could be made"
    with pytest.raises(DataError, match="no check over all golden images"):
        overall_check(())


def test_the_summary_is_a_markdown_table_with_the_failures_on_top():
    text = summary(rich_verdict())
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert "**fail**" in rows[1]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"(?<!\\)\|", rows[0])) for row in rows)
    assert len(rows) < 40
    for line in (
        "* material=steel: about 320 more images",
        "* Crack taken for Free: 12 → 61",
        "* a/&lt;img&gt;.jpg: Free instead of Crack",
    ):
        assert line in text


def test_the_summary_shows_eight_that_block_and_counts_the_rest():
    many = [FREE.model_copy(update={"name": f"class={i}", "slice": f"class={i}"}) for i in range(20)]
    text = summary(rich_verdict(checks=[GOOD, CROSS, FREE, *many]))
    assert text.count("✗ **fail**") == 8
    assert "What blocks besides: 14 more, 1 of them parts of failing slices." in text


def test_plain_figures_are_one_line_of_the_summary():
    figures = [paired(f"AP of {i}", "agreement", metric="AP", value=0.8, required=False, outcome="info", interval=None) for i in range(20)]
    text = summary(rich_verdict(checks=[GOOD, *figures]))
    assert "More figures, without a test: AP of 0 0.800 (current 0.900, −10.0 pts) · " in text
    assert " · 4 more." in text
    assert "| AP of" not in text


def test_the_summary_shows_an_override_before_anything_else():
    text = summary(waived_verdict())
    assert text.startswith(
        "## Gate (compiled): PASS BY OVERRIDE\n\n> **Override** by Ada &lt;Lovelace&gt;, valid until 2026-01-31: material=brass."
    )
    row = next(line for line in text.splitlines() if line.startswith("| material=brass"))
    assert "waived, does not pass" in row
    assert "✓" not in row


def test_names_from_data_are_no_markdown():
    assert escaped("a|b\n<script>*x*[y](z)`\\") == r"a\|b &lt;script&gt;\*x\*\[y\](z)\`" + "\\\\"


def test_the_attempt_is_told_with_what_it_may_spend():
    ledger = attempt_sentence(rich_verdict())
    assert "with probability 0.34 %, so that it stays below 5 % over all looks together" in ledger
    fixed = attempt_sentence(rich_verdict(policy={"alpha": 0.05, "alpha_spending": "fixed"}, alpha=0.05))
    assert "adds up over looks" in fixed
    first = attempt_sentence(rich_verdict(champion="none", alpha=0.05))
    assert "a first model below its limit gets through with probability 5 % at most" in first
    assert "margin" not in first
