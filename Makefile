# `make quickstart` runs the main job on built-in phantom scans; `make test` runs every check. Both install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORK ?= quickstart

.PHONY: quickstart test lint types unit clean
.DELETE_ON_ERROR:

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

# The main job on phantom patients: 36 train, 12 validate, 12 test, and one more is measured from its whole scan.
quickstart: $(VENV)/installed
	$(BIN)/python -m launch.prepare --phantom=60 --phantom_size=128 --output=$(WORK)/dataset
	$(BIN)/python -m launch.train --config=configs/segmentation.py:network=small --config.dataset=$(WORK)/dataset \
	  --config.image_size=256 --config.epochs=50 --workdir=$(WORK)/run
	$(BIN)/python -m launch.evaluate --workdir=$(WORK)/run
	$(BIN)/python -m launch.measure --image=$(WORK)/dataset/phantoms/scan.nii.gz --run=$(WORK)/run --slice=47:50 \
	  --height_m=1.53 --output=$(WORK)/measurement
	@echo "Open $(WORK)/run/evaluation/report.html and $(WORK)/measurement/overlay.png"

test: lint types unit

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/pyright

unit: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadscope

clean:
	rm -rf $(WORK)
