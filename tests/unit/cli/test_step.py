"""`sightline step` as a scheduler calls it: what it takes, what it tells, and that a configuration is text and nothing else."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli.app import app
from sightline.cli.step import Request, step_command
from sightline.config.load import parse_config
from sightline.config.run import RunConfig
from sightline.errors import DataError, UsageError
from sightline.store import code
from sightline.store.outcomes import Outcome, record_outcome
from sightline.store.records import read_records

NASTY = 'it\'s "quoted" $(touch hacked) `touch hacked` ${HOME} {{workflow.name}} %s \\n 100%\n  second line'


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    base = RunConfig()
    places = {"cache": "cache", "runs": "runs", "registry": "registry"}
    return base.model_copy(update={"store": base.store.model_copy(update={key: str(tmp_path / name) for key, name in places.items()})})


def problems(config: RunConfig, name: str, *inputs: str, **options: str) -> str:
    with pytest.raises(UsageError) as told:
        step_command(Request(name, "run-1", inputs, options, Path("out")), config, as_json=False)
    return str(told.value)


def test_what_is_missing_unknown_or_given_twice_is_told_at_once(config):
    text = problems(config, "gate", "candidat=a", "dataset=b", "dataset=c", "verdict", stage="shipped", served="d")
    for line in (
        "--input candidat: not an input of this step, did you mean candidate?",
        "--input dataset: given twice",
        "--input verdict=: expected NAME=URI",
        "--input candidate=URI is missing",
        "--served: gate does not take it",
        "--stage shipped: expected trained or compiled",
    ):
        assert line in text
    assert "did you mean gate?" in problems(config, "gates")


@pytest.mark.parametrize(
    ("name", "inputs", "options"),
    [
        ("tune", ["dataset"], []),
        ("train", ["dataset"], []),
        ("gate", ["candidate", "dataset"], ["stage"]),
        ("compile", ["model", "dataset"], []),
        ("deploy", ["model", "verdict", "dataset"], []),
        ("monitor", [], ["served"]),
        ("reject", ["verdict"], []),
        ("report", [], ["state"]),
    ],
)
def test_each_step_asks_for_the_inputs_of_its_component(config, name, inputs, options):
    text = problems(config, name)
    missing = sorted([f"--input {each}=URI is missing" for each in inputs] + [f"--{each} is missing" for each in options])
    assert sorted(line.removeprefix("  - ") for line in text.splitlines()[1:]) == missing


def test_the_sections_that_a_step_takes_are_its_own_and_those_that_it_names(config, tmp_path):
    """The search is off, so the train section comes out as it was given."""
    changed = parse_config("tune: {enabled: false}\ntrain: {lr: 0.5}", origin="text").model_copy(update={"store": config.store})
    assert step_command(Request("tune", "run-1", ["dataset=unused"], {}, tmp_path / "out"), changed, as_json=False) == 0
    told = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert told == {"artifact": told["artifact"], "outcome": "done", "headline": "off · lr 5.0e-01"}
    assert json.loads((Path(told["artifact"]) / "best.json").read_text())["lr"] == 0.5
    assert told["artifact"] == read_records(tmp_path / "runs" / "run-1" / "steps")[0].folder


def test_a_step_that_fails_tells_nothing(config, tmp_path):
    request = Request("train", "run-1", [f"dataset={tmp_path}", "tuned="], {}, tmp_path / "out")
    with pytest.raises(DataError, match="not a finished artifact"):
        step_command(request, config, as_json=False)
    assert not (tmp_path / "out").exists()


def test_the_report_of_a_rejected_run_is_a_result_and_not_an_error(config, tmp_path, capsys):
    record_outcome(config.store, "run-1", Outcome(kind="rejected", reason="steel lost 4 points"))
    options = {"state": "Succeeded", "error": ""}
    assert step_command(Request("report", "run-1", (), options, tmp_path / "out"), config, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["outcome"], told["artifact"]) == ("rejected", str(tmp_path / "runs" / "run-1" / "report.html"))
    assert "steel lost 4 points" in told["headline"].lower()


def test_the_text_of_a_configuration_is_taken_as_it_is(config, tmp_path, monkeypatch):
    """The name of the images' folder is whatever the text says; nothing in it is evaluated on the way."""
    monkeypatch.chdir(tmp_path)
    text = json.dumps({"ingest": {"source": NASTY}, "store": config.store.model_dump()})
    command = [Path(sys.executable).parent / "sightline", "step", "ingest", "--run-id", "r", "--config-text", text, "--outputs", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert NASTY in done.stderr
    assert not (tmp_path / "hacked").exists()
    assert read_records(tmp_path / "runs" / "r" / "steps")[0].permanent


def test_a_text_may_name_some_keys_only_and_an_override_counts_more(tmp_path):
    text = "train:\n  epochs: 3\n  lr: 1e-3\n"
    loaded = parse_config(text, ["train.epochs=4"], origin="--config-text")
    assert (loaded.train.epochs, loaded.train.lr, loaded.gate) == (4, 1e-3, RunConfig().gate)
    assert parse_config("", origin="--config-text") == RunConfig()
    with pytest.raises(UsageError, match=r"(?s)--config-text: 1 problem.*did you mean `train.epochs`"):
        parse_config("train: {epoch: 3}", origin="--config-text")
    with pytest.raises(UsageError, match="--config-text is not YAML"):
        parse_config("train: {", origin="--config-text")


def test_a_file_and_a_text_at_once_are_a_usage_error(tmp_path):
    (tmp_path / "a.yaml").write_text("")
    arguments = ["step", "ingest", "--outputs", str(tmp_path), "--config", str(tmp_path / "a.yaml"), "--config-text", "train: {}"]
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_step_that_is_preempted_cleans_up_says_so_and_ends_with_143(config, tmp_path):
    """The step waits in a real process; SIGTERM unwinds it."""
    script = f"""
from pathlib import Path
import sightline.ingest.step as ingest
from sightline.cli.step import Request, step_command
from sightline.config.run import RunConfig
from sightline.store.steps import Step, StepResult, run_step

def run(*, config, store, run_id, output):
    def work(folder, progress):
        progress("working")
        print("ready", flush=True)
        time.sleep(60)
        return StepResult(headline="never")
    step = Step("ingest", "dataset", "sightline.store.digest", {{}}, {{}})
    return run_step(step, store=store, run_id=run_id, output=Path(output), work=work)

ingest.run = run
config = RunConfig.model_validate_json({config.model_dump_json()!r})
step_command(Request("ingest", "r", (), {{}}, Path({str(tmp_path / "out")!r})), config, as_json=False)
"""
    (tmp_path / "tmp").mkdir()
    environment = {"PATH": "", "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    (record,) = read_records(tmp_path / "runs" / "r" / "steps")
    assert (record.status, record.exit_code, record.permanent) == ("failed", 143, False)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not list((tmp_path / "cache" / "ingest").iterdir()), "nothing half done is left beside the cache"


def test_asking_for_help_imports_no_step_and_no_configuration():
    script = "import sys\nfrom sightline.cli.app import app\ntry:\n    app(['step', '--help'])\nexcept SystemExit:\n    pass\n"
    script += "print([name for name in sys.modules if name.endswith('.step') or name.startswith('sightline.config')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def modules_behind(module, monkeypatch):
    """Every module whose source is part of the module's code digest."""
    seen, read = set(), code._read
    with monkeypatch.context() as patch:
        patch.setattr(code, "_read", lambda name, path: seen.add(name) or read(name, path))
        code.code_digest(module)
    return seen


@pytest.mark.parametrize("name", ["ingest", "tune", "train", "gate", "compile", "deploy", "monitor"])
def test_no_step_depends_on_the_code_of_the_command_line(name, monkeypatch):
    """The table of steps names modules as text, and such text counts as an import: so no step may reach the table."""
    assert [module for module in modules_behind(f"sightline.{name}.step", monkeypatch) if module.startswith("sightline.cli")] == []


def test_control_the_table_of_steps_counts_as_an_import_of_each_step(monkeypatch):
    assert {"sightline.ingest.step", "sightline.deploy.refuse"} <= modules_behind("sightline.cli.step", monkeypatch)
