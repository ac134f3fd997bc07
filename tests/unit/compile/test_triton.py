"""The model repository: every field exists in Triton's own schema, and a plan never goes to a server with another TensorRT."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format as protobuf_text
from tritonclient.grpc import model_config_pb2

from sightline.compile.triton import (
    DEFAULT_TAG,
    TENSORRT_OF_TAG,
    Enum,
    Options,
    Repository,
    require_tensorrt,
    text_format,
    write_repository,
)
from sightline.errors import DataError, UsageError
from sightline.models.bundle import COMPILED, BundleInfo, ModelBundle, Preprocessing
from sightline.runtimes.base import UnavailableError
from sightline.runtimes.tensorrt import Device, PlanInfo
from sightline.store.artifact import commit_artifact
from tests.unit.serve.tiny_bundle import CLASSES, SIZE_PX, write_bundle, write_onnx

TENSORRT = TENSORRT_OF_TAG[DEFAULT_TAG]


def parsed(text: str) -> Any:
    return protobuf_text.Parse(text, model_config_pb2.ModelConfig())


def plan_bundle(folder: Path, *, tensorrt: str = TENSORRT, side_car: bool = True) -> ModelBundle:
    """A bundle whose plan is any bytes: what is tested is what is said about it."""

    def write(target: Path) -> dict[str, object]:
        write_onnx(target / "model.onnx")
        (target / "tensorrt-fp16.plan").write_bytes(b"plan")
        device = Device(gpu="NVIDIA L4", compute_capability="8.9", driver=13000, tensorrt=tensorrt)
        info = PlanInfo(device=device, precision="fp16", size_px=SIZE_PX, num_classes=3, embedding_dim=3, max_batch=64, build_seconds=1.0)
        if side_car:
            (target / "tensorrt-fp16.json").write_text(info.model_dump_json())
        variants = {"tensorrt-fp16": "tensorrt-fp16.plan", "onnxruntime-fp32": "model.onnx", "openvino-fp32": "model.onnx"}
        about = BundleInfo(
            classes=CLASSES, backbone="tiny", width=4, embedding_dim=3, dataset_digests={}, chosen="tensorrt-fp16", variants=variants
        )
        (target / "model.json").write_text(about.model_dump_json())
        (target / "preprocessing.json").write_text(Preprocessing(size_px=SIZE_PX).model_dump_json())
        return {}

    return ModelBundle(commit_artifact(folder, COMPILED, write))


def test_a_plan_becomes_a_repository_that_tritons_schema_accepts(tmp_path: Path) -> None:
    bundle = plan_bundle(tmp_path / "bundle")
    folder = write_repository(bundle, "tensorrt-fp16", tmp_path / "repository", Options(name="parts"))
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "1/model.plan",
        "config.pbtxt",
        "sightline.json",
    ]
    config = parsed((folder / "config.pbtxt").read_text())
    assert (config.name, config.platform, config.max_batch_size) == ("parts", "tensorrt_plan", 64)
    (image,) = config.input
    assert (image.name, image.data_type, list(image.dims)) == ("images", model_config_pb2.TYPE_UINT8, [SIZE_PX, SIZE_PX, 3])
    assert [(output.name, output.data_type, list(output.dims)) for output in config.output] == [
        ("logits", model_config_pb2.TYPE_FP32, [3]),
        ("embedding", model_config_pb2.TYPE_FP32, [3]),
    ]
    assert list(config.version_policy.specific.versions) == [1]
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8, 16, 32, 64]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert [(group.kind, group.count) for group in config.instance_group] == [(model_config_pb2.ModelInstanceGroup.KIND_GPU, 1)]
    assert config.HasField("response_cache")
    assert not config.response_cache.enable
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, 64]
    assert all(warmup.inputs["images"].zero_data for warmup in config.model_warmup)
    about = Repository.model_validate_json((folder / "sightline.json").read_bytes())
    assert about.device is not None
    assert (about.device.tensorrt, about.device.gpu, about.device.compute_capability) == (TENSORRT, "NVIDIA L4", "8.9")
    assert (about.model, about.classes, about.triton) == (bundle.digest, CLASSES, DEFAULT_TAG)


def test_an_onnx_variant_is_described_as_onnx_runtime_itself_sees_it(tmp_path: Path) -> None:
    import onnxruntime

    bundle = write_bundle(tmp_path / "bundle")
    folder = write_repository(bundle, "onnxruntime-fp32", tmp_path / "repository", Options())
    config = parsed((folder / "config.pbtxt").read_text())
    assert (config.platform, config.instance_group[0].kind) == ("onnxruntime_onnx", model_config_pb2.ModelInstanceGroup.KIND_CPU)
    session = onnxruntime.InferenceSession(folder / "1/model.onnx")
    types = {"tensor(uint8)": model_config_pb2.TYPE_UINT8, "tensor(float)": model_config_pb2.TYPE_FP32}
    for ours, theirs in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [(one.name, one.data_type, list(one.dims)) for one in ours] == [(one.name, types[one.type], one.shape[1:]) for one in theirs]
    batch = config.dynamic_batching.preferred_batch_size[0]
    shape = (batch, *config.input[0].dims)
    answers = session.run([output.name for output in config.output], {config.input[0].name: np.zeros(shape, np.uint8)})
    assert [answer.shape for answer in answers] == [(batch, *output.dims) for output in config.output]
    assert json.loads((folder / "sightline.json").read_text())["device"] is None


@pytest.mark.parametrize(
    "spoiled",
    [{"max_batchsize": 4}, {"dynamic_batching": {"max_queue_delay_us": 5}}, {"instance_group": [{"kind": Enum("KIND_TPU")}]}],
)
def test_a_field_that_triton_does_not_know_would_be_noticed(spoiled: dict[str, Any]) -> None:
    with pytest.raises(protobuf_text.ParseError):
        parsed(text_format({"name": "m", **spoiled}))


def test_texts_are_quoted_so_that_they_come_back() -> None:
    assert parsed(text_format({"name": 'a "b" \\ c\nd'})).name == 'a "b" \\ c\nd'


def test_a_plan_of_another_tensorrt_is_refused_with_the_tag_that_fits(tmp_path: Path) -> None:
    bundle = plan_bundle(tmp_path / "bundle", tensorrt=TENSORRT_OF_TAG["25.10"])
    with pytest.raises(UnavailableError, match="the plan was built by TensorRT 10") as error:
        write_repository(bundle, "tensorrt-fp16", tmp_path / "repository", Options())
    assert error.value.remedy == "choose --tag 25.10"
    assert not (tmp_path / "repository").exists()
    write_repository(bundle, "tensorrt-fp16", tmp_path / "repository", Options(tag="25.10"))


def test_a_tag_of_which_nothing_is_known_is_refused_with_a_remedy() -> None:
    with pytest.raises(UnavailableError, match=r"it is not known which TensorRT is in tritonserver:23\.05-py3") as error:
        require_tensorrt("10.16.1.11", "23.05")
    assert "dpkg -l libnvinfer10" in error.value.remedy
    with pytest.raises(UnavailableError) as error:
        require_tensorrt("10.16.1.11", DEFAULT_TAG)
    assert error.value.remedy == f"compile the model with tensorrt=={TENSORRT}"
    require_tensorrt(f"{TENSORRT}.post1", DEFAULT_TAG)  # as the package on the index calls itself


def test_a_variant_that_triton_does_not_run_and_a_name_that_is_taken_are_usage_errors(tmp_path: Path) -> None:
    bundle = plan_bundle(tmp_path / "bundle")
    with pytest.raises(UsageError, match="does not run variant 'openvino-fp32'") as error:
        write_repository(bundle, "openvino-fp32", tmp_path / "repository", Options())
    assert "tensorrt-fp16, onnxruntime-fp32" in error.value.remedy
    write_repository(bundle, "onnxruntime-fp32", tmp_path / "repository", Options())
    with pytest.raises(UsageError, match="is there already"):
        write_repository(bundle, "onnxruntime-fp32", tmp_path / "repository", Options())


def test_a_plan_without_its_side_car_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be known what machine it is for"):
        write_repository(plan_bundle(tmp_path / "bundle", side_car=False), "tensorrt-fp16", tmp_path / "repository", Options())
