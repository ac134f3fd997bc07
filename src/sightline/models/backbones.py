"""The feature extractors by name: `compact` (built in) and `timm/<name>`."""

import difflib
import importlib.util
from typing import TYPE_CHECKING, Any

from sightline.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    from torch import nn

COMPACT = "compact"
_TIMM = "timm/"


def embedding_dim(backbone: str, width: int) -> int:
    """Length of the embedding: 16 × width for the compact backbone, the network's own for timm (it is built once to find out).

    Raises:
        UsageError: the name is not known.
        EnvironmentFault: a timm backbone without timm.
    """
    if backbone == COMPACT:
        return width * 16
    network: Any = _timm(backbone, pretrained=False)
    return int(network.num_features)


def make_backbone(backbone: str, *, width: int, pretrained: bool) -> "nn.Module":
    """A module from normalised float images (batch, 3, H, W) to embeddings (batch, D).

    Args:
        backbone: ``compact`` or ``timm/<name>``.
        width: channels of the compact backbone's stem; timm backbones ignore it.
        pretrained: published weights (timm only; fetched from their hub).

    Raises:
        UsageError: the name is not known, or published weights were asked of the compact backbone.
        EnvironmentFault: a timm backbone without timm, or its weights cannot be fetched.
    """
    if backbone != COMPACT:
        return _timm(backbone, pretrained=pretrained)
    if pretrained:
        raise UsageError(
            "there are no published weights for train.backbone=compact", remedy="set train.pretrained=false, or use timm/<name>"
        )
    return _compact(width)


def _compact(width: int) -> "nn.Module":
    """A stem and three residual stages, each halving the image and doubling the channels: 64 px become 4 × 4 × 8 width, then pooled."""
    from torch import Tensor, cat, nn

    class MeanAndMax(nn.Module):
        """The mean and the maximum of each channel: a small defect drowns in the mean alone (accuracy 0.32 against 0.75)."""

        def forward(self, features_BCHW: Tensor) -> Tensor:
            return cat([features_BCHW.mean((2, 3)), features_BCHW.amax((2, 3))], dim=1)

    layers: list[nn.Module] = [_conv(3, width, stride=2), _norm(width), nn.ReLU()]
    layers.extend(_residual(width * 2**stage, width * 2 ** (stage + 1)) for stage in range(3))
    return nn.Sequential(*layers, MeanAndMax())


def _residual(num_in: int, num_out: int) -> "nn.Module":
    from torch import Tensor, nn

    class Residual(nn.Module):
        """Two convolutions around a projected shortcut. Source: He et al., Deep Residual Learning, arXiv 1512.03385."""

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                _conv(num_in, num_out, stride=2),
                _norm(num_out),
                nn.ReLU(),
                _conv(num_out, num_out, stride=1),
                _norm(num_out),
            )
            self.shortcut = nn.Sequential(nn.Conv2d(num_in, num_out, 1, stride=2, bias=False), _norm(num_out))
            self.activate = nn.ReLU()

        def forward(self, images_BCHW: Tensor) -> Tensor:
            out: Tensor = self.activate(self.body(images_BCHW) + self.shortcut(images_BCHW))
            return out

    return Residual()


def _conv(num_in: int, num_out: int, *, stride: int) -> "nn.Module":
    from torch import nn

    # No bias: a batch norm follows and has one.
    return nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1, bias=False)


def _norm(num_channels: int) -> "nn.Module":
    from torch import nn

    # Torch's default momentum of 0.1 forgets its start so slowly that after 20 steps a network that has learnt still guesses in eval mode.
    return nn.BatchNorm2d(num_channels, momentum=0.2)


def _timm(backbone: str, *, pretrained: bool) -> "nn.Module":
    name = backbone.removeprefix(_TIMM)
    if not backbone.startswith(_TIMM) or not name:
        near = difflib.get_close_matches(backbone, [COMPACT, "timm/resnet18", "timm/mobilenetv3_small_100"], cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"train.backbone '{backbone}' is not known{hint}", remedy="use `compact` or `timm/<name>`")
    if importlib.util.find_spec("timm") is None:
        raise EnvironmentFault(f"train.backbone '{backbone}' needs timm, which is not installed", remedy="pip install 'sightline[timm]'")
    import timm

    if name not in timm.list_models():
        near = difflib.get_close_matches(name, timm.list_models(), n=4, cutoff=0.5)
        hint = f"; did you mean {' or '.join(_TIMM + match for match in near)}?" if near else ""
        raise UsageError(f"timm has no backbone '{name}'{hint}", remedy="`python -c 'import timm; print(timm.list_models())'` lists them")
    try:
        network: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0)
    except OSError as error:
        raise EnvironmentFault(
            f"the published weights of '{backbone}' cannot be fetched: {error}", remedy="set train.pretrained=false"
        ) from error
    return network
