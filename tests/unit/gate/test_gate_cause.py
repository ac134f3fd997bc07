"""One broken material makes every lamp and camera fail that it was photographed with; only a second cause is told as one."""

from dataclasses import replace

import numpy as np

from sightline.config.gate import GateConfig
from sightline.evaluate.predict import Answers
from sightline.gate.cause import failing_outside
from sightline.gate.decide import decide
from sightline.gate.evidence import Evidence
from sightline.gate.words import reason

IMAGES = 900
POLICY = GateConfig(robustness=(), margin=0.03)


def world(*, also_broken: bool) -> Evidence:
    rng = np.random.default_rng(0)
    material, lamp = rng.integers(0, 3, IMAGES), rng.integers(0, 2, IMAGES)
    broken = (material == 0) & (rng.uniform(size=IMAGES) < 0.5)
    if also_broken:
        broken |= (lamp == 1) & (rng.uniform(size=IMAGES) < 0.3)
    ids = tuple(map(str, range(IMAGES)))
    right = np.full(IMAGES, 0.9, dtype=np.float32)
    old, new = np.zeros(IMAGES, dtype=int), broken.astype(int)
    masks = {f"material={k}": material == k for k in range(3)} | {f"lamp={k}": lamp == k for k in range(2)}
    return Evidence("predictions", np.zeros(IMAGES, dtype=int), masks, Answers(ids, new, right), Answers(ids, old, right), None, False)


def told(evidence: Evidence) -> tuple[tuple[str, ...] | None, str]:
    checks = decide(evidence, POLICY)
    outside = failing_outside(evidence, checks, POLICY)
    return outside, reason(checks, "fail", outside=outside)


def test_one_cause_is_told_as_one():
    outside, sentence = told(world(also_broken=False))
    assert outside == ()
    assert sentence.endswith("on the images without material=0 no slice is shown to be worse.")


def test_a_second_cause_is_named():
    outside, sentence = told(world(also_broken=True))
    assert outside is not None
    assert "lamp=1" in outside
    assert "on the images without" in sentence
    assert "lamp=1" in sentence


def test_nothing_is_said_where_no_slice_decides():
    evidence = world(also_broken=False)
    assert failing_outside(evidence, [], POLICY) is None


def test_a_shown_loss_smaller_than_the_slice_margin_warns_and_a_larger_one_blocks():
    def outcome(slice_margin: float) -> str:
        checks = decide(world(also_broken=False), POLICY.model_copy(update={"slice_margin": slice_margin}))
        return next(check.outcome for check in checks if check.name == "material=0")

    assert (outcome(0.0), outcome(0.3), outcome(0.7)) == ("fail", "fail", "warn")


def test_nothing_is_said_where_too_few_images_are_left():
    evidence = world(also_broken=False)
    everywhere = {"material=0": np.arange(IMAGES) >= 5}
    checks = decide(evidence, POLICY)
    assert failing_outside(evidence, checks, POLICY) == ()
    assert failing_outside(replace(evidence, masks=evidence.masks | everywhere), checks, POLICY) is None
