"""Counters and latency histograms in Prometheus' text format."""

import threading
from collections import Counter
from collections.abc import Iterator

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """What one server counts; every series carries ``model``, ``version`` and ``track``."""

    def __init__(self, *, model: str, version: str, track: str) -> None:
        self._labels = f'model="{_escaped(model)}",version="{_escaped(version)}",track="{_escaped(track)}"'
        self._lock = threading.Lock()
        self._requests: Counter[int] = Counter()
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._seconds = 0.0
        self._images: Counter[str] = Counter()
        self.num_waiting = 0

    def request(self, status: int, seconds: float) -> None:
        """Counts one inference request with its HTTP status and duration."""
        with self._lock:
            self._requests[status] += 1
            self._seconds += seconds
            self._buckets[next((index for index, edge in enumerate(BUCKETS_S) if seconds <= edge), len(BUCKETS_S))] += 1

    def answered(self, labels: tuple[str, ...]) -> None:
        """Counts the images of one answer by predicted class."""
        with self._lock:
            self._images.update(labels)

    def text(self, *, num_dropped: int, ready: bool) -> str:
        """The exposition, in Prometheus' text format 0.0.4."""
        with self._lock:
            lines = list(self._lines(num_dropped=num_dropped, ready=ready))
        return "\n".join(lines) + "\n"

    def _lines(self, *, num_dropped: int, ready: bool) -> Iterator[str]:
        base = self._labels
        yield "# HELP sightline_ready Whether one real inference has succeeded.\n# TYPE sightline_ready gauge"
        yield f"sightline_ready{{{base}}} {int(ready)}"
        yield "# HELP sightline_requests_total Inference requests by HTTP status.\n# TYPE sightline_requests_total counter"
        for status, count in sorted(self._requests.items()):
            yield f'sightline_requests_total{{{base},status="{status}"}} {count}'
        yield "# HELP sightline_images_total Answered images by predicted class.\n# TYPE sightline_images_total counter"
        for label, count in sorted(self._images.items()):
            yield f'sightline_images_total{{{base},label="{_escaped(label)}"}} {count}'
        yield "# HELP sightline_requests_waiting Requests that are waiting or being answered.\n# TYPE sightline_requests_waiting gauge"
        yield f"sightline_requests_waiting{{{base}}} {self.num_waiting}"
        yield "# HELP sightline_log_dropped_total Images left out of the served log.\n# TYPE sightline_log_dropped_total counter"
        yield f"sightline_log_dropped_total{{{base}}} {num_dropped}"
        yield "# HELP sightline_request_seconds Duration of inference requests.\n# TYPE sightline_request_seconds histogram"
        below = 0
        for edge, count in zip((*map(str, BUCKETS_S), "+Inf"), self._buckets, strict=True):
            below += count
            yield f'sightline_request_seconds_bucket{{{base},le="{edge}"}} {below}'
        yield f"sightline_request_seconds_sum{{{base}}} {self._seconds:.6f}"
        yield f"sightline_request_seconds_count{{{base}}} {below}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
