import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.data import scan
from sightline.data.duplicates import difference_hash
from sightline.data.scan import decode_all, read_contents
from sightline.data.trees import FolderTree, read_regular
from sightline.errors import DataError
from sightline.images import ImageRefusedError, decode, resize


def _images(root: Path, num: int) -> list[str]:
    root.mkdir(exist_ok=True)
    names = []
    for number in range(num):
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (30, 20 + number % 3, 3), dtype=np.uint8)).save(buffer, "PNG")
        names.append(f"{number:03d}.png")
        (root / names[-1]).write_bytes(buffer.getvalue())
    return names


def _decode(contents, paths, tmp_path, said=None):
    report = said.append if said is not None else lambda _: None
    return decode_all(contents, paths, size_px=16, max_pixels=10_000, scratch=tmp_path / "scratch.npy", report=report)


@pytest.mark.parametrize("num", [1, 2, 127, 128, 129, 300])
def test_every_file_is_decoded_once_and_in_order_whatever_their_number(tmp_path, num):
    paths = _images(tmp_path / "in", num)
    contents = read_contents(FolderTree(tmp_path / "in"), paths, max_pixels=10_000)
    decoded = _decode(contents, paths, tmp_path)
    assert decoded.paths == tuple(paths)
    for index in {0, num // 2, num - 1}:
        data = (tmp_path / "in" / paths[index]).read_bytes()
        assert contents.digests[paths[index]] == hashlib.sha256(data).hexdigest()
        np.testing.assert_array_equal(decoded.pixels_NHWC[index], resize(decode(data), 16))
        np.testing.assert_array_equal(decoded.hashes[index], difference_hash(decode(data)))
        assert decoded.sizes[index] == (20 + index % 3, 30)
        assert decoded.num_bytes[index] == len(data)
        assert decoded.formats[index] == "PNG"


def test_files_that_are_not_kept_in_memory_are_read_again_and_compared(tmp_path, monkeypatch):
    paths = _images(tmp_path / "in", 4)
    kept = _decode(read_contents(FolderTree(tmp_path / "in"), paths, max_pixels=10_000), paths, tmp_path)
    monkeypatch.setattr(scan, "_KEPT_BYTES", 0)
    contents = read_contents(FolderTree(tmp_path / "in"), paths, max_pixels=10_000)
    assert not contents.kept
    np.testing.assert_array_equal(_decode(contents, paths, tmp_path).pixels_NHWC, kept.pixels_NHWC)
    (tmp_path / "in" / paths[1]).write_bytes((tmp_path / "in" / paths[0]).read_bytes())
    decoded = _decode(contents, paths, tmp_path)
    assert [(refusal.path, refusal.reason) for refusal in decoded.refusals] == [(paths[1], "changed")]
    assert decoded.paths == (paths[0], *paths[2:])


def test_refused_files_leave_no_gap(tmp_path):
    paths = _images(tmp_path / "in", 5)
    (tmp_path / "in" / paths[0]).write_bytes(b"")
    (tmp_path / "in" / paths[3]).write_bytes(b"text")
    decoded = _decode(read_contents(FolderTree(tmp_path / "in"), paths, max_pixels=10_000), paths, tmp_path)
    assert decoded.paths == (paths[1], paths[2], paths[4])
    assert decoded.pixels_NHWC.shape == (3, 16, 16, 3)
    assert {refusal.path: refusal.reason for refusal in decoded.refusals} == {paths[0]: "empty", paths[3]: "unknown-format"}
    np.testing.assert_array_equal(decoded.pixels_NHWC[2], resize(decode((tmp_path / "in" / paths[4]).read_bytes()), 16))


def test_files_that_cannot_be_read_are_refused(tmp_path):
    paths = _images(tmp_path / "in", 2)
    contents = read_contents(FolderTree(tmp_path / "in"), [*paths, "gone.png"], max_pixels=10_000)
    assert [(refusal.path, refusal.reason) for refusal in contents.refusals] == [("gone.png", "unreadable")]
    assert set(contents.digests) == set(paths)


def test_a_pipe_or_link_that_appears_after_listing_neither_blocks_nor_is_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "real.jpg").write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to("real.jpg")
    for name, reason in (("pipe.jpg", "not-a-file"), ("link.jpg", "unreadable")):
        with pytest.raises(ImageRefusedError) as caught:
            read_regular(tmp_path / name, 100)
        assert caught.value.reason == reason


def test_a_huge_file_is_refused_unread(tmp_path):
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(10_000_000_000)
    contents = read_contents(FolderTree(tmp_path), ["sparse.jpg"], max_pixels=50_000_000)
    assert contents.refusals[0].reason == "too-large"


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"text")
    contents = read_contents(FolderTree(tmp_path), ["a.jpg"], max_pixels=100)
    with pytest.raises(DataError, match=r"a\.jpg: unknown-format"):
        _decode(contents, ["a.jpg"], tmp_path)


def test_progress_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "_REPORT_S", 0.0)
    paths = _images(tmp_path / "in", 3)
    said: list[str] = []
    _decode(read_contents(FolderTree(tmp_path / "in"), paths, max_pixels=10_000), paths, tmp_path, said)
    assert said[-1] == "3/3 images · 0 refused"
