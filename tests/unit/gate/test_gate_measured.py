import json

import pytest

from sightline.gate.measured import latency, size_bytes
from sightline.models.bundle import COMPILED, BundleInfo, ModelBundle, Preprocessing
from sightline.store.artifact import commit_artifact

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


def test_the_latency_is_the_measured_p95(tmp_path):
    assert latency(_bundle(tmp_path / "b", _benchmark()), VARIANT).p95_ms == 3.5


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
    found = latency(_bundle(tmp_path / "b", benchmark), VARIANT)
    assert found.p95_ms is None
    assert problem in found.problem
