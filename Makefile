# make demo   three generated domains to bridged embeddings, recommendations and an evaluation
# make test   format, lint, types, the dependency rule, and all tests
# make same-results   after a change of code: records that versions are right as they stand (see CONTRIBUTING.md)
# make cells   the default settings on released ratings, 75 cells in both modes, as tables (perf/released_pairs.py)
# make attack   kills, full and vanishing disks, crowds and years: what docs/resilience.md tells of (hours; ATTACKED=folder)
# Each starts from nothing: the first run makes .venv and installs the pinned set into it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ATTACKED ?= $(or $(TMPDIR),/tmp)/ptupcdr-attack
# Each folder has a conftest.py, so that mypy wants them one by one.
helpers = $(filter-out tests/$(1)/test_%,$(wildcard tests/$(1)/*.py))

.PHONY: demo test attack lint same-results cells install clean

demo: $(INSTALLED)
	$(BIN)/ptupcdr backfill

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

attack: $(INSTALLED)
	$(BIN)/python tests/attack/kills.py --kills 200 $(ATTACKED)/kills
	$(BIN)/python tests/attack/executor.py --kills 20 $(ATTACKED)/executor
	$(BIN)/python tests/attack/disks.py --sizes 24 $(ATTACKED)/disks
	$(BIN)/python tests/attack/crowd.py --processes 8 --pairs 3 $(ATTACKED)/crowd
	$(BIN)/python tests/attack/years.py --backfills 50 $(ATTACKED)/years

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy $(call helpers,core)
	$(BIN)/mypy $(call helpers,dagster)
	MYPYPATH=tests/dagster $(BIN)/mypy $(call helpers,browser)
	MYPYPATH=tests/dagster $(BIN)/mypy $(call helpers,attack)
	$(BIN)/lint-imports
	$(BIN)/dagster definitions validate -w workspace.yaml

same-results: $(INSTALLED)
	$(BIN)/python tests/core/code_reached.py

cells: $(INSTALLED)
	$(BIN)/python perf/released_pairs.py data/cells

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
