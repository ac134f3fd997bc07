from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.models.bundle import ModelBundle
from sightline.registry.golden import Look, freeze, record_look
from sightline.registry.ledger import Ledger
from sightline.registry.verify import verify_registry
from sightline.store.objects import open_store

Make = Callable[[str], ModelBundle]


@pytest.fixture
def registry(any_root: str, make_bundle: Make, tmp_path: Path) -> str:
    """Two generations, a golden set and a look."""
    ledger = Ledger(any_root, cache=str(tmp_path / "models"))
    for generation, name in enumerate(("one", "two")):
        ledger.promote(make_bundle(name), expected_generation=generation, run_id=name, verdict_digest="v")
    freeze(any_root, "golden", ["a", "b"])
    record_look(any_root, Look("golden", ("a", "b"), "compiled", "two", "one"))
    return any_root


def test_a_sound_registry_has_no_problems_and_everything_in_it_was_read(registry: str) -> None:
    state = verify_registry(registry)
    assert state.problems == ()
    assert (state.generations, state.models, state.looks, state.records) == (2, 2, 1, 2)


@pytest.mark.parametrize("prefix", ["ledger/00000001", "models/", "golden/", "looks/entries/", "looks/images/"])
def test_damage_is_found_wherever_it_is(registry: str, prefix: str) -> None:
    store = open_store(registry)
    key = next(key for key in store.list(prefix) if not key.endswith("manifest.json"))
    data = store.read(key)
    store.write(key, bytes([data[0] ^ 1]) + data[1:])
    assert verify_registry(registry).problems


@pytest.mark.parametrize("prefix", ["ledger/00000001", "models/"])
def test_loss_is_found(registry: str, prefix: str) -> None:
    store = open_store(registry)
    store.delete(store.list(prefix)[0])
    assert verify_registry(registry).problems


def test_an_empty_registry_is_sound(any_root: str) -> None:
    assert verify_registry(any_root).problems == ()
