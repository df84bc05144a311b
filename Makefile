PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: install demo test test-full lint

install: $(STAMP)

# The stamp makes `install` a no-op until a file that decides what is installed changes.
$(STAMP): $(wildcard requirements/*.txt) setup.cfg pyproject.toml
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || { echo 'install 1/4: virtual environment $(VENV)' && \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "The tested set needs Python >= 3.11: name one with `make install PYTHON=python3.11`.")' && \
	  $(PYTHON) -m venv --clear $(VENV); }
	@echo 'install 2/4: torch' && $(BIN)/python -m pip install -q $$(grep '^torch==' requirements/tested.txt)
	@echo 'install 3/4: the tested set' && $(BIN)/python -m pip install -q -r requirements/tested.txt
	@echo 'install 4/4: mmuda' && $(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

demo: install
	@$(BIN)/python tools/benchmark.py minicity --methods ehtdi --seeds 0 --sheet

test: install
	@$(BIN)/python -m pytest -m "not slow"

test-full: install
	@$(BIN)/python -m pytest

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
