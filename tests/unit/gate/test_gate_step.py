"""The whole step on real networks: eager weights, an ONNX file, a real ledger."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sightline.cli.audit import override
from sightline.config.gate import GateConfig
from sightline.config.store import StoreConfig
from sightline.data.version import DatasetVersion
from sightline.errors import DataError, UsageError
from sightline.evaluate.verdict import read_verified
from sightline.gate import step
from sightline.models.bundle import ModelBundle
from sightline.registry.ledger import Ledger
from sightline.store.records import read_records
from tests.datasets import tiny_dataset
from tests.unit.gate.real_models import SIZE_PX, commit_bundle, export, learn, without


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def dataset(place) -> DatasetVersion:
    return tiny_dataset(place / "data", counts={"train": 240, "val": 6, "golden": 240}, size_px=SIZE_PX)


@pytest.fixture(scope="module")
def network(dataset):
    return learn(dataset)


@pytest.fixture(scope="module")
def trained(place, network) -> ModelBundle:
    return commit_bundle(place / "trained", network)


@pytest.fixture(scope="module")
def broken(place, network) -> ModelBundle:
    """Never answers "blob"."""
    return commit_bundle(place / "broken", without(network, "blob"))


@pytest.fixture(scope="module")
def onnx_file(place, network) -> Path:
    return export(network, place / "model.onnx")


@pytest.fixture(scope="module")
def compiled(place, network, onnx_file) -> ModelBundle:
    return commit_bundle(place / "compiled", network, onnx=onnx_file)


@pytest.fixture
def store(tmp_path) -> StoreConfig:
    return StoreConfig(cache=str(tmp_path / "cache"), registry=str(tmp_path / "registry"), runs=str(tmp_path / "runs"), tracking="")


def _gate(bundle, dataset, store, tmp_path, *, stage="trained", **policy):
    # Scoring seven corruptions takes longer than everything else; the tests of robustness ask for one.
    policy = {"robustness": ()} | policy
    folder = tmp_path / "out" / stage
    output = step.run(
        candidate=str(bundle.artifact.folder),
        dataset=str(dataset.artifact.folder),
        stage=stage,
        config=GateConfig(**policy),
        store=store,
        run_id="r1",
        output=str(folder),
    )
    return output, read_verified(folder)


def test_a_good_first_model_passes_and_leaves_all_its_files(trained, dataset, store, tmp_path):
    output, verdict = _gate(trained, dataset, store, tmp_path)
    assert output.result.outcome == verdict.outcome == "pass"
    assert output.result.headline.startswith("PASS · accuracy ")
    assert verdict.champion == "none"
    assert (verdict.candidate, verdict.golden_digest, verdict.looks) == (trained.digest, dataset.info.digests["golden"], 1)
    assert output.result.metrics["golden/accuracy"] > 0.9
    page = (tmp_path / "out/trained/report.html").read_text()
    assert verdict.reason in page
    assert "PASS" in (tmp_path / "out/trained/summary.md").read_text()
    rows = pd.read_parquet(tmp_path / "out/trained/predictions.parquet")
    assert tuple(rows["sample_id"]) == dataset.split("golden").sample_ids
    assert (rows["label"] == rows["candidate"]).mean() == pytest.approx(output.result.metrics["golden/accuracy"])
    assert rows["champion"].isna().all()


def test_a_model_that_lost_a_class_fails_and_the_class_is_named(compiled, broken, dataset, store, tmp_path):
    Ledger(store.registry).promote(compiled, expected_generation=0, run_id="r0", verdict_digest="v")
    output, verdict = _gate(broken, dataset, store, tmp_path)
    assert output.result.outcome == "fail"
    assert output.result.headline.startswith("FAIL · class=blob −")
    assert "class=blob" in verdict.reason
    assert (verdict.champion, verdict.champion_generation) == (compiled.digest, 1)
    assert verdict.flips.num_broken > 60
    assert output.result.metrics["golden/worst_slice_difference"] < -0.9
    page = (tmp_path / "out/trained/report.html").read_text()
    assert page[page.index("Newly broken") : page.index("Newly fixed")].count("data:image/jpeg;base64,") == 24
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_compiled_champion_itself_passes_again(compiled, dataset, store, tmp_path):
    Ledger(store.registry).promote(compiled, expected_generation=0, run_id="r0", verdict_digest="v")
    output, verdict = _gate(compiled, dataset, store, tmp_path, stage="compiled", critical_slices=("site=A",))
    assert output.result.outcome == "pass"
    assert verdict.variant == "onnxruntime-fp32"
    assert output.result.metrics["golden/difference"] == 0.0
    assert {"parity", "size", "latency"} <= {check.kind for check in verdict.checks}


def test_a_compiled_model_that_lost_its_weights_accuracy_fails_on_parity(dataset, store, tmp_path, place, network, onnx_file):
    # The ONNX file knows all classes, the weights beside it do not: the other way round is the same comparison.
    import onnx

    model = onnx.load(onnx_file)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("head.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(np.array([0, 0, -1e4], dtype=np.float32), bias.name))
    onnx.save(model, tmp_path / "lossy.onnx")
    lossy = commit_bundle(tmp_path / "lossy", network, onnx=tmp_path / "lossy.onnx")
    output, verdict = _gate(lossy, dataset, store, tmp_path, stage="compiled", min_accuracy=0.1, min_slice_accuracy=0.0)
    assert output.result.outcome == "fail"
    assert [check.kind for check in verdict.checks if check.outcome == "fail"] == ["parity"]
    assert "trained model" in verdict.reason


def test_a_slow_model_fails_on_latency(dataset, store, tmp_path, network, onnx_file):
    slow = commit_bundle(tmp_path / "slow", network, onnx=onnx_file, p95_ms=250.0)
    output, _ = _gate(slow, dataset, store, tmp_path, stage="compiled")
    assert (output.result.outcome, output.result.headline) == ("fail", "FAIL · latency p95: 250.00 ms at batch 1, at most 100 ms")


def test_the_same_question_is_answered_from_the_cache_and_is_no_new_look(trained, broken, dataset, store, tmp_path):
    first, _ = _gate(trained, dataset, store, tmp_path)
    again, verdict = _gate(trained, dataset, store, tmp_path)
    assert first.artifact.digest == again.artifact.digest
    assert verdict.looks == 1
    assert [record.cached for record in read_records(Path(store.runs) / "r1" / "steps")] == [False, True]
    _, other = _gate(broken, dataset, store, tmp_path)
    assert other.looks == 2


def test_a_new_champion_is_a_new_question(trained, compiled, dataset, store, tmp_path):
    _gate(trained, dataset, store, tmp_path)
    Ledger(store.registry).promote(compiled, expected_generation=0, run_id="r0", verdict_digest="v")
    output, verdict = _gate(trained, dataset, store, tmp_path)
    assert verdict.champion == compiled.digest
    assert output.result.outcome == "pass"
    assert "vs" in output.result.headline


def test_each_candidate_of_a_stage_spends_less_than_the_one_before(trained, broken, compiled, dataset, store, tmp_path):
    Ledger(store.registry).promote(compiled, expected_generation=0, run_id="r0", verdict_digest="v")
    verdicts = [_gate(bundle, dataset, store, tmp_path)[1] for bundle in (trained, broken, trained)]
    assert [verdict.attempt for verdict in verdicts] == [1, 2, 1]
    assert verdicts[1].alpha == pytest.approx(verdicts[0].alpha / 4)


def test_an_override_is_a_new_question_that_the_cache_does_not_answer(broken, compiled, dataset, store, tmp_path):
    Ledger(store.registry).promote(compiled, expected_generation=0, run_id="r0", verdict_digest="v")
    output, before = _gate(broken, dataset, store, tmp_path, property_slices=(), slice_crosses=False)
    blocking = [check.name for check in before.checks if check.required and check.outcome in {"fail", "inconclusive"}]
    made = override(Path(output.artifact.folder), blocking, who="Ada", why="blobs are no longer made", days=7.0, registry=store.registry)
    assert made["still_blocking"] == []
    output, after = _gate(broken, dataset, store, tmp_path, property_slices=(), slice_crosses=False)
    assert (output.result.outcome, after.attempt, [one.who for one in after.overrides]) == ("pass", before.attempt, ["Ada"])
    assert output.result.headline.startswith("PASS by override of ")


@pytest.mark.parametrize(("margin", "expected"), [(None, []), (0.3, [("pass", True, 60)])])
def test_corrupted_images_cost_a_trained_model_time_only_where_they_are_required(
    trained, compiled, dataset, store, tmp_path, margin, expected
):
    Ledger(store.registry).promote(compiled, expected_generation=0, run_id="r0", verdict_digest="v")
    policy = {"robustness": ("dark",), "robustness_images": 60, "robustness_margin": margin}
    output, verdict = _gate(trained, dataset, store, tmp_path, **policy)
    found = [(check.outcome, check.required, check.num_images) for check in verdict.checks if check.kind == "robustness"]
    assert found == expected
    assert [name for name in output.result.metrics if name.startswith("robustness/")] == ["robustness/dark"] * len(expected)


def test_corrupted_images_are_shown_for_what_ships(compiled, dataset, store, tmp_path):
    output, verdict = _gate(compiled, dataset, store, tmp_path, stage="compiled", robustness=("dark",), robustness_images=60)
    (check,) = [check for check in verdict.checks if check.kind == "robustness"]
    assert (check.num_images, check.required, check.outcome) == (60, False, "info")
    assert output.result.metrics["robustness/dark"] == check.value


def test_sentinels_are_scored_wherever_they_are(trained, broken, dataset, store, tmp_path):
    blob = next(location for location in dataset.split("train").locations if location.startswith("blob/"))
    _, verdict = _gate(trained, dataset, store, tmp_path, sentinels=(blob,))
    assert next(check for check in verdict.checks if check.kind == "sentinel").outcome == "pass"
    output, _ = _gate(broken, dataset, store, tmp_path, sentinels=(blob,), min_accuracy=0.1, min_slice_accuracy=0.0)
    assert output.result.outcome == "fail"
    assert output.result.headline.startswith(f"FAIL · must-pass cases (0 of 1 right): {blob}")


@pytest.mark.parametrize(
    ("policy", "hint"),
    [({"critical_slices": ("site=D",)}, "did you mean site="), ({"sentinels": ("blob/golden-999.png",)}, "did you mean")],
)
def test_a_name_that_the_data_does_not_have_is_refused_with_near_matches(trained, dataset, store, tmp_path, policy, hint):
    with pytest.raises(UsageError, match=hint):
        _gate(trained, dataset, store, tmp_path, **policy)
    assert not (Path(store.registry) / "looks").exists()


def test_a_trained_bundle_is_refused_as_a_compiled_one(trained, dataset, store, tmp_path):
    with pytest.raises(DataError, match="was not compiled"):
        _gate(trained, dataset, store, tmp_path, stage="compiled")


def test_golden_images_that_were_trained_on_are_refused(trained, store, tmp_path):
    leaky = tiny_dataset(tmp_path / "leaky", counts={"train": 30, "val": 6, "golden": 30}, size_px=SIZE_PX, leak=3)
    with pytest.raises(DataError, match="3 golden images are also in another split"):
        _gate(trained, leaky, store, tmp_path)


def test_a_critical_slice_without_golden_images_is_inconclusive(trained, store, tmp_path, dataset):
    # The class exists in the class list; none of its images is golden.
    few = tiny_dataset(tmp_path / "few", counts={"train": 30, "val": 6, "golden": 2}, size_px=SIZE_PX)
    output, verdict = _gate(trained, few, store, tmp_path, critical_slices=("class=blob",), min_accuracy=0.0)
    critical = next(check for check in verdict.checks if check.kind == "critical-slice")
    assert (output.result.outcome, critical.outcome) == ("inconclusive", "inconclusive")
    assert critical.labels_needed
