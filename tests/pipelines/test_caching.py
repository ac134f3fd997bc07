"""A change re-runs exactly the steps that depend on it: one byte of an image, one parameter, one line of library code."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import sightline
from sightline.store.artifact import open_artifact
from tests.pipelines.small import small_config

LIBRARY = Path(sightline.__file__).parent


def refused(images, **gate):
    # The trained model is refused for want of accuracy, so that a run stops before the canary, which never is cached.
    return small_config(images, max_p95_ms=1e-6, **gate)


@pytest.fixture
def images_copy(images, tmp_path):
    return Path(shutil.copytree(images, tmp_path / "copy"))


def worked(records):
    """The steps that really ran."""
    assert all(record.status == "done" for record in records), [record.error for record in records]
    return {record.name for record in records if not record.cached}


def an_image_of(records, split):
    dataset = next(record.folder for record in records if record.name == "ingest")
    samples = pd.read_parquet(open_artifact(Path(dataset), "dataset").file("samples.parquet"))
    return Path(samples[samples["split"] == split]["location"].iloc[0])


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def library_with(tmp_path, module, old, new):
    """A copy of the library in which one line is different."""
    root = tmp_path / "library"
    shutil.copytree(LIBRARY, root / "sightline", ignore=shutil.ignore_patterns("__pycache__"))
    path = root / "sightline" / module
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return root


def test_an_unchanged_run_repeats_nothing(retrain, images):
    retrain(refused(images))
    assert worked(retrain(refused(images), run_id="again")) == set()


def test_one_byte_of_a_golden_image_reaches_the_steps_that_read_the_golden_set_and_not_training(retrain, images_copy):
    records = retrain(refused(images_copy))
    flip_a_byte(an_image_of(records, "golden"))
    changed = retrain(refused(images_copy), run_id="changed")
    assert [(record.status, record.exit_code) for record in changed] == [("failed", 65)], "the golden set is frozen"
    assert worked(retrain(refused(images_copy), run_id="again", registry="a new golden set")) == {
        "ingest",
        "gate-trained",
        "compile",
        "gate-compiled",
    }


def test_one_byte_of_a_training_image_reaches_everything_that_comes_from_training(retrain, images_copy):
    records = retrain(refused(images_copy))
    flip_a_byte(an_image_of(records, "train"))
    # The search is off here, so it reads no image.
    assert worked(retrain(refused(images_copy), run_id="again")) == {"ingest", "train", "gate-trained", "compile", "gate-compiled"}


def test_a_parameter_of_the_gate_reaches_the_gates_only(retrain, images):
    retrain(refused(images))
    assert worked(retrain(refused(images, warn_fdr=0.2), run_id="again")) == {"gate-trained", "gate-compiled"}


def test_a_line_of_the_gate_reaches_the_gates_only(retrain, images, tmp_path):
    retrain(refused(images))
    library = library_with(tmp_path, "gate/tango.py", '"""', '"""Another line. ')
    assert worked(retrain(refused(images), run_id="again", library=library)) == {"gate-trained", "gate-compiled"}


def test_a_line_of_training_code_trains_again_and_stops_there_when_the_weights_are_the_same(retrain, images, tmp_path):
    retrain(refused(images))
    library = library_with(tmp_path, "train/launch.py", '"""', '"""Another line. ')
    assert worked(retrain(refused(images), run_id="again", library=library)) == {"train"}


def test_a_line_of_the_command_line_reaches_no_step(retrain, images, tmp_path):
    retrain(refused(images))
    library = library_with(tmp_path, "cli/display.py", '"""', '"""Another line. ')
    assert worked(retrain(refused(images), run_id="again", library=library)) == set()
