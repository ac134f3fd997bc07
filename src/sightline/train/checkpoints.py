"""The checkpoints of a training: what it needs to go on after an interrupt as if there had been none."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sightline.errors import DataError, EnvironmentFault, TemporaryError
from sightline.store.artifact import MANIFEST, FileEntry, Manifest, content_digest
from sightline.store.objects import ObjectStore
from sightline.train.state_file import read_state, write_state

KIND = "checkpoint"
_FOLDER = "checkpoints"
_STATE = "state.safetensors"
_KEEP = 2
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: ``epoch`` epochs are done (counted from 1); ``path`` holds the state."""

    epoch: int
    path: Path


class Checkpoints:
    """The checkpoints of one job in a store; the newest two are kept.

    One is the state and, written last, a manifest with its SHA-256 and the job's key. A process that dies while it writes leaves the one
    before it in force, and what is damaged or belongs to another job is never used.

    Args:
        store: the job's own part of the store.
        job: the job's key.
        scratch: an existing folder for the files on their way.
    """

    def __init__(self, store: ObjectStore, job: str, scratch: Path) -> None:
        self._store = store
        self._job = job
        self._scratch = scratch

    def save(self, epoch: int, state: Mapping[str, Any]) -> None:
        """Keeps the state after ``epoch`` epochs, then removes all checkpoints but the newest two.

        Raises:
            SightlineError: the store did not take it; the older ones are whole.
        """
        folder, path = _folder(epoch), self._scratch / f"checkpoint-{epoch}.safetensors"
        try:
            write_state(path, state)
            self._store.delete(f"{folder}/{MANIFEST}")  # of a damaged checkpoint of the same epoch
            entry = FileEntry(path=_STATE, size_bytes=path.stat().st_size, sha256=self._store.upload(path, f"{folder}/{_STATE}"))
        finally:
            path.unlink(missing_ok=True)
        manifest = Manifest(kind=KIND, digest=content_digest(KIND, (entry,)), files=(entry,), inputs={"job": self._job}).sealed()
        self._store.write(f"{folder}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())
        for old in self._epochs()[_KEEP:]:
            for name in (MANIFEST, _STATE):
                self._store.delete(f"{_folder(old)}/{name}")

    def try_save(self, epoch: int, state: Mapping[str, Any]) -> None:
        """Like ``save``; where the store does not take it, the log says so and training goes on: the older checkpoints are whole."""
        try:
            self.save(epoch, state)
        except (EnvironmentFault, TemporaryError) as error:
            _LOG.warning("there is no checkpoint of epoch %d, training goes on: %s", epoch, error)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, in the scratch folder; None when there is none. A damaged one is said in the log."""
        for epoch in self._epochs():
            try:
                return Checkpoint(epoch, self._fetched(epoch))
            except DataError as error:
                _LOG.warning("the checkpoint of epoch %d cannot be used, an older one is looked for: %s", epoch, error)
        return None

    def _epochs(self) -> list[int]:
        keys = self._store.list(f"{_FOLDER}/")
        return sorted((int(key.split("/")[1].removeprefix("epoch-")) for key in keys if key.endswith(f"/{MANIFEST}")), reverse=True)

    def _fetched(self, epoch: int) -> Path:
        folder = _folder(epoch)
        try:
            manifest = Manifest.model_validate_json(self._store.read(f"{folder}/{MANIFEST}"))
        except ValidationError as error:
            raise DataError(f"its manifest has {error.error_count()} invalid fields") from None
        if manifest.expected_seal() != manifest.seal or manifest.kind != KIND or [entry.path for entry in manifest.files] != [_STATE]:
            raise DataError("its manifest was altered")
        if manifest.inputs != {"job": self._job}:
            raise DataError("it belongs to another job")
        path = self._scratch / f"resume-{epoch}-{manifest.files[0].sha256[:16]}.safetensors"
        self._store.download(f"{folder}/{_STATE}", path, sha256=manifest.files[0].sha256)
        read_state(path)
        return path


def _folder(epoch: int) -> str:
    return f"{_FOLDER}/epoch-{epoch:05d}"
