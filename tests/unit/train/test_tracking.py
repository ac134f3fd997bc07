import logging

import pytest

from sightline.train.job import Epoch
from sightline.train.tracking import TrackedRun, Tracker

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
EPOCHS = [Epoch(epoch=number, train_loss=1.0, val_loss=2.0, val_accuracy=0.5, lr=0.1) for number in (1, 2)]
RUN = TrackedRun(name="train r", tags={"k": "v"}, params={"lr": 0.1}, epochs=EPOCHS)


def test_a_run_id_in_the_environment_is_continued_and_left_open(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/ml.db"
    client = MlflowClient(tracking_uri=uri)
    parent = client.create_run(client.create_experiment("pipeline", artifact_location=tmp_path.as_uri())).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", parent)
    tracker = Tracker(uri)
    assert tracker.log(RUN)
    tracker.close()
    found = client.get_run(parent)
    assert found.info.status == "RUNNING"
    assert found.data.metrics["val/accuracy"] == 0.5
    assert client.search_runs([client.get_experiment_by_name("sightline").experiment_id]) == []


def test_a_dead_server_is_a_warning(caplog, monkeypatch):
    # Libraries that another test used in this process may have raised the root's level or switched off loggers that they do not know.
    logger = logging.getLogger("sightline.train.tracking")
    monkeypatch.setattr(logger, "disabled", False)
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    caplog.set_level(logging.WARNING, logger=logger.name)
    tracker = Tracker("http://127.0.0.1:9")
    assert not tracker.log(RUN)
    tracker.close()
    assert "history.json has its numbers" in caplog.text
