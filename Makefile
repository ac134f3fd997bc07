# Targets call scripts and commands; the logic is in them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test slow infra images stats check format compile lock clean
PY := .venv/bin/python

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup:  ## make .venv from the hash-pinned lock (skipped when nothing changed)
	@scripts/setup

demo: setup  ## run the whole loop on generated images and print the verdict
	@.venv/bin/sightline demo

test: setup  ## run the tests
	@$(PY) -m pytest -n 2 --dist loadfile --max-worker-restart 0 -m "not slow"

slow: setup  ## run the tests that take long
	@$(PY) -m pytest -n 2 --dist worksteal --max-worker-restart 0 -m slow --timeout 1800

infra: setup  ## Terraform: native tests, apply against an AWS on loopback, checkov
	@$(PY) -m pytest tests/infra --timeout 1800

images: setup  ## build the base and serve images and run them (15 minutes; needs podman, runc and mmdebstrap)
	@SIGHTLINE_IMAGES=build $(PY) -m pytest tests/images/test_images_build.py --timeout 2400

stats: setup  ## verify every error rate that is claimed, at full size (about 20 minutes; `make test` has a short form)
	@SIGHTLINE_STATS=full $(PY) -m pytest tests/stats -n 2 --dist worksteal --timeout 3000

check: setup  ## ruff, mypy --strict, import rules, generated files
	@scripts/check

format: setup  ## format the sources
	@.venv/bin/ruff check --fix -q . ; .venv/bin/ruff format -q .

compile: setup  ## write the images' content tags and pipelines/compiled
	@scripts/images tags && $(PY) -m pipelines compile && $(PY) -m pipelines.argo compile

lock:  ## resolve requirements/*.lock anew from pyproject.toml
	@scripts/lock

clean:  ## remove runs and the environment
	rm -rf .venv runs
