"""`sightline triton`: a compiled bundle as a model repository for Triton Inference Server."""

from pathlib import Path


def export(bundle: Path, *, output: Path, variant: str, name: str, tag: str) -> Path:
    """The folder of the model in the repository.

    Args:
        bundle: a compiled bundle.
        output: the repository.
        variant: which one; empty: the one that ships.
        name: the model's name in URLs.
        tag: of the Triton release, for TensorRT plans.

    Raises:
        UsageError: Triton does not run the variant, or a model of this name is there.
        UnavailableError: the tag's TensorRT is another one than the plan's, or not known.
        DataError: the bundle is damaged.
    """
    from sightline.compile.triton import Options, write_repository
    from sightline.models.bundle import ModelBundle

    opened = ModelBundle.open(bundle)
    return write_repository(opened, variant or opened.info.chosen, output, Options(name=name, tag=tag))
