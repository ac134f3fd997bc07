"""The catalogue of images that components run in; built from `images/`, one per environment. Tags are releases and never move."""

_REPOSITORY = "ghcr.io/sightline"
_RELEASE = "0.1.0"

BASE = f"{_REPOSITORY}/python-base:{_RELEASE}"
TRAIN = f"{_REPOSITORY}/python-train:{_RELEASE}"
COMPILE = f"{_REPOSITORY}/python-compile:{_RELEASE}"
SERVE = f"{_REPOSITORY}/python-serve:{_RELEASE}"

CATALOGUE = (BASE, TRAIN, COMPILE, SERVE)
