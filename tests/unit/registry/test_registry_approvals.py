"""Approvals are recorded once, for one verdict on one model."""

from pathlib import Path

import pytest

from sightline.errors import DataError, UsageError
from sightline.evaluate.verdict import Check, Verdict, signature_of
from sightline.registry.approvals import approval_of, approve
from sightline.store.objects import open_store


def verdict(**changes: object) -> Verdict:
    check = Check(name="overall", kind="overall", required=True, outcome="pass", num_images=6)
    fields: dict[str, object] = {"stage": "compiled", "outcome": "pass", "candidate": "c" * 64, "variant": "onnxruntime-fp32"}
    fields |= {"golden_digest": "g", "num_images": 6, "looks": 1, "checks": (check,), "reason": "better on every slice"}
    made = Verdict(**fields | changes)
    return made.model_copy(update={"signature": signature_of(made)})


def test_an_approval_is_found_again_and_the_first_one_counts(any_root: str) -> None:
    assert approval_of(any_root, verdict()) is None
    made = approve(any_root, verdict(), who=" Ada ", why="checked 50 parts")
    assert (made.who, made.candidate) == ("Ada", "c" * 64)
    assert approval_of(any_root, verdict()) == made
    assert approve(any_root, verdict(), who="Bob", why="me too please") == made


@pytest.mark.parametrize("changes", [{"candidate": "d" * 64}, {"champion": "e" * 64}, {"looks": 2}, {"reason": "another reason"}])
def test_an_approval_of_another_verdict_or_model_counts_for_nothing(any_root: str, changes: dict[str, object]) -> None:
    approve(any_root, verdict(), who="Ada", why="checked 50 parts")
    assert approval_of(any_root, verdict(**changes)) is None


def test_an_approval_that_was_copied_to_another_verdict_is_refused(any_root: str) -> None:
    approve(any_root, verdict(), who="Ada", why="checked 50 parts")
    store, other = open_store(any_root), verdict(candidate="d" * 64)
    store.write(f"approvals/{other.signature}.json", store.read(f"approvals/{verdict().signature}.json"))
    with pytest.raises(DataError, match="is about another verdict or model"):
        approval_of(any_root, other)


def test_a_damaged_approval_is_refused(tmp_path: Path) -> None:
    approve(str(tmp_path), verdict(), who="Ada", why="checked 50 parts")
    (path,) = (tmp_path / "approvals").glob("*.json")
    path.write_text("{}")
    with pytest.raises(DataError, match="is not readable"):
        approval_of(str(tmp_path), verdict())


def test_what_cannot_be_approved_is_refused_with_every_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        approve(str(tmp_path), verdict(outcome="fail", stage="trained"), who=" ", why="ok")
    for part in ("the verdict says 'fail': better on every slice", "trained model", "who answers", "needs 2 words"):
        assert part in error.value.message
    assert not list(tmp_path.iterdir())
