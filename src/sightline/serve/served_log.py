"""The served log: one JSON line per answered image, which drift detection reads. Written by its own thread; serving never waits for it."""

import functools
import json
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import numpy.typing as npt

from sightline.errors import SightlineError, TemporaryError
from sightline.images import ImageU8, image_properties
from sightline.store.digest import sha256_bytes
from sightline.store.objects import open_store

_QUEUE_IMAGES = 1024  # at 64 pixels and with the file's bytes about 60 MB at worst
_FLUSH_S = 1.0
_SEGMENT_IMAGES = 500
_SEGMENT_S = 30.0
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
    """Appends to one new file in a folder, or writes one object after the other below ``s3://bucket/prefix``.

    Lines reach a file within a second, a bucket after 500 images or 30 s, and both at the latest when the log is closed. When the writer
    cannot keep up, or the place cannot be written to, images are left out and counted in ``num_dropped``.

    Args:
        place: a folder, made when needed, or ``s3://bucket/prefix``.
        model: digest of the bundle that answers.
        track: part of the names.
    """

    def __init__(self, place: str, *, model: str, track: str) -> None:
        self._sink: _Sink = _Segments(place, track) if "://" in place else _File(Path(place), track)
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
        while True:
            try:
                served = self._queue.get(timeout=_FLUSH_S)
            except queue.Empty:
                self._do(self._sink.tick)
                continue
            if served is None:
                break
            line = self._line(served)
            self._do(functools.partial(self._sink.write, line))
            self._do(self._sink.tick)
        self._do(self._sink.close)

    def _do(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, SightlineError) as error:
            if not self.num_dropped:
                _log.error("served images are not logged: %s", error)
            self.num_dropped += getattr(error, "num_lost", 1)

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


class _Sink(Protocol):
    def write(self, line: str) -> None: ...

    def tick(self) -> None:
        """Called about once a second."""

    def close(self) -> None: ...


class _File:
    """One file, made with the first line."""

    def __init__(self, folder: Path, track: str) -> None:
        self._path = folder / f"served-{track}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}.jsonl"
        self._file: IO[str] | None = None
        self._flushed = time.monotonic()

    def write(self, line: str) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(line)

    def tick(self) -> None:
        if self._file is not None and time.monotonic() - self._flushed >= _FLUSH_S:
            self._flushed = time.monotonic()
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class _Segments:
    """One object per segment, named by day and time, so that the newest are found without listing all."""

    def __init__(self, place: str, track: str) -> None:
        self._store = open_store(place)
        self._suffix = f"{track}-{socket.gethostname()}-{os.getpid()}"
        self._lines: list[str] = []
        self._started = time.monotonic()
        self._count = 0

    def write(self, line: str) -> None:
        if not self._lines:
            self._started = time.monotonic()
        self._lines.append(line)

    def tick(self) -> None:
        if len(self._lines) >= _SEGMENT_IMAGES or (self._lines and time.monotonic() - self._started >= _SEGMENT_S):
            self.close()

    def close(self) -> None:
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        self._count += 1
        key = f"{time.strftime('%Y-%m-%d/%H%M%S', time.gmtime())}-{self._count:06d}-{self._suffix}.jsonl"
        try:
            self._store.write(key, "".join(lines).encode(), if_absent=True)
        except SightlineError as error:
            raise _SegmentLostError(str(error), len(lines)) from error


class _SegmentLostError(TemporaryError):
    def __init__(self, message: str, num_lost: int) -> None:
        super().__init__(message)
        self.num_lost = num_lost
