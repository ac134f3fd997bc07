"""The contracts of the steps: one thin Kubeflow component per folder, the work is in `src/sightline/<step>`."""

from components.compile.component import compile
from components.deploy.component import deploy
from components.gate.component import gate
from components.ingest.component import ingest
from components.monitor.component import monitor
from components.reject.component import reject
from components.report.component import report
from components.submit.component import submit
from components.train.component import train
from components.tune.component import tune

__all__ = ["compile", "deploy", "gate", "ingest", "monitor", "reject", "report", "submit", "train", "tune"]
