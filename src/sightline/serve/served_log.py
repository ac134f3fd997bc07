"""The served log: one JSON line per answered image, which drift detection reads. Written by its own thread; serving never waits for it."""

import json
import logging
import os
import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from sightline.images import ImageU8, image_properties
from sightline.store.digest import sha256_bytes

_QUEUE_IMAGES = 1024  # at 64 pixels and with the file's bytes about 60 MB at worst
_FLUSH_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """One answered image.

    Attributes:
        data: the request's bytes for the image, whose SHA-256 is its id.
        image: the pixels at the model's size.
    """

    time: float
    data: bytes
    image: ImageU8
    label: str
    confidence: float
    embedding: npt.NDArray[np.float32]


class ServedLog:
    """Appends to one new file in a folder; lines reach the file within a second and at the latest when it is closed.

    When the writer cannot keep up, or the disk is full, images are left out and counted in ``num_dropped``.

    Args:
        folder: made when needed; the file is made with the first image.
        model: digest of the bundle that answers.
        track: part of the file's name.
    """

    def __init__(self, folder: Path, *, model: str, track: str) -> None:
        self._path = folder / f"served-{track}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}.jsonl"
        self._model = model
        self._queue: queue.Queue[Served | None] = queue.Queue(_QUEUE_IMAGES)
        self.num_dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="served-log", daemon=True)
        self._thread.start()

    def put(self, served: Served) -> None:
        """Takes an image in; never waits."""
        try:
            self._queue.put_nowait(served)
        except queue.Full:
            self.num_dropped += 1

    def close(self) -> None:
        """Writes what is waiting and ends the thread."""
        self._queue.put(None)
        self._thread.join(timeout=10.0)

    def _write_all(self) -> None:
        file: IO[str] | None = None
        flushed = time.monotonic()
        while True:
            try:
                served = self._queue.get(timeout=_FLUSH_S)
                if served is None:
                    break
                file = file or self._opened()
                file.write(self._line(served))
            except queue.Empty:
                pass
            except OSError as error:
                self._lost(error)
            if file is not None and time.monotonic() - flushed >= _FLUSH_S:
                self._flush(file)
                flushed = time.monotonic()
        if file is not None:
            self._flush(file)
            file.close()

    def _opened(self) -> IO[str]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self._path.open("a", encoding="utf-8")

    def _flush(self, file: IO[str]) -> None:
        try:
            file.flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        if not self.num_dropped:
            _log.error("served images are not logged: %s", error)
        self.num_dropped += 1

    def _line(self, served: Served) -> str:
        record = {
            "time": round(served.time, 3),
            "sample_id": sha256_bytes(served.data),
            "model": self._model,
            "label": served.label,
            "confidence": round(served.confidence, 6),
            "properties": image_properties(served.image),
            "embedding": [round(value, 5) for value in served.embedding.tolist()],
        }
        return json.dumps(record, separators=(",", ":")) + "\n"
