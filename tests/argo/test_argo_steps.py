"""The end-to-end tests against the double: real HTTP, the real client, the real steps as processes that share nothing but S3."""

import os
import sys
import threading
from pathlib import Path

import pytest

from pipelines.argo.server import connect
from tests.argo.argo_server import ArgoServer
from tests.argo.controller import Controller
from tests.e2e import test_argo as e2e
from tests.e2e.places import Argo, places_below
from tests.s3 import BUCKET, running_s3

pytestmark = pytest.mark.timeout(900)

templates = e2e.templates
test_a_model_that_passes_both_gates_is_promoted = (
    e2e.test_a_model_that_passes_both_gates_is_promoted_and_the_same_key_never_starts_a_second_run
)
test_a_schedule_starts_a_run_and_is_gone_after_it_was_removed = e2e.test_a_schedule_starts_a_run_and_is_gone_after_it_was_removed
test_a_model_that_the_gate_refuses_is_rejected = pytest.mark.slow(
    e2e.test_a_model_that_the_gate_refuses_is_rejected_and_nothing_is_compiled
)
test_a_run_that_waits_for_a_person_is_approved = pytest.mark.slow(
    e2e.test_a_run_that_waits_for_a_person_deploys_nothing_before_it_is_approved
)
test_a_run_that_was_stopped_is_reported_and_can_be_tried_again = pytest.mark.slow(
    e2e.test_a_run_that_was_stopped_is_reported_and_can_be_tried_again
)


@pytest.fixture(scope="module")
def argo(tmp_path_factory):
    server = ArgoServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    with running_s3():
        environment = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
        controller = Controller(server, tmp_path_factory.mktemp("pods"), Path(sys.executable).parent, environment)
        with connect(server.url) as connected:
            tracking = f"sqlite:///{tmp_path_factory.mktemp('tracking')}/mlflow.db"
            store = places_below(f"s3://{BUCKET}/argo").model_copy(update={"tracking": tracking})
            yield Argo(server=connected, store=store, patience_s=600.0, every_s=0.2)
        controller.close()
    server.shutdown()
    server.server_close()
    thread.join()
