"""A real S3 server on loopback, for tests."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BUCKET = "bucket"


@contextmanager
def running_s3() -> Iterator[str]:
    """The address of a server with one empty bucket; the environment points to it, also for processes that are started meanwhile."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    values = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in values.items():
                patch.setenv(name, value)
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            yield url
    finally:
        server.stop()


@contextmanager
def s3_bucket() -> Iterator[str]:
    """The address (``s3://…``) of an empty bucket; its name is new, because all servers of one process share what they hold."""
    import boto3

    with running_s3():
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        boto3.client("s3").create_bucket(Bucket=name)
        yield f"s3://{name}"
