"""Every command of every runbook, run in a small site, and what it has to print."""

import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sightline.cluster.api import INFERENCE_SERVICE
from sightline.registry.ledger import Ledger
from tests.docs.pages import RUNBOOKS, Command, commands
from tests.docs.world import BLOCKING, MODEL_LOADED, World, small_site

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

PAGES = {page.stem: commands(page) for page in sorted(RUNBOOKS.glob("*.md")) if page.stem != "README"}
NO_KUBECTL = (
    "kubectl is not on PATH; it is in your system's packages and in each Kubernetes release (https://kubernetes.io/docs/tasks/tools)"
)

# What a command prints, by how it starts; the longest start counts.
SAID = {
    "kubectl get clusterqueue": r"^sightline ",
    "kubectl get daemonset": r"nvidia-device-plugin",
    "kubectl get httproute": r"^sightline ",
    "kubectl get inferenceservice": r"^sightline ",
    "kubectl get inferenceservice sightline -n sightline-serving -o json": r'"predictor": \{',
    "kubectl get localqueue": r"^sightline ",
    "kubectl get nodes": r"^node-with-gpu ",
    "kubectl get pods -n sightline": r"^retrain-other-system-container-impl-1 ",
    "kubectl get pods -n sightline-serving": r"^m-[0-9a-f]{12}-pod ",
    "kubectl get workloads": r"^waits ",
    "kubectl logs": MODEL_LOADED,
    "sightline champions": r"^ +3 .* retrain-3$",
    "sightline data check": r"images +1[28],",
    "sightline data push": r"source  s3://[a-z0-9-]+/data/parts",
    "sightline gate explain": r"material=brass",
    "sightline gate override": rf"overridden   {BLOCKING}",
    "sightline gate plan": r"golden images can show",
    "sightline rollback": r"^ +4 .* retrain-2$",
    "sightline runs list": r"^ +(RUNNING|FAILED) .* retrain-[a-z-]+$",
    "sightline runs logs $MONITOR_RUN monitor": r"monitor: done label brightness drifted",
    "sightline runs logs $RUN": r"compile: failed .*\n.*not what its digest says",
    "sightline runs logs $RUN deploy": r"deploy: done rolled-back .*errors",
    "sightline runs logs $RUN gate --json": r'"folder": "s3://[a-z0-9-]+/cache/gate-trained/',
    "sightline runs retry": r"goes on$",
    "sightline runs stop": r"retrain-other is being stopped",
    "sightline schedule apply": r"^~ (weekly-retrain|hourly-monitor)",
    "sightline schedule plan": r"^[~+] (weekly-retrain|hourly-monitor)",
    "sightline submit": r"^(retrain|monitor)-[a-z-]+\n +http://.*/#/runs/details/",
    "sightline verify --cache s3://$BUCKET/cache --delete-damaged": r"1 damaged, 1 deleted",
    "sightline verify --registry s3://$BUCKET/registry": r"[34] generations, 3 models",
    "sightline verify --registry s3://$BUCKET/registry --cache": r"1 damaged, 0 deleted",
}

# What happened before somebody opens the page, and what the page tells to change in files.
BEFORE: dict[str, Callable[[World], None]] = {
    "drift-alert": lambda world: world.edit_schedule("hourly-monitor", "overrides:\n", "overrides:\n  - monitor.max_retrains=0\n"),
    "gpu-pool-empty": lambda world: world.kubeflow.forget_schedules(),
    "rollback": lambda world: world.edit_schedule("weekly-retrain", "enabled: true", "enabled: false"),
    "store-corrupt": World.damage_a_finished_step,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with small_site(tmp_path_factory.mktemp("site")) as site:
        yield site


def expected(command: Command) -> tuple[str, str]:
    """(start, pattern) of the entry in ``SAID`` for a command."""
    start = max((start for start in SAID if command.text.startswith(start)), key=len, default="")
    assert start, f"nothing says what this command prints: {command.text}"
    return start, SAID[start]


def problems(world: World, page: str, wanted: list[Command]) -> tuple[int, list[str]]:
    """(number of commands that were run, what was wrong with them)."""
    found, done = [], 0
    for command in wanted:
        ended = world.run(command.text, world.names_for(page))
        done += 1
        if ended.returncode != command.exit_code:
            found.append(f"$ {command.text}\nexit code {ended.returncode}, the page says {command.exit_code}\n{ended.stderr}")
        elif not re.search(expected(command)[1], ended.stdout, re.MULTILINE):
            found.append(f"$ {command.text}\nprinted {ended.stdout!r}, not {expected(command)[1]!r}")
    return done, found


@pytest.fixture(scope="module")
def ended(world: World) -> dict[str, tuple[int, list[str]]]:
    """What came of the `sightline` commands of each page; two pages at a time, one after the other where they change schedules."""

    def run(pages: list[str]) -> dict[str, tuple[int, list[str]]]:
        found = {}
        for page in pages:
            BEFORE.get(page, lambda _: None)(world)
            found[page] = problems(world, page, [command for command in PAGES[page] if not is_kubectl(command)])
        return found

    scheduling = [page for page, found in PAGES.items() if any("schedule" in command.text for command in found)]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run, [scheduling, [page for page in PAGES if page not in scheduling]])
    return first | second


def is_kubectl(command: Command) -> bool:
    return command.text.startswith("kubectl ")


@pytest.mark.parametrize("page", PAGES)
def test_every_sightline_command_of_a_runbook_does_what_the_page_says(ended: dict[str, tuple[int, list[str]]], page: str) -> None:
    done, found = ended[page]
    assert not found, "\n\n".join(found)
    assert done == sum(not is_kubectl(command) for command in PAGES[page])


@pytest.mark.skipif(not shutil.which("kubectl"), reason=NO_KUBECTL)
@pytest.mark.parametrize("page", [page for page, found in PAGES.items() if any(map(is_kubectl, found))])
def test_every_kubectl_command_of_a_runbook_finds_what_the_page_speaks_of(world: World, page: str) -> None:
    wanted = [command for command in PAGES[page] if is_kubectl(command)]
    assert problems(world, page, wanted) == (len(wanted), [])


def test_every_command_starts_with_one_of_the_two_programs_and_every_expectation_is_used() -> None:
    found = [command for page in PAGES.values() for command in page]
    assert len(found) >= 45
    assert all(command.text.startswith(("sightline ", "kubectl ")) for command in found)
    assert {expected(command)[0] for command in found} == set(SAID)


@pytest.mark.usefixtures("ended")
def test_after_the_rollback_page_the_previous_model_serves(world: World) -> None:
    digests = [champion.digest for champion in Ledger(world.store.registry).history()]
    assert len(digests) == 4
    (service,) = world.cluster.objects(INFERENCE_SERVICE)
    assert digests[3] == digests[1]
    assert service["spec"]["predictor"]["name"] == f"m-{digests[1][:12]}"


@pytest.mark.usefixtures("ended")
def test_the_run_that_is_asked_for_without_gpus_needs_no_gpu_node(world: World) -> None:
    usual, smaller = world.kubeflow.parameters("retrain-more-labels"), world.kubeflow.parameters("retrain-smaller")
    assert (usual["gpus"], usual["node_selector"]) == ("1", {"sightline.dev/pool": "gpu"})
    assert (smaller["gpus"], smaller["node_selector"]) == ("0", {})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("sightline champions --regstry s3://$BUCKET/registry", "No such option"),
        ("sightline champions --registry s3://$BUCKET/registry   # exit code 4", "exit code 0, the page says 4"),
        ("sightline champions --registry s3://$BUCKET/elsewhere", "printed 'no champion yet"),
        ("sightline champions --registry s3://$PAIL/registry", "PAIL: unbound variable"),
    ],
)
def test_control_a_page_that_is_wrong_is_found(world: World, tmp_path: Path, line: str, problem: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```console\n$ {line}\n```\n")
    done, found = problems(world, "page", commands(page))
    assert (done, len(found)) == (1, 1)
    assert problem in found[0]


def test_control_a_line_that_is_no_command_is_not_passed_over(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ one \\\ntwo\n$ three\n  four\n```\n\n```console\nfive\n```\n")
    with pytest.raises(ValueError, match="five"):
        commands(page)
    page.write_text(page.read_text().replace("\nfive", "\n$ five"))
    assert [command.text for command in commands(page)] == ["one \\\ntwo", "three\n  four", "five"]
