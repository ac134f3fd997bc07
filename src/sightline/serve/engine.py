"""The model behind the server: loads it, proves that it answers, and answers in a few threads so that the event loop stays free."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from sightline.errors import DataError
from sightline.images import ImageRefusedError, ImageU8, decode, resize
from sightline.models.bundle import ModelBundle
from sightline.runtimes.base import Prediction, Predictor, load_predictor
from sightline.serve.faults import Fault
from sightline.serve.protocol import Answer, InferRequest, RefusedError
from sightline.serve.served_log import Served, ServedLog


@dataclass(frozen=True)
class EngineOptions:
    """How the model is run.

    Attributes:
        num_threads: CPU threads of one prediction.
        num_workers: predictions at a time.
        max_waiting: requests that may wait or run; one more is answered with 429.
    """

    num_threads: int = 1
    num_workers: int = 2
    max_waiting: int = 64


class Engine:
    """One model; ``load`` before the first ``infer``.

    Args:
        bundle: an opened, compiled bundle.
        fault: the drill, or none.
        log: where answered images are logged, a folder or ``s3://bucket/prefix``; empty: nowhere.
        track: stable, canary or route; part of the log's name.
    """

    def __init__(self, bundle: ModelBundle, *, options: EngineOptions, fault: Fault, log: str, track: str) -> None:
        if not bundle.info.chosen:
            raise DataError("the bundle was not compiled, so there is nothing to serve", remedy="run sightline compile first")
        self.bundle = bundle
        self.ready = False
        self.num_waiting = 0
        self._options = options
        self._fault = fault
        self._predictor: Predictor | None = None
        self._pool = ThreadPoolExecutor(options.num_workers, thread_name_prefix="predict")
        self._log = ServedLog(log, model=bundle.digest, track=track) if log else None

    @property
    def num_dropped(self) -> int:
        """Images left out of the served log."""
        return self._log.num_dropped if self._log else 0

    def load(self) -> None:
        """Loads the model and answers one image; only then the engine is ready.

        Raises:
            DataError: the model does not give finite numbers of the right shape.
            UnavailableError: this machine cannot run the variant.
        """
        predictor = load_predictor(self.bundle, self.bundle.info.chosen, num_threads=self._options.num_threads)
        size_px = self.bundle.preprocessing.size_px
        prediction = predictor.predict(np.zeros((1, size_px, size_px, 3), np.uint8))
        if prediction.probabilities_NC.shape != (1, len(self.bundle.info.classes)) or not _finite(prediction):
            raise DataError("the model does not answer a black image with one finite probability per class", remedy="compile it again")
        self._predictor = predictor
        self.ready = True

    async def infer(self, request: InferRequest, *, logged: bool = True) -> Answer:
        """The answer to one request; ``logged`` is False for images that are not a client's.

        Raises:
            RefusedError: 422 an image is not usable, 429 too many requests are waiting, 500 the model gave no valid answer, 503 not ready.
            DrillError: the drill asks for a failure.
        """
        if not self.ready:
            raise RefusedError(503, "the model is not ready")
        if self.num_waiting >= self._options.max_waiting:
            raise RefusedError(429, "too many requests are waiting")
        self.num_waiting += 1
        try:
            self._fault.maybe_fail()
            if self._fault.delay_s:
                await asyncio.sleep(self._fault.delay_s)
            answer = await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, request)
        finally:
            self.num_waiting -= 1
        if logged:
            self._record(request, answer)
        return answer

    def close(self) -> None:
        """Ends the threads; what was answered is in the log afterwards."""
        self._pool.shutdown()
        if self._log:
            self._log.close()

    def _answer(self, request: InferRequest) -> Answer:
        if self._predictor is None:
            raise RefusedError(503, "the model is not ready")
        images = self._images(request)
        prediction = self._predictor.predict(np.stack(images))
        if not _finite(prediction):
            raise RefusedError(500, "the model gave no valid answer")
        classes = self.bundle.info.classes
        return Answer(images, prediction, tuple(classes[index] for index in prediction.probabilities_NC.argmax(axis=1)))

    def _images(self, request: InferRequest) -> list[ImageU8]:
        if request.images_NHWC is None:
            return [self._decoded(index, data) for index, data in enumerate(request.files)]
        if self._fault.spoils_pixels:
            return [self._fault.spoiled(image, self.bundle.preprocessing.size_px) for image in request.images_NHWC]
        return list(request.images_NHWC)

    def _decoded(self, index: int, data: bytes) -> ImageU8:
        preprocessing = self.bundle.preprocessing
        try:
            image = decode(data, max_pixels=preprocessing.max_pixels)
        except ImageRefusedError as error:
            raise RefusedError(422, f"image {index} was refused: {error.reason}") from None
        if self._fault.spoils_pixels:
            return self._fault.spoiled(image, preprocessing.size_px)
        return resize(image, preprocessing.size_px)

    def _record(self, request: InferRequest, answer: Answer) -> None:
        if not self._log:
            return
        now = time.time()
        probabilities, embeddings = answer.prediction.probabilities_NC.max(axis=1), answer.prediction.embeddings_ND
        for index, (image, label) in enumerate(zip(answer.images, answer.labels, strict=True)):
            data = request.files[index] if request.files else image.tobytes()
            self._log.put(Served(now, data, image, label, float(probabilities[index]), embeddings[index]))


def _finite(prediction: Prediction) -> bool:
    return bool(np.isfinite(prediction.probabilities_NC).all() and np.isfinite(prediction.embeddings_ND).all())
