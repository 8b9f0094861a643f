# Every developer command. `make test` is what CI runs and what the README names.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
USE    := $(VENV)/.installed
STAMP  := $(VENV)/.installed-dev
ARGS   ?=
# Much of the suite waits for servers: three processes, each with servers of its own, keep two cores busy.
SPREAD := -n 3 --dist loadgroup --no-loadscope-reorder

.NOTPARALLEL:  # each of them keeps every core busy, and two share an installation
.PHONY: help demo demo-real record test unit e2e xgc compose check mutants envtest bench clean

help:  ## what there is to make
	@sed -n 's/^\([a-z0-9-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(USE): pyproject.toml constraints.txt
	@echo "Installing into $(VENV), once ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -e .
	@touch $@

$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV), once ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -e '.[dev]'
	@touch $(USE) $@

demo: $(USE)  ## the talk, end to end, on simulated clusters; ARGS=--keep leaves it running
	@$(BIN)/crosscurrent demo $(ARGS)

demo-real: $(USE)  ## the same on real API servers, which are built the first time
	@$(BIN)/crosscurrent demo --real $(ARGS)

record: $(STAMP)  ## record the demo anew, for the README
	$(BIN)/python -m docs.record_demo

test: $(STAMP)  ## everything: pure suites, contracts on the real nats-server, e2e on real API servers, the forty cases, compose
	$(MAKE) --no-print-directory envtest
	$(BIN)/pytest -m "not docker" $(SPREAD) --durations=25
	$(BIN)/pytest -m docker tests/compose  # by itself: one engine of ours at a time, and its builds fill both cores

xgc: $(STAMP)  ## the forty cases of garbage collection alone, on real API servers, and their table: minutes
	$(MAKE) --no-print-directory envtest
	$(BIN)/pytest tests/garbage -m xgc

unit: $(STAMP)  ## the suites that need nothing but Python: seconds
	$(BIN)/pytest -m "not broker and not e2e and not docker"

e2e: $(STAMP)  ## the suites on real API servers
	$(BIN)/pytest -m e2e

compose: $(STAMP)  ## compose.yaml, for real: on the Docker engine that answers, else (as root) on one of its own
	$(BIN)/pytest -m docker -s tests/compose

check: $(STAMP)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

envtest: $(USE)  ## build kube-apiserver, kube-controller-manager and etcd once; the last line is their directory
	@$(BIN)/python -m engine.sandbox.assets

mutants: $(STAMP)  ## take each guard of the collector away and see that a test notices: minutes
	$(BIN)/python -m tests.mutants

bench: $(STAMP)  ## print the benchmark table (ratios from one run)
	$(PIP) -e '.[bench]'
	$(BIN)/python -m benchmarks

clean:  ## remove what was made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .crosscurrent
