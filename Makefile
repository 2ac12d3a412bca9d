# Two commands do everything on a machine with Python >= 3.11, make and g++: `make run`, `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export NUMBA_CACHE_DIR ?= $(CURDIR)/$(VENV)/numba-cache
# Some machines have Python keep no bytecode: then each process, and the tests start many, compiles
# all packages anew, three times as long as it takes to load them.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test check bench gpu clean

run: $(VENV)/run.stamp
	$(BIN)/walras run configs/quickstart.yaml

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/test.stamp
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/test.stamp
	$(BIN)/python -m benchmarks.bench --json

# On a machine with an NVIDIA GPU, within eight minutes: tests of all backends, then benchmarks.
# A short table comes last; all output goes to $$OUT, or to build/gpu. `make gpu PYTHON=python3`
# takes that Python as it is when it has CuPy, else an environment with walras[gpu] is made. What a
# missing package (ortools, cudf) leaves out is said loudly; `make gpu REQUIRE="ortools cudf"`
# makes it a failure.
gpu:
	@if $(PYTHON) -c 'import cupy, numba, pytest, hypothesis' 2>/dev/null; then \
	  $(PYTHON) -m benchmarks.gpu $(REQUIRE:%=--require %); \
	else \
	  $(MAKE) $(VENV)/gpu.stamp && $(BIN)/python -m benchmarks.gpu $(REQUIRE:%=--require %); \
	fi

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[cpu]'
	touch $@

$(VENV)/test.stamp: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[cpu,cdnow,examples,test]'
	touch $@ $(VENV)/run.stamp

$(VENV)/gpu.stamp: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[gpu,test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
