"""Audits of champions, and the anchor that follows from them."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.errors import DataError, UsageError
from sightline.models.bundle import ModelBundle
from sightline.registry.audits import anchor, audit, last_audited
from sightline.registry.ledger import Champion, Ledger

Make = Callable[[str], ModelBundle]


def promote_all(root: str, make: Make, cache: Path, names: str = "abc") -> Ledger:
    ledger = Ledger(root, cache=str(cache))
    for generation, name in enumerate(names):
        ledger.promote(make(name), expected_generation=generation, run_id=f"run-{name}", verdict_digest="v")
    return ledger


@pytest.fixture
def ledger(tmp_path: Path, make_bundle: Make) -> Ledger:
    return promote_all(str(tmp_path / "registry"), make_bundle, tmp_path / "cache")


def generation_of(champion: Champion | None) -> int:
    return champion.generation if champion else 0


def test_nothing_is_audited_at_first_and_an_empty_ledger_has_no_anchor(tmp_path: Path) -> None:
    assert last_audited(str(tmp_path)) is None
    assert anchor(Ledger(str(tmp_path))) is None


def test_without_an_audit_the_first_champion_stays_the_anchor(ledger: Ledger, make_bundle: Make) -> None:
    found = anchor(ledger)
    assert found is not None
    assert (found.generation, found.digest) == (1, make_bundle("a").digest)
    assert ModelBundle.open(found.folder).digest == found.digest


def test_an_audit_moves_the_anchor_in_a_folder_and_on_s3(any_root: str, make_bundle: Make, tmp_path: Path) -> None:
    ledger = promote_all(any_root, make_bundle, tmp_path / "cache")
    before = time.time()
    made = audit(any_root, 2, " Ada ", "looked at 200 images ")
    assert (made.generation, made.digest, made.who, made.why) == (2, make_bundle("b").digest, "Ada", "looked at 200 images")
    assert before <= made.audited_at <= time.time()
    assert last_audited(any_root) == made
    found = anchor(ledger)
    assert found is not None
    assert (found.generation, ModelBundle.open(found.folder).digest) == (2, made.digest)


def test_the_audit_that_was_made_last_counts_and_all_are_kept(ledger: Ledger) -> None:
    for generation in (3, 2, 2):
        audit(ledger.root, generation, "Ada", "examined it")
    assert generation_of(anchor(ledger)) == 2
    assert len(list((Path(ledger.root) / "audits").glob("*.json"))) == 3


def test_promotions_and_rollbacks_do_not_move_the_anchor(ledger: Ledger, make_bundle: Make) -> None:
    audit(ledger.root, 3, "Ada", "examined it")
    ledger.rollback()
    ledger.promote(make_bundle("d"), expected_generation=4, run_id="r", verdict_digest="v")
    assert generation_of(anchor(ledger)) == 3


@pytest.mark.parametrize("generation", [0, 4, -1])
def test_a_generation_that_is_not_in_the_ledger_is_refused(ledger: Ledger, generation: int) -> None:
    with pytest.raises(UsageError, match=f"no generation {generation}; .* has generations 1 to 3"):
        audit(ledger.root, generation, "Ada", "examined it")
    assert last_audited(ledger.root) is None


def test_nobody_and_no_reason_are_refused_together(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="who and why is empty"):
        audit(ledger.root, 1, " ", "")


def test_a_damaged_bundle_is_neither_audited_nor_an_anchor(ledger: Ledger) -> None:
    (Path(ledger.open(2).folder) / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match="altered"):
        audit(ledger.root, 2, "Ada", "examined it")
    (Path(ledger.open(1).folder) / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match="altered"):
        anchor(ledger)


def test_a_tampered_audit_is_refused_and_does_not_fall_back_to_the_first_champion(ledger: Ledger) -> None:
    audit(ledger.root, 2, "Ada", "examined it")
    path = Path(ledger.root) / "audits/00000001.json"
    path.write_text(path.read_text().replace('"generation": 2', '"generation": 3'))
    for read in (lambda: last_audited(ledger.root), lambda: anchor(ledger)):
        with pytest.raises(DataError, match="altered"):
            read()


def test_a_deleted_earlier_audit_and_one_of_another_ledger_are_refused(ledger: Ledger, tmp_path: Path, make_bundle: Make) -> None:
    for generation in (1, 2):
        audit(ledger.root, generation, "Ada", "examined it")
    folder = Path(ledger.root) / "audits"
    (folder / "00000001.json").unlink()
    with pytest.raises(DataError, match="missing"):
        anchor(ledger)
    other = promote_all(str(tmp_path / "other"), make_bundle, tmp_path, "xy")
    audit(other.root, 1, "Ada", "examined it")
    (folder / "00000001.json").write_bytes((Path(other.root) / "audits/00000001.json").read_bytes())
    with pytest.raises(DataError, match="does not follow"):
        anchor(ledger)
    (folder / "00000002.json").unlink()
    with pytest.raises(DataError, match="contradicts the ledger"):
        anchor(ledger)
