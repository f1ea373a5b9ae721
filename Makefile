# make demo   set up what is missing and show the main job on real data
# make test   set up what is missing, then lint and run every test that is not marked slow or gpu; one of them is mypy
# make lint   style, types, layers and what the documents promise
# make docs  set up what is missing and build the site: docs/_build/html/index.html
# make fast   lint and the tests of the laws that break most often, in about two minutes
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# One thread a process, and those of tests that ask for two sleep while they wait: threads that spin on shared cores cost
# more than they bring (one such test: 24 s of processor time, 5 s asleep). What is compiled is kept, whatever the
# environment says, for the processes that tests begin; and no plugin is loaded that is here for something else.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE= PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 \
  $(BIN)/python -m pytest -q -p xdist -p hypothesispytest
DOCS := tests/test_layers.py tests/test_readme.py

.PHONY: demo test lint fast docs
demo: $(VENV)/.installed
	$(BIN)/icl demo

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) $(DOCS)

fast: lint
	$(PYTEST) tests/priors/test_contract.py tests/network tests/inference/test_infer_laws.py

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

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

$(VENV)/.installed-docs: pyproject.toml $(VENV)/.installed-torch
	$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $(VENV)/.installed $@
