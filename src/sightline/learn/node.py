"""A process of a job of several machines: it fetches the job, tells what happens and why it failed, through the store."""

import contextlib
import functools
import json
import os
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from sightline.errors import SightlineError
from sightline.learn.child import Event
from sightline.learn.failure import describe_failure
from sightline.learn.staging import StagedJob, fetch
from sightline.store.objects import ObjectStore, open_store

EVENTS = "events"
ERRORS = "errors"
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass
class StoredEvents:
    """Keeps each event as an object of its own at the job's place, those of one process in order.

    It may travel to another process, as Ray's callbacks do, and so holds no connection.
    """

    place: str
    prefix: str = field(default_factory=lambda: f"{EVENTS}/{time.time_ns():020d}-{uuid.uuid4().hex[:8]}")
    num: int = 0

    def __call__(self, event: Event) -> None:
        """Keeps one event."""
        self.num += 1
        _opened(self.place).write(f"{self.prefix}/{self.num:06d}.json", json.dumps(event, allow_nan=False).encode())


@functools.cache
def _opened(place: str) -> ObjectStore:
    return open_store(place)


def node_folder(staged: StagedJob) -> Path:
    """Where the processes of a machine keep the job's files, one copy for all of them."""
    return Path(tempfile.gettempdir()) / f"sightline-{os.getuid()}-{staged.sha256[:16]}"


@contextlib.contextmanager
def as_node(staged: StagedJob, model: type[_Model], name: str) -> Iterator[tuple[_Model, Path, StoredEvents]]:
    """The process's side: yields the job, this node's folder and what emits events; an error is told before the process ends.

    Args:
        staged: what the process was started with.
        model: of the job.
        name: which of the job's processes this is; unique.
    """
    place = staged.uri.rpartition("/")[0]
    folder = node_folder(staged)
    try:
        yield fetch(staged, model, folder), folder, StoredEvents(place)
    except Exception as error:
        if not isinstance(error, SightlineError):
            traceback.print_exc()
        open_store(place).write(f"{ERRORS}/{name}.json", json.dumps(describe_failure(error)).encode())
        raise SystemExit(error.exit_code if isinstance(error, SightlineError) else 1) from error
