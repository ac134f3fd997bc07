"""ModelBundle: everything that a model needs to answer, in one verified folder. No pickle is ever read from it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sightline.errors import DataError
from sightline.store.artifact import Artifact, open_artifact

TRAINED = "model"
COMPILED = "compiled-model"


class Preprocessing(BaseModel):
    """``preprocessing.json``: from bytes to the network's input, the same in training, gate and serving.

    Bytes are decoded and resized by ``sightline.images`` to uint8 RGB of ``size_px``; the network itself (in every variant) divides by 255,
    subtracts ``mean`` and divides by ``std``, so that every runtime takes uint8 NHWC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    size_px: int
    colour: str = "RGB"
    resize: str = "bilinear-antialias"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    max_pixels: int = 50_000_000


class BundleInfo(BaseModel):
    """``model.json``: what the network is.

    Attributes:
        classes: class names in the order of the outputs.
        backbone: name as in the train section.
        width: width of the compact backbone.
        embedding_dim: length of the embedding output.
        dataset_digests: digest of each split that the weights or the calibration came from.
        parent: digest of the bundle whose weights training started from, or empty.
        chosen: the variant that ships; empty for a bundle that was not compiled.
        variants: variant name to its file in the bundle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    classes: tuple[str, ...]
    backbone: str
    width: int
    embedding_dim: int
    dataset_digests: dict[str, str]
    parent: str = ""
    chosen: str = ""
    variants: dict[str, str] = {}


class ModelBundle:
    """A verified model folder: ``weights.safetensors``, ``model.json``, ``preprocessing.json``.

    Compiled ones also have ``model.onnx``, their variants and ``reference.parquet``.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.info = BundleInfo.model_validate_json(artifact.file("model.json").read_bytes())
        self.preprocessing = Preprocessing.model_validate_json(artifact.file("preprocessing.json").read_bytes())

    @classmethod
    def open(cls, folder: str | Path) -> "ModelBundle":
        """The bundle in ``folder``; DataError when it is not whole."""
        return cls(open_artifact(Path(folder), (TRAINED, COMPILED)))

    def variant_file(self, variant: str) -> Path:
        """The main file of a compiled variant; DataError for a variant that the bundle does not have."""
        if variant not in self.info.variants:
            known = ", ".join(self.info.variants) or "none (it was not compiled)"
            raise DataError(f"{self.artifact.folder} has no variant '{variant}'; it has: {known}")
        return self.artifact.file(self.info.variants[variant])

    @property
    def digest(self) -> str:
        """The content digest of the bundle."""
        return self.artifact.digest
