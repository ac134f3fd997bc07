from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import DataError
from sightline.models.bundle import ModelBundle
from sightline.registry.card import render_card
from sightline.registry.ledger import Champion, Ledger

VERDICT: dict[str, Any] = {
    "schema_version": 1,
    "outcome": "pass",
    "reason": "Not worse than the champion.",
    "champion": "c" * 64,
    "golden_digest": "d" * 64,
    "num_images": 720,
    "looks": 2,
    "checks": [
        {"name": "accuracy", "required": True, "outcome": "pass", "num_images": 720, "reference": 0.91, "value": 0.93,
         "interval": [-0.01, 0.05], "margin": 0.03, "test": "tango", "kind": "overall"},
        {"name": "material=a|<b>", "required": False, "outcome": "warn", "num_images": 31},
    ],
}  # fmt: skip


@pytest.fixture
def bundle(make_bundle: Callable[[str], ModelBundle]) -> ModelBundle:
    return make_bundle("one")


@pytest.fixture
def champion(tmp_path: Path, bundle: ModelBundle) -> Champion:
    return Ledger(str(tmp_path / "r")).promote(bundle, expected_generation=0, run_id="run-1", verdict_digest="e" * 64)


def test_the_card_says_what_the_model_is_and_what_it_showed(champion: Champion, bundle: ModelBundle) -> None:
    card = render_card(champion, bundle, verdict=VERDICT)
    assert card.startswith("# Model card: generation 1\n")
    assert bundle.digest in card
    assert "one of 2 classes: a, b" in card
    assert "| accuracy | yes | pass | accuracy | 720 | 0.910 | 0.930 | -0.010 … +0.050 | 0.03 | tango |" in card
    assert "720 golden images (`dddddddddddd`, look 2)" in card


def test_warnings_become_known_limits_and_names_cannot_break_the_table(champion: Champion, bundle: ModelBundle) -> None:
    limits = render_card(champion, bundle, verdict=VERDICT).split("## Known limits")[1]
    assert "* material=a\\|&lt;b>: warn, 31 images" in limits


def test_a_card_never_describes_another_model(champion: Champion, make_bundle: Callable[[str], ModelBundle]) -> None:
    with pytest.raises(DataError, match="cannot describe bundle"):
        render_card(champion, make_bundle("two"), verdict=VERDICT)


def test_a_verdict_that_cannot_be_read_is_an_error(champion: Champion, bundle: ModelBundle) -> None:
    with pytest.raises(DataError, match="verdict cannot be read"):
        render_card(champion, bundle, verdict={"outcome": "pass"})


def test_the_card_says_what_bounds_the_errors_over_many_promotions(champion: Champion, bundle: ModelBundle) -> None:
    anchor = {
        "name": "against the last audited model",
        "kind": "anchor",
        "required": True,
        "outcome": "pass",
        "detail": "generation 3: fine",
    }
    cases = [{"location": "a.png", "wanted": "a", "given": "a"}, {"location": "b.png", "wanted": "b", "given": ""}]
    verdict = VERDICT | {"attempt": 4, "alpha": 0.0018998, "task": "detection", "metric": "AP", "checks": [anchor], "cases": cases}
    card = render_card(champion, bundle, verdict=verdict)
    assert "Task: detection; the metric that decides is AP." in card
    assert "Attempt 4 in the alpha ledger of these images; the comparison could spend alpha = 0.0019," in card
    assert "Last audited model: pass; generation 3: fine." in card
    assert "Must-pass cases: 1 of 2 right." in card


def test_a_first_model_claims_no_alpha_and_no_anchor(champion: Champion, bundle: ModelBundle) -> None:
    card = render_card(champion, bundle, verdict=VERDICT | {"champion": "none", "attempt": 1, "alpha": 0.03})
    assert "alpha" not in card
    assert "Last audited model: not compared with." in card
    assert "Must-pass cases: none." in card


def test_values_carry_their_unit_and_errors_say_that_lower_is_better(champion: Champion, bundle: ModelBundle) -> None:
    size = {"name": "model size", "required": True, "outcome": "pass", "metric": "size", "unit": "MB", "value": 4.2, "margin": 200.0}
    ece = {
        "name": "calibration",
        "required": False,
        "outcome": "info",
        "metric": "ECE",
        "lower_is_better": True,
        "reference": 0.02,
        "value": 0.03,
    }
    card = render_card(champion, bundle, verdict=VERDICT | {"checks": [size, ece]})
    assert "| model size | yes | pass | size | 0 | – | 4.200 MB | – | 200 MB | – |" in card
    assert "| calibration | no | info | ECE, lower is better | 0 | 0.020 | 0.030 | – | – | – |" in card


def test_overrides_are_listed_with_who_why_and_until_and_what_they_waive_is_a_known_limit(champion: Champion, bundle: ModelBundle) -> None:
    override = {"checks": ["overall"], "who": "A. <b>", "why": "the old site | is closed", "until": 1_800_000_000.0}
    waived = {"name": "overall", "required": True, "outcome": "waived", "num_images": 720}
    card = render_card(champion, bundle, verdict=VERDICT | {"overrides": [override], "checks": [waived]})
    assert "* overall: A. &lt;b>, until 2027-01-15 08:00 UTC: the old site \\| is closed" in card
    assert "* overall: waived, 720 images" in card.split("## Known limits")[1]
    assert "## Overrides" not in render_card(champion, bundle, verdict=VERDICT)
