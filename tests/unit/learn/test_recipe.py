import numpy as np
import pytest
import torch

from sightline.config.train import TrainConfig
from sightline.errors import UsageError
from sightline.learn.recipe import Moment, class_weights, make_optimiser, one_cycle, score, training_loss
from sightline.models.bundle import BundleInfo, Preprocessing
from sightline.models.network import build


@pytest.fixture
def network():
    torch.manual_seed(0)
    info = BundleInfo(classes=("a", "b"), backbone="compact", width=4, embedding_dim=64, dataset_digests={})
    return build(info, Preprocessing(size_px=16))


def test_the_cycle_is_that_of_torch():
    total = 41
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    # torch counts the peak as step pct_start * total - 1
    peer = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=1.0, total_steps=total, pct_start=11 / total, div_factor=10, final_div_factor=100, cycle_momentum=False
    )
    for step in range(total):
        assert one_cycle(step, total) == pytest.approx(peer.get_last_lr()[0], abs=1e-9)
        optimiser.step()
        if step + 1 < total:
            peer.step()


@pytest.mark.parametrize("total", [1, 2, 3, 4])
def test_very_short_trainings_have_a_positive_learning_rate(total):
    assert all(0 < one_cycle(step, total) <= 1 for step in range(total + 1))


def test_a_loss_that_is_not_finite_names_its_step(network):
    with torch.no_grad():
        network.head.weight.fill_(float("inf"))
    batch = torch.zeros((4, 16, 16, 3), dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(UsageError, match="step 8 of epoch 3"):
        training_loss(network, batch, TrainConfig(), Moment(epoch=2, step=7))


def test_biases_and_batch_norms_do_not_decay(network):
    decayed, kept = make_optimiser(network, TrainConfig(weight_decay=0.1)).param_groups
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0.0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert len(decayed["params"]) + len(kept["params"]) == len(list(network.parameters()))


def test_scores_are_in_full_precision_even_inside_autocast(network):
    network.eval()
    batch = torch.randint(0, 256, (9, 16, 16, 3), dtype=torch.uint8), torch.arange(9) % 2
    plain = score(network, batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert score(network, batch) == plain


def test_balance_one_gives_each_class_the_same_total_weight_and_zero_changes_nothing():
    labels = np.array([0] * 90 + [1] * 10)
    weights = class_weights(labels, 3, 1.0)
    assert weights is not None
    assert weights[0] * 90 == pytest.approx(float(weights[1] * 10))
    assert weights[2] == 0
    assert float(weights[torch.from_numpy(labels)].mean()) == pytest.approx(1.0)
    assert class_weights(labels, 3, 0.0) is None
