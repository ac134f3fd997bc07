"""The configuration of a run that takes seconds."""

from pathlib import Path

from sightline.config.compile import CompileConfig
from sightline.config.deploy import DeployConfig
from sightline.config.gate import GateConfig
from sightline.config.ingest import IngestConfig
from sightline.config.run import RunConfig
from sightline.config.train import TrainConfig
from sightline.config.tune import TuneConfig


def small_config(images: Path, **gate: object) -> RunConfig:
    return RunConfig(
        ingest=IngestConfig(source=str(images), group_by=("lot",), slices=("material", "camera"), min_images_per_class=5),
        tune=TuneConfig(enabled=False),
        train=TrainConfig(epochs=2, num_processes=1, warm_start=False),
        gate=GateConfig(
            **{"min_accuracy": 0.01, "min_slice_accuracy": 0.0, "margin": 0.5, "parity_margin": 0.5, "cluster": "image", **gate}
        ),
        compile=CompileConfig(variants=("onnxruntime-fp32", "openvino-fp32"), rounds=5, max_accuracy_drop=0.5, min_agreement=0.5),
        deploy=DeployConfig(min_requests=40, max_requests=1000, num_sentinels=4),
    )
