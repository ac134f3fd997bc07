"""The odometer of looks and the alpha ledger."""

import json
import math
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import DataError, UsageError
from sightline.registry.golden import Look, Looks, _Odometer, ledger_alpha, record_look
from sightline.store.objects import ConflictError, LocalStore, open_store

HUNDRED = tuple(f"image-{index:03d}" for index in range(100))


def look(candidate: str, *, golden: str = "golden-1", ids: tuple[str, ...] = HUNDRED, champion: str = "champion", stage="trained") -> Look:
    return Look(golden, ids, stage, candidate, champion)


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "registry")


def entries(root: str) -> list[Path]:
    return sorted((Path(root) / "looks/entries").glob("*.json"))


def test_each_new_look_at_a_golden_set_is_one_more_attempt(any_root: str) -> None:
    assert [record_look(any_root, look(name)) for name in "abc"] == [Looks(1, 1), Looks(2, 2), Looks(3, 3)]


def test_the_same_look_again_keeps_its_attempt_and_adds_nothing(any_root: str) -> None:
    for name in "abc":
        record_look(any_root, look(name))
    before = open_store(any_root).list()
    assert record_look(any_root, look("a")) == Looks(3, 1)
    assert record_look(any_root, look("b", ids=tuple(reversed(HUNDRED)))) == Looks(3, 2)
    assert open_store(any_root).list() == before


def test_adding_one_image_does_not_reset_the_ledger_and_a_count_per_digest_would(root: str) -> None:
    for index in range(10):
        record_look(root, look(f"model-{index}"))
    found = record_look(root, look("next", golden="golden-2", ids=(*HUNDRED, "new")))
    assert found.total == 1  # negative control: what a ledger per digest takes for the first attempt
    assert found.attempt == 11
    assert ledger_alpha(0.05, found.total) / ledger_alpha(0.05, found.attempt) == pytest.approx(121)


def test_replaced_images_make_a_new_ledger_and_half_of_them_half_a_one(root: str) -> None:
    for index in range(10):
        record_look(root, look(f"model-{index}"))
    half = (*HUNDRED[:50], *(f"other-{index}" for index in range(50)))
    assert record_look(root, look("x", golden="rotated", ids=tuple(f"new-{index}" for index in range(100)))).attempt == 1
    assert record_look(root, look("x", golden="half", ids=half)).attempt == 6
    assert record_look(root, look("x", golden="part", ids=HUNDRED[:10])).attempt == 12  # ten looks, and the one at the half


def test_other_labels_of_the_same_images_are_the_same_images(root: str) -> None:
    record_look(root, look("a", golden="labels-1"))
    assert record_look(root, look("a", golden="labels-2")) == Looks(1, 2)


def test_only_looks_that_compare_count_and_each_stage_has_its_own_ledger(root: str) -> None:
    assert record_look(root, look("first", champion="none")) == Looks(1, 1)
    assert record_look(root, look("a")) == Looks(2, 1)
    assert record_look(root, look("a", stage="compiled")) == Looks(3, 1)
    assert record_look(root, look("a", champion="another champion")) == Looks(4, 2)
    assert record_look(root, look("second", champion="none")) == Looks(5, 3)
    assert record_look(root, look("b")) == Looks(6, 3)


def test_attempts_are_those_of_a_direct_sum_over_all_looks(root: str) -> None:
    generator = np.random.default_rng(7)
    sets = [tuple(map(str, generator.choice(40, size=int(generator.integers(1, 30)), replace=False))) for _ in range(8)]
    taken: list[Look] = []
    for index in range(60):
        which = int(generator.integers(len(sets)))
        champion = "none" if generator.random() < 0.2 else "champion"
        taking = look(
            f"model-{index}", golden=f"golden-{which}", ids=sets[which], champion=champion, stage=generator.choice(["trained", "compiled"])
        )
        earlier = [one for one in taken if one.champion != "none" and one.stage == taking.stage]
        own = set(taking.sample_ids)
        seen = sum((Fraction(len(own & set(one.sample_ids)), len(own)) for one in earlier), Fraction(0))
        total = 1 + sum(one.golden_digest == taking.golden_digest for one in taken)
        assert record_look(root, taking) == Looks(total, 1 + math.ceil(seen))
        taken.append(taking)


def test_looks_at_the_same_time_all_get_different_attempts(any_root: str) -> None:
    found: list[Looks] = []
    threads = [threading.Thread(target=lambda name=str(index): found.append(record_look(any_root, look(name)))) for index in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.attempt for one in found) == [1, 2, 3, 4, 5]


def test_the_same_look_at_the_same_time_is_one_look(any_root: str) -> None:
    record_look(any_root, look("earlier"))
    found: list[Looks] = []
    threads = [threading.Thread(target=lambda: found.append(record_look(any_root, look("same")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [Looks(2, 2)] * 4


class Overtaken(LocalStore):
    """Somebody else takes ``other`` after the newest look was read and before the pointers are."""

    def __init__(self, root: str, other: Look) -> None:
        super().__init__(Path(root))
        self.other: Look | None = other

    def read(self, key: str, *, sha256: str = "") -> bytes:
        if key.startswith("looks/keys/") and self.other is not None:
            other, self.other = self.other, None
            record_look(str(self.root), other)
        return super().read(key, sha256=sha256)


@pytest.mark.parametrize("earlier", [(), ("earlier",)])
def test_the_same_look_taken_by_somebody_else_in_between_is_counted_once(root: str, earlier: tuple[str, ...]) -> None:
    for name in earlier:
        record_look(root, look(name))
    odometer = _Odometer(Overtaken(root, look("same")))
    number = len(earlier) + 1
    assert odometer.record(look("same"), odometer.keep_images(HUNDRED)) == Looks(number, number)
    assert len(entries(root)) == number


def test_another_look_taken_by_somebody_else_in_between_is_a_conflict_and_the_next_attempt_counts_it(root: str) -> None:
    odometer = _Odometer(Overtaken(root, look("other")))
    images = odometer.keep_images(HUNDRED)
    with pytest.raises(ConflictError):
        odometer.record(look("mine"), images)
    assert odometer.record(look("mine"), images) == Looks(2, 2)


def test_a_ledger_that_counts_and_then_writes_a_file_of_its_own_gives_two_first_attempts(root: str) -> None:
    """Negative control: what the numbered entries are for."""
    store = open_store(root)
    barrier, found = threading.Barrier(2), []

    def count_then_write(name: str) -> None:
        attempt = len(store.list("naive/")) + 1
        barrier.wait()
        store.write(f"naive/{name}.json", name.encode(), if_absent=True)
        found.append(attempt)

    threads = [threading.Thread(target=count_then_write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1]


def test_a_process_that_died_before_its_pointer_is_repaired(root: str) -> None:
    record_look(root, look("a"))
    pointer = next((Path(root) / "looks/keys").glob("*.json"))
    pointer.unlink()
    assert record_look(root, look("b")) == Looks(2, 2)
    assert record_look(root, look("a")) == Looks(2, 1)
    assert len(entries(root)) == 2


@pytest.mark.parametrize(("old", "new"), [('"attempt": 2', '"attempt": 1'), ('"looks": 2', '"looks": 0'), ('"number": 2', '"number": 1')])
def test_a_tampered_look_is_refused(root: str, old: str, new: str) -> None:
    for name in "ab":
        record_look(root, look(name))
    original = entries(root)[-1].read_text()
    assert old in original
    entries(root)[-1].write_text(original.replace(old, new))
    for name in "bc":
        with pytest.raises(DataError, match="altered"):
            record_look(root, look(name))


def test_an_unreadable_look_is_refused(root: str) -> None:
    record_look(root, look("a"))
    entries(root)[-1].write_text("{")
    with pytest.raises(DataError, match="not readable"):
        record_look(root, look("b"))


def test_a_tampered_earlier_look_is_refused_when_it_is_taken_again(root: str) -> None:
    for name in "abc":
        record_look(root, look(name))
    content = json.loads(entries(root)[0].read_text())
    content["record"]["attempt"] = 9
    entries(root)[0].write_text(json.dumps(content))
    with pytest.raises(DataError, match="altered"):
        record_look(root, look("a"))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_deleted_look_is_noticed(root: str, number: int) -> None:
    for name in "abc":
        record_look(root, look(name))
    entries(root)[number].unlink()
    with pytest.raises(DataError, match=r"is missing|were deleted"):
        record_look(root, look("d"))


def test_altered_images_of_a_set_are_refused(root: str) -> None:
    record_look(root, look("a"))
    images = next((Path(root) / "looks/images").glob("*.json"))
    images.write_text('["image-000"]')
    with pytest.raises(DataError, match="altered"):
        record_look(root, look("b", golden="golden-2", ids=(*HUNDRED, "new")))
    with pytest.raises(DataError, match="altered"):
        record_look(root, look("b"))


def test_a_golden_digest_with_other_images_is_refused(root: str) -> None:
    record_look(root, look("a"))
    with pytest.raises(DataError, match="other images"):
        record_look(root, look("b", ids=HUNDRED[:50]))


def test_an_older_record_of_looks_is_not_ignored(root: str) -> None:
    open_store(root).write("looks/golden-1/abc.json", b"{}")
    with pytest.raises(DataError, match="does not belong there"):
        record_look(root, look("a"))


def test_a_look_at_no_image_is_refused(root: str) -> None:
    with pytest.raises(DataError, match="without images"):
        record_look(root, look("a", ids=()))


def test_images_are_stored_once_per_set_and_not_per_look(root: str) -> None:
    for index in range(20):
        record_look(root, look(f"model-{index}"))
    assert len(list((Path(root) / "looks/images").glob("*.json"))) == 1
    sizes = [path.stat().st_size for path in entries(root)]
    assert max(sizes) < min(sizes) + 100


def test_the_ledger_spends_alpha_in_all_and_no_more() -> None:
    spent = math.fsum(ledger_alpha(0.05, attempt) for attempt in range(1, 20_001))
    assert spent < 0.05
    # What is left is the tail 6 alpha / pi^2 * sum over j > n of 1/j^2, between 1/(n + 1) and 1/n.
    assert 0.05 - spent == pytest.approx(0.05 * 6 / math.pi**2 / 20_000, rel=1e-3)
    assert ledger_alpha(0.05, 1) == pytest.approx(0.0303963550927)
    with pytest.raises(UsageError, match="attempt 0"):
        ledger_alpha(0.05, 0)
