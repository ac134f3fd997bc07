"""The network: uint8 images in, logits and embedding out."""

from typing import TYPE_CHECKING

from sightline.models.backbones import make_backbone
from sightline.models.bundle import BundleInfo, Preprocessing

if TYPE_CHECKING:
    from torch import nn


def build(info: BundleInfo, preprocessing: Preprocessing, *, pretrained: bool = False) -> "nn.Module":
    """A fresh network for the bundle's description, in training mode, initialised from torch's global random state.

    Its ``forward`` takes uint8 RGB images of shape (batch, H, W, 3) and returns ``(logits, embedding)``, of shapes (batch, classes) and
    (batch, D). Normalisation is inside, with the constants of ``preprocessing``, which are no part of the saved weights.

    Args:
        info: names the backbone, its width and the classes.
        preprocessing: mean and standard deviation per channel.
        pretrained: start the backbone from published weights (timm only).

    Raises:
        UsageError: the backbone is not known.
        EnvironmentFault: a timm backbone without timm.
    """
    import torch
    from torch import Tensor, nn

    class Network(nn.Module):
        """Normalise, extract features, classify."""

        scale: Tensor
        shift: Tensor

        def __init__(self) -> None:
            super().__init__()
            mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
            self.register_buffer("scale", 1.0 / (255.0 * std), persistent=False)
            self.register_buffer("shift", -mean / std, persistent=False)
            self.backbone = make_backbone(info.backbone, width=info.width, pretrained=pretrained)
            self.head = nn.Linear(info.embedding_dim, len(info.classes))

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            normalised_BHWC = images.to(torch.float32) * self.scale + self.shift
            # NHWC seen as NCHW is channels_last memory: no copy, and the layout that convolutions want (2.2 × on CPUs with bf16).
            embedding = self.backbone(normalised_BHWC.permute(0, 3, 1, 2))
            return self.head(embedding), embedding

    network: nn.Module = Network().to(memory_format=torch.channels_last)
    return network
