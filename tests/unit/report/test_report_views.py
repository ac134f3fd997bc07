"""The page reads the fields that the steps really write."""

import dataclasses

import pytest
from pydantic import BaseModel

from sightline.compile.select import Benchmark, Row
from sightline.data.version import DatasetInfo
from sightline.deploy.record import ArmSummary, Deployment, Moment
from sightline.evaluate.verdict import Case, Check, Confusion, Flips, Override, Verdict
from sightline.gate.variant_table import VariantColumn
from sightline.gate.variants import VariantsRecord
from sightline.models.bundle import BundleInfo
from sightline.monitor.drift import Histogram, Signal
from sightline.monitor.result import Drift
from sightline.report import views
from sightline.report.views import CheckView, VerdictView, View
from sightline.train.job import Epoch
from sightline.tune.job import Trial

PAIRS = [
    (views.VerdictView, Verdict),
    (views.CheckView, Check),
    (views.FlipsView, Flips),
    (views.OverrideView, Override),
    (views.CaseView, Case),
    (views.ConfusionView, Confusion),
    (views.VariantsView, VariantsRecord),
    (views.BenchmarkView, Benchmark),
    (views.VariantView, Row),
    (views.DeploymentView, Deployment),
    (views.MomentView, Moment),
    (views.ArmView, ArmSummary),
    (views.DriftView, Drift),
    (views.SignalView, Signal),
    (views.HistogramView, Histogram),
    (views.DatasetView, DatasetInfo),
    (views.EpochView, Epoch),
    (views.TrialView, Trial),
    (views.ModelView, BundleInfo),
]


@pytest.mark.parametrize(("view", "written"), PAIRS)
def test_a_view_has_only_fields_that_its_step_writes(view: type[View], written: type[BaseModel]) -> None:
    assert set(view.model_fields) <= set(written.model_fields)


@pytest.mark.parametrize(("view", "written"), PAIRS)
def test_a_view_of_an_empty_object_is_whole(view: type[View], written: type[BaseModel]) -> None:
    assert view.model_validate({}) == view()


def test_a_wrong_field_counts_as_absent_and_leaves_the_others_alone() -> None:
    check = views.CheckView.model_validate({"name": "overall", "value": "high", "estimate": float("nan"), "num_images": 7, "future": 1})
    assert (check.name, check.value, check.estimate, check.num_images) == ("overall", None, None, 7)


def test_a_view_of_a_variant_has_only_fields_that_the_gate_writes() -> None:
    assert set(views.ColumnView.model_fields) <= {field.name for field in dataclasses.fields(VariantColumn)}


def paired(name: str, outcome: str, estimate: float, **fields: object) -> CheckView:
    shown = {"kind": "slice", "required": True, "unit": "share", "reference": 0.5, "value": 0.5 + estimate, "estimate": estimate}
    return CheckView.model_validate({"name": name, "outcome": outcome, **shown, **fields})


def test_only_a_difference_of_shares_is_drawn_as_one() -> None:
    assert paired("a", "info", 0.3).is_difference
    slower = paired("latency", "info", 0.3, unit="ms")
    assert slower.is_paired
    assert not slower.is_difference
    assert not paired("unit not recorded", "info", 0.3, unit=None).is_difference


def test_failures_come_before_waived_and_open_slices_which_come_before_the_rest() -> None:
    checks = [
        paired("pass", "pass", -0.9),
        paired("warn", "warn", -0.01),
        paired("open", "inconclusive", -0.02),
        paired("waived", "waived", -0.03),
        paired("fail", "fail", -0.001),
        CheckView(name="unknown", kind="slice", required=True, outcome="pass"),
    ]
    assert [check.name for check in VerdictView(checks=tuple(checks)).slices] == ["fail", "waived", "open", "warn", "pass", "unknown"]


def test_the_worst_slice_of_an_error_is_the_one_where_it_rose_most() -> None:
    checks = [paired(name, "pass", rise, lower_is_better=True) for name, rise in (("fell", -0.2), ("rose", 0.2), ("same", 0.0))]
    assert [check.name for check in VerdictView(checks=tuple(checks)).slices] == ["rose", "same", "fell"]


def test_a_few_unlucky_images_do_not_come_before_a_loss_that_is_certain() -> None:
    few, many = paired("few", "pass", -0.2, interval=(-0.5, 0.1)), paired("many", "pass", -0.1, interval=(-0.12, -0.08))
    assert [check.name for check in VerdictView(checks=(few, many)).slices] == ["many", "few"]


def test_slices_that_were_found_by_looking_are_neither_slices_nor_other_checks() -> None:
    verdict = VerdictView(checks=(paired("found", "fail", -0.9, kind="discovered-slice"), paired("declared", "pass", 0.0)))
    assert [check.name for check in verdict.slices] == ["declared"]
    assert verdict.others == ()
    assert [check.name for check in verdict.discovered] == ["found"]


def test_other_checks_stand_in_the_order_of_what_they_mean_for_the_decision() -> None:
    kinds = [("info", False), ("pass", True), ("waived", True), ("inconclusive", False), ("fail", True)]
    checks = tuple(paired(f"{outcome} {required}", outcome, 0.0, kind="calibration", required=required) for outcome, required in kinds)
    shown = [check.name for check in VerdictView(checks=checks).others]
    assert shown == ["fail True", "waived True", "pass True", "info False", "inconclusive False"]
