"""`sightline run` and `sightline monitor`: a pipeline on the user's own data."""

import sys
from pathlib import Path

from sightline.cli.display import Display, emit
from sightline.cli.launch import absolute, new_run_id, point_latest, run_pipeline, workplace
from sightline.config.run import RunConfig
from sightline.data.trees import resolved_source
from sightline.errors import DataError, SightlineError, UsageError
from sightline.report.pack import Summary, write_pack
from sightline.store.records import StepRecord


def run(config: RunConfig, *, as_json: bool) -> int:
    """Runs the retrain pipeline; the exit code says how it ended (0 promoted, 3 rejected, 5 rolled back)."""
    _check_source(config)
    return _pipeline("retrain", config, title="Retrain run", as_json=as_json)


def monitor(config: RunConfig, *, served: str, as_json: bool) -> int:
    """Runs the monitor pipeline on a server's log, a folder or ``s3://bucket/prefix``; exit code 4 when the decision is to retrain."""
    if "://" not in served and not Path(served).is_dir():
        raise UsageError(
            f"there is no folder {served}", remedy="name the log folder of the server: --served DIR (see `sightline serve --log`)"
        )
    return _pipeline("monitor", config, title="Drift check", as_json=as_json, served=resolved_source(served))


def _pipeline(name: str, config: RunConfig, *, title: str, as_json: bool, **arguments: object) -> int:
    store = absolute(config.store)
    run_id = new_run_id()
    display = Display(sys.stderr if as_json else sys.stdout)
    display.heading(f"{title} {run_id}")
    sections = ("ingest", "tune", "train", "gate", "compile", "deploy") if name == "retrain" else ("monitor",)
    values = {section: getattr(config, section).model_dump(mode="json", exclude_none=True) for section in sections}
    if "ingest" in values:
        values["ingest"]["source"] = resolved_source(config.ingest.source)
    records = run_pipeline(name, {**values, **arguments}, store=store, run_id=run_id, display=display)
    folder = workplace(store, run_id)
    summary = write_pack(f"{store.runs}/{run_id}", store=store, run_ids=[run_id], title=title)
    point_latest(folder)
    close(summary, records, f"{store.runs}/{run_id}", log=folder / "log.txt", display=display, as_json=as_json)
    return summary.exit_code


def close(summary: Summary, records: list[StepRecord], place: str | Path, *, log: Path, display: Display, as_json: bool) -> None:
    """Says how it ended and where the report and the log are.

    Raises:
        SightlineError: a step failed; the message and the exit code are the step's.
    """
    if as_json:
        emit(summary.model_dump(mode="json"))
    display.heading(summary.sentence)
    display.text(f"  report   {place}/report.html\n  summary  {place}/summary.json\n")
    failed = next((record for record in records if record.status == "failed" and record.name != "report"), None)
    if failed is not None:
        error = SightlineError(f"{failed.name} failed: {failed.error}", remedy="" if "remedy:" in failed.error else f"the log: {log}")
        error.exit_code = failed.exit_code or 1
        raise error


def _check_source(config: RunConfig) -> None:
    if not config.ingest.source:
        raise UsageError("ingest.source is not set", remedy="set it to the folder with one sub-folder of images per class")
    if "://" in config.ingest.source:
        return
    source = Path(config.ingest.source)
    if not source.is_dir():
        raise UsageError(f"ingest.source: there is no folder {source}", remedy="check the path; each sub-folder of it is one class")
    if not any(child.is_dir() for child in source.iterdir()):
        raise DataError(f"{source} has no sub-folders", remedy="put the images of each class into a folder named after the class")
