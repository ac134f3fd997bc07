import threading
from pathlib import Path

import pytest

from sightline.errors import DataError, UsageError
from sightline.registry.golden import freeze, frozen_ids


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "registry")


def test_nothing_is_frozen_at_first(root: str) -> None:
    assert frozen_ids(root, "surface") == frozenset()


def test_freezing_adds_and_never_removes(root: str) -> None:
    freeze(root, "surface", ["a", "b"])
    freeze(root, "surface", ["b", "c"])
    freeze(root, "surface", [])
    assert frozen_ids(root, "surface") == {"a", "b", "c"}


def test_freezing_the_same_ids_again_writes_nothing(root: str) -> None:
    freeze(root, "surface", ["a", "b"])
    before = sorted(Path(root).rglob("*"))
    freeze(root, "surface", ["b", "a"])
    assert sorted(Path(root).rglob("*")) == before


@pytest.mark.parametrize("name", ["a/b", "../x", ".hidden", "ä ö", "a%2Fb", "s3://bucket/data"])
def test_any_name_has_a_golden_set_of_its_own(root: str, name: str) -> None:
    freeze(root, name, ["a"])
    freeze(root, "other", ["b"])
    assert frozen_ids(root, name) == {"a"}


def test_a_name_that_begins_like_another_shares_nothing_with_it(root: str) -> None:
    freeze(root, "surface", ["a"])
    freeze(root, "surface-2", ["b"])
    assert frozen_ids(root, "surface") == {"a"}


def test_an_empty_name_is_refused(root: str) -> None:
    with pytest.raises(UsageError, match="needs a name"):
        frozen_ids(root, "")


def test_an_altered_record_is_an_error_and_not_a_smaller_golden_set(root: str) -> None:
    freeze(root, "surface", ["a", "b"])
    path = next(Path(root).rglob("*.json"))
    path.write_text('["a"]')
    with pytest.raises(DataError, match="altered"):
        frozen_ids(root, "surface")


def test_ids_frozen_at_the_same_time_are_all_kept(root: str) -> None:
    threads = [threading.Thread(target=freeze, args=(root, "surface", [f"id-{index}", "shared"])) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert frozen_ids(root, "surface") == {f"id-{index}" for index in range(12)} | {"shared"}
