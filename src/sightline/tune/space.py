"""The points that are tried."""

import math

import numpy as np
from pydantic import BaseModel, ConfigDict

from sightline.config.train import TrainConfig
from sightline.config.tune import TuneConfig
from sightline.errors import UsageError


class Point(BaseModel):
    """The parameters of one trial."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lr: float
    weight_decay: float
    augment: float


def check_space(config: TuneConfig) -> None:
    """Makes sure that the ranges hold points.

    Raises:
        UsageError: names every key of the tune section that is wrong.
    """
    problems = []
    for key, (low, high) in (("lr_range", config.lr_range), ("weight_decay_range", config.weight_decay_range)):
        if not 0 < low < high:
            problems.append(f"tune.{key} is [{low:g}, {high:g}]: it needs 0 < low < high, for it is drawn on a log scale")
    if not config.augment_choices or not all(0 <= choice <= 1 for choice in config.augment_choices):
        problems.append(f"tune.augment_choices is {list(config.augment_choices)}: it needs at least one number, each in [0, 1]")
    if config.grace_epochs > config.max_epochs:
        problems.append(f"tune.grace_epochs ({config.grace_epochs}) is more than tune.max_epochs ({config.max_epochs})")
    if problems:
        raise UsageError("; ".join(problems), remedy="correct the tune section")


def draw_points(config: TuneConfig, train: TrainConfig) -> list[Point]:
    """``num_trials`` points, the same for the same seed; the first is the train section's own, so that tuned compares with untuned.

    Each range is cut into as many parts (on a log scale) as there are points to draw, and each part is used once: few points then cover a
    range evenly, where independent draws leave gaps. Source: McKay, Beckman & Conover, Technometrics 21 (1979), Latin hypercube sampling.
    """
    num = config.num_trials - 1
    rng = np.random.default_rng(config.seed)
    lrs, decays = _log_strata(config.lr_range, num, rng), _log_strata(config.weight_decay_range, num, rng)
    choices = rng.permutation(np.resize(config.augment_choices, num))
    own = Point(lr=train.lr, weight_decay=train.weight_decay, augment=train.augment)
    return [own, *(Point(lr=lr, weight_decay=decay, augment=float(choice)) for lr, decay, choice in zip(lrs, decays, choices, strict=True))]


def _log_strata(bounds: tuple[float, float], num: int, rng: np.random.Generator) -> list[float]:
    low, high = (math.log(bound) for bound in bounds)
    shares = (rng.permutation(num) + rng.random(num)) / max(num, 1)
    return [float(f"{math.exp(low + share * (high - low)):.3g}") for share in shares]
