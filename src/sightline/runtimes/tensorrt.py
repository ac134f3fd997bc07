"""Answers with a TensorRT plan on an NVIDIA GPU; the plan runs only on the machine that it was built for."""

import importlib.util
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.errors import DataError
from sightline.models.bundle import ModelBundle
from sightline.runtimes.base import Prediction, Predictor, UnavailableError
from sightline.runtimes.signature import INPUT, OUTPUTS, Signature

if TYPE_CHECKING:
    import tensorrt


class Device(BaseModel):
    """The parts of a machine that a plan is bound to."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    gpu: str
    compute_capability: str
    driver: int
    tensorrt: str


class PlanInfo(BaseModel):
    """``tensorrt-<precision>.json``: the machine that built the plan, and the sizes that the plan takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    device: Device
    precision: str
    size_px: int
    num_classes: int
    embedding_dim: int
    max_batch: int
    build_seconds: float


def this_device() -> Device:
    """What a plan built here is bound to.

    Raises:
        UnavailableError: no tensorrt package, no CUDA bindings or no NVIDIA GPU, in this order.
    """
    if importlib.util.find_spec("tensorrt") is None:
        reason = "the tensorrt package is not installed (extra: sightline[tensorrt], from NVIDIA's index)"
        raise UnavailableError(reason, remedy="install the extra on a machine with an NVIDIA GPU, or choose another variant")
    import tensorrt

    name, capability, driver = gpu()
    return Device(gpu=name, compute_capability=capability, driver=driver, tensorrt=tensorrt.__version__)


def gpu() -> tuple[str, str, int]:
    """Name, compute capability and driver version of the first GPU; UnavailableError when there is none."""
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
        raise UnavailableError("the cuda-python package is not installed (extra: sightline[tensorrt])")
    from cuda.bindings import runtime

    status, count = runtime.cudaGetDeviceCount()
    if status != runtime.cudaError_t.cudaSuccess or not count:
        raise UnavailableError("no NVIDIA GPU", remedy="run this variant on a machine with one, or choose another variant")
    properties = cuda(runtime.cudaGetDeviceProperties(0))
    return properties.name.decode().strip("\0"), f"{properties.major}.{properties.minor}", int(cuda(runtime.cudaDriverGetVersion()))


def cuda(answer: tuple[Any, ...]) -> Any:
    """The value of a CUDA call; UnavailableError with CUDA's own words when the call failed."""
    from cuda.bindings import runtime

    status, *values = answer
    if status != runtime.cudaError_t.cudaSuccess:
        raise UnavailableError(f"CUDA: {runtime.cudaGetErrorString(status)[1].decode()}")
    return values[0] if values else None


class DeviceBuffers:
    """Memory on the GPU by name, and a stream; freed with the object. Copies are finished once ``wait`` returns."""

    def __init__(self, sizes_bytes: dict[str, int]) -> None:
        from cuda.bindings import runtime

        self._runtime = runtime
        self.stream = cuda(runtime.cudaStreamCreate())
        self.pointers: dict[str, int] = {}
        weakref.finalize(self, _free, self.stream, self.pointers)
        for name, size in sizes_bytes.items():
            self.pointers[name] = int(cuda(runtime.cudaMalloc(size)))

    def put(self, name: str, array: npt.NDArray[Any]) -> None:
        """Copies a contiguous array to the start of the named buffer."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        cuda(self._runtime.cudaMemcpyAsync(self.pointers[name], array.ctypes.data, array.nbytes, kind, self.stream))

    def get(self, name: str, array: npt.NDArray[Any]) -> None:
        """Fills a contiguous array from the start of the named buffer."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        cuda(self._runtime.cudaMemcpyAsync(array.ctypes.data, self.pointers[name], array.nbytes, kind, self.stream))

    def wait(self) -> None:
        """Returns when everything on the stream is done."""
        cuda(self._runtime.cudaStreamSynchronize(self.stream))


def _free(stream: Any, pointers: dict[str, int]) -> None:
    from cuda.bindings import runtime

    for pointer in pointers.values():
        runtime.cudaFree(pointer)
    runtime.cudaStreamDestroy(stream)


class TensorRtPredictor:
    """One execution context behind a lock: TensorRT's contexts take one call at a time."""

    def __init__(self, engine: "tensorrt.ICudaEngine", info: PlanInfo) -> None:
        self._signature = Signature(info.size_px, info.num_classes, info.embedding_dim)
        self._max_batch = info.max_batch
        self._lock = threading.Lock()
        self._engine = engine
        self._context = engine.create_execution_context()
        self._widths = dict(zip(OUTPUTS, (info.num_classes, info.embedding_dim), strict=True))
        sizes = {name: 4 * info.max_batch * width for name, width in self._widths.items()}
        self._buffers = DeviceBuffers({INPUT: info.max_batch * info.size_px**2 * 3, **sizes})
        for name, pointer in self._buffers.pointers.items():
            self._context.set_tensor_address(name, pointer)

    def predict(self, images_NHWC: npt.NDArray[np.uint8]) -> Prediction:
        """The prediction for a batch of any size, 0 included; larger ones than the plan takes are cut into parts."""
        images = self._signature.check(images_NHWC)
        if not len(images):
            return self._signature.empty()
        with self._lock:
            parts = [self._run(images[start : start + self._max_batch]) for start in range(0, len(images), self._max_batch)]
        logits, embeddings = (np.concatenate([part[name] for part in parts]) for name in OUTPUTS)
        return self._signature.prediction(logits, embeddings)

    def _run(self, images_NHWC: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        answers = {name: np.empty((len(images_NHWC), width), np.float32) for name, width in self._widths.items()}
        self._buffers.put(INPUT, images_NHWC)
        accepted = self._context.set_input_shape(INPUT, images_NHWC.shape)
        if not accepted or not self._context.execute_async_v3(int(self._buffers.stream)):
            raise UnavailableError(f"TensorRT refused a batch of shape {list(images_NHWC.shape)}")
        for name, answer in answers.items():
            self._buffers.get(name, answer)
        self._buffers.wait()
        return answers


def load(bundle: ModelBundle, variant: str, *, num_threads: int) -> Predictor:
    """The predictor of a ``tensorrt-*`` variant; ``num_threads`` does not matter on a GPU."""
    path = bundle.variant_file(variant)
    bundle.artifact.file(bundle.info.variants[variant].removesuffix(".plan") + ".json")
    return open_file(path, num_threads=num_threads)


def open_file(path: Path, *, num_threads: int = 1) -> TensorRtPredictor:  # noqa: ARG001 - the same call for every runtime
    """The predictor of a plan with its side-car (``.json``) beside it.

    Raises:
        UnavailableError: TensorRT or the GPU is missing, or the plan was built for another GPU, driver or TensorRT.
        DataError: the side-car is missing or damaged, or TensorRT cannot read the plan.
    """
    info = read_plan_info(path)
    check_device(info, this_device())
    import tensorrt

    engine = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR)).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise DataError(f"TensorRT cannot read {path}", remedy="compile the model again on this machine")
    return TensorRtPredictor(engine, info)


def read_plan_info(path: Path) -> PlanInfo:
    """What the side-car of a plan says; DataError when it is missing or damaged."""
    side_car = path.with_suffix(".json")
    try:
        return PlanInfo.model_validate_json(side_car.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} has no {side_car.name} beside it, so it cannot be known what machine it is for") from None
    except ValidationError as error:
        raise DataError(f"{side_car} is damaged: {error.error_count()} invalid fields") from None


def check_device(info: PlanInfo, here: Device) -> None:
    """Raises UnavailableError, naming each difference, when the plan was built for another machine than ``here``."""
    built, now = info.device.model_dump(), here.model_dump()
    differences = [f"{name} {built[name]}, here {now[name]}" for name in built if built[name] != now[name]]
    if differences:
        raise UnavailableError(f"the plan was built for {'; '.join(differences)}", remedy="compile the model again on this machine")
