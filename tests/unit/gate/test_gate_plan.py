import numpy as np
import pytest

from sightline.cli.gate_plan import _slices_of, describe, plan_command
from sightline.config.gate import GateConfig
from sightline.config.load import load_config
from sightline.config.run import RunConfig
from sightline.errors import DataError, UsageError
from sightline.evaluate.verdict import KIND, Check, Flips, Verdict, write_verdict
from sightline.gate.collect import Case
from sightline.gate.plan import Assumed, Golden, Plan, plan
from sightline.store.artifact import commit_artifact
from tests.datasets import tiny_dataset

FIXED = GateConfig(alpha_spending="fixed")


def _row(made: Plan, name: str):
    return next(row for row in made.rows if row.name == name)


def test_margins_that_the_images_support_are_supported():
    made = plan(Golden(800, {"site=A": 400, "site=B": 400}), GateConfig(critical_slices=("site=A",)), 0.05)
    assert made.supported
    assert made.problems == made.remedies == ()
    assert made.promote_equal > 0.8
    assert made.promote_worse <= made.alpha < 0.05


def test_a_margin_without_enough_images_is_refused_and_the_remedies_work():
    made = plan(Golden(240, {}), FIXED, 0.05)
    assert not made.supported
    assert "overall: 3 points need about 394 images at 5 % churn, there are 240" in made.problems[0]
    overall = _row(made, "overall")
    assert made.remedies == (f"label {overall.labels_missing} more, or set gate.margin={overall.smallest_margin:g}",)
    assert plan(Golden(240 + overall.labels_missing, {}), FIXED, 0.05).supported
    assert plan(Golden(240, {}), FIXED.model_copy(update={"margin": overall.smallest_margin}), 0.05).supported


def test_a_critical_slice_without_images_blocks_everything_and_says_so():
    made = plan(Golden(2000, {"site=A": 0}), GateConfig(critical_slices=("site=A",)), 0.05)
    assert made.promote_equal == 0.0
    assert made.problems[0].startswith("site=A: 5 points need about")
    assert "no margin up to 50 points" in made.remedies[0]


def test_a_later_look_needs_more_images():
    first, tenth = (plan(Golden(600, {}), GateConfig(), 0.05, attempts=attempt) for attempt in (1, 10))
    assert tenth.alpha == pytest.approx(first.alpha / 100)
    assert _row(tenth, "overall").images_needed > 2 * _row(first, "overall").images_needed
    assert plan(Golden(600, {}), FIXED, 0.05, attempts=10).alpha == 0.05


def test_small_slices_are_shown_and_large_ones_watched():
    made = plan(Golden(1000, {"lot=1": 19, "lot=2": 300}), GateConfig(), 0.05)
    assert (_row(made, "lot=1").state, _row(made, "lot=2").state) == ("shown", "watched")
    assert _row(made, "lot=2").power_10 > 0.9
    assert _row(made, "lot=1").labels_missing > 0


def test_the_worst_comes_first():
    made = plan(Golden(1000, {"a=1": 30, "b=1": 300, "c=1": 10, "d=1": 40}), GateConfig(critical_slices=("d=1",)), 0.05)
    assert [row.name for row in made.rows] == ["d=1", "overall", "a=1", "b=1", "c=1"]


def test_overlapping_slices_are_simulated_with_their_overlap():
    half = np.arange(600) < 300
    policy = GateConfig(critical_slices=("a=1", "b=1"), critical_margin=0.03)
    same = plan(Golden.from_masks(600, {"a=1": half, "b=1": half}), policy, 0.05)
    apart = plan(Golden.from_masks(600, {"a=1": half, "b=1": ~half}), policy, 0.05)
    single = _row(same, "a=1").power_equal
    assert same.promote_equal == pytest.approx(single, abs=0.03)
    assert apart.promote_equal == pytest.approx(single**2, abs=0.06)
    assert any("sizes" in note for note in plan(Golden(600, {"a=1": 300}), policy.model_copy(update={"critical_slices": ()}), 0.05).notes)


def test_false_alarms_of_many_slices_stay_at_the_familys_level():
    masks = {f"s={i}": np.arange(1200) % 30 == i for i in range(30)}
    assert plan(Golden.from_masks(1200, masks), GateConfig(), 0.05).false_alarm < 0.06


def test_the_plan_is_the_same_each_time():
    golden = Golden.from_masks(300, {"a=1": np.arange(300) < 100})
    assert plan(golden, GateConfig(), 0.05) == plan(golden, GateConfig(), 0.05)


def test_metrics_over_the_whole_set_need_their_clusters():
    made = plan(Golden(150, {}), GateConfig(metric="macro-f1", margin=0.2), 0.05)
    assert not made.supported
    assert "gate.min_clusters=200" in made.problems[0]


@pytest.mark.parametrize(("assumed", "attempts"), [(0.0, 1), (0.6, 1), (0.05, 0), (Assumed(0.05, 1.2), 1)])
def test_impossible_questions_are_refused(assumed, attempts):
    with pytest.raises(UsageError):
        plan(Golden(100, {}), GateConfig(), assumed, attempts)


HALVES = {"site=A": np.arange(600) < 300, "site=B": np.arange(600) >= 300}
IN_TENS = np.arange(600) // 10


def test_a_plan_of_groups_of_one_is_the_plan_of_images():
    images, singles = (plan(Golden.from_masks(600, HALVES, groups), GateConfig(), 0.05) for groups in (None, np.arange(600)[::-1]))
    assert singles.rows == images.rows
    assert (singles.promote_equal, singles.false_alarm, singles.together) == (images.promote_equal, images.false_alarm, 0.0)


def test_images_in_groups_show_less_and_the_plan_says_as_how_many_they_count():
    made = plan(Golden.from_masks(600, HALVES, IN_TENS), FIXED, 0.05)
    alone = plan(Golden.from_masks(600, HALVES), FIXED, 0.05)
    assert made.promote_equal < alone.promote_equal - 0.2
    assert (made.num_groups, made.together) == (60, 0.1)
    assert 100 < made.num_independent < 400
    assert f"600 images in 60 groups count like about {made.num_independent} independent ones at this churn" in describe(made)
    assert "in 10 % of the groups all images change together" in describe(made)
    assert all(_row(made, name).power_10 < _row(alone, name).power_10 for name in HALVES)
    assert all(_row(made, name).smallest_visible_drop > _row(alone, name).smallest_visible_drop for name in HALVES)


def test_the_more_groups_change_as_a_whole_the_less_is_shown():
    margins = [
        _row(plan(Golden.from_masks(600, {}, IN_TENS), FIXED, Assumed(0.05, share)), "overall").smallest_margin for share in (0, 0.3, 1)
    ]
    assert margins[0] < margins[1] < margins[2]


def test_the_remedies_for_images_in_groups_work():
    made = plan(Golden.from_masks(600, {}, IN_TENS), FIXED, 0.05)
    row = _row(made, "overall")
    more = row.num_images + row.labels_missing
    labelled = plan(Golden.from_masks(more, {}, np.arange(more) // 10), FIXED, 0.05)
    # Both are simulated.
    assert 0.76 < _row(labelled, "overall").power_equal < 0.88
    assert plan(Golden.from_masks(600, {}, IN_TENS), FIXED.model_copy(update={"margin": row.smallest_margin}), 0.05).supported


def test_groups_are_ignored_where_the_policy_says_so_and_the_plan_mentions_it():
    policy = FIXED.model_copy(update={"cluster": "image"})
    made = plan(Golden.from_masks(600, HALVES, IN_TENS), policy, 0.05)
    assert made.rows == plan(Golden.from_masks(600, HALVES), policy, 0.05).rows
    assert "gate.cluster=image: that the images come in 60 groups is not taken into account" in made.notes


def test_one_group_shows_nothing_and_the_plan_can_still_be_written_down():
    made = plan(Golden.from_masks(600, HALVES, np.zeros(600)), FIXED, 0.05)
    assert (made.promote_equal, made.num_independent) == (0.0, 0)
    assert _row(made, "overall").design_effect is None
    assert Plan.model_validate_json(made.model_dump_json()) == made


def test_a_critical_slice_without_images_is_missing_more_of_them_where_they_come_in_groups():
    policy = FIXED.model_copy(update={"critical_slices": ("site=C",)})
    empty = np.zeros(600, dtype=bool)
    grouped, alone = (_row(plan(Golden.from_masks(600, {"site=C": empty}, groups), policy, 0.05), "site=C") for groups in (IN_TENS, None))
    assert grouped.labels_missing > 1.5 * alone.labels_missing


def test_slices_of_grouped_images_need_their_masks():
    with pytest.raises(UsageError, match="masks"):
        Golden(600, {"site=A": 300}, clusters_N=IN_TENS)


def test_a_metric_over_the_whole_set_needs_groups_not_images():
    made = plan(Golden.from_masks(600, {}, IN_TENS), GateConfig(metric="macro-f1", margin=0.3), 0.05)
    assert "gate.min_clusters=200 groups of images, there are 60" in made.problems[0]


@pytest.mark.parametrize("policy", [{}, {"slice_crosses": False, "property_slices": ()}, {"critical_slices": ("class=ring & site=A",)}])
def test_the_plan_has_the_slices_and_groups_of_the_gate(dataset, policy):
    config = _config_of(policy)
    case = Case(None, dataset, "trained", None)
    golden = _slices_of(dataset, config)
    masks = case._masks(config.gate)
    assert golden.masks.keys() == masks.keys()
    assert all((golden.masks[name] == mask).all() for name, mask in masks.items())
    assert (golden.clusters_N == case.clusters_N).all()
    assert any(" & " in name for name in masks) == ("slice_crosses" not in policy)


def _config_of(policy):
    return RunConfig(gate=GateConfig(**policy))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("plan") / "data", counts={"train": 30, "val": 6, "golden": 240}, size_px=16)


def _config(folder, *overrides):
    store = [f"store.{key}={folder / key}" for key in ("cache", "registry", "runs")]
    return load_config(None, [*store, "gate.alpha_spending=fixed", *overrides])


def test_the_command_refuses_margins_and_says_which_it_can(dataset, tmp_path, capsys):
    with pytest.raises(UsageError, match=r"overall: 3 points need about 394 images") as refused:
        plan_command(_config(tmp_path), dataset=str(dataset.artifact.folder), churn=None, attempts=1, as_json=False)
    assert refused.value.exit_code == 2
    assert "gate.margin=0.039" in refused.value.remedy
    table = capsys.readouterr().out
    assert "✗ overall" in table
    assert "churn 5.0%, assumed" in table
    assert len({len(line.split("%")[0]) for line in table.splitlines() if line.startswith("  ·")}) == 1  # columns are aligned


def test_the_command_prints_a_plan_that_can_be_read_back(dataset, tmp_path, capsys):
    config = _config(tmp_path, "gate.margin=0.05", "gate.critical_slices=[site=A]", "gate.critical_margin=0.15")
    assert plan_command(config, dataset=str(dataset.artifact.folder), churn=0.04, attempts=1, as_json=True) == 0
    made = Plan.model_validate_json(capsys.readouterr().out)
    assert made.supported
    assert (made.churn, made.churn_source, made.num_images) == (0.04, "given", 240)
    assert _row(made, "site=A").kind == "critical-slice"


def test_an_unknown_critical_slice_is_named_with_its_near_matches(dataset, tmp_path):
    config = _config(tmp_path, "gate.critical_slices=[site=a]")
    with pytest.raises(UsageError, match="did you mean site="):
        plan_command(config, dataset=str(dataset.artifact.folder), churn=None, attempts=1, as_json=False)


def test_the_churn_comes_from_the_last_verdict_against_a_champion(dataset, tmp_path, capsys):
    _verdict(tmp_path / "cache" / "gate-trained" / "a", champion="old", flips=24)
    _verdict(tmp_path / "cache" / "gate-trained" / "b", champion="none", flips=0)
    (tmp_path / "cache" / "gate-trained" / "c").mkdir()
    (tmp_path / "cache" / "gate-trained" / "c" / "verdict.json").write_text("{}")
    config = _config(tmp_path, "gate.margin=0.1")
    assert plan_command(config, dataset=str(dataset.artifact.folder), churn=None, attempts=1, as_json=True) == 0
    made = Plan.model_validate_json(capsys.readouterr().out)
    assert made.churn == pytest.approx(0.1)
    assert "24 of 240" in made.churn_source


def test_without_golden_images_there_is_no_plan(tmp_path):
    empty = tiny_dataset(tmp_path / "empty", counts={"train": 6, "val": 6, "golden": 0}, size_px=16)
    with pytest.raises(DataError, match="no golden images"):
        plan_command(_config(tmp_path), dataset=str(empty.artifact.folder), churn=None, attempts=1, as_json=False)


def test_without_data_the_command_says_which_key_to_set(tmp_path):
    with pytest.raises(UsageError, match="no data"):
        plan_command(_config(tmp_path), dataset="", churn=None, attempts=1, as_json=False)


def test_a_folder_of_images_is_ingested_as_the_pipeline_does(tmp_path, capsys):
    from PIL import Image

    rng = np.random.default_rng(3)
    for name in ("ok", "bad"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(60):
            Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(tmp_path / "images" / name / f"{number}.png")
    config = _config(tmp_path, f"ingest.source={tmp_path / 'images'}", "ingest.image_size_px=16", "gate.margin=0.3")
    assert plan_command(config, dataset="", churn=0.05, attempts=1, as_json=False) == 0
    assert "class=bad" in capsys.readouterr().out
    assert list((tmp_path / "cache" / "ingest").iterdir())
    assert not (tmp_path / "runs").exists()


def test_a_long_table_is_cut(dataset):
    made = plan(Golden(2000, {f"lot={i}": 40 for i in range(50)}), GateConfig(), 0.05)
    text = describe(made)
    assert "… and 21 more" in text
    assert len(text.splitlines()) < 45


def test_the_command_says_that_grouped_images_count_less(tmp_path, capsys):
    from PIL import Image

    rng = np.random.default_rng(3)
    for number in range(240):
        name, part = ("ok", "bad")[number % 2], number // 6
        (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name / f"part{part:03d}-{number:03d}.png")
    settings = [f"ingest.source={tmp_path / 'images'}", "ingest.image_size_px=16", "gate.margin=0.45"]
    settings += ["ingest.attributes_from_name=(?P<part>part[0-9]+)-", "ingest.group_by=[part]"]
    with pytest.raises(UsageError, match="overall: 45 points"):
        plan_command(_config(tmp_path, *settings), dataset="", churn=0.05, attempts=1, as_json=False, together=0.3)
    text = capsys.readouterr().out
    assert "groups count like about" in text
    assert "in 30 % of the groups" in text


def _verdict(folder, *, champion: str, flips: int) -> None:
    check = Check(name="overall", kind="overall", required=True, outcome="pass")

    def write(place):
        write_verdict(
            place,
            Verdict(
                stage="trained",
                outcome="pass",
                candidate="new",
                variant="eager",
                champion=champion,
                golden_digest="g",
                num_images=240,
                looks=1,
                checks=(check,),
                flips=Flips(num_broken=flips // 2, num_fixed=flips - flips // 2),
                reason="r",
            ),
        )
        return {"inputs": {}, "code": "c", "config": {}, "seed": None, "result": {}}

    commit_artifact(folder, KIND, write)
