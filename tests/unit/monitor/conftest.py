from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drift_streams import draw, write_reference

from sightline.models.bundle import ModelBundle
from sightline.monitor.sample import Sample


@pytest.fixture
def stream() -> Callable[..., Sample]:
    return draw


@pytest.fixture
def bundle(tmp_path: Path) -> ModelBundle:
    return write_reference(tmp_path / "cache" / "compiled", draw(150, np.random.default_rng(1)))
