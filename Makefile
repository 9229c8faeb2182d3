# `make quickstart` runs the main job on built-in phantom scans; `make test` runs every check. Both install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORK ?= quickstart

.PHONY: quickstart test lint types unit proofs benchmark clean
.DELETE_ON_ERROR:

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

test: lint types unit

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/pyright

unit: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 -m "not slow"

proofs: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf $(WORK)
