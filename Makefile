# make demo   set up what is missing and show the main job on real data
# make test   set up what is missing, then lint and run every test that is not marked slow or gpu
# make lint   style, types, layers and what the documents promise
# make fast   lint and the tests of the laws that break most often, in about two minutes
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# One thread a process: threads that wait for one another on shared cores cost more than they bring.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q
DOCS := tests/test_layers.py tests/test_readme.py

.PHONY: demo test lint fast
demo: $(VENV)/.installed
	$(BIN)/icl demo

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -n 2 --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) $(DOCS)

fast: lint
	$(PYTEST) tests/priors/test_contract.py tests/network tests/inference/test_infer_laws.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is older; try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch first and alone: resolved together with the rest, pip may look at (and fetch) far larger builds of it.
$(VENV)/.installed-torch: constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt torch
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.installed-torch
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed-torch
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.installed $@
