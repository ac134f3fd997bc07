import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from sightline.config.gate import GateConfig
from sightline.data.version import Split
from sightline.evaluate.predict import Answers
from sightline.evaluate.slices import slice_masks
from sightline.evaluate.verdict import Flips, Verdict, overall_outcome
from sightline.gate.decide import decide
from sightline.gate.evidence import Evidence
from sightline.gate.report import render
from sightline.gate.words import headline, points, reason, summary

CLASSES = ("dent", "<i>crack</i>")
IMAGES = 400


def _case(*, champion=True, broken=40, size_px=16) -> tuple[Verdict, Evidence, Split]:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, IMAGES)
    material = np.where(np.arange(IMAGES) < 100, "brass", "steel")
    attributes = pd.DataFrame({"material": material, "site": np.where(np.arange(IMAGES) < 390, "A", "<script>")})
    names = tuple(f"data/{'x' * 3}&{i}.jpg" for i in range(IMAGES))
    pixels = rng.integers(0, 255, (IMAGES, size_px, size_px, 3), dtype=np.uint8)
    split = Split("golden", tuple(f"{i:04d}" for i in range(IMAGES)), labels, attributes, names, pixels)
    old_right, new_right = np.ones(IMAGES, bool), np.ones(IMAGES, bool)
    old_right[200:210], new_right[:broken] = False, False

    def answers(right):
        return Answers(split.sample_ids, np.where(right, labels, 1 - labels), rng.uniform(0.5, 1, IMAGES).astype(np.float32))

    evidence = Evidence(
        stage="trained",
        labels_N=labels,
        masks=slice_masks(split, CLASSES),
        candidate=answers(new_right),
        champion=answers(old_right) if champion else None,
        eager=None,
        same_model=False,
        sentinels=(),
        size_bytes=2_000_000,
        latency=None,
    )
    checks = decide(evidence, GateConfig())
    outcome = overall_outcome(checks)
    verdict = Verdict(
        stage="trained",
        outcome=outcome,
        candidate="a" * 64,
        variant="eager",
        golden_digest="c" * 64,
        num_images=IMAGES,
        looks=3,
        checks=checks,
        flips=Flips(num_broken=broken, num_fixed=10),
        reason=reason(checks, outcome),
    )
    return verdict, evidence, split


def _page(**case) -> str:
    verdict, evidence, split = _case(**case)
    return render(verdict, evidence, split, CLASSES)


def test_the_page_opens_with_the_verdict_and_names_the_failing_slice():
    verdict, evidence, split = _case()
    assert headline(verdict.checks, verdict.outcome).startswith("FAIL · material=brass −40.0 pts [")
    page = render(verdict, evidence, split, CLASSES)
    title = re.search(r"<h1>(.*?)</h1>", page)
    assert title is not None
    assert "must not ship" in title[1]
    assert "material=brass" in title[1]


def test_the_page_is_well_formed_small_and_needs_nothing_from_outside():
    page = _page(size_px=64)
    assert len(page) < 1_500_000
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(?!data:image/jpeg)[a-z]+:""", page)
    body = page[page.index("<main>") : page.index("</main>") + len("</main>")]
    ElementTree.fromstring(re.sub(r"<(img|br)([^>]*?)>", r"<\1\2/>", body))  # noqa: S314 - our own page


def test_names_from_data_are_escaped():
    page = _page()
    assert "&lt;script&gt;" in page
    assert "<i>crack</i>" not in page
    assert "xxx&amp;" in page


def test_broken_images_of_the_worst_slice_come_first_and_at_most_24_are_shown():
    page = _page()
    part = page[page.index("Newly broken") : page.index("Newly fixed")]
    assert part.count("<figure>") == 24
    assert part.count("<span>material=brass</span>") == 24
    assert page[page.index("Newly fixed") :].count("<figure>") == 10


def test_a_first_model_shows_its_mistakes_and_no_comparison():
    verdict, evidence, split = _case(champion=False, broken=12)
    assert headline(verdict.checks, verdict.outcome).startswith("PASS · accuracy 0.970 [0.9")
    page = render(verdict, evidence, split, CLASSES)
    assert "Newly broken" not in page
    assert page[page.index("<h2>Mistakes") :].count("<figure>") == 12


def test_bars_stay_inside_their_drawing():
    page = _page()
    positions = [float(value) for value in re.findall(r'(?:x1|x2|cx)="([^"]+)"', page)]
    assert positions
    assert all(0 <= position <= 260 for position in positions)


def test_the_summary_is_a_short_markdown_table_with_the_failure_on_top():
    verdict, _, _ = _case()
    text = summary(verdict)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert "**fail**" in rows[1]
    assert all(row.count("|") == rows[0].count("|") for row in rows)
    assert len(rows) < 20


@pytest.mark.parametrize(("share", "text"), [(0.038, "+3.8"), (-0.004, "−0.4"), (0.0001, "0.0"), (-0.142, "−14.2")])
def test_points_carry_their_sign(share, text):
    assert points(share) == text
