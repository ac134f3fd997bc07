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
    assert "| accuracy | yes | pass | 720 | 0.910 | 0.930 | -0.010 … +0.050 | 0.03 | tango |" in card
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
