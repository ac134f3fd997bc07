import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sightline.errors import DataError, TemporaryError, UsageError
from sightline.models.bundle import ModelBundle
from sightline.registry.ledger import Ledger

Make = Callable[[str], ModelBundle]
_SPAWN = multiprocessing.get_context("forkserver")


def promote(ledger: Ledger, bundle: ModelBundle, expected: int) -> int:
    return ledger.promote(bundle, expected_generation=expected, run_id=f"run-{expected}", verdict_digest="v").generation


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "registry")


def test_there_is_no_champion_before_the_first_promotion(root: str) -> None:
    assert Ledger(root).champion() is None
    assert Ledger(root).history() == []


def test_a_promotion_keeps_a_copy_that_survives_the_loss_of_the_cache(root: str, make_bundle: Make) -> None:
    bundle = make_bundle("one")
    promote(Ledger(root), bundle, 0)
    (bundle.artifact.folder / "weights.safetensors").unlink()
    champion = Ledger(root).champion()
    assert champion is not None
    assert (champion.generation, champion.digest, champion.previous, champion.run_id) == (1, bundle.digest, None, "run-0")
    assert ModelBundle.open(champion.folder).digest == bundle.digest


def test_damage_to_the_cache_does_not_reach_the_champion(root: str, make_bundle: Make) -> None:
    bundle = make_bundle("one")
    promote(Ledger(root), bundle, 0)
    (bundle.artifact.folder / "weights.safetensors").write_bytes(b"altered in place")
    assert Ledger(root).champion() is not None


def test_promoting_the_champion_again_changes_nothing(root: str, make_bundle: Make) -> None:
    ledger = Ledger(root)
    promote(ledger, make_bundle("one"), 0)
    assert promote(ledger, make_bundle("one"), 0) == 1
    assert len(ledger.history()) == 1


def test_a_stale_expectation_loses_and_is_told_who_won(root: str, make_bundle: Make) -> None:
    ledger = Ledger(root)
    promote(ledger, make_bundle("one"), 0)
    promote(ledger, make_bundle("two"), 1)
    with pytest.raises(TemporaryError, match="generation 2 was promoted by run 'run-1'"):
        promote(ledger, make_bundle("three"), 1)


def test_a_bundle_that_changed_since_it_was_opened_is_refused_before_the_ledger_names_it(root: str, make_bundle: Make) -> None:
    bundle = make_bundle("one")
    (bundle.artifact.folder / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match="altered while it was copied"):
        promote(Ledger(root), bundle, 0)
    assert Ledger(root).champion() is None


def test_rollback_is_a_new_generation_with_the_previous_bundle(root: str, make_bundle: Make) -> None:
    ledger = Ledger(root)
    promote(ledger, make_bundle("one"), 0)
    promote(ledger, make_bundle("two"), 1)
    back = ledger.rollback()
    assert (back.generation, back.digest) == (3, make_bundle("one").digest)
    assert ledger.champion() == back


def test_a_second_rollback_never_returns_to_the_model_that_was_rolled_back(root: str, make_bundle: Make) -> None:
    ledger = Ledger(root)
    for number, name in enumerate(("one", "two", "three")):
        promote(ledger, make_bundle(name), number)
    assert ledger.rollback().digest == make_bundle("two").digest
    assert ledger.rollback().digest == make_bundle("one").digest
    with pytest.raises(UsageError, match="no earlier champion"):
        ledger.rollback()


def test_rollback_after_a_repair_skips_the_model_that_was_rolled_back(root: str, make_bundle: Make) -> None:
    ledger = Ledger(root)
    promote(ledger, make_bundle("one"), 0)
    promote(ledger, make_bundle("bad"), 1)
    ledger.rollback()
    promote(ledger, make_bundle("three"), 3)
    assert ledger.rollback().digest == make_bundle("one").digest


def test_rollback_to_a_damaged_bundle_is_refused(root: str, make_bundle: Make) -> None:
    ledger = Ledger(root)
    promote(ledger, make_bundle("one"), 0)
    promote(ledger, make_bundle("two"), 1)
    (Path(ledger.history()[0].folder) / "weights.safetensors").write_bytes(b"rot")
    with pytest.raises(DataError):
        ledger.rollback()
    assert len(ledger.history()) == 2


def test_a_damaged_champion_is_an_error_and_rollback_still_works(root: str, make_bundle: Make) -> None:
    ledger = Ledger(root)
    promote(ledger, make_bundle("one"), 0)
    promote(ledger, make_bundle("two"), 1)
    (Path(ledger.history()[1].folder) / "weights.safetensors").write_bytes(b"rot")
    with pytest.raises(DataError):
        ledger.champion()
    assert ledger.rollback().generation == 3


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_any_flipped_bit_in_the_chain_is_an_error_and_never_a_reset(root: str, make_bundle: Make, generation: int) -> None:
    ledger = Ledger(root)
    for number, name in enumerate(("one", "two", "three")):
        promote(ledger, make_bundle(name), number)
    path = Path(root) / "ledger" / f"{generation:08d}.json"
    original = path.read_bytes()
    for position in range(0, len(original), 7):
        path.write_bytes(original[:position] + bytes([original[position] ^ 1]) + original[position + 1 :])
        with pytest.raises(DataError, match="ledger is broken"):
            ledger.history()
    path.write_bytes(original)
    assert len(ledger.history()) == 3


def test_a_missing_generation_is_an_error(root: str, make_bundle: Make) -> None:
    ledger = Ledger(root)
    for number, name in enumerate(("one", "two", "three")):
        promote(ledger, make_bundle(name), number)
    (Path(root) / "ledger" / "00000002.json").unlink()
    with pytest.raises(DataError, match=r"generations \[2\] are missing"):
        ledger.champion()


def test_a_rewritten_generation_breaks_the_chain_even_with_a_valid_checksum(root: str, make_bundle: Make) -> None:
    ledger = Ledger(root)
    promote(ledger, make_bundle("one"), 0)
    promote(ledger, make_bundle("two"), 1)
    forged = Ledger(root + "-forged")
    promote(forged, make_bundle("evil"), 0)
    (Path(root) / "ledger" / "00000001.json").write_bytes((Path(root + "-forged") / "ledger" / "00000001.json").read_bytes())
    with pytest.raises(DataError, match="generation 2 does not follow generation 1"):
        ledger.champion()


def _race(
    root: str, folder: str, expected: int, start: "multiprocessing.synchronize.Barrier", results: "multiprocessing.Queue[str]"
) -> None:
    bundle = ModelBundle.open(folder)
    start.wait()
    try:
        results.put(f"won:{promote(Ledger(root), bundle, expected)}")
    except TemporaryError:
        results.put("lost")


def test_of_processes_that_promote_at_once_exactly_one_wins_each_generation(root: str, make_bundle: Make) -> None:
    num_processes = 6
    for expected in range(2):
        folders = [str(make_bundle(f"racer-{expected}-{index}").artifact.folder) for index in range(num_processes)]
        start, results = _SPAWN.Barrier(num_processes), _SPAWN.Queue()
        racers = [_SPAWN.Process(target=_race, args=(root, folder, expected, start, results)) for folder in folders]
        for racer in racers:
            racer.start()
        outcomes = sorted(results.get(timeout=60) for _ in racers)
        for racer in racers:
            racer.join()
        assert outcomes == ["lost"] * (num_processes - 1) + [f"won:{expected + 1}"]
    assert len(Ledger(root).history()) == 2


def _promote_for_ever(root: str, folders: list[str]) -> None:
    ledger, bundles = Ledger(root), [ModelBundle.open(folder) for folder in folders]
    while True:
        for bundle in bundles:
            ledger.promote(bundle, expected_generation=len(ledger.history()), run_id="r", verdict_digest="v")


def test_a_promoter_killed_at_any_moment_leaves_a_whole_chain(root: str, make_bundle: Make) -> None:
    folders = [str(make_bundle(name).artifact.folder) for name in ("one", "two")]
    seen = 0
    for attempt in range(12):
        promoter = _SPAWN.Process(target=_promote_for_ever, args=(root, folders))
        promoter.start()
        before = seen
        deadline = time.monotonic() + 30
        while len(list(Path(root).glob("ledger/*.json"))) <= before and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(0.003 * (attempt % 5))
        os.kill(promoter.pid or 0, signal.SIGKILL)
        promoter.join()
        history = Ledger(root).history()
        champion = Ledger(root).champion()
        assert champion == history[-1]
        assert [entry.generation for entry in history] == list(range(1, len(history) + 1))
        assert len(history) > before
        seen = len(history)


@pytest.fixture(scope="module")
def s3_root() -> Iterator[str]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="models")
        yield "s3://models/registry"
    server.stop()


def test_on_s3_another_machine_downloads_a_verified_copy(s3_root: str, make_bundle: Make, tmp_path: Path) -> None:
    here = Ledger(s3_root, cache=str(tmp_path / "here"))
    first, second = make_bundle("one"), make_bundle("two")
    promote(here, first, 0)
    promote(here, second, 1)
    with pytest.raises(TemporaryError, match="generation 2"):
        promote(here, make_bundle("three"), 1)
    there = Ledger(s3_root, cache=str(tmp_path / "there"))
    champion = there.champion()
    assert champion is not None
    assert champion.folder == str(tmp_path / "there" / second.digest)
    assert ModelBundle.open(champion.folder).digest == second.digest
    assert there.rollback().digest == first.digest


def test_the_time_of_promotion_is_recorded(root: str, make_bundle: Make) -> None:
    before = time.time()
    promote(Ledger(root), make_bundle("one"), 0)
    entry = json.loads((Path(root) / "ledger" / "00000001.json").read_text())
    assert before <= entry["promoted_at"] <= time.time()
