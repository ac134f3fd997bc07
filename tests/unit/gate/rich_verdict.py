"""A made-up verdict with everything that a page can show: every kind of check, names with markup, an override, errors, must-pass cases."""

import numpy as np

from sightline.evaluate.calibration import Reliability
from sightline.evaluate.verdict import Case, Check, Confusion, Flips, Override, Verdict, overall_outcome
from sightline.gate.drawings import ReliabilityCurve
from sightline.gate.gallery import detection_gallery, segmentation_gallery
from sightline.gate.pictures import DetectionFlip, SegmentationFlip
from sightline.gate.report import Page
from sightline.gate.variant_table import VariantColumn, VariantTable
from sightline.gate.words import reason

CLASSES = ("Crack", "Free", "Blowhole", "Fray", "<b>Uneven</b>")
OVERRIDE = Override(
    candidate="a" * 64,
    champion="b" * 64,
    golden_digest="c" * 64,
    checks=("material=brass",),
    who="Ada <Lovelace>",
    why="brass is no longer sold, the line closes in March",
    made_at=1_767_225_600,
    until=1_769_817_600,
    verdict="d" * 64,
)


def paired(name: str, kind: str, **fields) -> Check:
    """A paired check with an interval of ±3 points around its estimate, unless given."""
    reference, value = fields.pop("reference", 0.9), fields.pop("value", 0.9)
    estimate = value - reference
    given = {
        "required": True,
        "outcome": "pass",
        "num_images": 400,
        "interval": (estimate - 0.03, estimate + 0.03),
        "p_value": 0.012,
        "detail": "no regression shown",
        **fields,
    }
    return Check(name=name, kind=kind, reference=reference, value=value, estimate=estimate, **given)


def budget(name: str, kind: str, value: float, unit: str, limit: float, **fields) -> Check:
    """An absolute check of a size, a time or a price."""
    given = {"required": True, "outcome": "pass", "detail": f"{value:g} {unit}, at most {limit:g} {unit}", **fields}
    return Check(name=name, kind=kind, value=value, estimate=value, unit=unit, margin=limit, lower_is_better=True, **given)


def _slices() -> list[Check]:
    rng = np.random.default_rng(4)
    checks = [
        paired(
            "material=brass",
            "critical-slice",
            slice="material=brass",
            reference=0.891,
            value=0.612,
            num_images=340,
            outcome="fail",
            interval=(-0.34, -0.22),
            margin=0.05,
            p_value=0.0001,
            num_broken=104,
            num_fixed=9,
            detail="worse: 104 images broken, 9 fixed (mid-p McNemar p = 2e-16)",
        ),
        paired(
            "material=steel",
            "critical-slice",
            slice="material=steel",
            reference=0.95,
            value=0.955,
            num_images=60,
            num_clusters=21,
            outcome="inconclusive",
            interval=(-0.07, 0.08),
            margin=0.05,
            labels_needed=320,
            p_value=0.21,
            detail="not enough images to decide; label about 320 more",
        ),
    ]
    for index in range(22):
        change = float(rng.normal(-0.01, 0.02))
        outcome = "warn" if index == 3 else "info" if index > 19 else "pass"
        name = f"station={index:02d}" if index else "class=<b>Uneven</b>"
        checks.append(
            paired(
                name, "slice", slice=name, value=0.9 + change, num_images=int(rng.integers(20, 300)), outcome=outcome, required=index <= 19
            )
        )
    crosses = ("light=night & material=brass", "light=day & material=brass", "light=night & material=steel")
    checks += [paired(name, "slice", slice=name, value=0.88, num_images=80) for name in crosses]
    ends = ("image.brightness=low", "image.brightness=high", "image.size=small")
    checks += [paired(name, "slice", slice=name, value=0.91, num_images=160) for name in ends]
    found = "bright and blurred (of 200 held out)"
    return [
        *checks,
        paired(
            found,
            "discovered-slice",
            slice=found,
            value=0.74,
            num_images=31,
            required=False,
            outcome="info",
            detail="found on one half of the images",
            interval=(-0.3, -0.02),
        ),
    ]


def _others() -> list[Check]:
    corruptions = {
        "blur (sigma 1.5 % of the edge)": (0.81, 0.78),
        "noise (sigma 8 % of full scale)": (0.7, 0.74),
        "dark (brightness at 50 %)": (0.85, 0.61),
        "jpeg (quality 20)": (0.88, 0.88),
    }
    return [
        Check(name="valid answers", kind="answers", required=True, outcome="pass", num_images=400, detail="no answers with NaN"),
        Check(
            name="must-pass cases (2 of 3 right)",
            kind="sentinel",
            required=True,
            outcome="fail",
            num_images=3,
            num_broken=1,
            detail="a/<img>.jpg: Free instead of Crack",
        ),
        paired(
            "overall",
            "overall",
            reference=0.921,
            value=0.874,
            outcome="fail",
            interval=(-0.068, -0.026),
            margin=0.03,
            num_images=1342,
            num_clusters=871,
            p_value=0.93,
            detail="worse: 104 images broken, 41 fixed (mid-p McNemar p = 0.0002)",
        ),
        paired(
            "against the last audited model",
            "anchor",
            reference=0.924,
            value=0.874,
            outcome="inconclusive",
            margin=0.06,
            interval=(-0.071, -0.029),
            num_images=1342,
            p_value=0.2,
            detail="generation 3: not shown; the loss is near the margin",
        ),
        paired(
            "parity with the trained model", "parity", reference=0.876, value=0.874, margin=0.02, interval=(-0.006, 0.002), num_images=1342
        ),
        Check(
            name="agreement with the trained model",
            kind="agreement",
            required=False,
            outcome="info",
            num_images=1342,
            value=0.991,
            estimate=0.991,
            detail="1330 of 1342 images get the same class",
        ),
        paired(
            "calibration",
            "calibration",
            metric="ECE",
            reference=0.021,
            value=0.048,
            lower_is_better=True,
            required=False,
            outcome="warn",
            interval=(0.009, 0.045),
            num_images=1342,
            detail="worse, shown only",
        ),
        Check(
            name="gap between values of station",
            kind="slice-parity",
            metric="accuracy gap",
            required=False,
            outcome="info",
            lower_is_better=True,
            value=0.112,
            estimate=0.112,
            num_images=1342,
            detail="station=04 84.1 %, station=11 95.3 %",
        ),
        *(
            paired(
                f"robustness: {name}",
                "robustness",
                reference=old,
                value=new,
                required=False,
                outcome="warn" if new < old - 0.1 else "info",
                detail="worse under this corruption" if new < old - 0.1 else "shown, not required",
            )
            for name, (old, new) in corruptions.items()
        ),
        budget("model size", "size", 12.4, "MB", 200),
        budget("latency p95", "latency", 0.37, "ms", 100),
        budget("memory", "memory", 231.0, "MB", 256.0),
        budget("cost per 1 000 inferences", "cost", 0.0021, "USD", 0.005),
    ]


def rich_verdict(**changes) -> Verdict:
    """The verdict; keyword arguments replace fields, ``checks`` too. Outcome and reason follow from the checks."""
    checks = tuple(changes.pop("checks", (*_others(), *_slices())))
    outcome = overall_outcome(checks)
    fields = {
        "stage": "compiled",
        "outcome": outcome,
        "candidate": "a" * 64,
        "variant": "onnx-int8",
        "champion": "b" * 64,
        "champion_generation": 7,
        "golden_digest": "c" * 64,
        "num_images": 1342,
        "looks": 3,
        "attempt": 3,
        "alpha": 0.05 * 6 / (np.pi * 3) ** 2,
        "policy": {"alpha": 0.05, "alpha_spending": "ledger", "margin": 0.03, "critical_slices": ["material=brass"], "anchor_margin": None},
        "checks": checks,
        "flips": Flips(num_broken=104, num_fixed=41),
        "cases": (Case(location="a/<img>.jpg", wanted="Crack", given="Free"), Case(location="b.jpg", wanted="Free", given="Free")),
        "errors": (
            Confusion(name="Crack taken for Free", reference=12, candidate=61),
            Confusion(name="Fray taken for <b>Uneven</b>", reference=4, candidate=9),
            *(Confusion(name=f"Blowhole taken for kind {i:02d}", reference=9 - i // 2, candidate=7 - i // 2) for i in range(12)),
            Confusion(name="no valid answer for Fray", reference=20, candidate=3),
        ),
        "reason": reason(checks, outcome, overrides=changes.get("overrides", ())),
        **changes,
    }
    return Verdict(**fields)


def waived_verdict() -> Verdict:
    """The same with only one thing wrong, which a person has waived."""
    checks = []
    for check in rich_verdict().checks:
        if check.name == "material=brass":
            detail = f"waived by {OVERRIDE.who} until 2026-01-31 00:00 UTC ({OVERRIDE.why}); it was fail: {check.detail}"
            checks.append(check.model_copy(update={"outcome": "waived", "detail": detail}))
        elif check.required and check.outcome in {"fail", "inconclusive"}:
            checks.append(check.model_copy(update={"outcome": "pass", "labels_needed": None, "detail": "a loss of 3 points is ruled out"}))
        else:
            checks.append(check)
    return rich_verdict(checks=checks, overrides=(OVERRIDE,), cases=())


def variants() -> VariantTable:
    """Three compiled variants, one of them not judged."""
    return VariantTable(
        slices=("overall", "material=brass", "material=steel", "class=<b>Uneven</b>"),
        num_images=(1342, 340, 60, 101),
        columns=(
            VariantColumn("onnx-fp32", "judged", (0.876, 0.62, 0.955, 0.9), (None,) * 4, "", 0.91, 44.1),
            VariantColumn("onnx-int8", "judged", (0.874, 0.612, 0.94, None), (-0.002, -0.008, -0.015, None), "pass", 0.37, 12.4),
            VariantColumn("openvino-int8", "judged", (0.861, 0.5, 0.955, 0.93), (-0.015, -0.12, 0.0, 0.03), "fail", 0.29, 12.1),
            VariantColumn("tensorrt-fp16", "no GPU on this machine", (None,) * 4, (None,) * 4, "", None, None),
        ),
    )


def curves() -> tuple[ReliabilityCurve, ...]:
    """The current model is honest, the new one promises too much."""
    stated = np.array([0.52, 0.66, 0.78, 0.86, 0.93, 0.97, 0.995])
    num = np.full(7, 190)
    return (
        ReliabilityCurve("current model", Reliability(num, stated, np.clip(stated + np.array([3, -2, 1, 0, -1, 1, 0]) / 100, 0, 1))),
        ReliabilityCurve("new model", Reliability(num, stated + 0.002, stated**1.6)),
    )


def part_image(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """A grey metal part with a dark defect, uint8 RGB."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    grey = 150 + 40 * np.sin(columns / 31 + seed) + rng.normal(0, 8, (height, width))
    grey[(rows - 120) ** 2 / 700 + (columns - 170) ** 2 / 1800 < 1] -= 90
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def rich_page(verdict: Verdict | None = None) -> Page:
    """The verdict with galleries of a detector and of a segmenter, variants and curves."""
    kinds = ("missed", "missed", "spurious", "found", "no longer spurious")
    flips = [
        DetectionFlip(
            part_image(i),
            (115.0, 85.0, 225.0, 155.0),
            np.array([[112.0, 88.0, 220.0, 152.0]]),
            kind,
            "Blowhole",
            f"part-{i:04d}.jpg",
            slice="material=brass" if i < 3 else "",
            detail="score 0.71 → 0.12",
        )
        for i, kind in enumerate(kinds)
    ]
    rows, columns = np.mgrid[:240, :320]
    truth = (rows - 120) ** 2 / 700 + (columns - 170) ** 2 / 1800 < 1
    masks = SegmentationFlip(
        part_image(9),
        truth,
        np.roll(truth, 3, 1),
        np.roll(truth, 18, 1) & (rows < 125),
        "Blowhole",
        "part-9.jpg",
        slice="material=brass",
        detail="IoU 0.91 → 0.44",
    )
    galleries = (
        detection_gallery("Newly broken", "found before, missed or invented now; worst slice first", flips[:3], total=31),
        detection_gallery("Newly fixed", "the other way round", flips[3:], total=2),
        segmentation_gallery("Masks that got worse", "largest loss of IoU first", [masks], total=1),
    )
    return Page(verdict or rich_verdict(), galleries, variants(), curves())
