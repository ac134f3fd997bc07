import io
import time

from sightline.cli.display import Display
from sightline.store.artifact import write_file
from sightline.store.records import StepRecord


def put(folder, record):
    write_file(folder / f"{record.started_at}-{record.name}.json", record.model_dump_json().encode())


def test_each_step_is_one_line_with_its_result_time_and_whether_it_was_cached(tmp_path):
    stream = io.StringIO()
    display = Display(stream)
    put(tmp_path, StepRecord(name="ingest", started_at=1.0, seconds=0.2, status="done", cached=True, headline="2 400 images"))
    put(tmp_path, StepRecord(name="train", started_at=2.0, seconds=12.34, status="done", headline="val 0.91"))
    display.update(tmp_path)
    display.update(tmp_path)
    first, second = stream.getvalue().splitlines()
    assert "ingest" in first
    assert "cached · 2 400 images" in first
    assert "12.3 s  val 0.91" in second


def test_a_failed_step_shows_the_first_line_of_its_error(tmp_path):
    stream = io.StringIO()
    put(tmp_path, StepRecord(name="ingest", started_at=1.0, status="failed", error="3 files are damaged\n  - a.jpg", exit_code=65))
    Display(stream).update(tmp_path)
    assert "✗ ingest" in stream.getvalue()
    assert "a.jpg" not in stream.getvalue()


def test_away_from_a_terminal_a_running_step_is_quiet_at_first(tmp_path):
    stream = io.StringIO()
    put(tmp_path, StepRecord(name="train", started_at=time.time(), progress="epoch 1/10"))
    Display(stream).update(tmp_path)
    assert stream.getvalue() == ""
