"""The served log in a bucket: whole objects, the newest found without reading the rest."""

import time
import uuid
from collections.abc import Iterator

import numpy as np
import pytest

from sightline.monitor.sample import read_served
from sightline.serve import served_log
from sightline.serve.served_log import Served, ServedLog
from sightline.store.objects import S3Store, open_store
from tests.s3 import running_s3


@pytest.fixture(scope="module")
def bucket() -> Iterator[object]:
    import boto3

    with running_s3():
        yield boto3.client("s3")


def served(number: int) -> Served:
    image = np.full((8, 8, 3), number % 256, dtype=np.uint8)
    return Served(float(number), f"image {number}".encode(), image, "good", 0.9, np.array([float(number), 1.0], dtype=np.float32))


def write(place: str, numbers: range) -> ServedLog:
    log = ServedLog(place, model="m", track="stable")
    for number in numbers:
        log.put(served(number))
    log.close()
    return log


def test_what_is_logged_to_a_bucket_is_what_the_monitor_reads(bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_log, "_SEGMENT_IMAGES", 10)
    place = f"s3://bucket/{uuid.uuid4().hex}"
    write(place, range(25))
    assert len(open_store(place).list()) == 3
    found = read_served(place, model="m", max_images=100)
    assert sorted(found.sample.embeddings_ND[:, 0]) == [float(number) for number in range(25)]


def test_an_old_segment_is_uploaded_although_it_is_not_full(bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_log, "_SEGMENT_S", 0.2)
    monkeypatch.setattr(served_log, "_FLUSH_S", 0.1)
    place = f"s3://bucket/{uuid.uuid4().hex}"
    log = ServedLog(place, model="m", track="stable")
    log.put(served(1))
    deadline = time.monotonic() + 10
    while not open_store(place).list() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(open_store(place).list()) == 1  # before it is closed
    log.close()


def test_images_that_cannot_be_uploaded_are_counted(bucket) -> None:
    log = write("s3://no-such-bucket/x", range(5))
    assert log.num_dropped == 5


def test_the_monitor_reads_the_newest_objects_only(bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"s3://bucket/{uuid.uuid4().hex}"
    store = open_store(place)
    for day in range(1, 11):
        for part in range(20):
            store.write(f"2020-01-{day:02d}/000000-{part:06d}-stable-old-1.jsonl", b"")
    write(place, range(30))
    read: list[str] = []
    original = S3Store.read

    def counted(self: S3Store, key: str, **options: str) -> bytes:
        read.append(key)
        return original(self, key, **options)

    monkeypatch.setattr(S3Store, "read", counted)
    assert len(read_served(place, model="m", max_images=20).sample) == 20
    assert len(read) == 1
    read.clear()
    assert len(read_served(place, model="m", max_images=100).sample) == 30
    assert len(read) == 201  # the control: without enough images everything is read
