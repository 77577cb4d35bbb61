# One environment, .venv, made on first use and again when pyproject.toml changes.
PYTHON ?= python3
JOBS   ?= 2
ARGS   ?=
BIN    := .venv/bin

.PHONY: help demo test test-all test-gpu lint format docs notebooks bench bench-operators bench-peers clean

help:
	@echo "make demo       install into .venv and run the worm touch experiment; pictures in out/demo"
	@echo "make test       all tests but slow and gpu; ARGS='-k delay' is passed to pytest"
	@echo "make test-all   slow tests too        make test-gpu   tests that need a GPU"
	@echo "make lint       ruff and type checks  make format     ruff fixes in place"
	@echo "make docs       HTML in docs/_build   make notebooks  execute and store outputs"
	@echo "make bench      speed, with COBA against peers; make bench-operators, make bench-peers"
	@echo "make clean      remove what was built, .venv too"

.venv/bin/python:
	@echo "making .venv (about 1 GB with JAX; a few minutes on first use)"
	$(PYTHON) -m venv .venv

# One stamp for each set of extras; an editable install, so sources need no reinstall.
.venv/.plot:  EXTRAS = plot
.venv/.test:  EXTRAS = plot,io,test
.venv/.lint:  EXTRAS = plot,lint
.venv/.docs:  EXTRAS = plot,io,test,docs
.venv/.bench: EXTRAS = bench
.venv/.plot .venv/.test .venv/.lint .venv/.docs .venv/.bench: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(EXTRAS)]"
	@touch $@

demo: .venv/.plot
	$(BIN)/brainsim demo --out out/demo $(ARGS)

test: .venv/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow and not gpu" $(ARGS)

test-all: .venv/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not gpu" $(ARGS)

test-gpu: .venv/.test
	JAX_PLATFORMS=cuda,cpu $(BIN)/python -m pytest -m gpu $(ARGS)

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf build/types && mkdir -p build/types
	@cp -R brainsim build/types/brainsim && cp -R ops models build/types/brainsim/
	$(BIN)/python docs/snippets.py build/types
	$(BIN)/basedpyright --pythonpath $(BIN)/python build/types/*.py

format: .venv/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

notebooks: .venv/.test
	$(BIN)/python notebooks/execute.py

bench: bench-operators
	$(BIN)/python tests/bench/import_time.py
	$(BIN)/python tests/bench/compile_time.py
	$(BIN)/python tests/bench/builder.py --edges 1e6 1e7 --no-microcircuit
	$(BIN)/python tests/bench/procedural.py --parts degrees,small
	$(BIN)/python tests/bench/peers.py simulators brainpy
	$(BIN)/python tests/bench/coba.py

bench-operators: .venv/.bench
	$(BIN)/python tests/bench/operators.py
	$(BIN)/python tests/bench/event_forms.py
	$(BIN)/python tests/bench/random_numbers.py

bench-peers: .venv/.bench
	$(BIN)/python tests/bench/peers.py
	for script in coba cuba regions microcircuit fly operators_peers; do $(BIN)/python tests/bench/$$script.py || exit; done

clean:
	rm -rf .venv .venv-peers build docs/_build .pytest_cache .ruff_cache .hypothesis *.egg-info
