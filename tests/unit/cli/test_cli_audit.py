"""Overriding a verdict and auditing a champion from the command line's side."""

import time
from pathlib import Path
from typing import Any

import pytest

from sightline.cli import audit as command
from sightline.errors import DataError, UsageError
from sightline.evaluate.verdict import FILE, KIND, Check, Verdict, overall_outcome, read_verified, write_verdict
from sightline.models.bundle import COMPILED, BundleInfo, ModelBundle, Preprocessing
from sightline.registry.audits import last_audited
from sightline.registry.ledger import Ledger
from sightline.registry.overrides import overrides_for
from sightline.store.artifact import commit_artifact

CHECKS = (
    Check(name="overall", kind="overall", required=True, outcome="inconclusive", value=0.9),
    Check(name="material=brass", kind="slice", required=True, outcome="fail", value=0.5),
    Check(name="material=steel", kind="slice", required=True, outcome="pass", value=0.9),
    Check(name="must-pass cases (0 of 1 right)", kind="sentinel", required=True, outcome="fail"),
)


def committed(folder: Path, checks: tuple[Check, ...] = CHECKS) -> Path:
    verdict = Verdict(
        stage="compiled",
        outcome=overall_outcome(checks),
        candidate="c" * 64,
        variant="onnxruntime-fp32",
        golden_digest="d" * 64,
        num_images=720,
        looks=1,
        checks=checks,
        reason="because",
    )

    def write(target: Path) -> dict[str, Any]:
        write_verdict(target, verdict)
        return {}

    commit_artifact(folder, KIND, write)
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> str:
    return str(tmp_path / "registry")


def override(verdict: Path, registry: str, *names: str, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"who": "Ada", "why": "the old site is closed", "days": 7.0} | changes
    return command.override(verdict, names, registry=registry, **options)


def test_an_override_is_recorded_for_the_model_and_the_images_of_the_verdict(tmp_path: Path, registry: str) -> None:
    verdict = committed(tmp_path / "v")
    made = override(verdict, registry, "overall", "material=brass", "overall")
    found = overrides_for(registry, "c" * 64, "d" * 64, time.time())
    assert [one.checks for one in found] == [("overall", "material=brass")]
    assert found[0].verdict == read_verified(verdict).signature
    assert found[0].until - found[0].made_at == pytest.approx(7 * 86_400)
    assert made["still_blocking"] == ["must-pass cases (0 of 1 right)"]
    text = command.describe_override(made)
    assert "  overridden   material=brass\n" in text
    assert "  still blocks must-pass cases (0 of 1 right)\n" in text
    assert "by Ada until " in text


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("material=bras", r"there is no such check \(did you mean material=brass"),
        ("material=steel", r"it does not block \(pass\)"),
        ("must-pass cases (0 of 1 right)", "never overridden"),
    ],
)
def test_a_name_that_cannot_be_overridden_is_refused_and_nothing_is_recorded(
    tmp_path: Path, registry: str, name: str, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem) as error:
        override(committed(tmp_path / "v"), registry, "overall", name)
    assert error.value.remedy == "use one of: 'overall', 'material=brass'"
    assert not Path(registry).exists()


def test_a_verdict_that_passes_has_nothing_to_override(tmp_path: Path, registry: str) -> None:
    with pytest.raises(UsageError, match="nothing to override"):
        override(committed(tmp_path / "v", CHECKS[2:3]), registry, "material=steel")


def test_a_verdict_that_only_cases_block_says_that_nobody_may_override_them(tmp_path: Path, registry: str) -> None:
    with pytest.raises(UsageError, match="never overridden") as error:
        override(committed(tmp_path / "v", CHECKS[3:]), registry, CHECKS[3].name)
    assert "none of these checks can be overridden" in error.value.remedy


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"days": 0.0}, "at most 90 days, not 0"),
        ({"days": 91.0}, "at most 90 days, not 91"),
        ({"days": float("nan")}, "at most 90 days, not nan"),
        ({"why": "because"}, "needs 3 words"),
        ({"who": " "}, "who answers for it"),
    ],
)
def test_who_why_and_how_long_are_required(tmp_path: Path, registry: str, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        override(committed(tmp_path / "v"), registry, "overall", **changes)


def test_no_name_is_refused_with_those_that_block(tmp_path: Path, registry: str) -> None:
    with pytest.raises(UsageError, match="names the checks"):
        override(committed(tmp_path / "v"), registry)


def test_an_altered_verdict_cannot_be_overridden(tmp_path: Path, registry: str) -> None:
    verdict = committed(tmp_path / "v")
    (verdict / FILE).write_bytes((verdict / FILE).read_bytes().replace(b"brass", b"glass"))
    with pytest.raises(DataError, match="altered"):
        override(verdict, registry, "overall")


def bundle(folder: Path) -> ModelBundle:
    def write(aside: Path) -> dict[str, Any]:
        info = BundleInfo(classes=("a", "b"), backbone="compact", width=16, embedding_dim=4, dataset_digests={})
        (aside / "weights.safetensors").write_bytes(b"weights")
        (aside / "model.json").write_text(info.model_dump_json())
        (aside / "preprocessing.json").write_text(Preprocessing(size_px=64).model_dump_json())
        return {}

    return ModelBundle(commit_artifact(folder, COMPILED, write))


def test_an_audit_is_recorded_and_described(tmp_path: Path, registry: str) -> None:
    Ledger(registry).promote(bundle(tmp_path / "b"), expected_generation=0, run_id="r", verdict_digest="v")
    made = command.audit(1, who="Ada", why="looked at 200 images", registry=registry)
    audited = last_audited(registry)
    assert audited is not None
    assert audited.model_dump() == made
    assert command.describe_audit(made).startswith(f"  generation 1 (model {made['digest'][:12]}) audited by Ada on ")
    with pytest.raises(UsageError, match="no generation 2"):
        command.audit(2, who="Ada", why="looked at 200 images", registry=registry)
