import pytest
import torch
from safetensors.torch import load_file, save_file

from sightline.errors import DataError
from sightline.models.network import build
from sightline.models.weights import WEIGHTS, load_weights, save


@pytest.fixture
def saved(tmp_path, info, preprocessing):
    torch.manual_seed(1)
    network = build(info, preprocessing)
    return network, save(tmp_path, network)


def test_saved_weights_come_back_bit_for_bit(saved, info, preprocessing):
    network, path = saved
    other = build(info, preprocessing)
    load_weights(other, path)
    assert path.name == WEIGHTS
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_equal_weights_give_equal_bytes(saved, tmp_path):
    network, path = saved
    (tmp_path / "again").mkdir()
    assert save(tmp_path / "again", network).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda t: t.pop("head.bias"), "head.bias: missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "extra: not part of the network"),
        (lambda t: t.update({"head.bias": torch.zeros(7)}), r"head.bias: shape \(7,\), expected \(3,\)"),
        (lambda t: t.update({"head.bias": torch.zeros(3, dtype=torch.float16)}), "head.bias: torch.float16, expected torch.float32"),
        (lambda t: t.update({"head.bias": torch.tensor([0.0, float("nan"), 0.0])}), "head.bias: holds numbers that are not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(saved, info, preprocessing, damage, words):
    _, path = saved
    tensors = load_file(path)
    damage(tensors)
    save_file(tensors, path)
    other = build(info, preprocessing)
    before = other.head.weight.clone()
    with pytest.raises(DataError, match=words):
        load_weights(other, path)
    assert torch.equal(before, other.head.weight)


def test_a_torn_file_is_a_data_error(saved, info, preprocessing):
    _, path = saved
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="not a safetensors file"):
        load_weights(build(info, preprocessing), path)
