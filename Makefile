# `make demo` and `make test` work on a fresh machine with python3, make and g++, and are quick the
# second time: the environment is rebuilt only when its description changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-sparse pytest lint docs clean

demo: $(VENV)/.installed
	$(BIN)/python examples/mmgef.py

# mypy and the tests share the cores; both end, whichever fails.
test: $(VENV)/.installed
	$(MAKE) --jobs=2 --keep-going lint pytest

pytest: $(VENV)/.installed
	$(BIN)/python -m pytest -m "not sparse" -q -n auto --maxprocesses 4 --dist worksteal

# torch-scatter and torch-sparse are compiled, about ten minutes the first time; pip keeps the wheels.
test-sparse: $(VENV)/.installed-sparse
	$(BIN)/python -m pytest -m sparse -q

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	$(BIN)/sphinx-build -W -b html docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

$(VENV)/.installed: pyproject.toml setup.py setup.cfg constraints.txt $(wildcard pyg_mmgef/*.h pyg_mmgef/*/*.cpp)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

# The extensions build against the torch that is installed, so pip must not isolate the build. A wheel
# that pip kept from another torch fails to import; then it is built anew.
$(VENV)/.installed-sparse: $(VENV)/.installed
	$(BIN)/pip install -q -c constraints.txt setuptools wheel
	$(BIN)/pip install -q -c constraints.txt --no-build-isolation -e '.[sparse]'
	$(BIN)/python -c 'import torch_scatter, torch_sparse' || $(BIN)/pip install -q -c constraints.txt \
		--no-build-isolation --no-cache-dir --force-reinstall --no-deps torch-scatter torch-sparse
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache docs/_build docs/gallery
