"""Object stores: a local folder and ``s3://`` behind one interface; whatever is read with a digest is verified, whatever its size."""

import errno
import fcntl
import mimetypes
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol, TypeVar

from sightline.errors import DataError, EnvironmentFault, TemporaryError, UsageError
from sightline.store.artifact import disk_faults_explained
from sightline.store.digest import sha256_bytes, sha256_file

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import PutObjectRequestTypeDef

_ATTEMPTS = 3
_Value = TypeVar("_Value")


class ConflictError(TemporaryError):
    """Somebody else wrote the object first; nothing of ours was written."""


class MissingObjectError(DataError):
    """There is no object under the key."""


class ObjectStore(Protocol):
    """Objects by key. Keys are relative POSIX paths; no part may be empty or start with a dot."""

    def read(self, key: str, *, sha256: str = "") -> bytes:
        """The content, checked against ``sha256`` when it is given.

        Raises:
            MissingObjectError: no such object.
            DataError: the content is not what ``sha256`` says.
        """
        ...

    def write(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str = "") -> str:
        """Writes the whole object or nothing; returns its etag.

        Args:
            key: where.
            data: the content.
            if_absent: create only; an object that is already there with the same content counts as written, so that a retry is harmless.
            if_match: replace only the object that has this etag.

        Raises:
            ConflictError: the condition does not hold.
        """
        ...

    def etag(self, key: str) -> str:
        """The object's etag for ``if_match``; MissingObjectError when there is none."""
        ...

    def download(self, key: str, path: Path, *, sha256: str) -> None:
        """Puts the verified content at ``path``, whole or not at all; a damaged transfer is repeated, then a DataError."""
        ...

    def upload(self, path: Path, key: str) -> str:
        """Stores a file of any size; returns the SHA-256 to read it back with."""
        ...

    def folders(self) -> list[str]:
        """The first parts of all keys that have more than one, sorted; cost grows with their number, not with that of the objects."""
        ...

    def list(self, prefix: str = "") -> list[str]:
        """Every key that starts with ``prefix``, sorted; empty when there is none."""
        ...

    def delete(self, key: str) -> None:
        """Removes the object; one that is not there is fine."""
        ...


def open_store(uri: str) -> ObjectStore:
    """The store at ``uri``: ``s3://bucket/prefix`` (endpoint and credentials from the environment) or a folder, made when needed."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalStore(Path(uri))
    if scheme == "file":
        return LocalStore(Path(rest))
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UsageError(f"cannot store objects at '{uri}'", remedy="use a folder or s3://bucket/prefix")
    return S3Store(bucket, prefix.strip("/"))


def _checked(key: str) -> str:
    parts = PurePosixPath(key).parts
    if not parts or "/".join(parts) != key or any(part.startswith((".", "/")) or "\0" in part for part in parts):
        raise UsageError(f"'{key}' is not an object key", remedy="use a relative path without empty parts or leading dots")
    return key


def _verified(key: str, data: bytes, sha256: str) -> bytes:
    if sha256 and sha256_bytes(data) != sha256:
        raise DataError(f"object '{key}' was altered: its content does not match its SHA-256 {sha256[:12]}…")
    return data


def _fetch_verified(fetch: Callable[[Path], object], key: str, path: Path, sha256: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        for _ in range(_ATTEMPTS):
            fetch(aside)
            if sha256_file(aside) == sha256:
                aside.replace(path)
                return
    finally:
        aside.unlink(missing_ok=True)
    raise DataError(f"object '{key}' does not match its SHA-256 {sha256[:12]}… after {_ATTEMPTS} downloads")


class LocalStore:
    """Objects as files below a folder. Safe for any number of processes on one file system; the etag is the content's SHA-256."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def read(self, key: str, *, sha256: str = "") -> bytes:
        """See ObjectStore."""
        try:
            return _verified(key, self._path(key).read_bytes(), sha256)
        except FileNotFoundError:
            raise MissingObjectError(f"{self.root} has no object '{key}'") from None

    def write(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str = "") -> str:
        """See ObjectStore."""
        path = self._path(key)
        with disk_faults_explained(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            try:
                with aside.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                self._place(aside, path, data, if_absent=if_absent, if_match=if_match)
                _sync_folder(path.parent)
            finally:
                aside.unlink(missing_ok=True)
        return sha256_bytes(data)

    def _place(self, aside: Path, path: Path, data: bytes, *, if_absent: bool, if_match: str) -> None:
        if if_absent:
            try:
                os.link(aside, path)  # fails when the name is taken, and shows the whole content at once
            except FileExistsError:
                if path.read_bytes() != data:
                    raise ConflictError(f"object '{path}' was already written with other content") from None
        elif if_match:
            self._swap(aside, path, if_match)
        else:
            aside.replace(path)

    def _swap(self, aside: Path, path: Path, if_match: str) -> None:
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go when the holder dies
            if not path.is_file() or sha256_file(path) != if_match:
                raise ConflictError(f"object '{path}' is not the one that was read")
            aside.replace(path)

    def etag(self, key: str) -> str:
        """See ObjectStore."""
        return sha256_bytes(self.read(key))

    def download(self, key: str, path: Path, *, sha256: str) -> None:
        """See ObjectStore."""
        source = self._path(key)
        if not source.is_file():
            raise MissingObjectError(f"{self.root} has no object '{key}'")
        with disk_faults_explained(path.parent):
            _fetch_verified(lambda aside: shutil.copyfile(source, aside), key, path, sha256)

    def upload(self, path: Path, key: str) -> str:
        """See ObjectStore."""
        digest, target = sha256_file(path), self._path(key)
        with disk_faults_explained(target.parent):
            _fetch_verified(lambda aside: _copy_synced(path, aside), key, target, digest)
            _sync_folder(target.parent)
        return digest

    def folders(self) -> list[str]:
        """See ObjectStore."""
        entries = self.root.iterdir() if self.root.is_dir() else ()
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))

    def list(self, prefix: str = "") -> list[str]:
        """See ObjectStore."""
        folder = self.root / prefix.rpartition("/")[0]
        keys = (path.relative_to(self.root) for path in folder.rglob("*") if path.is_file())
        shown = (key.as_posix() for key in keys if not any(part.startswith(".") for part in key.parts))
        return sorted(key for key in shown if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / _checked(key)


def _copy_synced(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class S3Store:
    """Objects below ``s3://bucket/prefix``.

    boto3 checks nothing on objects that were uploaded in parts (above 8 MB): a flipped bit comes back without an error. Here every
    object carries its SHA-256 and every download is hashed.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self._client = s3_client()

    def read(self, key: str, *, sha256: str = "") -> bytes:
        """See ObjectStore; without ``sha256`` the digest that was stored beside the object counts."""
        answer = self._call(key, lambda: self._client.get_object(Bucket=self.bucket, Key=self._key(key)))
        data = self._call(key, answer["Body"].read)
        return _verified(key, data, sha256 or answer["Metadata"].get("sha256", ""))

    def write(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str = "") -> str:
        """See ObjectStore."""
        request: PutObjectRequestTypeDef = {
            "Bucket": self.bucket,
            "Key": self._key(key),
            "Body": data,
            "Metadata": {"sha256": sha256_bytes(data)},
            "ChecksumAlgorithm": "SHA256",
            # A report is opened from the bucket's own page: a browser shows what says that it is HTML, and saves the rest.
            "ContentType": mimetypes.guess_type(key)[0] or "application/octet-stream",
        }
        if if_absent:
            request["IfNoneMatch"] = "*"
        elif if_match:
            request["IfMatch"] = if_match
        try:
            return self._put(key, request)
        except ConflictError:
            # The answer to our own first attempt may have been lost and the request repeated: then the content there is ours.
            if self.read(key) != data:
                raise
            return self.etag(key)

    def _put(self, key: str, request: "PutObjectRequestTypeDef") -> str:
        for _ in range(_ATTEMPTS):
            try:
                return self._call(key, lambda: self._client.put_object(**request))["ETag"]
            except _RacingError as error:
                racing = error
        raise ConflictError(str(racing))

    def etag(self, key: str) -> str:
        """See ObjectStore."""
        return self._call(key, lambda: self._client.head_object(Bucket=self.bucket, Key=self._key(key)))["ETag"]

    def download(self, key: str, path: Path, *, sha256: str) -> None:
        """See ObjectStore."""
        with disk_faults_explained(path.parent):
            _fetch_verified(
                lambda aside: self._call(key, lambda: self._client.download_file(self.bucket, self._key(key), str(aside))),
                key,
                path,
                sha256,
            )

    def upload(self, path: Path, key: str) -> str:
        """See ObjectStore."""
        digest = sha256_file(path)
        extra = {"Metadata": {"sha256": digest}, "ChecksumAlgorithm": "SHA256"}
        self._call(key, lambda: self._client.upload_file(str(path), self.bucket, self._key(key), ExtraArgs=extra))
        return digest

    def folders(self) -> list[str]:
        """See ObjectStore."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix, Delimiter="/")
        found = self._call("", lambda: [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])])
        return sorted(prefix[len(self.prefix) : -1] for prefix in found)

    def list(self, prefix: str = "") -> list[str]:
        """See ObjectStore."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
        return self._call(prefix, lambda: sorted(entry["Key"][len(self.prefix) :] for page in pages for entry in page.get("Contents", [])))

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        self._call(key, lambda: self._client.delete_object(Bucket=self.bucket, Key=self._key(key)))

    def _key(self, key: str) -> str:
        return self.prefix + _checked(key)

    def _call(self, key: str, request: Callable[[], _Value]) -> _Value:
        return s3_call(f"s3://{self.bucket}/{self.prefix}{key}", request)


def s3_call(place: str, request: Callable[[], _Value]) -> _Value:
    """What the request returns; its failure explained.

    Raises:
        MissingObjectError: there is no such object.
        ConflictError: a condition of the request does not hold.
        EnvironmentFault: no bucket, no credentials or no access.
        TemporaryError: the store does not answer as it should.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        return request()
    except ClientError as error:
        raise _explained(place, error.response) from error
    except NoCredentialsError as error:
        raise EnvironmentFault(f"cannot reach {place}: no credentials", remedy="set AWS credentials in the environment") from error
    except (BotoCoreError, Boto3Error, OSError) as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG}:
            raise
        raise TemporaryError(f"{place}: {error}", remedy="try again; check AWS_ENDPOINT_URL and the network") from error


class _RacingError(TemporaryError):
    """Two conditional writes met; S3 asks to try again (409)."""


def _explained(place: str, response: object) -> Exception:
    fields = response if isinstance(response, dict) else {}
    code = str(fields.get("Error", {}).get("Code", ""))
    status = int(fields.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return EnvironmentFault(f"{place}: there is no such bucket", remedy="create it, or correct the store's address")
    if status == 404:
        return MissingObjectError(f"there is no object {place}")
    if status == 412:
        return ConflictError(f"{place} was written by somebody else first")
    if status == 409:
        return _RacingError(f"{place} is being written by somebody else")
    if status in {401, 403}:
        return EnvironmentFault(f"{place}: access denied ({code})", remedy="check the credentials and the bucket's policy")
    return TemporaryError(f"{place}: the store answered {status} {code}", remedy="try again")


def s3_client() -> "S3Client":
    """A client of the S3 server that the environment names; five attempts a request."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=30)
    return boto3.session.Session().client("s3", config=config)
