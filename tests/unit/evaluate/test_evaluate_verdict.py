import json

import pytest

from sightline.errors import DataError
from sightline.evaluate.verdict import FILE, KIND, Check, Verdict, overall_outcome, read_verified, signature_of, write_verdict
from sightline.store.artifact import commit_artifact


def _check(outcome, *, required=True) -> Check:
    return Check(name="overall", kind="overall", required=required, outcome=outcome, estimate=0.01, interval=(-0.01, 0.03))


def _verdict(outcome="pass", checks=("pass",)) -> Verdict:
    return Verdict(
        stage="compiled",
        outcome=outcome,
        candidate="c" * 64,
        variant="onnxruntime-fp32",
        golden_digest="d" * 64,
        num_images=720,
        looks=1,
        checks=tuple(_check(one) for one in checks),
        reason="The new model may ship.",
    )


def _committed(folder, verdict):
    def write(target):
        write_verdict(target, verdict)
        return {}

    commit_artifact(folder, KIND, write)
    return folder


def _forged(folder, verdict, **changes):
    """An edited verdict whose manifest fits: the work of somebody who can write to the store."""

    def write(target):
        content = json.loads(write_verdict(target, verdict).model_dump_json())
        (target / FILE).write_text(json.dumps(content | changes))
        return {}

    commit_artifact(folder, KIND, write)
    return folder


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((), "inconclusive"),
        (("pass", "pass"), "pass"),
        (("pass", "warn"), "pass"),
        (("pass", "inconclusive"), "inconclusive"),
        (("inconclusive", "fail"), "fail"),
        (("pass", "info"), "inconclusive"),
    ],
)
def test_the_outcome_follows_from_the_required_checks(outcomes, expected):
    assert overall_outcome([_check(outcome) for outcome in outcomes]) == expected
    assert overall_outcome([*[_check(outcome) for outcome in outcomes], _check("fail", required=False)]) == expected


def test_what_was_written_is_read(tmp_path):
    found = read_verified(_committed(tmp_path / "v", _verdict()))
    assert found == _verdict().model_copy(update={"signature": signature_of(_verdict())})


def test_one_changed_byte_is_refused(tmp_path):
    folder = _committed(tmp_path / "v", _verdict("fail", ("fail",)))
    (folder / FILE).write_bytes((folder / FILE).read_bytes().replace(b'"looks":1', b'"looks":2').replace(b'"looks": 1', b'"looks": 2'))
    with pytest.raises(DataError, match="altered"):
        read_verified(folder)


@pytest.mark.parametrize(
    "changes", [{"outcome": "pass"}, {"candidate": "e" * 64}, {"golden_digest": "e" * 64}, {"checks": []}, {"stage": "trained"}]
)
def test_an_edit_with_a_fitting_manifest_is_refused_by_the_signature(tmp_path, changes):
    folder = _forged(tmp_path / "v", _verdict("fail", ("fail",)), **changes)
    with pytest.raises(DataError, match="signature"):
        read_verified(folder)


def test_an_outcome_that_does_not_follow_from_the_checks_is_refused_even_when_signed(tmp_path):
    folder = _committed(tmp_path / "v", _verdict("pass", ("fail",)))
    with pytest.raises(DataError, match="contradicts"):
        read_verified(folder)


@pytest.mark.parametrize("changes", [{"surprise": 1}, {"outcome": "maybe"}, {"schema_version": 3}, {"num_images": None}])
def test_a_verdict_that_does_not_parse_is_refused(tmp_path, changes):
    folder = _forged(tmp_path / "v", _verdict(), **changes)
    with pytest.raises(DataError, match="damaged"):
        read_verified(folder)


def test_a_missing_verdict_is_refused(tmp_path):
    with pytest.raises(DataError):
        read_verified(tmp_path / "nowhere")
    folder = _committed(tmp_path / "v", _verdict())
    (folder / FILE).unlink()
    with pytest.raises(DataError, match="missing"):
        read_verified(folder)
