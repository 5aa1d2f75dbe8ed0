# What people do often.  Everything installs itself into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers/.installed
DEMO := demo-output
BASE ?= HEAD

.PHONY: help demo serve test test-fast lint types imports openapi contract check bench install clean lock

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

install: $(STAMP)  ## create .venv with everything

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## fit small models, run the whole pipeline on the sample crawl, show the funnel
	$(BIN)/python examples/demo.py $(DEMO)

serve: $(STAMP)  ## start the service on loopback, with the sample crawl as a source and small models
	$(BIN)/python examples/serve.py $(DEMO)

test: $(STAMP)  ## run all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: $(STAMP)  ## run the tests that take moments
	$(BIN)/python -m pytest -m 'not slow and not chaos'

lint: $(STAMP)  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## types
	$(BIN)/mypy

imports: $(STAMP)  ## arrows between the rooms
	$(BIN)/lint-imports

openapi: $(STAMP)  ## write the description of the API down
	$(BIN)/python -m api.contract --write docs/openapi.json

contract: $(STAMP)  ## whether a client of the API as committed last (or BASE=...) could break
	$(BIN)/python -m api.contract --base $(BASE)

check: lint types imports test  ## all of these

bench: $(STAMP) $(PEERS)  ## rates, CPU seconds and memory, with peers on the same documents
	$(BIN)/python benchmarks/run.py

# What is measured against, in an environment of its own: its pins and ours do not go together.
$(PEERS): benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --requirement benchmarks/peers.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

lock: $(STAMP)  ## write down the versions that are installed now
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:  ## remove what the demo and the tools made
	rm -rf $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
