"""Writes docs/reference/power.md: python -m scripts.power_table > docs/reference/power.md; --check compares a cheap part with the file."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sightline.gate import power, tango
from sightline.registry.golden import ledger_alpha
from tests.stats.rules import RULES, Policy, count, wald_region
from tests.stats.worlds import Truth, draw

FILE = Path(__file__).parents[1] / "docs" / "reference" / "power.md"
WORLDS, CHUNK = 4000, 500
POLICY = Policy(critical=("site=A",))
MARGINS, CHURNS, POWERS = (0.01, 0.02, 0.03, 0.05), (0.02, 0.05, 0.1, 0.2), (0.8, 0.9, 0.95)
SIZES = (200, 500, 1000, 2000)
CASES = (
    "better by 2 points",
    "equal",
    "worse by the margin, 3 points",
    "one slice of 150 loses 10 points",
    "critical slice worse by its margin, 5 points",
)


def truth(case: int, images: int) -> Truth:
    """The images of a case: a critical half, a slice of 150 across it, and ten parts that share all images."""
    index = np.arange(images)
    small = np.zeros(images, dtype=np.bool_)
    small[np.linspace(0, images - 1, 150).astype(int)] = True
    masks = {"site=A": index % 2 == 0, "light=night": small} | {f"lot={i}": index * 10 // images == i for i in range(10)}
    losses = (
        np.full(images, -0.02),
        np.zeros(images),
        np.full(images, 0.03),
        np.where(small, 0.1, 0.0),
        np.where(masks["site=A"], 0.05, 0),
    )
    return Truth(masks, np.asarray(losses[case], dtype=np.float64))


def promoted(case: int, images: int, worlds: int = WORLDS) -> dict[str, float]:
    """The share of worlds in which each rule promotes."""
    total = dict.fromkeys(RULES, 0)
    for start in range(0, worlds, CHUNK):
        counts = count(draw(truth(case, images), min(CHUNK, worlds - start), seed=(case * 10_000 + images) * 1000 + start))
        for name, rule in RULES.items():
            total[name] += int(rule(counts, POLICY).sum())
    return {name: number / worlds for name, number in total.items()}


def rules_table(images: int) -> Iterator[str]:
    """How often each rule promotes on this many images."""
    shares = [promoted(case, images) for case in range(len(CASES))]
    yield f"\n### {images} golden images\n"
    yield from _head([f"rule, {images} images", *CASES])
    for name in RULES:
        yield _row([name, *(_percent(share[name]) for share in shares)])


def images_table(margins: Sequence[float]) -> Iterator[str]:
    """Images per margin and churn at an alpha of 5 %."""
    yield from _head(["margin", *(f"{churn * 100:g} % churn" for churn in CHURNS)])
    for margin in margins:
        cells = ["/".join(str(power.images_needed(margin, 0.05, churn, share)) for share in POWERS) for churn in CHURNS]
        yield _row([_points(margin), *cells])


def ledger_table(margins: Sequence[float]) -> Iterator[str]:
    """Images per margin and look at the golden set."""
    looks = (1, 2, 5, 10)
    yield from _head(["margin", *(f"look {look} (alpha {ledger_alpha(0.05, look) * 100:.2g} %)" for look in looks)])
    for margin in margins:
        yield _row([_points(margin), *(str(power.images_needed(margin, ledger_alpha(0.05, look), 0.05)) for look in looks)])


def drop_table() -> Iterator[str]:
    """Power to show a drop in one slice, alone and among thirty."""
    sizes = (50, 100, 150, 200, 400, 800)
    yield from _head(["true drop", *(f"{size} images" for size in sizes)])
    for loss in (0.03, 0.05, 0.1, 0.25):
        pairs = [[power.detection_probability(size, alpha, 0.04, loss) for alpha in (0.05, 0.05 / 30)] for size in sizes]
        yield _row([_points(loss), *(f"{alone * 100:.0f} / {among * 100:.0f} %" for alone, among in pairs)])


def critical_table() -> Iterator[str]:
    """Promotion with several critical slices of the same size that share no image."""
    sizes = (400, 800, 1600)
    yield from _head(["critical slices", *(f"{size} images each" for size in sizes)])
    for number in (1, 4, 8):
        cells = []
        for size in sizes:
            equal, worse = (power.pass_probability(size, 0.03, 0.05, 0.05, loss) for loss in (0, 0.03))
            cells.append(f"{_percent(equal**number)} / {_percent(equal ** (number - 1) * worse)}")
        yield _row([str(number), *cells])


def wald_table() -> Iterator[str]:
    """The size of the textbook test beside the gate's, where models differ on few images."""
    sizes = (100, 200, 400, 800)
    yield from _head(["margin", *(f"{size} images" for size in sizes)])
    for margin in (0.03, 0.05):
        rates = margin + (1 - margin) * np.sin(np.linspace(0, np.pi / 2, 800)) ** 2 / 2
        walds = [float(tango.rejection_probability(wald_region(size, margin), size, margin, rates).max()) for size in sizes]
        gates = [power.promotion_region(size, margin, 0.05).size for size in sizes]
        yield _row([_points(margin), *(f"{wald * 100:.1f} / {exact * 100:.1f} %" for wald, exact in zip(walds, gates, strict=True))])


def _points(share: float) -> str:
    return f"{share * 100:g} point" + ("" if share == 0.01 else "s")


def _head(cells: Sequence[str]) -> Iterator[str]:
    yield _row(cells)
    yield _row(["---"] * len(cells))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


INTRO = """# What the gate can show, and how often it errs

Generated by `python -m scripts.power_table > docs/reference/power.md`; a test compares a part of it with every change.
`sightline gate plan` computes the same for your own images, slices and margins.

**Words.** *Margin*: the loss that must be ruled out. *Churn*: the share of images on which two equally good models differ, one right and
the other wrong; half are broken, half fixed. A true loss comes on top. *Power*: how often the gate says yes to an equally good model, or
sees a loss that is there. *Alpha*: how often it may promote a model that is worse by the margin.

## Images that show "not worse than the margin"

Exact test, alpha 5 %, equally good models; power 80 / 90 / 95 %. Read it as: to rule out a loss of 3 points at 5 % churn with 80 % power
you need about this many golden images. Power climbs in small teeth, so a number holds to about 1 %."""

LEDGER = """
With `alpha_spending: ledger` the j-th look at the same golden set spends 6 alpha / (pi j)². Power 80 %, 5 % churn: what later looks cost.
"""

DROPS = """
## Seeing a drop in one slice

Mid-p McNemar at 4 % churn: alone (5 %) / beside 29 other slices (first step, 5 % / 30). The gate needs less than the second figure says,
because slices too small to raise an alarm do not count.
"""

CRITICAL = """
## Several critical slices

Margin 3 points, alpha 5 %, 5 % churn, slices without common images: an equal model is promoted / a model that is worse by the margin on one
of them. Each slice is tested at the full alpha, because all must pass; the price is paid by the equal model. So: few, well-filled slices.
"""

RULES_TEXT = """
## How other kinds of rules do on the same worlds

Share of 4 000 simulated golden sets (standard error at most 0.8 points) on which a rule promotes. Old accuracy 90 %, 5 % churn, margin
3 points; a critical slice holds half of the images (margin 5 points), one slice holds 150, ten lots share all images. Alpha is 5 %.
The first two columns should be high, the other three low. The gate promises at most 5 % in the third and the fifth; the fourth is what it
can see with these images.

* **new ≥ old** compares two numbers. It refuses an equal model about every second time, however many images there are. With few images it
  promotes a model at the margin more often than 5 %, and a broken slice is diluted: the more other images, the less it sees.
* **new ≥ old − margin** promotes a model that is worse by exactly the margin half of the time, with any number of images.
* **limits on point estimates, also per slice** (accuracy at least 85 %, change at most −3 points overall, −5 points in each slice of 20
  images or more) have no error rate. With 200 images they refuse about half of the equal models. With 2 000 they let through more of the
  models that sit at a limit, not fewer. A clearly broken slice they see well, better than the gate, which first asks for evidence.
* **unless significantly worse (unpaired z)** takes missing evidence for good news: the fewer images, the more it promotes. It forgets that
  both models saw the same images, so it sees little, and it never looks at slices.
* **paired Wald** asks the right question and is close to 5 % where models differ on many images. Where they differ on few, its standard
  error is too small, see the last table. Slices that are not critical it does not see.
* **this gate** says no when there are too few images, and says how many are missing. That is its price: see the column "equal".
"""

WALD = """
### The largest probability of promoting a model at the margin, over all churns

Exact, nominal 5 %: paired Wald / this gate.
"""


def document() -> Iterator[str]:
    """The whole page, line by line."""
    yield INTRO + "\n"
    yield from images_table(MARGINS)
    yield LEDGER
    yield from ledger_table(MARGINS)
    yield DROPS
    yield from drop_table()
    yield CRITICAL
    yield from critical_table()
    yield RULES_TEXT.rstrip("\n")
    for images in SIZES:
        yield from rules_table(images)
    yield WALD
    yield from wald_table()


def cheap_part() -> Iterator[str]:
    """Lines of the page that take seconds."""
    yield from images_table((0.05,))
    yield from ledger_table((0.05,))
    yield from drop_table()
    yield from critical_table()
    yield from rules_table(SIZES[0])
    yield from wald_table()


def differences(published: str) -> list[str]:
    """The lines of the cheap part that are not in the published page."""
    lines = set(published.splitlines())
    return [line for part in cheap_part() for line in part.strip("\n").splitlines() if line not in lines]


def main(arguments: Sequence[str]) -> int:
    """Writes the page to standard output, or compares."""
    if list(arguments) == ["--check"]:
        found = differences(FILE.read_text(encoding="utf-8"))
        print("\n".join(["docs/reference/power.md is out of date:", *found]) if found else "docs/reference/power.md is current")
        return 1 if found else 0
    print("\n".join(document()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
