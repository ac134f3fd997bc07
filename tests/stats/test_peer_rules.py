"""Other kinds of promotion rules on the same worlds, the published comparison, and that the compared gate is the real one."""

import functools
from pathlib import Path

import numpy as np
import pytest

from scripts import power_table
from sightline.config.gate import GateConfig
from sightline.evaluate.verdict import overall_outcome
from sightline.gate import tango
from sightline.gate.decide import decide
from tests.stats import rules
from tests.stats.size import FULL, RateExceededError, require_rate
from tests.stats.worlds import draw

WORLDS = 2000 if FULL else 600
BETTER, EQUAL, WORSE, BROKEN_SLICE, CRITICAL = range(5)
UNPAIRED, WALD = "unless significantly worse (unpaired z)", "paired Wald"
LIMITS = "limits on point estimates, also per slice"


@functools.cache
def shares(case: int, images: int) -> dict[str, float]:
    return power_table.promoted(case, images, WORLDS)


def _events(case: int, images: int, rule: str) -> int:
    return round(shares(case, images)[rule] * WORLDS)


@pytest.mark.parametrize("images", power_table.SIZES if FULL else [200, 500])
@pytest.mark.parametrize("case", [WORSE, CRITICAL])
def test_the_gate_promotes_a_model_at_a_margin_at_most_one_time_in_twenty(case, images):
    require_rate(_events(case, images, "this gate"), WORLDS, 0.05)


@pytest.mark.parametrize("rule", ["new ≥ old − margin", UNPAIRED, LIMITS])
def test_negative_control_rules_without_an_error_rate_are_caught(rule):
    with pytest.raises(RateExceededError):
        require_rate(_events(CRITICAL, 200, rule), WORLDS, 0.05)


def test_the_plain_comparison_refuses_an_equal_model_about_every_second_time():
    assert 0.4 < shares(EQUAL, 500)["new ≥ old"] < 0.65
    assert shares(EQUAL, 500)["this gate"] > 0.78


def test_a_rule_that_waits_for_a_proof_of_harm_promotes_the_more_the_less_it_knows():
    assert shares(WORSE, 200)[UNPAIRED] > shares(WORSE, 500)[UNPAIRED] > 0.4


def test_a_broken_slice_is_hidden_by_the_other_images_from_rules_that_see_only_the_whole():
    assert shares(BROKEN_SLICE, 2000)["new ≥ old − margin"] > 0.95
    assert shares(BROKEN_SLICE, 2000)["this gate"] < 0.35


def test_the_textbook_test_promotes_up_to_one_time_in_five_where_models_differ_on_few_images():
    rates = 0.03 + 0.97 * np.linspace(0, 0.2, 400) ** 2
    assert tango.rejection_probability(rules.wald_region(100, 0.03), 100, 0.03, rates).max() == pytest.approx(0.195, abs=0.01)


def test_the_compared_gate_decides_as_the_real_one():
    policy = GateConfig(alpha_spending="fixed", critical_slices=power_table.POLICY.critical)
    for case in range(len(power_table.CASES)):
        worlds = draw(power_table.truth(case, 300), 30 if FULL else 8, seed=case)
        compared = rules.gate(rules.count(worlds), power_table.POLICY)
        real = [overall_outcome(decide(evidence, policy)) == "pass" for evidence in worlds.evidence()]
        assert compared.tolist() == real


def test_the_published_page_is_current():
    assert power_table.differences(power_table.FILE.read_text(encoding="utf-8")) == []


def test_negative_control_an_edited_page_is_not_current(monkeypatch):
    monkeypatch.setattr(power_table, "cheap_part", power_table.critical_table)
    page = power_table.FILE.read_text(encoding="utf-8")
    assert power_table.differences(page) == []
    assert len(power_table.differences(page.replace("| 4 |", "| 5 |"))) == 1


def test_the_page_names_no_product():
    text = Path(power_table.FILE).read_text(encoding="utf-8").lower()
    assert not any(name in text for name in ("tfma", "tensorflow", "geti", "sagemaker", "mlflow"))
