# make demo   set up what is missing and show the main job on real data
# make test   set up what is missing, then lint and test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test
demo: $(VENV)/.installed
	$(BIN)/icl demo

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q

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
