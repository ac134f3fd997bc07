import json

import pytest
import torch

from sightline.errors import DataError
from sightline.train.state_file import read_state, write_state


def test_a_state_is_read_back_with_its_types_and_the_order_of_its_tensors_in_memory(tmp_path):
    moments = torch.arange(144, dtype=torch.float32).reshape(2, 8, 3, 3).contiguous(memory_format=torch.channels_last)
    state = {
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0), "exp_avg": moments}}, "param_groups": [{"betas": (0.9, 0.999)}]}],
        "none": None,
        "flag": True,
        "lr": 0.1,
        "name": "x",
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    write_state(tmp_path / "s", state)
    found = read_state(tmp_path / "s")
    (optimiser,) = found["optimizer_states"]
    assert list(optimiser["state"]) == [0]
    assert optimiser["param_groups"][0]["betas"] == (0.9, 0.999)
    assert torch.equal(optimiser["state"][0]["exp_avg"], moments)
    # The fused AdamW reads moments in the order of the weights: with another one it would mix them up without a word.
    assert optimiser["state"][0]["exp_avg"].stride() == moments.stride()
    assert (found["none"], found["flag"], found["lr"], found["name"], found["half"].dtype) == (None, True, 0.1, "x", torch.bfloat16)


def test_equal_states_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_state(tmp_path / name, {"x": torch.ones(3), "y": [1, (2.5,)]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tensors_that_share_memory_are_kept_one_by_one(tmp_path):
    whole = torch.arange(6.0)
    write_state(tmp_path / "s", {"whole": whole, "part": whole[2:4]})
    assert read_state(tmp_path / "s")["part"].tolist() == [2.0, 3.0]


@pytest.mark.parametrize("value", [{"x": object()}, {"x": {1.5: "y"}}])
def test_what_has_no_safe_form_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match="cannot hold"):
        write_state(tmp_path / "s", value)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", json.dumps({}).encode()])
def test_a_file_of_another_kind_is_a_data_error(tmp_path, content):
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(DataError, match="does not hold the state of a training"):
        read_state(tmp_path / "s")
