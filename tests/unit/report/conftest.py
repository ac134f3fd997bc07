"""What all tests of the evidence pack share."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worlds of these tests are hundreds of files that need not survive a power cut; flushing them was two thirds of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
