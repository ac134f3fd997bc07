"""Whether a verdict allows a model to be deployed now, whatever a pipeline's branch says."""

import datetime
import time

from pydantic import BaseModel, ConfigDict

from sightline.errors import DataError
from sightline.evaluate.verdict import Override, Verdict
from sightline.models.bundle import ModelBundle
from sightline.registry.overrides import overrides_for
from sightline.store.artifact import Artifact


class _GoldenDigest(BaseModel):
    """The part of ``dataset.json`` that shows on which golden images the verdict was made."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    digests: dict[str, str]


def verify(verdict: Verdict, bundle: ModelBundle, dataset: Artifact, *, registry: str) -> None:
    """Returns when the verdict passes this very bundle on the golden images of this dataset, and its overrides hold now.

    Raises:
        DataError: it does not; every reason at once.
    """
    problems = []
    if verdict.outcome != "pass":
        problems.append(f"the verdict says '{verdict.outcome}': {verdict.reason}")
    if verdict.stage != "compiled":
        problems.append(f"the verdict is about the {verdict.stage} model, expected the compiled one")
    if verdict.candidate != bundle.digest:
        problems.append(f"the verdict is about model {verdict.candidate[:12]}, this one is {bundle.digest[:12]}")
    if verdict.variant != bundle.info.chosen:
        problems.append(f"the verdict is about variant '{verdict.variant}', the bundle serves '{bundle.info.chosen}'")
    golden = _GoldenDigest.model_validate_json(dataset.file("dataset.json").read_bytes()).digests.get("golden", "")
    if verdict.golden_digest != golden:
        problems.append("the verdict was made on another golden set than this dataset has")
    if problems:
        raise DataError("the verdict does not allow this model to be deployed", problems=problems, remedy="run the gate on this model")
    _verify_overrides(verdict, registry)


def _verify_overrides(verdict: Verdict, registry: str) -> None:
    """Stops when an override that the verdict rests on is not valid now, whatever was valid when the gate ran."""
    if not verdict.overrides:
        return
    now = time.time()
    valid = overrides_for(registry, verdict.candidate, verdict.golden_digest, now)
    problems = [_not_valid(override, now) for override in verdict.overrides if override not in valid]
    if problems:
        raise DataError(
            "the verdict rests on overrides that are not valid now",
            problems=problems,
            remedy="run the gate again, and record a new override (sightline gate override) if the model shall ship all the same",
        )


def _not_valid(override: Override, now: float) -> str:
    about = f"the override of {', '.join(override.checks)} by {override.who}"
    if override.until <= now:
        ended = datetime.datetime.fromtimestamp(override.until, tz=datetime.UTC)
        return f"{about} expired on {ended:%Y-%m-%d %H:%M} UTC"
    return f"{about} is not in the registry for this model and these golden images"
