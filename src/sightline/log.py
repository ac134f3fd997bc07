"""Structured log events on standard error: a name and fields, one line each."""

import logging
import os
import sys

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def get_logger(name: str) -> logging.Logger:
    """The logger of a module; configured by the command or the server, never on import."""
    return logging.getLogger(name)


def configure_logging(level: str | None = None) -> None:
    """Sends log events to standard error.

    Args:
        level: a level name; default is the environment's SIGHTLINE_LOG, else WARNING.
    """
    chosen = (level or os.environ.get("SIGHTLINE_LOG", "WARNING")).upper()
    logging.basicConfig(stream=sys.stderr, level=chosen, format=_FORMAT, force=True)
