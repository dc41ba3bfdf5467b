# Needs make and Python 3.11 or later, nothing else. Everything is installed into .venv.
#
# Another interpreter: make PYTHON=python3.13 test
# Some tests only:     make test PYTEST_ARGS='tests/store -x' GATES=

PYTHON ?= python3
PYTEST_ARGS ?=
# Processes that share the tests, most of which wait most of the time; 0 for none but pytest's own.
TEST_JOBS ?= 3
# Least branch coverage in total, and the rooms that may have no branch untested.
GATES ?= 95
FULL := */megamax_sync/store/*,*/megamax_sync/job.py,*/megamax_sync/api/retry.py,*/megamax_sync/sidecar/*

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What the bench measures, as a user installs it: with nothing beside what it needs.
PRODUCT := bench/.product
PRODUCT_STAMP := $(PRODUCT)/.installed
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# A developer's own settings must not colour a demo, a test or a figure.
$(foreach name,$(filter MEGAMAX_%,$(.VARIABLES)),$(eval unexport $(name)))

# The interpreter that an environment was made from may have gone since.
$(shell test -x $(BIN)/python || rm -f $(STAMP))
$(shell test -x $(PRODUCT)/bin/python || rm -f $(PRODUCT_STAMP))

.PHONY: help demo test retest gates test-systemd test-container docs pictures screenshots check format bench chaos matrix lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

# The stamp comes last, so an environment that was only half made is made anew by the next run.
$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "megamax-sync needs Python 3.11 or later, and '$(PYTHON)' is not." \
			"Name one that is: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make virtual environments: install its venv module" \
			"(Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
		--require-hashes --requirement requirements-dev.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## the sample videos, from a drop folder to their links, on the embedded Megamax
	@rm -rf demo && mkdir demo
	@cp -R tests/data demo/drop && rm demo/drop/README.md
	@MEGAMAX_STATE_DIR=demo/state MEGAMAX_SETTLE_SECONDS=0.2 MEGAMAX_POLL_SECONDS=1 \
		MEGAMAX_LOG_FORMAT=console $(BIN)/megamax-sync --sandbox --watch demo/drop --scan
	@sidecar=$$(find demo -name '*.megamax.json' | sort | head -n 1); \
		echo; echo "$$sidecar:"; $(BIN)/python -m json.tool --no-ensure-ascii "$$sidecar"

test: $(STAMP) ## every test, with the coverage gates
	@$(BIN)/coverage erase
	@$(BIN)/pytest --numprocesses $(TEST_JOBS) --dist loadfile --cov --cov-report= $(PYTEST_ARGS)
	@$(MAKE) --no-print-directory gates

retest: $(STAMP) ## what has failed in the last `make test`, once more, one by one; then its gates
	@$(BIN)/pytest --last-failed --last-failed-no-failures none --cov --cov-append --cov-report=
	@$(MAKE) --no-print-directory gates

gates: $(STAMP) # the coverage that the last tests have to reach
ifneq ($(GATES),)
	@$(BIN)/coverage report --fail-under=$(GATES)
	@$(BIN)/coverage report --fail-under=100 --include='$(FULL)'
endif

test-systemd: $(STAMP) ## the units on a booted Debian (root, debootstrap, systemd-nspawn); five minutes
	@$(BIN)/python tests/systemd/run

test-container: $(STAMP) ## the image, built and run (root, debootstrap, buildah); three minutes
	@$(BIN)/python tests/container/run

docs: $(STAMP) ## bring all that is written from the code in step with it
	@$(BIN)/python -m megamax_sync.config.render env > config.example.env
	@$(BIN)/python -m megamax_sync.config.render markdown > docs/configuration.md
	@$(BIN)/python -m megamax_sync.cli.render > docs/cli.md
	@$(BIN)/python -m megamax_sync.cli.man > deploy/man/megamax-sync.1
	@$(BIN)/python -m megamax_sync.service deploy/systemd

pictures: $(STAMP) ## docs/demo.svg, from a real run on the embedded Megamax
	@$(BIN)/python docs/screenshot.py docs/demo.svg

check: $(STAMP) ## format, lint, types, the table of imports, documents in step; under a minute
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pytest --quiet tests/test_architecture.py $(wildcard tests/test_docs*.py)

format: $(STAMP) ## lay the code out as `make check` wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

$(PRODUCT_STAMP): requirements.lock pyproject.toml
	@echo "Installing into $(PRODUCT) ..."
	@$(PYTHON) -m venv --clear $(PRODUCT)
	@$(PRODUCT)/bin/python -m pip install -qq --disable-pip-version-check \
		--require-hashes --requirement requirements.lock
	@touch $@

# The wheel is built by the development environment, so that what builds it is not measured along.
bench: $(STAMP) $(PRODUCT_STAMP) ## measure, into bench/RESULTS.md; BENCH_ARGS='--size 256M --files 200' for less, printed only
	@rm -rf $(PRODUCT)/wheel
	@$(BIN)/python -m pip wheel -qq --disable-pip-version-check \
		--no-deps --no-build-isolation --no-index --wheel-dir $(PRODUCT)/wheel .
	@$(PRODUCT)/bin/python -m pip install -qq --disable-pip-version-check \
		--no-deps --no-index --force-reinstall $(PRODUCT)/wheel/*.whl
	@$(BIN)/python bench/run.py $(BENCH_ARGS)

matrix: $(STAMP) ## every fault at every call of the service, three times each; three minutes
	@MATRIX=all $(BIN)/pytest -q -s tests/matrix

chaos: $(STAMP) ## kill -9 everywhere, 1,000 times; CHAOS_ARGS='--kills 200 --seed 7' for other figures
	@cd tests && ../$(BIN)/python -m chaos $(CHAOS_ARGS)

screenshots: $(STAMP) ## photograph the pages, in three widths and both themes, into screenshots/
	@$(BIN)/python docs/screenshots.py screenshots

lock: $(STAMP) ## bring the locks in step with pyproject.toml; UPGRADE=--upgrade for newer versions
	@$(COMPILE) $(UPGRADE) --strip-extras --output-file=requirements.lock pyproject.toml
	@# With extras: older pips take "coverage[toml]", which pytest-cov asks for, for unpinned else.
	@$(COMPILE) $(UPGRADE) --no-strip-extras --output-file=requirements-dev.lock \
		--constraint=requirements.lock \
		--extra=dev --build-deps-for=editable --allow-unsafe pyproject.toml
	@# For an image with Apprise.
	@$(COMPILE) $(UPGRADE) --strip-extras --output-file=requirements-notify.lock \
		--constraint=requirements-dev.lock --extra=notify pyproject.toml
	@# What builds the wheel, for the image alone.
	@$(COMPILE) $(UPGRADE) --strip-extras --output-file=requirements-build.lock \
		--constraint=requirements-dev.lock --only-build-deps --build-deps-for=wheel pyproject.toml

clean: ## take away all that make has made
	@rm -rf $(VENV) bench/.venv $(PRODUCT) demo screenshots dist build .coverage .coverage.* \
		.hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
