# `make quickstart` runs the main job on built-in phantom scans; `make test` runs every check. Both install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORK ?= quickstart

PEERS ?= build/peers/bin/python
OFFICIAL ?=
ONLY ?=

.PHONY: quickstart test proofs lint types unit benchmark clean
.DELETE_ON_ERROR:

# What is imported is compiled then; all of it would take half as long as the installation.
$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable ".[dev]"
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
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

# The tests that take a minute and more: runs and sweeps of several processes are killed and gone on with.
proofs: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadscope -m long

# Runs the programs of benchmarks/ that need neither private data nor long, some half an hour on two cores, and writes
# their figures into benchmarks/RESULTS.md. What they are compared with is installed into an environment of its own,
# unless PEERS names Pythons or folders that have it, with commas between; PEERS= does without. ONLY=augmentation,metrics
# runs these alone, also those on demand (`python -m benchmarks --list`); OFFICIAL is a copy of
# The-Veeraraghavan-Lab/SMIT.
benchmark: $(VENV)/installed $(if $(filter build/peers/bin/python,$(PEERS)),build/peers/installed)
	$(BIN)/python -m benchmarks --peers=$(PEERS) --only=$(ONLY) --official=$(OFFICIAL)

build/peers/installed: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv --clear build/peers
	build/peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement $< && touch $@ \
	  || echo "Not all peers could be installed; benchmarks without theirs are skipped."

clean:
	rm -rf $(WORK)
