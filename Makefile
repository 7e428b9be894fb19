# `make demo` and `make test` work on a fresh machine with python3, make and g++, and are quick the
# second time: the environment is rebuilt only when its description changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.PHONY: demo test test-sparse test-distributed test-matrix pytest lint docs bench sdist wheel wheels clean

demo: $(VENV)/.installed
	$(BIN)/python examples/mmgef.py

# mypy and the tests share the cores; both end, whichever fails.
test: $(VENV)/.installed
	$(MAKE) --jobs=2 --keep-going lint pytest

pytest: $(VENV)/.installed
	$(BIN)/python -m pytest -m "not sparse and not distributed" -q -n auto --maxprocesses 4 --dist worksteal

# torch-scatter and torch-sparse are compiled, about ten minutes the first time; pip keeps the wheels.
test-sparse: $(VENV)/.installed-sparse
	$(BIN)/python -m pytest -m sparse -q

# What needs TorchRec, in processes that are started on this machine; all of it in three minutes.
test-distributed: $(VENV)/.installed-distributed
	$(BIN)/python -m pytest -m distributed -q tests/distributed tests/examples

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	$(BIN)/sphinx-build -W -b html docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

# Two minutes beside peers, on a machine that does nothing else; benchmarks/performance.py says more.
bench: $(VENV)/.installed
	$(BIN)/python benchmarks/performance.py run

# Each Python that is here, base and with all extras; then the oldest and newest packages. MATRIX names some.
test-matrix: $(VENV)/.installed
	$(BIN)/python tools/matrix.py $(MATRIX)

# Both are installed and checked where no compiler works.
sdist: $(VENV)/.installed
	rm -f dist/*.tar.gz
	$(BIN)/python -m build --sdist
	$(BIN)/python tools/check_distributions.py dist/*.tar.gz

wheel: $(VENV)/.installed
	rm -rf dist/*.whl build
	$(BIN)/python -m build --wheel --outdir build/wheel
	PATH="$(BIN):$$PATH" auditwheel repair --strip --wheel-dir dist build/wheel/*.whl
	$(BIN)/python tools/check_distributions.py dist/*.whl

# The wheels of this platform as they are published; on Linux, in containers of an old system.
wheels: $(VENV)/.installed-wheels
	$(BIN)/python -m cibuildwheel --output-dir dist

$(VENV)/.installed-wheels: constraints.txt
	test -d $(BIN) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt cibuildwheel
	touch $@

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

# A few megabytes, and nothing is compiled; the file says why without dependencies.
$(VENV)/.installed-distributed: $(VENV)/.installed requirements/distributed.txt
	$(BIN)/pip install -q --no-deps -r requirements/distributed.txt
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache docs/_build docs/gallery build dist
