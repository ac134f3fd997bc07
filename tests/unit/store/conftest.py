from collections.abc import Iterator

import pytest

from tests.s3 import running_s3


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of an S3 server that the environment points to."""
    with running_s3() as url:
        yield url
