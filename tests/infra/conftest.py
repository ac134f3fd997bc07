"""What the tests of the infrastructure share."""

from collections.abc import Iterator

import pytest

from tests.infra.aws_double import running_aws
from tests.infra.terraform import binary, copied
from tests.infra.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An empty account."""
    binary()
    with running_aws() as url:
        yield World(url, copied(tmp_path_factory.mktemp("infra")))
