import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from sightline.compile import step
from sightline.config.compile import CompileConfig
from sightline.config.store import StoreConfig
from sightline.errors import DataError, SightlineError
from sightline.images import PROPERTIES, image_properties
from sightline.models.bundle import ModelBundle
from sightline.runtimes.base import load_predictor
from tests.datasets import tiny_dataset

VARIANTS = ("onnxruntime-fp32", "openvino-fp32", "openvino-int8", "tensorrt-fp16")


def run(exported, folder, *, dataset=None, **config):
    return step.run(
        model=str(exported.bundle.artifact.folder),
        dataset=str((dataset or exported.dataset).artifact.folder),
        config=CompileConfig(rounds=5, throughput_batch=4, calibration_images=24, **config),
        store=StoreConfig(cache=str(folder / "cache"), runs=str(folder / "runs"), registry=str(folder / "registry")),
        run_id="r",
        output=str(folder / "out"),
    )


@pytest.fixture(scope="module")
def compiled(exported, tmp_path_factory):
    return run(exported, tmp_path_factory.mktemp("compiled"), variants=VARIANTS, min_agreement=0.9, max_accuracy_drop=0.05)


def test_every_variant_is_reported_and_the_chosen_one_answers(compiled, exported):
    bundle = ModelBundle(compiled.artifact)
    benchmark = json.loads(compiled.artifact.file("benchmark.json").read_bytes())
    rows = {row["name"]: row for row in benchmark["variants"]}
    assert list(rows) == ["eager", *VARIANTS]
    assert rows["tensorrt-fp16"]["status"] == "unavailable"
    assert "not installed" in rows["tensorrt-fp16"]["reason"]
    assert "tensorrt-fp16" not in bundle.info.variants
    assert rows["onnxruntime-fp32"]["max_abs_diff"] < 1e-4
    assert benchmark["chosen"] == bundle.info.chosen in bundle.info.variants
    golden = exported.dataset.split("golden")
    predicted = load_predictor(bundle, bundle.info.chosen).predict(golden.pixels_NHWC).probabilities_NC.argmax(axis=1)
    assert (predicted == golden.labels_N).mean() == pytest.approx(rows[bundle.info.chosen]["accuracy"])


def test_everything_of_the_trained_bundle_travels_on(compiled, exported):
    bundle = ModelBundle(compiled.artifact)
    for name in ("weights.safetensors", "preprocessing.json"):
        assert compiled.artifact.file(name).read_bytes() == exported.bundle.artifact.file(name).read_bytes()
    assert bundle.info.classes == exported.bundle.info.classes
    record = json.loads(compiled.artifact.file("calibration.json").read_bytes())
    assert bundle.info.dataset_digests == {**exported.bundle.info.dataset_digests, "calibration": record["digest"]}


def test_the_reference_holds_every_validation_image_as_the_chosen_variant_saw_it(compiled, exported):
    val = exported.dataset.split("val")
    reference = pd.read_parquet(compiled.artifact.file("reference.parquet"))
    assert set(reference.columns) == {*PROPERTIES, "label", "confidence", "embedding", "sample_id"}
    assert tuple(reference["sample_id"]) == val.sample_ids
    assert reference.loc[4, list(PROPERTIES)].to_dict() == pytest.approx(image_properties(val.pixels_NHWC[4]))
    embeddings = np.stack(reference["embedding"])
    assert embeddings.dtype == np.float32
    bundle = ModelBundle(compiled.artifact)
    answer = load_predictor(bundle, bundle.info.chosen).predict(val.pixels_NHWC)
    np.testing.assert_allclose(embeddings, answer.embeddings_ND, atol=1e-4)
    assert list(reference["label"]) == [bundle.info.classes[index] for index in answer.probabilities_NC.argmax(axis=1)]


def test_the_golden_answers_are_those_of_the_chosen_variant(compiled, exported):
    split = exported.dataset.split("golden")
    golden = pd.read_parquet(compiled.artifact.file("golden.parquet"))
    bundle = ModelBundle(compiled.artifact)
    answer = load_predictor(bundle, bundle.info.chosen).predict(split.pixels_NHWC)
    assert list(golden.columns) == ["sample_id", "location", "label", "predicted", "confidence"]
    assert tuple(golden["location"]) == split.locations
    np.testing.assert_array_equal(golden["label"], split.labels_N)
    np.testing.assert_array_equal(golden["predicted"], answer.probabilities_NC.argmax(axis=1))
    np.testing.assert_allclose(golden["confidence"], answer.probabilities_NC.max(axis=1), atol=1e-5)


def test_the_headline_and_the_pages_say_what_ships(compiled):
    chosen = ModelBundle(compiled.artifact).info.chosen
    assert compiled.result.headline.startswith(f"{chosen} chosen · p50 ")
    assert "tensorrt-fp16 unavailable" in compiled.result.headline
    assert set(compiled.result.metrics) == {
        f"compile/{name}" for name in ("p50_ms", "p95_ms", "throughput_ips", "speedup", "accuracy_drop")
    }
    page = compiled.artifact.file("report.html").read_text()
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(page)
    assert sum(tag == "rect" for tag, _ in tags) == 5
    assert not [attributes for _, attributes in tags if "src" in attributes or "href" in attributes]
    assert f"{chosen} ships" in compiled.artifact.file("summary.md").read_text()


def test_when_no_variant_holds_the_constraints_nothing_is_committed(exported, tmp_path):
    with pytest.raises(SightlineError, match="tensorrt-fp16: unavailable"):
        run(exported, tmp_path, variants=("tensorrt-fp16",))
    assert not (tmp_path / "out").exists()


def test_a_dataset_of_other_classes_or_size_is_refused_with_both_problems(exported, tmp_path):
    other = tiny_dataset(tmp_path / "other", classes=("ring", "stripes"), size_px=16, counts={"train": 4, "val": 4, "golden": 4})
    with pytest.raises(DataError, match="cannot be compiled with this dataset") as caught:
        run(exported, tmp_path, dataset=other)
    assert len(caught.value.problems) == 2


def test_golden_images_in_validation_stop_the_step_before_anything_is_built(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(step._Compilation, "_build", lambda *_: pytest.fail("a variant was built"))
    compilation = step._Compilation(exported.bundle, exported.dataset, CompileConfig(), tmp_path)
    compilation._golden = compilation._val
    with pytest.raises(DataError, match="must not be golden"):
        compilation.run(lambda _: None)
