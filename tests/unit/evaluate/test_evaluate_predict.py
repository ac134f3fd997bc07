import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sightline.data.version import Split
from sightline.errors import DataError
from sightline.evaluate.predict import Answers, aligned, pixels_at, predict_split, to_answers
from sightline.runtimes.base import Prediction
from sightline.store.digest import sha256_bytes

CLASSES = ("dent", "crack")


class Brightness:
    """A predictor without a network: class 0 for dark images."""

    def predict(self, images_NHWC):
        bright = images_NHWC.mean(axis=(1, 2, 3)).astype(np.float32) / 255
        return Prediction(np.stack([1 - bright, bright], axis=1), bright[:, None])


class Forgetful(Brightness):
    def predict(self, images_NHWC):
        whole = super().predict(images_NHWC)
        return Prediction(whole.probabilities_NC[1:], whole.embeddings_ND[1:])


def _split(num: int, size_px: int = 8) -> Split:
    pixels = np.repeat(np.arange(num, dtype=np.uint8)[:, None, None, None] * 3, size_px, axis=1).repeat(size_px, axis=2).repeat(3, axis=3)
    ids = tuple(f"{i:04d}" for i in range(num))
    return Split("golden", ids, np.zeros(num, np.int64), pd.DataFrame(index=range(num)), tuple(f"{i}.png" for i in range(num)), pixels)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_do_not_change_the_answers(batch_size):
    split = _split(20)
    whole = Brightness().predict(split.pixels_NHWC)
    found = predict_split(Brightness(), split, batch_size)
    assert np.array_equal(found.probabilities_NC, whole.probabilities_NC)
    assert found.embeddings_ND.shape == (20, 1)


def test_an_empty_split_has_an_empty_prediction():
    assert predict_split(Brightness(), _split(0)).probabilities_NC.shape == (0, 2)


def test_a_predictor_that_skips_an_image_is_refused():
    with pytest.raises(DataError, match="19 answers for 20 images"):
        predict_split(Forgetful(), _split(20))


def test_classes_are_joined_by_name():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]], dtype=np.float32)
    answers = to_answers(("a", "b", "c"), probabilities, ("crack", "dent", "scratch"), CLASSES)
    assert answers.predicted_N.tolist() == [1, 0, -1]
    assert answers.confidence_N == pytest.approx([0.9, 0.7, 0.7])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_answer_that_is_not_finite_is_never_a_class(bad):
    answers = to_answers(("a", "b"), np.array([[bad, 0.1], [0.3, 0.7]], dtype=np.float32), CLASSES, CLASSES)
    assert answers.predicted_N.tolist() == [-1, 1]
    assert answers.confidence_N.tolist() == pytest.approx([0.0, 0.7])
    assert answers.num_invalid == 1


def test_answers_of_another_shape_are_refused():
    with pytest.raises(DataError, match="shape"):
        to_answers(("a", "b"), np.zeros((2, 3), np.float32), CLASSES, CLASSES)


def _answers(ids) -> Answers:
    return Answers(tuple(ids), np.arange(len(ids)), np.linspace(0, 1, len(ids), dtype=np.float32))


def test_answers_in_another_order_are_joined_by_sample_id():
    found = aligned(_answers("cab"), ("a", "b", "c"))
    assert found.sample_ids == ("a", "b", "c")
    assert found.predicted_N.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("ids", "problem"),
    [("ab", "no answer for image c"), ("abcd", "an answer for unknown image d"), ("abca", "1 images were answered twice")],
)
def test_missing_extra_and_repeated_answers_are_refused(ids, problem):
    with pytest.raises(DataError, match=problem):
        aligned(_answers(ids), ("a", "b", "c"))


def test_a_split_that_holds_an_image_twice_is_refused():
    with pytest.raises(DataError, match="twice"):
        aligned(_answers("ab"), ("a", "b", "b"))


def test_images_are_decoded_again_for_a_model_of_another_size(tmp_path):
    split = _with_files(tmp_path)
    assert pixels_at(split, 8, 10**6) is split.pixels_NHWC
    again = pixels_at(split, 16, 10**6)
    assert again.shape == (3, 16, 16, 3)
    assert again[1].mean() == 40


def test_an_altered_file_is_not_decoded_again(tmp_path):
    split = _with_files(tmp_path)
    (tmp_path / "1.png").write_bytes(b"other")
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match=r"1\.png: altered(.|\n)*2\.png: not found"):
        pixels_at(split, 16, 10**6)


def _with_files(folder) -> Split:
    split, ids = _split(3), []
    for number in range(3):
        buffer = io.BytesIO()
        Image.new("RGB", (30, 20), (number * 40,) * 3).save(buffer, "PNG")
        (folder / f"{number}.png").write_bytes(buffer.getvalue())
        ids.append(sha256_bytes(buffer.getvalue()))
    return replace(split, sample_ids=tuple(ids), locations=tuple(str(folder / f"{n}.png") for n in range(3)))
