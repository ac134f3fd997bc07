"""Numbered, sealed records."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from sightline.errors import DataError
from sightline.registry.chain import Chain
from sightline.store.objects import ConflictError, open_store


class Note(BaseModel):
    text: str


@pytest.fixture
def chain(tmp_path: Path) -> Chain[Note]:
    chain = Chain(open_store(str(tmp_path)), "notes/", Note)
    first = chain.append(Note(text="one"), after=None)
    chain.append(Note(text="two"), after=first)
    return chain


def test_records_are_read_in_the_order_in_which_they_were_appended(chain: Chain[Note]) -> None:
    assert [link.record.text for link in chain.all()] == ["one", "two"]
    last = chain.last()
    assert last is not None
    assert (last.number, last.record.text) == (2, "two")


def test_an_empty_chain_has_no_last_record(tmp_path: Path) -> None:
    empty = Chain(open_store(str(tmp_path)), "none/", Note)
    assert (empty.last(), empty.all()) == (None, [])


def test_a_number_has_one_writer(chain: Chain[Note]) -> None:
    with pytest.raises(ConflictError):
        chain.append(Note(text="late"), after=chain.at(1))


def test_an_intact_record_under_another_number_is_refused(chain: Chain[Note], tmp_path: Path) -> None:
    (tmp_path / "notes/00000003.json").write_bytes((tmp_path / "notes/00000001.json").read_bytes())
    with pytest.raises(DataError, match="was altered"):
        chain.last()


def test_a_record_with_added_spaces_is_refused_since_its_digest_is_another(chain: Chain[Note], tmp_path: Path) -> None:
    path = tmp_path / "notes/00000002.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DataError, match="was altered"):
        chain.last()


def test_a_foreign_object_is_refused(chain: Chain[Note], tmp_path: Path) -> None:
    (tmp_path / "notes/readme.txt").write_text("hello")
    with pytest.raises(DataError, match="does not belong there"):
        chain.last()
