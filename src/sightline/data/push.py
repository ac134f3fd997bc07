"""Puts a folder of images into a bucket, so that a cluster can read what a laptop has."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sightline.data.trees import FolderTree
from sightline.errors import DataError, UsageError
from sightline.store.digest import sha256_file
from sightline.store.objects import MissingObjectError, S3Store, open_store, s3_call, s3_client

_NUM_THREADS = 16


class Pushed(BaseModel):
    """What was done: files uploaded, files that were there already with the same content, files that are refused by their name or kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    target: str
    uploaded: int
    unchanged: int
    refused: int


def push(folder: Path, target: str, report: Callable[[str], None]) -> Pushed:
    """Uploads the image files of ``folder`` and its tables, 16 at a time; nothing in the bucket is deleted.

    Each object carries the SHA-256 of its content, so that every later read can be verified. Cost: one request per file that is there
    already, one upload per file that is new or changed.

    Args:
        folder: one sub-folder of images per class.
        target: ``s3://bucket/prefix``.
        report: is told about progress.

    Raises:
        UsageError: there is no such folder, or the target is not a bucket.
        DataError: the folder holds no image.
        TemporaryError: the store does not answer; what was uploaded stays.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", remedy="name the folder that has one sub-folder of images per class")
    store = open_store(target)
    if not isinstance(store, S3Store):
        raise UsageError(f"'{target}' is not a bucket", remedy="write s3://bucket/prefix")
    files, refusals = FolderTree(folder).paths()
    if not files:
        raise DataError(f"{folder} has no images in sub-folders", remedy="put the images of each class into a folder named after the class")
    names = [*(path.name for path in sorted(folder.glob("*.csv"))), *(path for path, _ in files)]
    uploaded = 0
    for number, is_new in enumerate(_push_all(folder, store, names), start=1):
        uploaded += is_new
        report(f"{number}/{len(names)} files · {uploaded} uploaded")
    return Pushed(target=target, uploaded=uploaded, unchanged=len(names) - uploaded, refused=len(refusals))


def _push_all(folder: Path, store: S3Store, names: list[str]) -> Iterator[bool]:
    client = s3_client()

    def push_one(name: str) -> bool:
        key = f"{store.prefix}{name}"
        try:
            found = s3_call(key, lambda: client.head_object(Bucket=store.bucket, Key=key))["Metadata"].get("sha256", "")
        except MissingObjectError:
            found = ""
        if found == sha256_file(folder / name):
            return False
        store.upload(folder / name, name)
        return True

    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        yield from pool.map(push_one, names)
