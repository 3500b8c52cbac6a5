# Everything here sets itself up: a fresh machine needs python3.11, gcc, make and git.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3.11
EXPERIMENT ?=
VENV := .venv
PY := $(VENV)/bin/python
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true
export OMP_WAIT_POLICY := PASSIVE
STAGES := simulate detect imitate train evaluate stress export

.PHONY: help setup train spine proof test check docs ui benchmark clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.done data/weights/.done ## Virtual environment with pinned, hash-checked packages, and the pose networks

$(VENV)/.done: requirements.txt requirements-uv.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	$(VENV)/bin/uv pip sync --quiet --python $(PY) --require-hashes --compile-bytecode requirements.txt requirements-uv.txt
	touch $@

data/weights/.done: requirements-pose.txt $(VENV)/.done
	mkdir -p data/weights
	rm -rf .cache/mediapipe
	$(VENV)/bin/uv pip install --quiet --python $(PY) --require-hashes --no-deps --target .cache/mediapipe -r requirements-pose.txt
	cp .cache/mediapipe/mediapipe/modules/pose_detection/pose_detection.tflite data/weights/
	cp .cache/mediapipe/mediapipe/modules/pose_landmark/pose_landmark_full.tflite data/weights/
	rm -rf .cache/mediapipe
	touch $@

train: setup ## Run the whole road through DVC; EXPERIMENT=smoke runs a small copy of it in data/smoke
ifeq ($(EXPERIMENT),)
	$(VENV)/bin/dvc repro
else
	for stage in $(STAGES); do $(PY) -m src.$$stage experiment=$(EXPERIMENT); done
endif

spine: setup ## Render 480 people and learn from them to read the spine off the pose network (src/video/lumbar.npz)
	$(PY) -m src.simulate experiment=spine
	$(PY) -m src.trace

proof: setup ## Render 320 more people who only prove what is claimed of the spine, and run the road with them
	$(PY) -m src.simulate experiment=proof
	$(VENV)/bin/dvc repro

test: setup ## Run the tests
	$(PY) -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

check: setup ## Lint, format and type checks
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: setup ## The guide as a website in site/, for a browser without a network
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

benchmark: setup ## Time decode, pose, reps, core and its peers on this machine; writes the README's speed tables
	$(PY) -m src.benchmark --readme README.md

ui: setup ## Open the MLflow pages of all training runs
	$(VENV)/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db

clean: ## Remove the environment and everything that can be made again
	rm -rf $(VENV) .cache data/weights data/poses data/clips/simulated data/clips/proof data/spine data/smoke data/full data/search site .mypy_cache .ruff_cache .pytest_cache
