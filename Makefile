# make demo   three generated domains to bridged embeddings, recommendations and an evaluation
# make test   format, lint, types, the dependency rule, and all tests
# make same-results   after a change of code: records that versions are right as they stand (see CONTRIBUTING.md)
# Each starts from nothing: the first run makes .venv and installs the pinned set into it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint same-results install clean

demo: $(INSTALLED)
	$(BIN)/ptupcdr backfill

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dagster definitions validate -w workspace.yaml

same-results: $(INSTALLED)
	$(BIN)/python tests/core/code_reached.py

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
