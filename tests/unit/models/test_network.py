import numpy as np
import pytest
import torch

from sightline.models.network import build


@pytest.mark.parametrize("num", [0, 1, 5])
def test_a_batch_of_any_size_gives_logits_and_embeddings(info, preprocessing, num):
    logits, embedding = build(info, preprocessing).eval()(torch.zeros((num, 32, 32, 3), dtype=torch.uint8))
    assert logits.shape == (num, 3)
    assert embedding.shape == (num, 128)
    assert logits.dtype == embedding.dtype == torch.float32


def test_normalisation_is_inside_and_follows_the_preprocessing(info, preprocessing):
    network = build(info, preprocessing)
    seen = []
    network.backbone.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    network(torch.from_numpy(images))
    expected = (images / 255.0 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    np.testing.assert_allclose(seen[0].numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_activations_are_channels_last_without_a_copy(info, preprocessing):
    network = build(info, preprocessing)
    seen = []
    network.backbone.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    network(torch.zeros((2, 32, 32, 3), dtype=torch.uint8))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_the_default_width_has_a_256_number_embedding(info, preprocessing):
    wide = info.model_copy(update={"width": 16, "embedding_dim": 256})
    _, embedding = build(wide, preprocessing).eval()(torch.zeros((1, 64, 64, 3), dtype=torch.uint8))
    assert embedding.shape == (1, 256)


def test_the_preprocessing_is_no_part_of_the_weights(info, preprocessing):
    assert not {"scale", "shift"} & build(info, preprocessing).state_dict().keys()
