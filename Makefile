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

# A small true study: 48 phantom patients in four folds, networks on 5 and on 20 of them from each initialisation that
# needs no download (published weights fit the full-size network alone), judged on 12 others beside ten simulated
# readers. Then one network measures the scan of a further patient.
quickstart: $(VENV)/installed
	$(BIN)/python -m launch.prepare --phantom=60 --phantom_size=128 --output=$(WORK)/dataset
	$(BIN)/python -m launch.sweep --config=configs/data_efficiency.py:quickstart --config.dataset=$(WORK)/dataset \
	  --workdir=$(WORK)/study
	$(BIN)/python -m launch.evaluate --workdir=$(WORK)/study
	$(BIN)/python -m launch.measure --image=$(WORK)/dataset/phantoms/scan.nii.gz --slice=47:50 --height_m=1.53 \
	  --run=$(WORK)/study/cells/random_n020_fold0_draw0_seed0 --output=$(WORK)/measurement
	@echo "Open $(WORK)/study/evaluation/report.html and $(WORK)/measurement/overlay.png"

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
