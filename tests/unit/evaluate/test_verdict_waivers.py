"""A verdict whose checks were waived has to say who waived them."""

from pathlib import Path

import pytest

from sightline.errors import DataError
from sightline.evaluate.verdict import KIND, Check, Override, Verdict, read_verified, waivable, write_verdict
from sightline.store.artifact import commit_artifact

OVERRIDE = Override(
    candidate="c", golden_digest="g", checks=("overall",), who="Ada", why="the old site is closed", made_at=1.0, until=2.0, verdict="v"
)


def read(folder: Path, check: Check, *overrides: Override) -> Verdict:
    verdict = Verdict(
        stage="compiled",
        outcome="pass",
        candidate="c",
        variant="x",
        golden_digest="g",
        num_images=1,
        looks=1,
        checks=(check,),
        overrides=overrides,
        reason="because",
    )

    def write(target: Path) -> dict[str, object]:
        write_verdict(target, verdict)
        return {}

    return read_verified(commit_artifact(folder, KIND, write).folder)


def waived(**changes: object) -> Check:
    return Check(**{"name": "overall", "kind": "overall", "required": True, "outcome": "waived", "value": 0.5} | changes)


def test_a_waived_check_with_its_override_is_read(tmp_path: Path) -> None:
    assert read(tmp_path / "v", waived(), OVERRIDE).overrides == (OVERRIDE,)


@pytest.mark.parametrize("changes", [None, {"checks": ("size",)}, {"candidate": "d"}, {"golden_digest": "h"}])
def test_a_waived_check_without_a_matching_override_is_a_contradiction(tmp_path: Path, changes: dict[str, object] | None) -> None:
    overrides = () if changes is None else (OVERRIDE.model_copy(update=changes),)
    with pytest.raises(DataError, match="contradicts itself\n  - 'overall' is waived, and no override names it"):
        read(tmp_path / "v", waived(), *overrides)


@pytest.mark.parametrize("changes", [{"kind": "sentinel"}, {"kind": "answers"}, {"kind": "parity", "value": None}])
def test_what_nobody_may_waive_is_a_contradiction_even_with_an_override(tmp_path: Path, changes: dict[str, object]) -> None:
    assert not waivable(waived(**changes))
    with pytest.raises(DataError, match="nobody may do that"):
        read(tmp_path / "v", waived(**changes), OVERRIDE)
