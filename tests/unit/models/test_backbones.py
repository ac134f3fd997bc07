import importlib.util

import pytest

from sightline.errors import EnvironmentFault, UsageError
from sightline.models.backbones import embedding_dim, make_backbone


def test_a_misspelt_name_is_answered_with_the_nearest_one():
    with pytest.raises(UsageError, match="did you mean compact"):
        make_backbone("compcat", width=8, pretrained=False)


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is here")
def test_a_timm_backbone_without_timm_names_the_extra():
    with pytest.raises(EnvironmentFault, match=r"pip install 'sightline\[timm\]'"):
        embedding_dim("timm/resnet18", 16)


def test_there_are_no_published_weights_for_the_compact_backbone():
    with pytest.raises(UsageError, match="pretrained=false"):
        make_backbone("compact", width=8, pretrained=True)


def test_the_embedding_is_eight_times_the_width():
    assert embedding_dim("compact", 16) == 256
