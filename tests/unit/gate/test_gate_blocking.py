import pytest

from sightline.evaluate.verdict import Check
from sightline.gate.blocking import blocking, blocking_checks, deciding_check, explained_by
from sightline.gate.gallery import worst_slices_first
from tests.unit.gate.rich_verdict import paired


def _slice(name: str, change: float, outcome: str = "fail", **fields) -> Check:
    return paired(name, fields.pop("kind", "slice"), slice=name, value=0.9 + change, outcome=outcome, **fields)


FREE, STATION = _slice("class=Free", -0.05), _slice("exp=6", -0.06)
CROSS = _slice("class=Free & exp=6", -0.3)
OVERALL = paired("overall", "overall", outcome="inconclusive", labels_needed=100)


def test_a_failing_cross_is_explained_by_the_failing_slice_that_it_is_part_of():
    assert explained_by([CROSS, FREE]) == {"class=Free & exp=6": "class=Free"}
    assert explained_by([CROSS, FREE, STATION]) == {"class=Free & exp=6": "exp=6"}


@pytest.mark.parametrize(
    "checks",
    [
        [CROSS, _slice("class=Free", -0.05, "pass")],
        [CROSS, _slice("class=Free", -0.05, "waived")],
        [CROSS, _slice("class=Free", -0.05, required=False)],
        [CROSS, _slice("class=Fre", -0.05)],
        [_slice("class=Free & exp=6", -0.3, "warn"), FREE],
        [_slice("class=Free & exp=6", -0.3, kind="critical-slice"), FREE],
        [_slice("site=A & B", -0.3), _slice("site=A", -0.05)],
    ],
)
def test_a_cross_stands_for_itself_where_nothing_else_that_holds_it_fails(checks):
    assert explained_by(checks) == {}


def test_a_value_may_hold_the_sign_that_joins_a_cross():
    assert explained_by([_slice("class=Free & site=A & B", -0.3), _slice("site=A & B", -0.1)]) == {"class=Free & site=A & B": "site=A & B"}


def test_an_explained_cross_never_decides_and_comes_after_all_other_failing_slices():
    other = _slice("light=dim", -0.04)
    names = [check.name for check in blocking_checks([CROSS, OVERALL, other, FREE])]
    assert names == ["class=Free", "light=dim", "class=Free & exp=6", "overall"]
    assert deciding_check([CROSS, FREE], "fail") == FREE
    assert deciding_check([CROSS], "fail") == CROSS
    assert [check.name for check in worst_slices_first([CROSS, other, FREE])] == ["class=Free", "light=dim", "class=Free & exp=6"]


def test_a_person_reads_at_most_eight_that_block_and_all_that_are_no_slices():
    many = [_slice(f"station={i:02d}", -0.04 - i / 1000) for i in range(12)]
    crosses = [_slice(f"light=dim & station={i:02d}", -0.3) for i in range(5)]
    size = paired("model size", "size", outcome="fail")
    found = blocking([*many, *crosses, OVERALL, size])
    assert [check.name for check in found.open] == [*(f"station={i:02d}" for i in range(11, 5, -1)), "model size", "overall"]
    assert len(found.folded) == 11
    assert found.more == "11 more, 5 of them parts of failing slices"


def test_crosses_that_are_explained_are_folded_even_where_there_is_room():
    found = blocking([CROSS, FREE])
    assert (found.open, found.folded, found.more) == ((FREE,), (CROSS,), "1 more, part of a failing slice")
    assert blocking([CROSS, _slice("class=Free & exp=5", -0.2), FREE]).more == "2 more, parts of failing slices"
    assert blocking([CROSS]).open == (CROSS,)


def test_nothing_is_told_of_a_rest_that_is_not_there():
    assert blocking([paired("overall", "overall")]).more == ""
    assert blocking([_slice(f"station={i}", -0.1) for i in range(9)]).more == "1 more"
