"""What a run cost: its step records and the price of each pool of machines."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sightline.errors import DataError, UsageError
from sightline.store.objects import open_store
from sightline.store.records import StepRecord

_SPOT = "-spot"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PoolPrice(_Frozen):
    """One machine of a pool.

    Attributes:
        per_hour: price on demand.
        spot_per_hour: price as a spot machine; None where there is none.
        gpus: GPUs of one machine.
    """

    per_hour: float = Field(ge=0)
    spot_per_hour: float | None = Field(None, ge=0)
    gpus: int = Field(0, ge=0)


class Prices(_Frozen):
    """The prices file: a currency, and pools by the name that step records have (``gpu``; ``gpu-spot`` is the spot price of ``gpu``)."""

    currency: str
    pools: dict[str, PoolPrice]


class StepCost(_Frozen):
    """One attempt at a step.

    Attributes:
        seconds: wall clock; of an attempt that was killed, up to its last sign of life.
        gpu_minutes: GPUs that it held, times minutes.
        money: in the currency of the prices; None where the price is not known.
        unpriced: why it is not known; empty where it is.
    """

    name: str
    status: str
    cached: bool
    pool: str
    seconds: float
    gpu_minutes: float
    money: float | None
    unpriced: str


class RunCost(_Frozen):
    """All attempts of one or more runs. ``money`` is the sum over the steps whose price is known; ``unpriced`` names the others."""

    currency: str
    steps: tuple[StepCost, ...]
    seconds: float
    gpu_minutes: float
    money: float
    unpriced: tuple[str, ...]


def read_prices(place: str) -> Prices:
    """The prices in a YAML file, which is on this machine or on ``s3://``.

    Raises:
        UsageError: it is not there, is not YAML, or has unknown keys or impossible values; all problems are listed.
    """
    folder, _, name = place.rpartition("/")
    try:
        data = open_store(folder).read(name) if "://" in place else Path(place).read_bytes()
        return Prices.model_validate(yaml.safe_load(data))
    except (DataError, OSError) as error:
        raise UsageError(f"the prices cannot be read: {error}", remedy="check --prices (cluster.prices)") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{place} is not YAML: {error}") from None
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in error.errors()]
        raise UsageError(
            "\n  - ".join([f"{place}: {len(problems)} problem(s)", *problems]),
            remedy="for example: {currency: USD, pools: {gpu: {per_hour: 1.2, spot_per_hour: 0.5, gpus: 1}}}",
        ) from None


def cost_of(records: Sequence[StepRecord], prices: Prices) -> RunCost:
    """The cost of every attempt, failed and repeated ones too; a step that was found in the cache costs the seconds of finding it.

    A pool's machine counts as a whole, unless the step held some of its GPUs: then it counts by their share, and a job on several machines
    by as many machines as its GPUs fill.
    """
    steps = tuple(_step(record, prices) for record in records)
    return RunCost(
        currency=prices.currency,
        steps=steps,
        seconds=round(sum(step.seconds for step in steps), 3),
        gpu_minutes=round(sum(step.gpu_minutes for step in steps), 3),
        money=round(sum(step.money for step in steps if step.money is not None), 6),
        unpriced=tuple(dict.fromkeys(f"{step.name}: {step.unpriced}" for step in steps if step.unpriced)),
    )


def _step(record: StepRecord, prices: Prices) -> StepCost:
    price, problem = _price_per_hour(record, prices)
    return StepCost(
        name=record.name,
        status=record.status,
        cached=record.cached,
        pool=record.pool,
        seconds=record.seconds,
        gpu_minutes=round(record.num_gpus * record.seconds / 60, 3),
        money=None if price is None else round(price * record.seconds / 3600, 6),
        unpriced=problem,
    )


def _price_per_hour(record: StepRecord, prices: Prices) -> tuple[float | None, str]:
    """The price of what the step held, or why there is none."""
    if not record.pool:
        return None, "it is not known where it ran"
    is_spot = record.pool not in prices.pools and record.pool.endswith(_SPOT)
    pool = prices.pools.get(record.pool.removesuffix(_SPOT) if is_spot else record.pool)
    if pool is None:
        return None, f"pool {record.pool} has no price"
    price = pool.spot_per_hour if is_spot else pool.per_hour
    if price is None:
        return None, f"pool {record.pool.removesuffix(_SPOT)} has no spot price"
    if record.num_gpus and not pool.gpus:
        return None, f"it held {record.num_gpus} GPUs, and pool {record.pool} has none in the prices"
    return price * (record.num_gpus / pool.gpus if record.num_gpus else 1), ""
