"""Images in a bucket: listed once, read in parallel, each object read as the one that was listed or not at all."""

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from sightline.data.trees import Refusal, is_named_like_an_image, not_an_image
from sightline.errors import UsageError
from sightline.images import ImageRefusedError
from sightline.store.digest import sha256_bytes
from sightline.store.objects import ConflictError, MissingObjectError, open_store, s3_call, s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

_ATTEMPTS = 3
_MD5 = re.compile(r"[0-9a-f]{32}")
_MAX_TABLE_BYTES = 256_000_000
_Notes = TypeAdapter(dict[str, tuple[str, str]])


@dataclass(frozen=True)
class Entry:
    """An object as it was listed: its whole key, its etag without quotes, its size."""

    key: str
    etag: str
    size_bytes: int


class BucketTree:
    """See Tree. Keys below the prefix are the paths; ``a/b.jpg`` is of class ``a``.

    Cost: one listing (1 000 keys a request); objects whose etag is that of the last time are not read for their digest.

    Args:
        uri: ``s3://bucket/prefix``; endpoint and credentials from the environment.
        notes: store that remembers etags and digests; empty: none.

    Raises:
        UsageError: there is no bucket in the address.
    """

    num_threads = 16  # a GET waits for the network most of its time

    def __init__(self, uri: str, *, notes: str = "") -> None:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not bucket:
            raise UsageError(f"there is no bucket in '{uri}'", remedy="write s3://bucket/prefix")
        self.base = uri.rstrip("/")
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._notes = notes
        self._client = s3_client()
        self._entries: dict[str, Entry] = {}
        self._listed: dict[str, Entry] | None = None

    def entries(self) -> Mapping[str, Entry]:
        """Every object below the prefix by its path, whatever its name; listed once."""
        if self._listed is None:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            found = s3_call(self.base, lambda: [item for page in pages for item in page.get("Contents", [])])
            entries = (Entry(item["Key"], item["ETag"].strip('"'), item["Size"]) for item in found)
            self._listed = {entry.key[len(self._prefix) :]: entry for entry in entries}
        return self._listed

    def paths(self, exclude: Sequence[str] = ()) -> tuple[list[tuple[str, str]], list[Refusal]]:
        """See Tree."""
        skipped = {name.strip("/") for name in exclude}
        files: list[tuple[str, str]] = []
        refusals: list[Refusal] = []
        for path in self.entries():
            parts = path.split("/")
            if len(parts) < 2 or path.endswith("/") or _is_excluded(parts, skipped):
                continue
            refusal = _refusal(path, parts)
            if refusal is None:
                files.append((path, parts[0]))
            else:
                refusals.append(refusal)
        return sorted(files), sorted(refusals, key=lambda refusal: refusal.path)

    def read(self, path: str, max_bytes: int) -> bytes:
        """See Tree; damaged transfers are repeated."""
        entry = self.entries()[path]
        if entry.size_bytes > max_bytes:
            raise ImageRefusedError("too-large", f"{entry.size_bytes} bytes, at most {max_bytes} are read")
        for _ in range(_ATTEMPTS):
            data, digest, checked = self._get(path, entry)
            if len(data) == entry.size_bytes and (not checked or checked == digest):
                return data
        raise ImageRefusedError("unreadable", f"arrived damaged {_ATTEMPTS} times")

    def _get(self, path: str, entry: Entry) -> tuple[bytes, str, str]:
        """Bytes, their digest, and what the digest should be where the object says so."""

        def fetch() -> "tuple[GetObjectOutputTypeDef, bytes]":
            answer = self._client.get_object(Bucket=self._bucket, Key=entry.key, IfMatch=entry.etag)
            return answer, answer["Body"].read()

        try:
            answer, data = s3_call(f"{self.base}/{path}", fetch)
        except MissingObjectError:
            raise ImageRefusedError("vanished", "the object was deleted after it was listed") from None
        except ConflictError:
            raise ImageRefusedError("changed", "the object was replaced after it was listed") from None
        told = answer["Metadata"].get("sha256", "")
        if told:
            return data, sha256_bytes(data), told
        # Objects in one part have the MD5 of their content as etag, unless a key of the KMS encrypts them.
        if _MD5.fullmatch(entry.etag) and answer.get("ServerSideEncryption", "AES256") == "AES256":
            return data, hashlib.md5(data, usedforsecurity=False).hexdigest(), entry.etag
        return data, "", ""

    def table(self, name: str) -> Path | None:
        """See Tree."""
        if name not in self.entries():
            return None
        path = Path(tempfile.mkdtemp(prefix="sightline-table-")) / Path(name).name
        path.write_bytes(self.read(name, _MAX_TABLE_BYTES))
        return path

    def known_digests(self) -> Mapping[str, str]:
        """See Tree: an object with the same etag is the same object. What is used is compared with its digest all the same."""
        entries = self.entries()
        return {path: sha256 for path, (etag, sha256) in self._remembered().items() if path in entries and entries[path].etag == etag}

    def remember(self, digests: Mapping[str, str]) -> None:
        """See Tree."""
        entries = self.entries()
        notes = {path: (entries[path].etag, sha256) for path, sha256 in digests.items() if path in entries}
        if self._notes and notes != self._remembered():
            open_store(self._notes).write(self._key, _Notes.dump_json(notes))

    @property
    def _key(self) -> str:
        return f"ingest-etags/{sha256_bytes(self.base.encode())[:32]}.json"

    def _remembered(self) -> dict[str, tuple[str, str]]:
        if not self._notes:
            return {}
        try:
            return _Notes.validate_json(open_store(self._notes).read(self._key))
        except (MissingObjectError, ValidationError):
            return {}  # notes only save reading


def _is_excluded(parts: Sequence[str], skipped: set[str]) -> bool:
    hidden = any(part.startswith(".") and part not in {".", ".."} for part in parts)
    return hidden or any("/".join(parts[:length]) in skipped for length in range(1, len(parts) + 1))


def _refusal(path: str, parts: Sequence[str]) -> Refusal | None:
    if any(part in {"", ".", ".."} for part in parts) or "\0" in path:
        return Refusal(path, "bad-name", "empty parts, '.' and '..' name no file")
    return None if is_named_like_an_image(path) else not_an_image(path)
