import numpy as np
import pytest

from sightline.config.gate import GateConfig
from sightline.evaluate.f1 import MacroF1
from sightline.evaluate.segmentation import PixelCounts, overlap_metric
from sightline.evaluate.verdict import Check, overall_outcome
from sightline.gate.first_metric import first_metric_checks
from sightline.gate.metric import metric_checks, num_resamples

ALPHA = 0.05
SLICE_IMAGES = 60


def counts(overlap_N, pixels=1000) -> PixelCounts:
    """Two classes of equal size; ``overlap_N`` of the pixels of each are right."""
    hits = np.round(np.clip(overlap_N, 0, 1) * pixels).astype(np.int64)
    truth = np.full((len(hits), 2), pixels)
    return PixelCounts(np.stack([hits, hits], axis=1), truth, truth)


def segmentation(num_images=300, loss=0.0, noise=0.02, seed=0, lost=slice(0)):
    """Reference and candidate; the candidate loses ``loss`` everywhere and a quarter more on the images of ``lost``."""
    rng = np.random.default_rng(seed)
    old = rng.beta(60, 50, num_images)
    new = old - loss + rng.normal(0, noise, num_images)
    new[lost] -= 0.25
    return overlap_metric("miou", counts(old), counts(new))


def site_masks(num_images=300):
    index = np.arange(num_images)
    masks = {f"site={name}": index // SLICE_IMAGES == number for number, name in enumerate("ABCDE")}
    return masks | {"site=tiny": index < 10, "site=empty": np.zeros(num_images, dtype=bool)}


def by_name(checks, name) -> Check:
    return next(check for check in checks if check.name == name)


def test_an_equal_model_passes_and_says_what_is_ruled_out():
    checks = metric_checks(segmentation(), site_masks(), None, GateConfig(), ALPHA)
    overall = by_name(checks, "overall")
    assert (overall.kind, overall.outcome, overall.metric, overall.num_clusters) == ("overall", "pass", "mIoU", 300)
    assert overall.detail == "a loss of 3 points of mIoU is ruled out"
    assert overall.interval[0] < overall.estimate < overall.interval[1]
    assert overall_outcome(checks) == "pass"


def test_a_worse_model_fails_and_says_by_how_much():
    overall = by_name(metric_checks(segmentation(loss=0.06), {}, None, GateConfig(), ALPHA), "overall")
    assert overall.outcome == "fail"
    assert overall.detail.startswith("worse: mIoU is lower by")


def test_a_loss_near_the_margin_is_inconclusive_and_labels_would_not_help():
    overall = by_name(metric_checks(segmentation(loss=0.02, noise=0.2, seed=1), {}, None, GateConfig(), ALPHA), "overall")
    assert (overall.outcome, overall.labels_needed) == ("inconclusive", None)
    assert overall.detail == "not shown; the loss is near the margin, train further"


def test_noise_is_inconclusive_and_more_labels_decide():
    policy = GateConfig(min_clusters=50)
    overall = by_name(metric_checks(segmentation(60, noise=0.15, seed=5), {}, None, policy, ALPHA), "overall")
    assert overall.outcome == "inconclusive"
    assert 30 < overall.labels_needed < 600
    enough = segmentation(60 + 2 * overall.labels_needed, noise=0.15, seed=6)
    assert by_name(metric_checks(enough, {}, None, policy, ALPHA), "overall").outcome == "pass"


def test_too_few_clusters_are_inconclusive_however_many_images_there_are():
    overall = by_name(metric_checks(segmentation(), {}, np.arange(300) // 3, GateConfig(), ALPHA), "overall")
    assert (overall.outcome, overall.num_images, overall.num_clusters, overall.labels_needed) == ("inconclusive", 300, 100, 300)
    assert "needs 200" in overall.detail


def test_a_worse_model_with_too_few_clusters_stays_inconclusive():
    assert by_name(metric_checks(segmentation(100, loss=0.3), {}, None, GateConfig(), ALPHA), "overall").outcome == "inconclusive"


def test_equal_answers_are_evidence_only_where_a_broken_image_would_have_been_seen():
    equal = segmentation(220, noise=0.0)
    wide, narrow = (metric_checks(equal, {}, None, GateConfig(margin=margin), ALPHA)[0] for margin in (0.03, 0.005))
    assert wide.outcome == "pass"
    assert narrow.outcome == "inconclusive"
    enough = segmentation(220 + narrow.labels_needed, noise=0.0)
    assert metric_checks(enough, {}, None, GateConfig(margin=0.005), ALPHA)[0].outcome == "pass"


def test_a_slice_that_breaks_is_found_and_blocks():
    checks = metric_checks(segmentation(lost=slice(60, 80)), site_masks(), None, GateConfig(margin=0.1), ALPHA)
    assert by_name(checks, "overall").outcome == "pass"
    broken = by_name(checks, "site=B")
    assert (broken.kind, broken.required, broken.outcome, broken.num_images) == ("slice", True, "fail", SLICE_IMAGES)
    assert "step-down max-T over 5 slices" in broken.detail
    assert [by_name(checks, f"site={name}").outcome for name in "ACDE"] == ["pass"] * 4
    assert overall_outcome(checks) == "fail"


def test_a_likely_regression_warns_and_does_not_block():
    checks = metric_checks(segmentation(loss=0.006), site_masks(), None, GateConfig(slice_alpha=0.0005), ALPHA)
    assert {by_name(checks, f"site={name}").outcome for name in "ABCDE"} == {"pass", "warn"}
    assert overall_outcome(checks) == "pass"


def test_small_and_empty_slices_are_shown_only():
    checks = metric_checks(segmentation(), site_masks(), None, GateConfig(), ALPHA)
    for name, images in (("site=tiny", 10), ("site=empty", 0)):
        check = by_name(checks, name)
        assert (check.outcome, check.required, check.num_images) == ("info", False, images)


def test_a_critical_slice_needs_non_inferiority_of_its_own():
    policy = GateConfig(critical_slices=("site=A",), min_clusters=50, critical_margin=0.05)
    good = by_name(metric_checks(segmentation(), site_masks(), None, policy, ALPHA), "site=A")
    assert (good.kind, good.outcome, good.num_images) == ("critical-slice", "pass", SLICE_IMAGES)
    bad = metric_checks(segmentation(lost=slice(0, 60)), site_masks(), None, policy, ALPHA)
    assert by_name(bad, "site=A").outcome == "fail"
    assert len([check for check in bad if check.name == "site=A"]) == 1


@pytest.mark.parametrize("name", ["site=empty", "site=unknown"])
def test_a_critical_slice_without_images_is_inconclusive(name):
    checks = metric_checks(segmentation(), site_masks(), None, GateConfig(critical_slices=(name,)), ALPHA)
    check = by_name(checks, name)
    assert (check.outcome, check.required, check.labels_needed) == ("inconclusive", True, 200)
    assert check.detail == "no golden image; label about 200"
    assert overall_outcome(checks) == "inconclusive"


def test_a_metric_that_is_not_defined_blocks():
    nothing = PixelCounts(*np.zeros((3, 300, 2), dtype=np.int64))
    checks = metric_checks(overlap_metric("miou", nothing, nothing), site_masks(), None, GateConfig(), ALPHA)
    overall = by_name(checks, "overall")
    assert (overall.outcome, overall.estimate) == ("inconclusive", None)
    assert "not defined" in overall.detail


def test_a_later_look_draws_as_many_resamples_as_its_small_level_needs():
    assert num_resamples(GateConfig(), 0.035) == 2000
    assert num_resamples(GateConfig(), 0.0005) == 20_000
    overall = metric_checks(segmentation(), {}, None, GateConfig(), 0.002)[0]
    assert overall.outcome == "pass"
    assert overall.p_value <= 0.002


def test_the_verdict_is_repeatable():
    metric, policy = segmentation(loss=0.01), GateConfig(critical_slices=("site=C",))
    assert metric_checks(metric, site_masks(), None, policy, ALPHA) == metric_checks(metric, site_masks(), None, policy, ALPHA)


def test_macro_f1_sees_a_rare_class_that_the_mean_of_images_hides():
    labels = (np.arange(1000) % 20 == 0).astype(np.int64)
    checks = metric_checks(MacroF1(labels, labels, np.zeros(1000, dtype=np.int64), 2), {}, None, GateConfig(), ALPHA)
    assert checks[0].metric == "macro F1"
    assert checks[0].outcome == "fail"
    assert checks[0].value == pytest.approx(0.95 * 2 / (0.95 + 1) / 2)


def first(num_images=300, level=0.9, lost=slice(0)):
    rng = np.random.default_rng(3)
    overlap = rng.beta(20 * level, 20 * (1 - level), num_images)
    overlap[lost] = 0.1
    return overlap_metric("miou", None, counts(overlap))


def test_a_first_model_passes_when_it_is_shown_to_reach_the_smallest_value():
    checks = first_metric_checks(first(), site_masks(), None, GateConfig(), ALPHA)
    overall = by_name(checks, "overall")
    assert (overall.outcome, overall.reference, overall.margin) == ("pass", None, 0.6)
    assert overall.value == overall.estimate
    assert overall_outcome(checks) == "pass"


def test_a_first_model_below_the_smallest_value_fails():
    assert by_name(first_metric_checks(first(level=0.6), {}, None, GateConfig(), ALPHA), "overall").outcome == "fail"


def test_a_first_model_near_the_smallest_value_is_inconclusive():
    policy = GateConfig(min_accuracy=round(float(first().at(np.ones((1, 300), np.float32))[0, 1]) - 0.002, 4))
    overall = by_name(first_metric_checks(first(), {}, None, policy, ALPHA), "overall")
    assert overall.outcome == "inconclusive"
    assert overall.labels_needed > 0


def test_a_first_model_is_blocked_by_a_slice_that_is_shown_to_be_bad():
    checks = first_metric_checks(first(lost=slice(60, 120)), site_masks(), None, GateConfig(min_accuracy=0.3), ALPHA)
    assert by_name(checks, "site=B").outcome == "fail"
    assert [by_name(checks, f"site={name}").outcome for name in "ACDE"] == ["pass"] * 4
    assert by_name(checks, "site=tiny").outcome == "info"


def test_a_first_model_needs_images_overall_and_in_critical_slices():
    checks = first_metric_checks(first(50), {}, None, GateConfig(critical_slices=("site=A",)), ALPHA)
    assert (by_name(checks, "overall").outcome, by_name(checks, "overall").labels_needed) == ("inconclusive", 150)
    assert (by_name(checks, "site=A").outcome, by_name(checks, "site=A").required) == ("inconclusive", True)


def test_a_critical_slice_fails_on_its_images_scores_where_the_metric_itself_is_blind():
    # Images without any defect: one invented pixel or a hundred, the pooled IoU of the class is 0, and mIoU about a half.
    from sightline.evaluate.segmentation import PixelCounts, overlap_metric

    images = 300
    truth = np.tile([1000, 0], (images, 1))

    def counts(invented):
        wrong = np.where(np.arange(images) < 150, invented, 0)
        return PixelCounts(np.stack([1000 - wrong, np.zeros(images, int)], 1), truth, np.stack([1000 - wrong, wrong], 1))

    few = counts(0)
    few.hits_NC[299], few.predicted_NC[299] = [999, 0], [999, 1]
    policy = GateConfig(critical_slices=("defect=none",), critical_margin=0.05, slice_crosses=False)
    checks = metric_checks(overlap_metric("miou", few, counts(36)), {"defect=none": np.ones(images, bool)}, None, policy, 0.05)
    critical = next(check for check in checks if check.kind == "critical-slice")
    assert critical.outcome == "fail"
    assert "image IoU" in critical.detail
