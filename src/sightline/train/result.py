"""What a training on other machines leaves in the store: weights and history, whole or not at all."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.errors import DataError
from sightline.models.weights import WEIGHTS
from sightline.store.objects import MissingObjectError, open_store
from sightline.train.job import Epoch

_RESULT = "result/result.json"
_WEIGHTS = f"result/{WEIGHTS}"


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    weights_sha256: str
    epochs: tuple[Epoch, ...]


def put_result(place: str, folder: Path, epochs: Sequence[Epoch]) -> None:
    """Keeps the weights in ``folder`` and the epochs at the job's place; what names them is written last."""
    store = open_store(place)
    result = _Result(weights_sha256=store.upload(folder / WEIGHTS, _WEIGHTS), epochs=tuple(epochs))
    store.write(_RESULT, result.model_dump_json().encode())


def take_result(place: str, folder: Path) -> list[Epoch] | None:
    """The epochs, with the verified weights put into ``folder``; None when the training has not ended."""
    store = open_store(place)
    try:
        result = _Result.model_validate_json(store.read(_RESULT))
    except MissingObjectError:
        return None
    except ValidationError as error:
        raise DataError(f"{place}/{_RESULT} is damaged: {error.error_count()} invalid fields", remedy="delete it and train again") from None
    store.download(_WEIGHTS, folder / WEIGHTS, sha256=result.weights_sha256)
    return list(result.epochs)
