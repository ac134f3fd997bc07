"""What a run cost, checked by hand."""

import pytest

from sightline.errors import UsageError
from sightline.report.cost import PoolPrice, Prices, cost_of, read_prices
from sightline.store.records import StepRecord

PRICES = Prices(
    currency="USD",
    pools={"cpu": PoolPrice(per_hour=0.36), "gpu": PoolPrice(per_hour=7.2, spot_per_hour=3.6, gpus=4)},
)


def record(name="train", seconds=100.0, **fields):
    return StepRecord(name=name, started_at=0.0, seconds=seconds, status=fields.pop("status", "done"), **fields)


def money(**fields):
    (step,) = cost_of([record(**fields)], PRICES).steps
    return step.money


def test_a_step_costs_its_share_of_an_hour_of_its_machine():
    assert money(pool="cpu") == pytest.approx(0.01)
    assert money(pool="gpu", num_gpus=4) == pytest.approx(0.2)


def test_some_gpus_of_a_machine_cost_their_share_and_many_as_many_machines_as_they_fill():
    assert money(pool="gpu", num_gpus=1) == pytest.approx(0.05)
    assert money(pool="gpu", num_gpus=8) == pytest.approx(0.4)


def test_a_spot_machine_costs_its_spot_price():
    assert money(pool="gpu-spot", num_gpus=4) == pytest.approx(0.1)
    assert money(pool="cpu-spot") is None


def test_every_attempt_counts_and_a_cached_step_costs_only_its_own_seconds():
    records = [record(pool="cpu", status="failed"), record(pool="cpu"), record(name="gate-trained", seconds=1.0, pool="cpu", cached=True)]
    cost = cost_of(records, PRICES)
    assert cost.money == pytest.approx(0.36 * 201 / 3600)
    assert (cost.seconds, cost.gpu_minutes, cost.unpriced) == (201.0, 0.0, ())


def test_gpu_minutes_are_gpus_times_minutes():
    assert cost_of([record(pool="gpu", num_gpus=2), record(pool="cpu")], PRICES).gpu_minutes == pytest.approx(2 * 100 / 60, abs=1e-3)


def test_a_step_without_a_price_is_named_and_never_counted_as_free():
    records = [record("ingest"), record("train", pool="tpu"), record("train", pool="tpu"), record("deploy", pool="cpu", num_gpus=1)]
    cost = cost_of([*records, record("report", pool="cpu")], PRICES)
    assert cost.unpriced == (
        "ingest: it is not known where it ran",
        "train: pool tpu has no price",
        "deploy: it held 1 GPUs, and pool cpu has none in the prices",
    )
    assert [step.money is None for step in cost.steps] == [True, True, True, True, False]
    assert cost.money == pytest.approx(0.01)


def test_a_prices_file_is_read(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text("currency: EUR\npools:\n  cpu: {per_hour: 0.38, spot_per_hour: 0.15, gpus: 0}\n")
    assert read_prices(str(path)) == Prices(currency="EUR", pools={"cpu": PoolPrice(per_hour=0.38, spot_per_hour=0.15)})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("currency: USD\npools: {cpu: {per_hour: -1, price: 2}}", r"(?s)2 problem.*pools.cpu.per_hour.*pools.cpu.price"),
        ("pools: {}", "currency"),
        ("{", "not YAML"),
        ("[]", "the file: "),
        ("", "the file: "),
    ],
)
def test_what_is_wrong_in_a_prices_file_is_said(tmp_path, text, told):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        read_prices(str(path))


@pytest.mark.parametrize("place", ["nothing-here.yaml", "s3:///prices.yaml"])
def test_a_prices_file_that_cannot_be_read_is_a_usage_error(place):
    with pytest.raises(UsageError):
        read_prices(place)
