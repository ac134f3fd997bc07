import importlib.util

import pytest

from sightline.errors import DataError
from sightline.runtimes.base import UnavailableError, load_predictor
from sightline.runtimes.tensorrt import Device, PlanInfo, check_device, gpu, read_plan_info, this_device
from tests.unit.runtimes.networks import colour_bundle

DEVICE = Device(gpu="NVIDIA L4", compute_capability="8.9", driver=13000, tensorrt="10.16.1")
INFO = PlanInfo(device=DEVICE, precision="fp16", size_px=8, num_classes=2, embedding_dim=3, max_batch=4, build_seconds=1.0)
VARIANTS = {"tensorrt-fp16": "tensorrt-fp16.plan"}
without_tensorrt = pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="tensorrt is installed here")


def has_gpu():
    try:
        gpu()
    except UnavailableError:
        return False
    return True


@without_tensorrt
def test_without_the_package_the_reason_names_the_extra():
    with pytest.raises(
        UnavailableError, match=r"the tensorrt package is not installed \(extra: sightline\[tensorrt\], from NVIDIA's index\)"
    ):
        this_device()


@without_tensorrt
def test_a_bundle_with_a_plan_cannot_be_loaded_without_the_package(tmp_path):
    files = {"tensorrt-fp16.plan": b"plan", "tensorrt-fp16.json": INFO.model_dump_json().encode()}
    with pytest.raises(UnavailableError, match="not installed"):
        load_predictor(colour_bundle(tmp_path / "b", VARIANTS, files), "tensorrt-fp16")


@pytest.mark.skipif(has_gpu(), reason="this machine has an NVIDIA GPU")
def test_without_a_gpu_the_reason_says_so():
    with pytest.raises(UnavailableError, match="no NVIDIA GPU"):
        gpu()


@pytest.mark.parametrize(
    ("field", "value"), [("gpu", "NVIDIA H200"), ("compute_capability", "9.0"), ("driver", 13010), ("tensorrt", "11.4.0")]
)
def test_a_plan_of_another_machine_is_refused_with_the_difference(field, value):
    here = DEVICE.model_copy(update={field: value})
    with pytest.raises(UnavailableError, match=f"the plan was built for {field} .*, here {value}"):
        check_device(INFO, here)


def test_a_plan_of_this_machine_is_accepted():
    check_device(INFO, DEVICE)


def test_a_plan_without_its_side_car_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no file 'tensorrt-fp16\.json'"):
        load_predictor(colour_bundle(tmp_path / "b", VARIANTS, {"tensorrt-fp16.plan": b"plan"}), "tensorrt-fp16")
    with pytest.raises(DataError, match=r"has no a\.json beside it"):
        read_plan_info(tmp_path / "a.plan")


def test_a_damaged_side_car_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"precision": "fp16"}')
    with pytest.raises(DataError, match=r"a\.json is damaged"):
        read_plan_info(tmp_path / "a.plan")
