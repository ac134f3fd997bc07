import math

import pytest

from sightline.config.train import TrainConfig
from sightline.config.tune import TuneConfig
from sightline.errors import UsageError
from sightline.tune.space import check_space, draw_points


def test_the_first_point_is_the_train_sections_own():
    own = draw_points(TuneConfig(), TrainConfig(lr=0.123, augment=0.2))[0]
    assert (own.lr, own.weight_decay, own.augment) == (0.123, 1e-3, 0.2)


def test_the_same_seed_gives_the_same_points_and_another_others():
    assert draw_points(TuneConfig(), TrainConfig()) == draw_points(TuneConfig(), TrainConfig())
    assert draw_points(TuneConfig(), TrainConfig()) != draw_points(TuneConfig(seed=8), TrainConfig())


@pytest.mark.parametrize("seed", range(5))
def test_every_part_of_the_log_range_is_tried_once(seed):
    points = draw_points(TuneConfig(num_trials=9, lr_range=(1e-4, 1.0), seed=seed), TrainConfig())[1:]
    parts = sorted(int((math.log10(point.lr) + 4) / 4 * 8) for point in points)
    assert parts == list(range(8))


def test_one_trial_is_the_untuned_one():
    assert len(draw_points(TuneConfig(num_trials=1), TrainConfig())) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lr_range": (1e-2, 1e-2)}, "tune.lr_range"),
        ({"lr_range": (0.0, 1e-2)}, "tune.lr_range"),
        ({"weight_decay_range": (1e-2, 1e-5)}, "tune.weight_decay_range"),
        ({"weight_decay_range": (-1.0, 1e-5)}, "tune.weight_decay_range"),
        ({"augment_choices": ()}, "tune.augment_choices"),
        ({"augment_choices": (0.5, 1.5)}, "tune.augment_choices"),
        ({"grace_epochs": 9}, "tune.grace_epochs"),
    ],
)
def test_an_empty_space_names_its_key(change, words):
    with pytest.raises(UsageError, match=words):
        check_space(TuneConfig(**change))


def test_all_wrong_keys_are_named_at_once():
    with pytest.raises(UsageError, match=r"lr_range.*weight_decay_range"):
        check_space(TuneConfig(lr_range=(1, 0.1), weight_decay_range=(1, 0.1)))
