import numpy as np
import pytest
import torch

from sightline.models.bundle import TRAINED, BundleInfo, ModelBundle, Preprocessing
from sightline.models.network import build
from sightline.models.weights import load_network, save
from sightline.runtimes.base import EAGER, load_predictor
from sightline.store.artifact import commit_artifact


@pytest.fixture
def bundle(tmp_path):
    info = BundleInfo(classes=("a", "b", "c"), backbone="compact", width=8, embedding_dim=128, dataset_digests={})
    preprocessing = Preprocessing(size_px=32)

    def write(folder):
        torch.manual_seed(3)
        save(folder, build(info, preprocessing))
        (folder / "model.json").write_text(info.model_dump_json())
        (folder / "preprocessing.json").write_text(preprocessing.model_dump_json())
        return {}

    return ModelBundle(commit_artifact(tmp_path / "bundle", TRAINED, write))


def test_no_images_give_an_empty_prediction_of_the_right_width(bundle):
    prediction = load_predictor(bundle, EAGER).predict(np.zeros((0, 32, 32, 3), np.uint8))
    assert prediction.probabilities_NC.shape == (0, 3)
    assert prediction.embeddings_ND.shape == (0, 128)


def test_predictions_are_those_of_the_network_however_they_are_batched(bundle):
    images = np.random.default_rng(5).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
    images.flags.writeable = False
    predictor = load_predictor(bundle, EAGER, num_threads=1)
    whole = predictor.predict(images)
    with torch.inference_mode():
        logits, embeddings = load_network(bundle)(torch.from_numpy(images.copy()))
    np.testing.assert_allclose(whole.probabilities_NC, torch.softmax(logits, 1).numpy(), atol=1e-5)
    np.testing.assert_allclose(whole.embeddings_ND, embeddings.numpy(), atol=1e-4)
    np.testing.assert_allclose(predictor.predict(images[:1]).probabilities_NC, whole.probabilities_NC[:1], atol=1e-5)
    assert whole.probabilities_NC.dtype == np.float32
