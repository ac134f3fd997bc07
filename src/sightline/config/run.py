"""The whole configuration of a run."""

from sightline.config.base import Section
from sightline.config.cluster import ClusterConfig
from sightline.config.compile import CompileConfig
from sightline.config.deploy import DeployConfig
from sightline.config.gate import GateConfig
from sightline.config.ingest import IngestConfig
from sightline.config.monitor import MonitorConfig
from sightline.config.store import StoreConfig
from sightline.config.train import TrainConfig
from sightline.config.tune import TuneConfig


class RunConfig(Section):
    """One `sightline.yaml`: a section per step, and where things are kept."""

    ingest: IngestConfig = IngestConfig()
    tune: TuneConfig = TuneConfig()
    train: TrainConfig = TrainConfig()
    gate: GateConfig = GateConfig()
    compile: CompileConfig = CompileConfig()
    deploy: DeployConfig = DeployConfig()
    monitor: MonitorConfig = MonitorConfig()
    store: StoreConfig = StoreConfig()
    cluster: ClusterConfig = ClusterConfig()
