"""`sightline gate run` from end to end, for every task: real files, the real command line, real verdict folders."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline.config.gate import GateConfig
from sightline.evaluate.verdict import Check, Verdict, read_verified
from sightline.gate.compare import Files, compare
from tests.datasets import tiny_dataset
from tests.unit.gate.comparisons import (
    answers_table,
    coco_truth,
    current_wrong,
    detections,
    gate_run,
    names,
    sightline,
    truth_table,
    write_json,
    write_masks,
    write_pictures,
    write_tables,
)
from tests.unit.gate.real_models import SIZE_PX, commit_bundle, export, learn, without
from tests.unit.runtimes.live_server import real_server

FILES = {"verdict.json", "report.html", "summary.md"}
FIRST_ALPHA = 0.05 * 6 / np.pi**2


def lost_site_b(truth: pd.DataFrame) -> np.ndarray:
    """As good as the current model, but for half of site B."""
    return current_wrong(truth) | ((truth["site"] == "B") & (np.arange(len(truth)) % 2 == 0)).to_numpy()


def only(verdict: Verdict, name: str) -> Check:
    (check,) = [check for check in verdict.checks if check.name == name]
    return check


@pytest.fixture
def tables(tmp_path) -> Path:
    """Tables in which the new model is the current one, image by image."""
    return write_tables(tmp_path / "tables", current_wrong)


def judge_tables(folder: Path, *options: object, current: str = "current.csv", new: str = "new.csv", output: str = "verdict"):
    current_path = current if current == "none" else folder / current
    return gate_run(current_path, folder / new, "--truth", folder / "truth.csv", *options, output=folder / output)


# Classification


def test_an_equal_model_may_ship_and_leaves_a_whole_verdict(tables):
    ran, verdict = judge_tables(tables)
    assert (ran.code, verdict.outcome, verdict.stage, verdict.task) == (0, "pass", "predictions", "classification")
    assert (verdict.metric, verdict.num_images, verdict.flips.num_broken) == ("accuracy", 400, 0)
    assert (verdict.attempt, verdict.alpha) == (1, pytest.approx(FIRST_ALPHA))
    assert {path.name for path in (tables / "verdict").iterdir()} >= {*FILES, "predictions.parquet"}
    assert "this look was not counted" in ran.out
    assert verdict.reason in (tables / "verdict/report.html").read_text()
    rows = pd.read_parquet(tables / "verdict/predictions.parquet")
    assert tuple(rows["location"]) == tuple(names())
    assert (rows["champion"] == rows["candidate"]).all()


def test_a_model_that_lost_a_slice_must_not_ship_and_the_slice_is_named(tmp_path):
    folder = write_tables(tmp_path / "t", lost_site_b)
    ran, verdict = judge_tables(folder, "--images", write_pictures(tmp_path / "images", names()))
    assert (ran.code, verdict.outcome) == (3, "fail")
    assert only(verdict, "site=B").outcome == "fail"
    assert len({check.name for check in verdict.checks}) == len(verdict.checks)
    assert only(verdict, "site=A").outcome == "pass"
    assert "site=B" in ran.out
    # With the images there are pictures, and slices by what the images look like.
    assert (folder / "verdict/report.html").read_text().count("data:image/jpeg;base64,") == 24
    assert {"image.brightness=low", "image.sharpness=high"} <= {check.slice for check in verdict.checks}
    explained = sightline("gate", "explain", folder / "verdict")
    assert explained.code == 0
    assert "site=B" in explained.out


def test_json_is_the_signed_verdict_and_nothing_else_is_on_standard_output(tables):
    ran, verdict = judge_tables(tables, "--json")
    printed = Verdict.model_validate_json(ran.out)
    assert printed == verdict
    assert printed.signature
    assert "deciding on 400 golden images" in ran.err


def test_a_first_model_is_compared_with_none(tables):
    ran, verdict = judge_tables(tables, current="none")
    assert (ran.code, verdict.champion, verdict.outcome) == (0, "none", "pass")
    assert only(verdict, "overall").reference is None
    # It spends nothing from the ledger of comparisons.
    assert verdict.alpha == 0.05


def test_macro_f1_can_decide(tables):
    _, verdict = judge_tables(tables, "--set", "gate.metric=macro-f1", "--set", "gate.num_resamples=400")
    assert (verdict.metric, only(verdict, "overall").metric, verdict.outcome) == ("macro F1", "macro F1", "pass")


def test_groups_count_as_one_observation_each(tmp_path):
    folder = write_tables(tmp_path / "t", current_wrong)
    pd.DataFrame({"image": names(), "group": [f"clip-{row // 40}" for row in range(400)], "line": "1"}).to_csv(
        folder / "more.csv", index=False
    )
    _, verdict = judge_tables(folder, "--attributes", folder / "more.csv")
    assert only(verdict, "overall").num_clusters == 10
    assert only(verdict, "line=1").num_images == 400
    assert "site=B" not in {check.slice for check in verdict.checks}


def _without_row(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[1:]


def _with_row(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, pd.DataFrame({"image": ["other.png"], "label": ["ok"], "confidence": [0.9]})])


def _double(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.iloc[:1]])


def _renamed(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=table["label"].str.upper())


BAD_TABLES = [
    (_without_row, "no answer for image part-0000.png"),
    (_with_row, "unknown image other.png"),
    (_double, "image named twice: part-0000.png"),
    (_renamed, "no class of the truth"),
]


@pytest.mark.parametrize(("change", "says"), BAD_TABLES)
@pytest.mark.parametrize("which", ["current", "new"])
def test_predictions_that_do_not_belong_to_the_truth_are_refused(tables, which, change, says):
    table = pd.read_csv(tables / f"{which}.csv")
    change(table).to_csv(tables / f"{which}.csv", index=False)
    registry = ("--registry", tables / "registry", "--output", tables / "verdict")
    ran = sightline("gate", "run", tables / "current.csv", tables / "new.csv", "--truth", tables / "truth.csv", *registry)
    assert ran.code == 65
    assert says in ran.err
    assert not (tables / "verdict").exists()
    # Nobody saw a number, so nothing was spent.
    assert not (tables / "registry").exists()


def test_one_confidence_that_is_no_number_blocks_the_candidate_and_cannot_be_waived(tables):
    table = pd.read_csv(tables / "new.csv")
    table.loc[5, "confidence"] = np.nan
    table.to_csv(tables / "new.csv", index=False)
    ran, verdict = judge_tables(tables)
    assert ran.code == 3
    assert only(verdict, "valid answers").outcome == "fail"
    waived = sightline(
        "gate",
        "override",
        tables / "verdict",
        "--check",
        "valid answers",
        "--who",
        "Ada",
        "--why",
        "it is only one",
        "--registry",
        tables / "r",
    )
    assert waived.code == 2
    assert "never overridden" in waived.err


def test_a_current_model_without_valid_answers_is_no_reference(tables):
    table = pd.read_csv(tables / "current.csv")
    table["confidence"] = np.where(table.index < 3, np.inf, 0.9)
    table.to_csv(tables / "current.csv", index=False)
    ran, verdict = judge_tables(tables)
    assert (ran.code, verdict.outcome) == (3, "inconclusive")


# Arguments


def test_an_output_that_is_there_is_never_overwritten(tables):
    (tables / "verdict").mkdir()
    ran = sightline("gate", "run", "none", tables / "new.csv", "--truth", tables / "truth.csv", "--output", tables / "verdict")
    assert ran.code == 2
    assert "is there already" in ran.err
    assert not list((tables / "verdict").iterdir())


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("gate.critical_slices=['site=b']", "'site=b' (did you mean site=B"),
        ("gate.sentinels=['part-001.png']", "(did you mean part-0"),
        ("gate.metric=ap", "'ap' is not for classification"),
        ("gate.margn=0.1", "did you mean `gate.margin`"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_before_the_look_is_counted(tables, setting, says):
    ran = sightline(
        "gate",
        "run",
        tables / "current.csv",
        tables / "new.csv",
        "--truth",
        tables / "truth.csv",
        "--set",
        setting,
        "--registry",
        tables / "r",
        "--output",
        tables / "verdict",
    )
    assert ran.code == 2
    assert says in ran.err
    assert not (tables / "r").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a.csv", "b.csv"], "give either --dataset or --truth"),
        (["a.csv", "b.csv", "--truth", "t.csv", "--dataset", "d"], "give either --dataset or --truth"),
        (["champion", "b.csv", "--truth", "t.csv"], "bundle of the registry"),
        (["a", "b", "--truth", "t.csv", "--endpoint", "http://127.0.0.1:1"], "--endpoint judges a bundle"),
        (["a", "b", "--dataset", "d", "--images", "i"], "--images: a dataset version has its own"),
        (["gone.csv", "b.csv", "--truth", "t.csv"], "CURRENT: there is no gone.csv"),
    ],
)
def test_arguments_that_do_not_belong_together_are_usage_errors(tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv", "t.csv"):
        Path(name).write_text("image,label\nx,y\n")
    ran = sightline("gate", "run", *words)
    assert ran.code == 2
    assert says in ran.err


@pytest.mark.parametrize("name", ["truth.txt", "gone.csv"])
def test_a_truth_of_no_known_kind_is_refused(tables, name):
    (tables / "truth.txt").write_text("image,label\n")
    ran = sightline("gate", "run", "none", tables / "new.csv", "--truth", tables / name)
    assert ran.code == 2
    assert "Traceback" not in ran.err


# Looks, alpha, overrides


def test_each_further_candidate_is_another_attempt_at_a_smaller_alpha(tables):
    truth = truth_table()
    for number, name in enumerate(("one", "two")):
        answers_table(truth, current_wrong(truth) & (truth.index != 7 + 10 * number)).to_csv(tables / f"{name}.csv", index=False)
    registry = ("--registry", tables / "registry")
    looks = [
        judge_tables(tables, *registry, new=f"{name}.csv", output=f"{n}-{name}")[1] for n, name in enumerate(("one", "one", "two", "one"))
    ]
    assert [(verdict.attempt, verdict.looks) for verdict in looks] == [(1, 1), (1, 1), (2, 2), (1, 2)]
    assert [verdict.alpha for verdict in looks] == pytest.approx([FIRST_ALPHA, FIRST_ALPHA, FIRST_ALPHA / 4, FIRST_ALPHA])
    # The model in production against itself can promote nothing.
    assert judge_tables(tables, *registry, new="current.csv", output="same")[1].attempt == 1
    ran, fixed = judge_tables(tables, *registry, "--set", "gate.alpha_spending=fixed", new="two.csv", output="fixed")
    assert (fixed.attempt, fixed.alpha) == (2, 0.05)
    assert "this look was not counted" not in ran.out


@pytest.fixture
def undecided(tmp_path) -> Path:
    """As many images broken as fixed, in every slice: so much churn that nothing can be shown."""
    return write_tables(tmp_path / "undecided", lambda truth: np.arange(len(truth)) % 10 == 3)


def waive(folder: Path, verdict: str = "verdict", check: str = "overall"):
    why = "the line is stopped until Monday"
    return sightline(
        "gate", "override", folder / verdict, "--check", check, "--who", "Ada", "--why", why, "--registry", folder / "registry"
    )


def test_an_override_ships_by_name_and_says_so_everywhere(undecided):
    registry = ("--registry", undecided / "registry")
    ran, before = judge_tables(undecided, *registry)
    assert (ran.code, before.outcome) == (3, "inconclusive")
    assert [check.name for check in before.checks if check.required and check.outcome == "inconclusive"] == ["overall"]
    assert waive(undecided).code == 0
    ran, after = judge_tables(undecided, *registry, output="again")
    assert (ran.code, after.outcome, only(after, "overall").outcome, after.attempt) == (0, "pass", "waived", 1)
    assert [(one.who, one.why, one.verdict) for one in after.overrides] == [("Ada", "the line is stopped until Monday", before.signature)]
    for text in (ran.out, (undecided / "again/report.html").read_text(), (undecided / "again/summary.md").read_text()):
        assert "Ada" in text
        assert "the line is stopped until Monday" in text
    assert "by override" in after.reason


def test_an_override_is_for_this_candidate_against_this_model_only(undecided):
    registry = ("--registry", undecided / "registry")
    judge_tables(undecided, *registry)
    waive(undecided)
    # The same rows in another order are another file: another current model, and another candidate.
    for name in ("current", "new"):
        pd.read_csv(undecided / f"{name}.csv").iloc[::-1].to_csv(undecided / f"other-{name}.csv", index=False)
    for files in ({"current": "other-current.csv"}, {"new": "other-new.csv"}):
        ran, verdict = judge_tables(undecided, *registry, **files, output=f"verdict-{min(files)}")
        assert (ran.code, verdict.overrides) == (3, ())
        assert "waived" not in {check.outcome for check in verdict.checks}


def test_an_override_needs_the_registry_it_is_in(undecided):
    judge_tables(undecided, "--registry", undecided / "registry")
    waive(undecided)
    ran, verdict = judge_tables(undecided, output="elsewhere")
    assert (ran.code, verdict.overrides) == (3, ())


# Detection

FEW = ("--set", "gate.num_resamples=400")


def lost_some(row: int, _name: str) -> bool:
    return row % 12 == 0


def lost_washers(row: int, name: str) -> bool:
    return lost_some(row, name) or (name == "washer" and row % 2 == 0)


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("coco")
    truth = coco_truth()
    write_json(folder / "truth.json", truth)
    write_json(folder / "current.json", detections(truth, lost=lost_some))
    write_json(folder / "new.json", detections(truth, lost=lost_washers))
    return folder


def test_a_detector_that_lost_a_class_must_not_ship(coco, tmp_path):
    images = write_pictures(tmp_path / "images", [str(image["file_name"]) for image in coco_truth()["images"]])
    ran, verdict = gate_run(
        coco / "current.json", coco / "new.json", "--truth", coco / "truth.json", "--images", images, *FEW, output=tmp_path / "v"
    )
    assert (ran.code, verdict.outcome, verdict.task, verdict.metric) == (3, "fail", "detection", "AP")
    assert only(verdict, "class=washer").outcome == only(verdict, "overall").outcome == "fail"
    assert only(verdict, "class=screw").outcome == "pass"
    assert only(verdict, "AP of washer").estimate < -0.2
    assert verdict.flips.num_broken > 80
    assert {path.name for path in (tmp_path / "v").iterdir()} >= {*FILES, "flips.parquet"}
    rows = pd.read_parquet(tmp_path / "v/flips.parquet")
    assert len(rows) == verdict.flips.num_broken + verdict.flips.num_fixed
    assert set(rows.loc[rows["kind"] == "missed", "label"]) == {"washer"}
    assert "data:image/jpeg;base64," in (tmp_path / "v/report.html").read_text()
    explained = sightline("gate", "explain", tmp_path / "v")
    assert "0002.png  missed · washer" in explained.out


def test_the_same_detector_may_ship(coco, tmp_path):
    ran, verdict = gate_run(coco / "current.json", coco / "current.json", "--truth", coco / "truth.json", *FEW, output=tmp_path / "v")
    assert (ran.code, verdict.outcome, only(verdict, "overall").estimate) == (0, "pass", 0.0)


def test_a_first_detector_is_told_as_one(coco, tmp_path):
    _, verdict = gate_run(
        "none", coco / "current.json", "--truth", coco / "truth.json", *FEW, "--set", "gate.min_accuracy=0.5", output=tmp_path / "v"
    )
    assert (verdict.outcome, verdict.flips.num_broken) == ("pass", 0)
    assert {check.reference for check in verdict.checks} == {None}
    assert "current model" not in verdict.reason


def test_a_must_pass_image_of_a_detector_must_have_no_error(coco, tmp_path):
    settings_ = ("--set", "gate.sentinels=['cam/0001.png', 'cam/0004.png']", *FEW)
    _, verdict = gate_run(coco / "current.json", coco / "new.json", "--truth", coco / "truth.json", *settings_, output=tmp_path / "v")
    assert only(verdict, "must-pass cases (1 of 2 right)").outcome == "fail"
    assert [case.location for case in verdict.cases if not case.passes] == ["cam/0004.png"]


def test_too_few_images_for_average_precision_are_inconclusive(tmp_path):
    truth = coco_truth(40)
    write_json(tmp_path / "truth.json", truth)
    write_json(tmp_path / "a.json", detections(truth, lost=lost_some))
    ran, verdict = gate_run(tmp_path / "a.json", tmp_path / "a.json", "--truth", tmp_path / "truth.json", *FEW, output=tmp_path / "v")
    assert (ran.code, verdict.outcome) == (3, "inconclusive")
    assert only(verdict, "overall").labels_needed >= 160


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"score": float("nan")}, "results[0].score"),
        ({"image_id": 9_999}, "9999 is not in the truth"),
        ({"bbox": [0, 0, -1, 5]}, "results[0].bbox"),
    ],
)
def test_detections_that_cannot_be_used_are_refused(coco, tmp_path, change, says):
    rows = json.loads((coco / "current.json").read_text())
    write_json(tmp_path / "bad.json", [{**rows[0], **change}, *rows[1:]])
    ran = sightline("gate", "run", coco / "current.json", tmp_path / "bad.json", "--truth", coco / "truth.json", "--output", tmp_path / "v")
    assert ran.code == 65
    assert says in ran.err
    assert not (tmp_path / "v").exists()


# Segmentation


@pytest.fixture(scope="module")
def masks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("masks")
    write_masks(folder / "truth", 205)
    write_masks(folder / "current", 205, shift=lambda _: 1)
    write_masks(folder / "new", 205, shift=lambda row: 1 if row % 5 else 9)
    return folder


def judge_masks(folder: Path, new: str, *options: object, output: Path, current: object = None):
    words = ("--truth", folder / "truth", "--classes", "background,part", *FEW, *options)
    return gate_run(current or folder / "current", folder / new, *words, output=output)


def test_a_segmenter_that_misses_parts_must_not_ship(masks, tmp_path):
    pictures = write_pictures(tmp_path / "images", [f"{row:04d}.jpg" for row in range(205)], size=(32, 24))
    pd.DataFrame({"image": [f"{row:04d}.png" for row in range(205)], "line": ["12"[row % 5 == 0] for row in range(205)]}).to_csv(
        tmp_path / "lines.csv", index=False
    )
    ran, verdict = judge_masks(masks, "new", "--images", pictures, "--attributes", tmp_path / "lines.csv", output=tmp_path / "v")
    assert (ran.code, verdict.outcome, verdict.task, verdict.metric) == (3, "fail", "segmentation", "mIoU")
    assert (only(verdict, "line=2").outcome, only(verdict, "line=1").outcome) == ("fail", "pass")
    assert (verdict.flips.num_broken, verdict.flips.num_fixed) == (41, 0)
    assert len(pd.read_parquet(tmp_path / "v/flips.parquet")) == 41
    assert (tmp_path / "v/report.html").read_text().count("data:image/jpeg;base64,") == 24
    assert sightline("gate", "explain", tmp_path / "v").code == 0


def test_the_same_segmenter_may_ship_and_dice_can_decide(masks, tmp_path):
    ran, verdict = judge_masks(masks, "current", "--set", "gate.metric=dice", output=tmp_path / "v")
    assert (ran.code, verdict.metric, only(verdict, "overall").estimate) == (0, "Dice", 0.0)


def test_a_first_segmenter_is_told_as_one(masks, tmp_path):
    ran, verdict = judge_masks(masks, "current", current="none", output=tmp_path / "v")
    assert (ran.code, {check.reference for check in verdict.checks}) == (0, {None})


def test_a_small_critical_cross_is_judged_on_its_images(masks, tmp_path):
    rows = range(205)
    table = pd.DataFrame(
        {"image": [f"{row:04d}.png" for row in rows], "line": ["12"[row < 8] for row in rows], "lot": ["ab"[row % 2] for row in rows]}
    )
    table.to_csv(tmp_path / "lines.csv", index=False)
    critical = ("--attributes", tmp_path / "lines.csv", "--set", "gate.critical_slices=['line=2 & lot=a']")
    ran, verdict = judge_masks(masks, "current", *critical, output=tmp_path / "v")
    check = only(verdict, "line=2 & lot=a")
    assert (ran.code, check.kind, check.outcome, check.num_images) == (3, "critical-slice", "inconclusive", 4)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "0003.png").unlink(), "no mask 0003.png"),
        (lambda folder: (folder / "0003.png").rename(folder / "x.png"), "x.png belongs to no image"),
        (lambda folder: Image.new("RGB", (32, 24)).save(folder / "0003.png"), "a colour PNG"),
        (lambda folder: Image.new("L", (32, 24), 7).save(folder / "0003.png"), "class indices 7 do not exist"),
        (lambda folder: Image.new("L", (16, 12)).save(folder / "0003.png"), "its truth has 32×24"),
    ],
)
def test_masks_that_cannot_be_used_are_refused(tmp_path, spoil, says):
    for name in ("truth", "new"):
        write_masks(tmp_path / name, 5)
    spoil(tmp_path / "new")
    words = ("--truth", tmp_path / "truth", "--classes", "background,part", "--output", tmp_path / "v")
    ran = sightline("gate", "run", "none", tmp_path / "new", *words)
    assert ran.code == 65
    assert says in ran.err


def test_masks_without_class_names_are_refused(masks, tmp_path):
    ran = sightline("gate", "run", "none", masks / "new", "--truth", masks / "truth", "--output", tmp_path / "v")
    assert ran.code == 2
    assert "--classes" in ran.err


# Bundles


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Path:
    """A dataset with its files; a trained, a compiled and a broken bundle."""
    place = tmp_path_factory.mktemp("bundles")
    counts = {"train": 240, "val": 6, "golden": 210}
    network = learn(tiny_dataset(place / "data", counts=counts, size_px=SIZE_PX, files=place / "files"))
    commit_bundle(place / "trained", network)
    commit_bundle(place / "broken", without(network, "blob"))
    commit_bundle(place / "compiled", network, onnx=export(network, place / "model.onnx"))
    return place


QUICK = ("--set", "gate.robustness=[]")


def test_bundles_are_compared_on_a_dataset_version(bundles, tmp_path):
    ran, verdict = gate_run(bundles / "trained", bundles / "broken", "--dataset", bundles / "data", *QUICK, output=tmp_path / "v")
    assert (ran.code, verdict.outcome, verdict.stage) == (3, "fail", "trained")
    assert only(verdict, "class=blob").outcome == "fail"
    assert verdict.champion == json.loads((bundles / "trained/manifest.json").read_text())["digest"]
    assert {path.name for path in (tmp_path / "v").iterdir()} >= {*FILES, "predictions.parquet"}


def test_a_compiled_bundle_and_the_server_that_serves_it_are_judged(bundles, tmp_path):
    with real_server(bundles / "compiled") as url:
        ran, verdict = gate_run(
            "none", bundles / "compiled", "--dataset", bundles / "data", "--endpoint", url, *QUICK, output=tmp_path / "v"
        )
        assert (ran.code, verdict.outcome, verdict.stage) == (0, "pass", "compiled")
        assert only(verdict, "parity of the endpoint with the judged model").outcome == "pass"
        assert "endpoint" in [column["name"] for column in json.loads((tmp_path / "v/variants.json").read_text())["columns"]]
        other = sightline(
            "gate", "run", "none", bundles / "broken", "--dataset", bundles / "data", "--endpoint", url, "--registry", tmp_path / "r",
            "--output", tmp_path / "other",
        )  # fmt: skip
    assert other.code == 65
    # Another model is served: nothing was judged, no look was spent.
    assert not (tmp_path / "r").exists()
    assert not (tmp_path / "other").exists()


def test_the_registrys_champion_needs_a_registry_that_has_one(bundles, tmp_path):
    words = ("gate", "run", "champion", bundles / "trained", "--dataset", bundles / "data", "--output", tmp_path / "v")
    assert sightline(*words).code == 2
    empty = sightline(*words, "--registry", tmp_path / "registry")
    assert empty.code == 65
    assert "no champion yet" in empty.err


def test_the_registrys_champion_is_the_reference_and_its_audited_ancestor_the_anchor(bundles, tmp_path):
    from sightline.models.bundle import ModelBundle
    from sightline.registry.ledger import Ledger

    registry = str(tmp_path / "registry")
    Ledger(registry).promote(ModelBundle.open(bundles / "compiled"), expected_generation=0, run_id="r", verdict_digest="v")
    assert sightline("audit", 1, "--who", "Ada", "--why", "looked at 200 images", "--registry", registry).code == 0
    words = ("--dataset", bundles / "data", "--registry", registry, *QUICK)
    ran, verdict = gate_run("champion", bundles / "compiled", *words, output=tmp_path / "v")
    assert (ran.code, verdict.champion_generation, verdict.outcome) == (0, 1, "pass")
    # The anchor is the champion itself here; against another current model it is a check of its own.
    assert "anchor" not in {check.kind for check in verdict.checks}
    _, verdict = gate_run(bundles / "broken", bundles / "broken", *words, output=tmp_path / "w")
    assert {check.kind: check.outcome for check in verdict.checks}["anchor"] == "fail"


def test_a_dataset_or_bundle_that_is_not_there_is_refused(bundles, tmp_path):
    for new, dataset in ((tmp_path / "gone", bundles / "data"), (bundles / "trained", tmp_path / "gone")):
        ran = sightline("gate", "run", "none", new, "--dataset", dataset, "--output", tmp_path / "v")
        assert ran.code in {2, 65}
        assert "gone" in ran.err
        assert "Traceback" not in ran.err


# Properties


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("properties")


def judged(folder: Path, truth: pd.DataFrame, current: pd.DataFrame, new: pd.DataFrame) -> Verdict:
    folder.mkdir()
    for name, table in (("truth", truth), ("current", current), ("new", new)):
        table.to_csv(folder / f"{name}.csv", index=False)
    files = Files(folder / "current.csv", folder / "new.csv", folder / "truth.csv")
    compare(files, GateConfig(), output=folder / "v", registry="", progress=lambda _: None)
    return read_verified(folder / "v")


EXAMPLES = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
rates = st.floats(0.0, 0.6)


@EXAMPLES
@given(seed=st.integers(0, 2**32 - 1), old=rates, new=rates)
def test_the_order_of_prediction_rows_changes_no_check(tmp_path_factory, seed, old, new):
    rng = np.random.default_rng(seed)
    truth = truth_table()
    tables = [answers_table(truth, rng.random(len(truth)) < rate) for rate in (old, new)]
    shuffled = [table.iloc[rng.permutation(len(table))] for table in tables]
    folder = tmp_path_factory.mktemp("order")
    straight, mixed = judged(folder / "a", truth, *tables), judged(folder / "b", truth, *shuffled)
    assert straight.checks == mixed.checks
    assert (straight.outcome, straight.flips, straight.errors) == (mixed.outcome, mixed.flips, mixed.errors)


@EXAMPLES
@given(seed=st.integers(0, 2**32 - 1), rate=st.floats(0.0, 1.0), num=st.integers(3, 400))
def test_a_candidate_equal_to_the_current_model_never_fails(tmp_path_factory, seed, rate, num):
    truth = truth_table().iloc[:num]
    table = answers_table(truth, np.random.default_rng(seed).random(num) < rate)
    verdict = judged(tmp_path_factory.mktemp("equal") / "a", truth, table, table)
    assert verdict.outcome != "fail"
    assert not {check.name for check in verdict.checks if check.outcome in {"fail", "warn"}}
    # That nothing broke in n images rules out a loss of 3 points when 0.97^n is at most alpha.
    assert (verdict.outcome == "pass") == (0.97**num <= verdict.alpha)
