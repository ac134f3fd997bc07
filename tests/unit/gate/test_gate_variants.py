"""Real ONNX variants of one bundle and a real live server, judged on real image files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline.config.gate import GateConfig
from sightline.data.version import Split
from sightline.errors import DataError, EnvironmentFault
from sightline.evaluate.predict import Answers, Scorer
from sightline.evaluate.verdict import overall_outcome
from sightline.gate.evidence import Evidence
from sightline.gate.variant_table import VariantColumn
from sightline.gate.variants import Candidate, VariantsRecord, endpoint_checks, live_answers, variant_table, write_variants
from sightline.models.bundle import COMPILED, BundleInfo, ModelBundle, Preprocessing
from sightline.runtimes.endpoint import Endpoint
from sightline.store.artifact import commit_artifact
from tests.unit.runtimes.live_server import answer, page, real_server, scripted_server, split_of
from tests.unit.serve.tiny_bundle import CLASSES, SIZE_PX, write_onnx, write_pictures

GOOD, BAD, GONE = "onnxruntime-fp32", "onnxruntime-int8", "tensorrt-fp16"
NUM = 150


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    def write(folder: Path):
        write_onnx(folder / "model.onnx")
        write_onnx(folder / "onnxruntime-int8.onnx", scale=-20.0)  # answers the weakest colour
        info = BundleInfo(
            classes=CLASSES,
            backbone="tiny",
            width=4,
            embedding_dim=3,
            dataset_digests={},
            chosen=GOOD,
            variants={GOOD: "model.onnx", BAD: "onnxruntime-int8.onnx"},
        )
        (folder / "model.json").write_text(info.model_dump_json())
        (folder / "preprocessing.json").write_text(Preprocessing(size_px=SIZE_PX).model_dump_json())
        rows = [
            {"name": "eager", "status": "ok", "p50_ms": 4.0, "p95_ms": 5.0},
            {"name": GOOD, "status": "ok", "p50_ms": 1.0, "p95_ms": 2.0},
            {"name": BAD, "status": "rejected", "reason": "too bad", "p50_ms": 0.5, "p95_ms": 0.75},
            {"name": GONE, "status": "unavailable", "reason": "no NVIDIA GPU"},
        ]
        (folder / "benchmark.json").write_text(json.dumps({"variants": rows, "chosen": GOOD}))
        return {}

    return ModelBundle(commit_artifact(tmp_path_factory.mktemp("bundle") / "b", COMPILED, write))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return split_of(write_pictures(tmp_path_factory.mktemp("golden"), NUM), [index % 3 for index in range(NUM)])


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def candidate(bundle, split, asked) -> Candidate:
    def answers(variant: str) -> Answers:
        asked.append(variant)
        return Scorer(bundle, variant, CLASSES).answers(split)

    return Candidate(bundle, split, CLASSES, answers, GOOD)


@pytest.fixture
def evidence(bundle, split) -> Evidence:
    given = Scorer(bundle, GOOD, CLASSES).answers(split)
    site = split.attributes["site"].to_numpy(dtype=str)
    masks = {"class=red": split.labels_N == 0, "class=none": split.labels_N == 9, "site=A": site == "A", "site=B": site == "B"}
    fields = {"stage": "compiled", "labels_N": split.labels_N, "masks": masks, "candidate": given, "champion": None, "eager": given}
    return Evidence(**fields, same_model=False)


def _table(candidate, evidence, **changes):
    return variant_table(candidate, evidence, GateConfig(**changes.pop("policy", {})), progress=lambda _: None, **changes)


def _columns(table) -> dict[str, VariantColumn]:
    return {column.name: column for column in table.columns}


def test_a_first_models_variants_are_compared_with_its_own_weights(candidate, evidence, asked):
    table = _table(candidate, evidence)
    assert table.slices == ("overall", "class=red", "site=A", "site=B")  # a slice without images has no row
    assert table.num_images == (NUM, NUM // 3, NUM // 2, NUM // 2)
    columns = _columns(table)
    assert list(columns) == ["eager", GOOD, BAD, GONE]
    assert columns["eager"].outcome == ""
    assert columns["eager"].estimates == (None,) * 4
    assert (columns[GOOD].outcome, columns[GOOD].values, columns[GOOD].estimates) == ("pass", (1.0,) * 4, (0.0,) * 4)
    assert (columns[GOOD].p95_ms, columns[GOOD].is_judged) == (2.0, True)
    assert 0 < columns[GOOD].size_mb < 0.01
    assert asked == [BAD]  # the others were answered before


def test_a_bad_variant_fails_although_it_is_not_the_one_that_ships(candidate, evidence):
    column = _columns(_table(candidate, evidence))[BAD]
    assert (column.status, column.outcome) == ("judged", "fail")
    assert column.estimates[0] < -0.9


def test_a_variant_that_cannot_run_keeps_its_column_with_the_reason(candidate, evidence):
    column = _columns(_table(candidate, evidence))[GONE]
    assert column.status == "unavailable: no NVIDIA GPU"
    assert (column.outcome, column.values, column.is_judged) == ("inconclusive", (None,) * 4, False)


def test_a_variant_that_fails_to_load_here_keeps_its_column_too(candidate, evidence):
    def refuse(variant: str) -> Answers:
        raise EnvironmentFault("this CPU has no such\n arithmetic")

    column = _columns(_table(replace(candidate, answers=refuse), evidence))[BAD]
    assert (column.status, column.outcome) == ("unavailable: this CPU has no such arithmetic", "inconclusive")


def test_with_a_champion_every_variant_must_be_non_inferior_to_it(candidate, evidence):
    half = np.where(np.arange(NUM) % 2 == 0, evidence.labels_N, (evidence.labels_N + 1) % 3)
    champion = replace(evidence.candidate, predicted_N=half)
    columns = _columns(_table(candidate, replace(evidence, champion=champion)))
    assert list(columns) == ["champion", "eager", GOOD, BAD, GONE]
    assert columns["champion"].values[0] == 0.5
    assert (columns[GOOD].outcome, columns[GOOD].estimates[0]) == ("pass", 0.5)
    assert columns[BAD].outcome == "fail"


def test_the_champion_judged_against_itself_passes_only_as_what_ships(candidate, evidence):
    columns = _columns(_table(candidate, replace(evidence, champion=evidence.candidate, same_model=True), policy={"margin": 0.001}))
    assert columns[GOOD].outcome == "pass"
    assert columns["eager"].outcome == "inconclusive"  # 150 images cannot rule out a tenth of a point


def test_a_variant_with_invalid_answers_fails(candidate, evidence):
    def invalid(variant: str) -> Answers:
        return replace(evidence.candidate, num_invalid=1)

    assert _columns(_table(replace(candidate, answers=invalid), evidence))[BAD].outcome == "fail"


def test_the_live_endpoint_of_the_judged_model_passes(candidate, evidence, bundle):
    with real_server(bundle.artifact.folder) as url:
        live = live_answers(Endpoint(url), candidate)
    column = _columns(_table(candidate, evidence, live=live))["endpoint"]
    assert (column.status, column.outcome, column.values[0]) == ("judged", "pass", 1.0)
    checks = endpoint_checks(live, evidence, GateConfig())
    assert overall_outcome(checks) == "pass"
    assert {check.name for check in checks if check.required} == {
        "valid answers of the endpoint",
        "parity of the endpoint with the judged model",
    }


def test_an_endpoint_with_another_preprocessing_fails(candidate, evidence, bundle):
    with real_server(bundle.artifact.folder, "--fault", "preprocessing") as url:
        live = live_answers(Endpoint(url), candidate)
    assert _columns(_table(candidate, evidence, live=live))["endpoint"].outcome == "fail"
    assert overall_outcome(endpoint_checks(live, evidence, GateConfig())) == "fail"


def test_an_endpoint_that_serves_another_model_is_not_judged_unless_asked_to(candidate, evidence):
    with scripted_server(lambda _: answer((0.9, 0.05, 0.05))) as url:
        with pytest.raises(DataError, match="serves model dddddddddddd, expected"):
            live_answers(Endpoint(url), candidate)
        judged = live_answers(Endpoint(url), candidate, any_model=True)
    other = _columns(_table(candidate, evidence, live=judged))["endpoint (dddddddddddd)"]
    assert (other.status, other.outcome) == ("judged", "fail")


def test_an_endpoint_that_answers_garbage_fails_with_examples(candidate, evidence, bundle):
    with scripted_server(lambda _: (200, b"garbage"), pages=lambda _: page(digest=bundle.digest)) as url:
        live = live_answers(Endpoint(url), candidate)
    assert _columns(_table(candidate, evidence, live=live))["endpoint"].outcome == "fail"
    checks = endpoint_checks(live, evidence, GateConfig())
    assert checks[0].outcome == "fail"
    assert f"{NUM} of {NUM} images got no usable answer" in checks[0].detail
    assert "cannot be read" in checks[0].detail


def test_an_endpoint_that_cannot_be_reached_stops_the_gate(candidate):
    with pytest.raises(EnvironmentFault, match="no answer from"):
        live_answers(Endpoint("http://127.0.0.1:1"), candidate)


def test_the_record_holds_the_table_and_what_it_is_about(candidate, evidence, bundle, tmp_path):
    table = _table(candidate, evidence)
    write_variants(tmp_path, table, candidate=bundle.digest, golden_digest="g")
    record = VariantsRecord.model_validate_json((tmp_path / "variants.json").read_bytes())
    assert (record.schema_version, record.candidate, record.reference) == (1, bundle.digest, "eager")
    assert record.columns == table.columns
    assert record.num_images == table.num_images
