# Every developer command. `make test` is what CI runs and what the README names.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: test check envtest bench demo unit e2e mutants clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

test: $(STAMP)  ## everything: pure suites, contracts on the real nats-server, e2e on real API servers
	$(MAKE) --no-print-directory envtest
	$(BIN)/pytest

unit: $(STAMP)  ## the suites that need nothing but Python: seconds
	$(BIN)/pytest -m "not broker and not e2e"

e2e: $(STAMP)
	$(BIN)/pytest -m e2e

check: $(STAMP)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

envtest: $(STAMP)  ## build kube-apiserver, kube-controller-manager and etcd once; the last line is their directory
	@$(BIN)/python -m engine.sandbox.assets

mutants: $(STAMP)  ## take each guard of the collector away and see that a test notices: minutes
	$(BIN)/python -m tests.mutants

bench: $(STAMP)  ## print the benchmark table (ratios from one run)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks

demo: $(STAMP)  ## the talk, end to end, on real API servers
	$(BIN)/crosscurrent demo --real

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .crosscurrent
