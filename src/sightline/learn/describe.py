"""The network that a dataset and a train section ask for."""

from sightline.config.train import TrainConfig
from sightline.data.version import DatasetVersion
from sightline.models.backbones import embedding_dim
from sightline.models.bundle import BundleInfo, Preprocessing


def describe(version: DatasetVersion, config: TrainConfig) -> tuple[BundleInfo, Preprocessing]:
    """What to build, and the normalisation that goes with it.

    Raises:
        UsageError: the backbone is not known.
        EnvironmentFault: a timm backbone without timm.
    """
    info = BundleInfo(
        classes=version.info.classes,
        backbone=config.backbone,
        width=config.width,
        embedding_dim=embedding_dim(config.backbone, config.width),
        dataset_digests={split: version.info.digests[split] for split in ("train", "val")},
    )
    return info, Preprocessing(size_px=version.info.image_size_px)
