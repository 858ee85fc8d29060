# make run   the main job: jets, search, fits, evaluation, registry
# make test  the tests
# make bench the benchmarks, as ratios against named alternatives
# make check ruff and mypy
# make audit known vulnerabilities of the pinned packages

SHELL := /bin/bash
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := $(abspath $(VENV))/bin
INSTALLED := $(VENV)/.installed
EXPERIMENT ?= experiments/w_vs_qcd.yaml
NAME = $(basename $(notdir $(EXPERIMENT)))

.PHONY: run test test-slow check audit bench install

install: $(INSTALLED)

# the pins of conda.yaml hold for every way in
$(INSTALLED): conda.yaml pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	sed -n 's/^ *- *\([A-Za-z0-9._-]*==.*\)$$/\1/p' conda.yaml > $(VENV)/constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints $(VENV)/constraints.txt --editable '.[test]'
	touch $(INSTALLED)

run: $(INSTALLED)
	PATH="$(BIN):$$PATH" mlflow run . --env-manager local --experiment-name $(NAME) -P experiment=$(EXPERIMENT)

test: $(INSTALLED)
	PATH="$(BIN):$$PATH" python -m pytest -n 2 --dist loadfile --durations 20 -m "not slow"

# in the order of their files: the longest tests are alone in theirs, and would otherwise come last
test-slow: $(INSTALLED)
	PATH="$(BIN):$$PATH" python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 20 -m slow

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: $(INSTALLED)
	$(BIN)/uv tool run --from pip-audit==2.10.1 pip-audit --strict --no-deps --disable-pip \
		--requirement $(VENV)/constraints.txt

bench: $(INSTALLED)
	PATH="$(BIN):$$PATH" python benchmarks/all.py
