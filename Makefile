# make demo   three generated domains to bridged embeddings, recommendations and an evaluation
# make test   format, lint, types, the dependency rule, and all tests
# make quick  a third of the tests, in under a minute: no other program, no browser, no whole lineage
# make same-results   after a change of code: records that the versions are right (see CONTRIBUTING.md)
# make cells   the default settings on released ratings, 75 cells in both modes, as tables (perf/released_pairs.py)
# make load         how many people per second the service answers, and how long they wait (some minutes)
# make pictures     screenshots of every page, by a Chromium, in data/pictures; after make demo
# make docs         the documentation site in data/site
# make attack   the attacks of docs/resilience.md, at full length: generated input, 200 kills, 50 backfills (hours)
# make spark   the extra for Apache Spark, its tests, and a whole backfill compared with DuckDB's; needs a Java runtime
# make stores   runs and models in a real PostgreSQL, their files in an object store; needs Debian's postgresql
# make fortnight    fifteen nights in a few minutes, every switch of [nights] on: what ran, was refused, was served
# make tutorial   the commands of docs/tutorial.md on all of its data; make test has every tenth person of it
# make evidence   how often the right parts of lists are chosen, in planted data: a hundred draws of each case
# Each starts from nothing: the first run makes .venv and installs the pinned packages into it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# make test runs a Spark cluster of two processes where there is a Java runtime; its 490 MB are for nobody else.
SPARK := $(VENV)/.spark
JAVA := $(shell java -version > /dev/null 2>&1 && echo yes)
# Two more than the two cores that are expected: many tests wait for disks and servers.
WORKERS ?= 4
ATTACKED ?= $(or $(TMPDIR),/tmp)/ptupcdr-attack
# Each folder has a conftest.py, so mypy has to check them one by one.
helpers = $(filter-out tests/$(1)/test_%,$(wildcard tests/$(1)/*.py))
ATTACKING := $(addprefix core/test_,artifacts bad_input catalog databases download leftovers new_files odd_numbers replacing \
	secrets upgrade) $(addprefix dagster/test_,dead_server own_store secrets_of_a_run side_by_side tidying)
# Tests that a change of the science breaks first; add a new file if it starts no other program and takes at most some
# five seconds.
QUICK := als bridge_forms bridges bridging calibrated catalog code_versions download evidence item_map leading \
	linear_work meta metrics ordinal parity replacing settings_decide significance source_offset task threads top_items \
	variance_components whitened

.PHONY: demo test quick spark stores lint loops types style load pictures docs attack fortnight tutorial same-results evidence \
	cells install clean $(addprefix attack-,files kills disks crowd years hostile forgetting tests)

demo: $(INSTALLED)
	$(BIN)/ptupcdr backfill

test: $(INSTALLED) $(if $(JAVA),$(SPARK))
	$(MAKE) --jobs 2 lint loops
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

quick: $(INSTALLED)
	$(BIN)/python -m pytest --quiet -m 'not slow' --numprocesses 2 --dist loadfile $(QUICK:%=tests/core/test_%.py)
	$(BIN)/python -m pytest --quiet -m 'not slow' tests/dagster/test_metadata.py tests/dagster/test_settings.py

# Type checks take as long as everything else, so make runs two jobs.
lint: types style

types: $(INSTALLED)
	$(BIN)/mypy
	$(BIN)/mypy $(call helpers,core)
	$(BIN)/mypy $(call helpers,dagster)
	MYPYPATH=tests/core $(BIN)/mypy $(call helpers,spark)
	MYPYPATH=tests/dagster $(BIN)/mypy $(call helpers,browser)
	MYPYPATH=tests/dagster $(BIN)/mypy $(call helpers,attack)

style: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml ptupcdr_core ptupcdr_dagster ptupcdr_spark
	$(BIN)/dagster definitions validate -w workspace.yaml

# Beside the type checks, since pytest's workers begin together and would each compile most loops for themselves.
loops: $(INSTALLED)
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python tests/core/compile_loops.py

pictures: $(INSTALLED)
	$(BIN)/python docs/take_pictures.py data/pictures

docs: $(INSTALLED)
	$(BIN)/mkdocs build --strict --site-dir data/site

load: $(INSTALLED)
	$(BIN)/python perf/serving.py

# Each by itself too: make attack-files, attack-kills, ...
attack: attack-files attack-kills attack-disks attack-crowd attack-years attack-hostile attack-forgetting attack-tests

attack-files: $(INSTALLED)
	PTUPCDR_ATTACK_FILES=10000 $(BIN)/python -m pytest tests/core/test_generated_input.py --timeout 7200

attack-kills: $(INSTALLED)
	$(BIN)/python tests/attack/kills.py --kills 200 $(ATTACKED)/kills

attack-disks: $(INSTALLED)
	$(BIN)/python tests/attack/disks.py --sizes 8 $(ATTACKED)/disks

attack-crowd: $(INSTALLED)
	$(BIN)/python tests/attack/crowd.py --processes 8 --readers 4 $(ATTACKED)/crowd

attack-years: $(INSTALLED)
	$(BIN)/python tests/attack/years.py --backfills 50 $(ATTACKED)/years

attack-hostile: $(INSTALLED)
	$(BIN)/python tests/attack/hostile.py $(ATTACKED)/hostile

attack-forgetting: $(INSTALLED)
	$(BIN)/python tests/attack/forgetting.py $(ATTACKED)/forgetting

# Attacks that are not shortened among the tests.
attack-tests: $(INSTALLED)
	$(BIN)/python -m pytest $(ATTACKING:%=tests/%.py)

spark: $(SPARK)
	PTUPCDR_ATTACK_EXECUTORS=yes $(BIN)/python -m pytest tests/spark
	$(BIN)/python perf/past_one_machine.py --block 8192

stores: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[postgres]'
	$(BIN)/python -m pytest tests/dagster/test_shared_stores.py

fortnight: $(INSTALLED)
	$(BIN)/python perf/fortnight.py

tutorial: $(INSTALLED)
	PTUPCDR_TUTORIAL=whole $(BIN)/python -m pytest tests/dagster/test_site.py -k tutorial

same-results: $(INSTALLED)
	$(BIN)/python tests/core/code_reached.py

cells: $(INSTALLED)
	$(BIN)/python perf/released_pairs.py data/cells

evidence: $(INSTALLED)
	PYTHONPATH=tests/core $(BIN)/python tests/core/planted_parts.py 100

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

$(SPARK): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[spark]'
	touch $@

clean:
	rm -rf $(VENV)
