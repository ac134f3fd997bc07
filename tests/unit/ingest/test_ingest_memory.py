import pytest

from sightline.config.ingest import IngestConfig
from sightline.config.store import StoreConfig
from sightline.errors import DataError
from sightline.ingest.memory import recall, remember, resolved_key
from sightline.registry.golden import freeze

CONFIG = IngestConfig()
ROWS = [("a" * 64, "train", "good/a b.jpg"), ("b" * 64, "golden", "bad/b.jpg")]


@pytest.fixture
def store(tmp_path):
    return StoreConfig(cache=str(tmp_path / "cache"), registry=str(tmp_path / "registry"))


def _remember(store, files="f", rows=ROWS):
    before = recall(store.registry, CONFIG)
    key = resolved_key(before, files, CONFIG, store)
    remember(key, before, rows, store)
    return key


def test_nothing_is_known_at_first(store):
    memory = recall(store.registry, CONFIG)
    assert (memory.golden, dict(memory.splits), dict(memory.paths)) == (frozenset(), {}, {})


def test_splits_and_paths_are_remembered(store):
    _remember(store)
    memory = recall(store.registry, CONFIG)
    assert memory.golden == {"b" * 64}
    assert memory.splits == {"a" * 64: "train", "b" * 64: "golden"}
    assert memory.paths == {"a" * 64: "good/a b.jpg", "b" * 64: "bad/b.jpg"}


def test_other_shares_forget_all_but_golden(store):
    _remember(store)
    assert recall(store.registry, IngestConfig(val_share=0.3)).splits == {"b" * 64: "golden"}


def test_the_key_stays_when_only_the_run_itself_was_remembered(store):
    first = _remember(store)
    assert _remember(store).memory == first.memory


def test_the_key_changes_for_other_files_and_when_others_froze_something(store):
    first = _remember(store)
    assert _remember(store, files="g").memory != first.memory
    freeze(store.registry, "golden", ["c" * 64])
    assert _remember(store).memory != first.memory


def test_a_damaged_record_stops_everything(store):
    prefix = recall(store.registry, CONFIG).prefix
    freeze(store.registry, "assigned", [f"{prefix} elsewhere {'a' * 64} x.jpg"])
    with pytest.raises(DataError, match="damaged"):
        recall(store.registry, CONFIG)
