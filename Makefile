# Thin verbs. Each sets up what it needs: .venv from pyproject.toml and the pins in constraints.txt.
PYTHON ?= python3
NAME ?= vowels
BIN := .venv/bin
READY := .venv/.ready
DOCS_READY := .venv/.docs-ready
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready

# Packages that are imported seldom, and so compiled then.
SELDOM := /(sympy|scipy|sklearn|scapy|networkx|mypyc?|fontTools|pygments|art|narwhals|mpmath|pip|setuptools|onnxruntime)/|/torch/(_inductor|_dynamo|testing|distributed)/

.PHONY: sim test test-all formal fuzz mutate soak coverage lint format bench docs peers clean

sim: $(READY)  ## train, emit, build, simulate and compare the preset NAME
	$(BIN)/wordline sim $(NAME)

test: $(READY)  ## every kind of check: no slow tests, few random examples
	$(PYTEST) -m "not slow" --hypothesis-profile quick

test-all: $(READY)  ## every test, with all examples
	$(PYTEST)

formal: $(READY)  ## prove what every block claims, for all inputs; refute a fault of each kind
	$(BIN)/python -m tests.formal

mutate: $(READY) build/vowels/summary.json  ## faults in emitted Verilog: which would the tests miss? (an hour and a half)
	$(BIN)/python -m tests.mutation build/vowels
	$(BIN)/python -m tests.mutation axi --count 300

soak: $(READY)  ## 10 million steps of 200 random designs (an hour)
	$(BIN)/python -m tests.soak

coverage: $(READY) build/vowels/summary.json  ## lines, branches and bins that the tests reach
	$(BIN)/python -m tests.reach build/vowels

build/vowels/summary.json: $(READY)
	$(BIN)/wordline sim vowels

fuzz: $(READY)  ## 50,000 damaged or hostile inputs: no traceback, no hang, no wrong number
	$(BIN)/python -m tests.fuzz
	$(BIN)/python -m tests.fuzz --kind command --cases 200 --out build/fuzz-command

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -n 2

format: $(READY)  ## what of lint a machine can do
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## how fast everything is, beside its anchors
	$(BIN)/wordline bench

docs: $(DOCS_READY)  ## the documentation site in build/docs; a warning is an error
	$(BIN)/sphinx-build -q -W --keep-going -j 2 -b html docs build/docs

peers: $(PEERS_READY)  ## how fast other tools run the same LSTM (7.5 GB of packages, 12 minutes)
	$(PEERS)/bin/python peers/run.py --out build/bench/peers.json

clean:  ## everything that is made here
	rm -rf build .venv $(PEERS)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Wordline needs Python 3.11 or newer; make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev,attacks,synth]'
	$(BIN)/python -m compileall -qq -j 0 -x '$(SELDOM)' .venv/lib || true  # on all cores; templates are no Python
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import torch._dynamo'  # which every optimiser imports: compiled once
	touch $@

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

$(PEERS_READY): peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@
