# `make demo` shows the main job, `make test` proves it. Everything that is needed is set up on the way and cached.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: help venv dist tools demo demo-down test test-outside test-inside test-unit test-fuzz test-flow test-integration test-oracle test-api test-e2e fuzz lint format lock crds bench clean
include cluster.mk

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-20s %s\n", $$1, $$2}'

venv: $(VENV)/.complete ## Make the virtual environment from the locked requirements

$(VENV)/.complete: requirements/dev.txt pyproject.toml
	@echo "→ virtual environment from requirements/dev.txt (1-2 minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

dist: venv ## Build the wheel of lockstep-gate into dist/
	$(BIN)/python -m hatchling build --target wheel --directory dist

demo: venv ## Show one model promoted and one refused by name, on a real cluster
	@$(BIN)/python -m examples.demo up

demo-down: ## Remove the demo and its cluster
	@$(PYTHON) -m examples.demo down

test: venv tools ## Run all tests, two suites at a time where they need no node
	$(MAKE) --jobs 2 test-outside test-inside
	$(MAKE) test-e2e

# Two halves that take equally long, each one suite after the other.
test-outside:
	+$(MAKE) test-api test-oracle test-fuzz

test-inside:
	+$(MAKE) test-integration test-unit test-flow

tools: ## Install the Debian packages and build the programs that the tests use, once
	@$(PYTHON) -m tests.cluster tools

test-unit: venv ## Pure code and clients against small servers on loopback
	$(BIN)/python -m pytest tests/unit -q

test-fuzz: venv ## Every fuzzer for a moment, with the same inputs each time
	$(BIN)/python -m tests.fuzz --all --runs 2000

fuzz: venv ## Every fuzzer for longer: ten minutes on two cores
	$(BIN)/python -m tests.fuzz --all --seconds 48

test-flow: venv ## Whole stories against fakes at the ports
	$(BIN)/python -m pytest tests/flow -q

test-integration: venv ## Against a real MLflow server and the real cosign
	@$(PYTHON) -m tests.cluster cosign
	$(BIN)/python -m pytest tests/integration -q

test-oracle: venv tools ## Scans against umoci, overlayfs, pip, dpkg-query and syft, on images of Debian and PyPI
	$(BIN)/python -m pytest tests/oracle -q

test-api: venv tools ## Against a real API server
	$(BIN)/python -m pytest tests/api -q

test-e2e: venv ## On the real node, which is started and stopped again when it was not running
	$(BIN)/python -m pytest tests/e2e -q

lint: venv ## Linters, types, layers, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=operator $(BIN)/lint-imports
	$(BIN)/python -m lockstep.crds --check
	$(BIN)/python -m lockstep.cli.reference --check

format: venv ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

crds: venv ## Generate the CRDs, docs/reasons.md and docs/cli.md
	$(BIN)/python -m lockstep.crds
	$(BIN)/python -m lockstep.cli.reference

bench: venv tools ## Print the benchmark tables: scan, operator, and on the test node the whole way
	$(BIN)/python -m benchmarks.scan
	$(BIN)/python -m benchmarks.operator
	$(BIN)/python -m benchmarks.node

lock: venv ## Resolve the locked requirements anew
	$(LOCK) pyproject.toml --extra controller -o requirements/controller.txt
	$(LOCK) pyproject.toml --extra training -c requirements/controller.txt -o requirements/training.txt
	$(LOCK) pyproject.toml --extra training --group demo -c requirements/controller.txt -o requirements/demo.txt
	$(LOCK) pyproject.toml --extra controller --extra check --extra training --group lint --group test -c requirements/controller.txt -o requirements/dev.txt

clean: ## Remove the virtual environment and caches of this checkout
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
