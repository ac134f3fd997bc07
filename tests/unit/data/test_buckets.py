"""Images in a bucket are the same images as in a folder, and what comes over the wire is checked. S3 is moto's real HTTP server."""

import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.config.ingest import IngestConfig
from sightline.config.store import StoreConfig
from sightline.data.bucket import BucketTree
from sightline.data.locations import read_image, read_images
from sightline.data.push import push
from sightline.data.synthetic import generate
from sightline.data.version import DatasetVersion
from sightline.errors import DataError, UsageError
from sightline.images import ImageRefusedError
from sightline.ingest.step import run
from sightline.store.digest import sha256_bytes
from tests.s3 import running_s3

CONFIG = {"group_by": ("lot",), "min_images_per_class": 2}


@pytest.fixture(scope="module")
def bucket() -> Iterator[object]:
    import boto3

    with running_s3():
        yield boto3.client("s3")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    generate(root, lots=range(24), images_per_lot=6, num_processes=1)
    return root


@pytest.fixture
def pushed(bucket, made: Path) -> str:
    uri = f"s3://bucket/{uuid.uuid4().hex}"
    push(made, uri, lambda _: None)
    return uri


@pytest.fixture
def gets(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the objects that are read from the bucket, by key."""
    counted: Counter[str] = Counter()
    original = BucketTree._get

    def get(self: BucketTree, path: str, entry: object) -> object:
        counted[path] += 1
        return original(self, path, entry)

    monkeypatch.setattr(BucketTree, "_get", get)
    return counted


def ingest(source: str, folder: Path, name: str = "run", **config: object) -> DatasetVersion:
    store = StoreConfig(cache=str(folder / "cache"), registry=str(folder / "registry"), runs=str(folder / "runs"))
    output = folder / f"out-{name}"
    run(config=IngestConfig(source=source, **CONFIG, **config), store=store, run_id=name, output=str(output))
    return DatasetVersion.open(output)


def test_a_bucket_gives_the_version_that_its_folder_gives(pushed: str, made: Path, tmp_path: Path) -> None:
    local, remote = ingest(str(made), tmp_path / "a"), ingest(pushed, tmp_path / "b")
    assert remote.info.digests == local.info.digests
    assert list(remote.samples["sample_id"]) == list(local.samples["sample_id"])
    assert remote.samples["location"].str.startswith(f"{pushed}/").all()


def test_images_are_read_again_by_their_location_and_verified(pushed: str, made: Path, tmp_path: Path, bucket) -> None:
    samples = ingest(pushed, tmp_path).samples
    images = list(zip(samples["location"], samples["sample_id"], strict=True))
    assert [sha256_bytes(data) for data in read_images(images) if isinstance(data, bytes)] == list(samples["sample_id"])
    location, sample_id = images[0]
    bucket.put_object(Bucket="bucket", Key=location.removeprefix("s3://bucket/"), Body=b"other")
    with pytest.raises(DataError, match="altered"):
        read_image(location, sample_id)
    bucket.delete_object(Bucket="bucket", Key=location.removeprefix("s3://bucket/"))
    assert "not found" in str(next(read_images([(location, sample_id)])))


def test_an_unchanged_bucket_is_not_read_again(pushed: str, tmp_path: Path, gets: Counter[str]) -> None:
    first = ingest(pushed, tmp_path)
    assert sum(gets.values()) > len(first.samples)  # the control: the first time everything is read
    gets.clear()
    again = ingest(pushed, tmp_path, "again")
    assert again.artifact.digest == first.artifact.digest
    assert set(gets) == {"attributes.csv"}


def test_one_new_object_costs_one_read_before_the_work_starts(pushed: str, made: Path, tmp_path: Path, gets: Counter[str], bucket) -> None:
    tree = BucketTree(pushed, notes=str(tmp_path / "notes"))
    paths = [path for path, _ in tree.paths()[0]]
    tree.remember(dict.fromkeys(paths, "0" * 64))
    bucket.put_object(Bucket="bucket", Key=f"{pushed.removeprefix('s3://bucket/')}/{paths[0]}", Body=b"new content")
    known = BucketTree(pushed, notes=str(tmp_path / "notes")).known_digests()
    assert set(paths) - set(known) == {paths[0]}


def test_notes_that_lie_do_not_reach_a_model(pushed: str, tmp_path: Path) -> None:
    tree = BucketTree(pushed, notes=str(tmp_path / "cache"))
    path = tree.paths()[0][0][0]
    tree.remember({path: "0" * 64})
    version = ingest(pushed, tmp_path, max_quarantine_share=1.0)
    assert dict(zip(version.quarantine["location"], version.quarantine["reason"], strict=True))[path] == "changed"


@pytest.mark.parametrize(("change", "reason"), [("delete", "vanished"), ("replace", "changed")])
def test_an_object_that_changes_after_it_was_listed_is_refused(pushed: str, bucket, change: str, reason: str) -> None:
    tree = BucketTree(pushed)
    path = tree.paths()[0][0][0]
    key = f"{pushed.removeprefix('s3://bucket/')}/{path}"
    if change == "delete":
        bucket.delete_object(Bucket="bucket", Key=key)
    else:
        bucket.put_object(Bucket="bucket", Key=key, Body=b"another image")
    with pytest.raises(ImageRefusedError) as refused:
        tree.read(path, 10**9)
    assert refused.value.reason == reason


@pytest.mark.parametrize("metadata", [True, False])
def test_a_flipped_bit_on_the_way_is_noticed(bucket, metadata: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix, data = uuid.uuid4().hex, b"x" * 5000
    bucket.put_object(Bucket="bucket", Key=f"{prefix}/a/b.jpg", Body=data, Metadata={"sha256": sha256_bytes(data)} if metadata else {})
    tree = BucketTree(f"s3://bucket/{prefix}")
    assert tree.read("a/b.jpg", 10**6) == data
    original = tree._client.get_object

    class _Flipped:
        def read(self) -> bytes:
            return b"y" + data[1:]

    monkeypatch.setattr(tree._client, "get_object", lambda **request: {**original(**request), "Body": _Flipped()})
    with pytest.raises(ImageRefusedError, match="damaged"):
        tree.read("a/b.jpg", 10**6)


def test_1200_keys_with_odd_names_are_listed_exactly_and_lead_nowhere_else(bucket) -> None:
    prefix = uuid.uuid4().hex
    good = {f"a/{number:04d}.jpg" for number in range(1190)} | {"b/with space.png", "b/ü ☂.jpg", "b/50%2F60.jpg", "b/deep/er/x.webp"}
    bad = {"../up.jpg", "b/../../etc/x.jpg", "b//x.jpg", "b/./x.jpg"}
    left_out = {"root.jpg", "b/.hidden.jpg", ".git/x.jpg", "masks/m.png", "c/"}
    for key in good | bad | left_out | {"b/notes.txt"}:
        bucket.put_object(Bucket="bucket", Key=f"{prefix}/{key}", Body=b"")
    files, refusals = BucketTree(f"s3://bucket/{prefix}").paths(("masks",))
    assert {path for path, _ in files} == good
    assert dict(files)["b/deep/er/x.webp"] == "b"
    assert {refusal.path: refusal.reason for refusal in refusals} == {**dict.fromkeys(bad, "bad-name"), "b/notes.txt": "not-an-image"}


def test_pushing_again_uploads_what_changed_only(bucket, made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "images"))
    uri = f"s3://bucket/{uuid.uuid4().hex}"
    first = push(folder, uri, lambda _: None)
    next(folder.rglob("*.jpg")).write_bytes(b"changed")
    second = push(folder, uri, lambda _: None)
    assert (first.unchanged, second.uploaded, second.unchanged) == (0, 1, first.uploaded - 1)
    with pytest.raises(UsageError, match="not a bucket"):
        push(folder, str(tmp_path / "elsewhere"), lambda _: None)


def test_pinned_images_are_accepted_and_others_refused(pushed: str, tmp_path: Path) -> None:
    from sightline.data.check import check

    digest = check(IngestConfig(source=pushed, **CONFIG)).digest
    version = ingest(pushed, tmp_path, pin=digest)
    assert ingest(pushed, tmp_path, "unpinned").artifact.digest == version.artifact.digest
    with pytest.raises(DataError, match=digest):
        ingest(pushed, tmp_path, "wrong", pin="0" * 64)


def test_generated_images_are_the_same_wherever_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "one"))
    version = ingest("generated://surfaces;lots=24;images=6;seed=3", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    row = version.samples.iloc[0]
    assert sha256_bytes(read_image(row["location"], row["sample_id"])) == row["sample_id"]
    with pytest.raises(UsageError, match="surfaces;lots=60"):
        ingest("generated://surfaces;lost=12", tmp_path, "typo")
