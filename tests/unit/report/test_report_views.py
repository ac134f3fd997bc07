"""The page reads the fields that the steps really write."""

import pytest
from pydantic import BaseModel

from sightline.compile.select import Benchmark, Row
from sightline.data.version import DatasetInfo
from sightline.deploy.record import ArmSummary, Deployment, Moment
from sightline.evaluate.verdict import Check, Flips, Verdict
from sightline.models.bundle import BundleInfo
from sightline.monitor.drift import Histogram, Signal
from sightline.monitor.result import Drift
from sightline.report import views
from sightline.report.views import View
from sightline.train.job import Epoch
from sightline.tune.job import Trial

PAIRS = [
    (views.VerdictView, Verdict),
    (views.CheckView, Check),
    (views.FlipsView, Flips),
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
