"""Recorded overrides: what is refused, and which of them are valid when."""

import time
from pathlib import Path

import pytest

from sightline.errors import DataError, UsageError
from sightline.evaluate.verdict import Override
from sightline.registry.overrides import overrides_for, record_override
from sightline.store.digest import sha256_bytes
from sightline.store.objects import open_store

DAY_S = 86_400.0


def override(**changes: object) -> Override:
    now = time.time()
    fields: dict[str, object] = {"candidate": "c" * 64, "golden_digest": "g" * 64, "checks": ("overall",), "who": "Ada"}
    fields |= {"why": "the old site is closed", "made_at": now, "until": now + 7 * DAY_S, "verdict": "v" * 64}
    return Override(**fields | changes)


def valid(root: str, made: Override, *, after_days: float = 0.0) -> tuple[Override, ...]:
    return overrides_for(root, made.candidate, made.golden_digest, made.made_at + after_days * DAY_S)


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "registry")


def test_what_was_recorded_is_found_once_in_a_folder_and_on_s3(any_root: str) -> None:
    made = override()
    assert record_override(any_root, made) == made
    record_override(any_root, made)
    assert valid(any_root, made) == (made,)
    assert len(open_store(any_root).list("overrides/")) == 1


def test_an_override_is_valid_until_it_ends_and_not_before_it_was_made(root: str) -> None:
    made = record_override(root, override())
    assert valid(root, made, after_days=6.99) == (made,)
    assert valid(root, made, after_days=7) == ()
    assert valid(root, made, after_days=-0.01) == ()


def test_an_override_holds_for_its_model_and_its_golden_images_only(root: str) -> None:
    made = record_override(root, override())
    assert overrides_for(root, "d" * 64, made.golden_digest, made.made_at) == ()
    assert overrides_for(root, made.candidate, "h" * 64, made.made_at) == ()


def test_several_are_found_oldest_first(root: str) -> None:
    now = time.time()
    first, second = override(made_at=now - 20), override(made_at=now - 10)
    for made in (second, first):
        record_override(root, made)
    assert overrides_for(root, first.candidate, first.golden_digest, now) == (first, second)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"who": " "}, "who answers for it is empty"),
        ({"why": "because"}, "needs 3 words"),
        ({"checks": ()}, "names no check"),
        ({"checks": ("",)}, "names no check"),
        ({"verdict": ""}, "does not say which"),
        ({"until": time.time() + 91 * DAY_S}, "within 90 days"),
        ({"until": time.time() - 1}, "over already"),
        ({"made_at": time.time() - 2 * DAY_S, "until": time.time() - DAY_S}, "over already"),
    ],
)
def test_an_override_that_says_too_little_or_lasts_too_long_is_refused(root: str, changes: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        record_override(root, override(**changes))
    assert open_store(root).list() == []


def test_ninety_days_are_allowed(root: str) -> None:
    for second in range(20):
        made_at = time.time() + second / 7
        record_override(root, override(made_at=made_at, until=made_at + 90 * DAY_S))


def test_a_tampered_override_is_refused(root: str) -> None:
    made = record_override(root, override())
    path = next(Path(root).rglob("overrides/*/*.json"))
    path.write_text(path.read_text().replace("overall", "critical"))
    with pytest.raises(DataError, match="altered"):
        valid(root, made)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [({"until": time.time() + 3650 * DAY_S}, "not an override that can be recorded"), ({"candidate": "d" * 64}, "another model")],
)
def test_a_file_that_was_put_there_by_hand_with_a_fitting_name_is_refused(root: str, changes: dict[str, object], problem: str) -> None:
    forged = override(**changes).model_dump_json(indent=1).encode()
    open_store(root).write(f"overrides/{'c' * 64}/{sha256_bytes(forged)}.json", forged)
    with pytest.raises(DataError, match=problem):
        valid(root, override())
