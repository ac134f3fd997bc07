"""The trials of a search that are over: a search that was interrupted does not repeat them."""

import logging

from pydantic import ValidationError

from sightline.errors import DataError, EnvironmentFault, TemporaryError
from sightline.store.objects import open_store
from sightline.tune.job import Report

_FOLDER = "trials"
_LOG = logging.getLogger(__name__)


class Journal:
    """One object per trial that is over, at the job's place; empty place: nothing is kept.

    It may travel to another process, as Ray's callbacks do, and so holds no connection.
    """

    def __init__(self, place: str) -> None:
        self._place = place

    def read(self) -> dict[int, Report]:
        """The last reports of the trials that are over, by number; one that cannot be read is tried again."""
        if not self._place:
            return {}
        store, found = open_store(self._place), {}
        for key in store.list(f"{_FOLDER}/"):
            try:
                report = Report.model_validate_json(store.read(key))
                found[report.trial] = report
            except (ValidationError, DataError):
                _LOG.warning("%s of the journal cannot be read; its trial is done again", key)
        return found

    def add(self, report: Report) -> None:
        """Keeps the last report of a trial that is over; a store that does not take it costs at most a repetition."""
        if not self._place:
            return
        try:
            open_store(self._place).write(f"{_FOLDER}/{report.trial:05d}.json", report.model_dump_json().encode())
        except (EnvironmentFault, TemporaryError) as error:
            _LOG.warning("trial %d is not in the journal: %s", report.trial, error)
