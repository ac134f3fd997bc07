import json

import numpy as np
import pytest

from sightline.config.gate import GateConfig
from sightline.gate import memory
from sightline.gate.measured import Incumbent, benchmark_rows, measure, measured_latency, size_bytes
from sightline.models.bundle import COMPILED, BundleInfo, ModelBundle, Preprocessing
from sightline.store.artifact import commit_artifact
from tests.unit.serve.tiny_bundle import write_bundle

VARIANT = "openvino-int8"


def _bundle(folder, benchmark: object = None) -> ModelBundle:
    info = BundleInfo(
        classes=("a", "b"),
        backbone="compact",
        width=4,
        embedding_dim=8,
        dataset_digests={},
        chosen=VARIANT,
        variants={VARIANT: "openvino-int8.xml", "onnxruntime-int8": "gone.onnx"},
    )

    def write(target):
        (target / "model.json").write_text(info.model_dump_json())
        (target / "preprocessing.json").write_text(Preprocessing(size_px=16).model_dump_json())
        (target / "weights.safetensors").write_bytes(b"w" * 1000)
        (target / "openvino-int8.xml").write_bytes(b"x" * 30)
        (target / "openvino-int8.bin").write_bytes(b"b" * 400)
        (target / "openvino-int8-other.bin").write_bytes(b"o" * 5000)
        if benchmark is not None:
            (target / "benchmark.json").write_text(benchmark if isinstance(benchmark, str) else json.dumps(benchmark))
        return {}

    return ModelBundle(commit_artifact(folder, COMPILED, write))


def _benchmark(chosen=VARIANT, **changes):
    return {"variants": [{"name": VARIANT, "status": "ok", "reason": "", "p95_ms": 3.5, "accuracy": 0.9} | changes], "chosen": chosen}


def test_a_variant_weighs_as_much_as_all_files_of_its_name(tmp_path):
    bundle = _bundle(tmp_path / "b")
    assert (size_bytes(bundle, VARIANT), size_bytes(bundle, "eager")) == (430, 1000)


@pytest.mark.parametrize("variant", ["onnxruntime-int8", "tensorrt-fp16"])
def test_a_variant_without_a_file_weighs_nothing_so_that_it_cannot_pass(tmp_path, variant):
    assert size_bytes(_bundle(tmp_path / "b"), variant) == 0


def test_the_latency_is_what_was_measured(tmp_path):
    found = measured_latency(_bundle(tmp_path / "b", _benchmark(p50_ms=1.25)), VARIANT)
    assert (found.p50_ms, found.p95_ms, found.problem) == (1.25, 3.5, "")


@pytest.mark.parametrize("p50_ms", [None, 0.0, -1.0])
def test_a_median_that_is_not_known_stays_unknown(tmp_path, p50_ms):
    assert measured_latency(_bundle(tmp_path / "b", _benchmark(p50_ms=p50_ms)), VARIANT).p50_ms is None


@pytest.mark.parametrize(
    ("benchmark", "problem"),
    [
        (None, "has no benchmark.json"),
        ("{", "damaged"),
        ({"variants": []}, "damaged"),
        (_benchmark(chosen="onnxruntime-fp32"), "is about 'onnxruntime-fp32'"),
        (_benchmark(name="onnxruntime-fp32"), "the model ships"),
        (_benchmark(status="rejected"), "has no p95"),
        (_benchmark(p95_ms=None), "has no p95"),
        (_benchmark(p95_ms=-1.0), "has no p95"),
        ('{"chosen": "openvino-int8", "variants": [{"name": "openvino-int8", "status": "ok", "p95_ms": NaN}]}', "damaged"),
    ],
)
def test_a_latency_that_is_not_known_is_explained_and_never_guessed(tmp_path, benchmark, problem):
    found = measured_latency(_bundle(tmp_path / "b", benchmark), VARIANT)
    assert found.p95_ms is None
    assert problem in found.problem


def test_the_rows_of_a_benchmark_say_why_a_variant_is_missing(tmp_path):
    rows = benchmark_rows(_bundle(tmp_path / "a", _benchmark(status="unavailable", reason="no GPU")))
    assert [(row.name, row.status, row.reason) for row in rows] == [(VARIANT, "unavailable", "no GPU")]
    assert benchmark_rows(_bundle(tmp_path / "b")) == ()


RUNS = "onnxruntime-fp32"
PIXELS = np.full((4, 20, 20, 3), 90, np.uint8)


def test_a_trained_candidate_has_a_size_and_nothing_else(tmp_path):
    found = measure(_bundle(tmp_path / "b", _benchmark()), "eager", GateConfig(max_memory_mb=1), stage="trained")
    assert (found.size_bytes, found.p95_ms, found.memory_mb, dict(found.problem)) == (1000, None, None, {})


def test_memory_is_measured_in_a_process_of_its_own_and_only_for_a_limit(tmp_path):
    bundle = write_bundle(tmp_path / "tiny")
    assert measure(bundle, RUNS, GateConfig(), stage="compiled").memory_mb is None
    found = measure(bundle, RUNS, GateConfig(max_memory_mb=500), stage="compiled")
    assert found.memory_mb is not None
    assert 5 < found.memory_mb < 300  # ONNX Runtime's libraries and pools


def test_memory_that_cannot_be_measured_has_a_reason(tmp_path):
    bundle = write_bundle(tmp_path / "tiny")
    found = memory.measure_memory(bundle, "tensorrt-fp16")
    assert found.added_mb is None
    assert "has no variant 'tensorrt-fp16'" in found.problem
    assert "did not answer within" in memory.measure_memory(bundle, RUNS, timeout_s=0.01).problem
    (bundle.artifact.folder / "model.json").write_text("{}")
    assert "was altered" in memory.measure_memory(bundle, RUNS).problem


def test_candidate_and_champion_are_timed_beside_each_other(tmp_path):
    candidate, champion = write_bundle(tmp_path / "new"), write_bundle(tmp_path / "old", scale=18.0)
    found = measure(candidate, RUNS, GateConfig(), stage="compiled", incumbent=Incumbent(champion, RUNS, PIXELS))
    assert found.against_champion is not None
    assert found.against_champion.num_calls >= 20
    assert found.against_champion.p50.champion_ms > 0


def test_a_champion_that_cannot_run_here_or_is_the_candidate_is_a_reason_not_an_error(tmp_path):
    candidate, champion = write_bundle(tmp_path / "new"), write_bundle(tmp_path / "old", scale=18.0)
    gone = measure(candidate, RUNS, GateConfig(), stage="compiled", incumbent=Incumbent(champion, "tensorrt-fp16", PIXELS))
    assert "has no variant" in gone.problem["champion"]
    same = measure(candidate, RUNS, GateConfig(), stage="compiled", incumbent=Incumbent(candidate, RUNS, PIXELS))
    assert same.problem["champion"] == "the candidate is the champion"
