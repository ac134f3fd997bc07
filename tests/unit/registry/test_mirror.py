import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.errors import EnvironmentFault, TemporaryError
from sightline.models.bundle import ModelBundle
from sightline.registry import mirror
from sightline.registry.ledger import Champion, Ledger

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own deprecations
_SPAWN = multiprocessing.get_context("forkserver")


@pytest.fixture
def champions(tmp_path: Path, make_bundle: Callable[[str], ModelBundle]) -> list[Champion]:
    ledger = Ledger(str(tmp_path / "registry"))
    promoted = [
        ledger.promote(make_bundle(name), expected_generation=index, run_id=f"run-{index}", verdict_digest=f"verdict-{index}")
        for index, name in enumerate(("one", "two"))
    ]
    return [*promoted, ledger.rollback()]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tracking/mlflow.db"


def aliases(uri: str) -> dict[str, str]:
    model = mirror.connect(uri).get_registered_model("surface")
    return {name: mirror.connect(uri).get_model_version("surface", version).tags["generation"] for name, version in model.aliases.items()}


def test_each_generation_is_one_version_and_the_aliases_follow_the_ledger(uri: str, champions: list[Champion]) -> None:
    assert mirror.register(uri, "surface", champions[0]) == "1"
    assert aliases(uri) == {"champion": "1"}
    assert mirror.register(uri, "surface", champions[1]) == "2"
    assert mirror.register(uri, "surface", champions[1]) == "2"
    assert aliases(uri) == {"champion": "2", "previous": "1"}
    version = mirror.connect(uri).get_model_version("surface", "2")
    assert version.source == champions[1].folder
    assert version.tags == {"generation": "2", "digest": champions[1].digest, "verdict": "verdict-1", "run_id": "run-1"}
    mirror.register(uri, "surface", champions[2])
    assert aliases(uri) == {"champion": "3"}
    mirror.register(uri, "surface", champions[0])
    assert aliases(uri) == {"champion": "3"}, "a late mirror of an old generation must not move the alias back"


def _register(uri: str, champion: Champion, start: "multiprocessing.synchronize.Barrier", results: "multiprocessing.Queue[str]") -> None:
    start.wait()
    try:
        results.put(mirror.register(uri, "surface", champion))
    except Exception as error:  # noqa: BLE001 - the parent shows it
        results.put(repr(error))


def test_processes_that_make_a_new_database_at_once_agree_on_one_version(uri: str, champions: list[Champion]) -> None:
    start, results = _SPAWN.Barrier(3), _SPAWN.Queue()
    processes = [_SPAWN.Process(target=_register, args=(uri, champions[0], start, results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=120) for _ in processes] == ["1", "1", "1"]
    for process in processes:
        process.join()


def test_a_tracking_server_that_does_not_answer_is_a_temporary_error(champions: list[Champion], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(mirror, "_ATTEMPTS", 1)
    with pytest.raises(TemporaryError, match="MLflow does not answer"):
        mirror.register("http://127.0.0.1:9", "surface", champions[0])


def test_a_file_store_is_refused_with_the_setting_to_change(champions: list[Champion]) -> None:
    with pytest.raises(EnvironmentFault, match=r"store\.tracking"):
        mirror.register("file:///tmp/mlruns", "surface", champions[0])
