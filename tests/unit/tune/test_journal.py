from sightline.errors import EnvironmentFault
from sightline.store.objects import LocalStore
from sightline.tune.job import Report
from sightline.tune.journal import Journal


def report(number, accuracy=0.5):
    return Report(trial=number, epoch=2, val_accuracy=accuracy, val_loss=1.0, over=True)


def test_what_was_over_is_read_back_by_number(tmp_path):
    for number in (2, 0):
        Journal(str(tmp_path)).add(report(number))
    assert Journal(str(tmp_path)).read() == {0: report(0), 2: report(2)}


def test_a_record_that_is_cut_at_any_byte_costs_only_its_own_trial(tmp_path):
    journal = Journal(str(tmp_path))
    journal.add(report(0))
    journal.add(report(1))
    path = tmp_path / "trials/00001.json"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert journal.read() == {0: report(0)}


def test_without_a_place_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Journal("").add(report(0))
    assert Journal("").read() == {}
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_does_not_take_it_does_not_stop_the_search(tmp_path, monkeypatch):
    journal = Journal(str(tmp_path))

    def full(*_):
        raise EnvironmentFault("no space left")

    monkeypatch.setattr(LocalStore, "write", full)
    journal.add(report(0))
    assert journal.read() == {}
