"""Reads an image again by the location that a dataset version names, wherever it is; what comes back is what was ingested."""

import functools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import DataError
from sightline.store.digest import sha256_bytes
from sightline.store.objects import MissingObjectError, s3_call, s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NUM_THREADS = 16


def read_image(location: str, sample_id: str) -> bytes:
    """The bytes of an image file.

    Args:
        location: a path, ``s3://bucket/key`` or ``generated://…``.
        sample_id: SHA-256 of the bytes that were ingested.

    Raises:
        DataError: the image is not there, or not what it was.
        TemporaryError: the store does not answer.
    """
    data = _read(location)
    if data is None:
        raise DataError(f"{location}: not found")
    if sha256_bytes(data) != sample_id:
        raise DataError(f"{location}: altered since it was ingested")
    return data


def read_images(images: Iterable[tuple[str, str]]) -> Iterator[bytes | DataError]:
    """For each pair of location and sample id, in order, its bytes or what is wrong with it; a few dozen wait in memory."""
    waiting = iter(images)
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        while chunk := list(islice(waiting, 2 * _NUM_THREADS)):
            yield from pool.map(_attempt, chunk)


def _attempt(image: tuple[str, str]) -> bytes | DataError:
    try:
        return read_image(*image)
    except DataError as error:
        return error


def _read(location: str) -> bytes | None:
    if location.startswith("s3://"):
        return _read_object(location)
    if location.startswith("generated://"):
        from sightline.data.generated import split_location

        source, name = split_location(location)
        path = _generated(source) / name
    else:
        path = Path(location)
    return path.read_bytes() if path.is_file() else None


def _read_object(location: str) -> bytes | None:
    bucket, _, key = location.removeprefix("s3://").partition("/")

    def fetch() -> bytes:
        return _client().get_object(Bucket=bucket, Key=key)["Body"].read()

    try:
        return s3_call(location, fetch)
    except MissingObjectError:
        return None


@functools.cache
def _client() -> "S3Client":
    return s3_client()


@functools.cache
def _generated(source: str) -> Path:
    from sightline.data.generated import generated_folder

    return generated_folder(source)
