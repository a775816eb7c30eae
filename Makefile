# Needs nothing but Python 3.11 and make; the virtual environment is made on first use.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help demo up test test-faults test-conformance lint bench format lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/runtime ## Run one whole day of a made-up factory on a throw-away stack
	@$(BIN)/fmrp demo

up: $(VENV)/runtime ## Start the stack and serve until Ctrl-C (DEMO_DATA=no leaves the inbox empty)
	@exec $(BIN)/fmrp up $(if $(filter no,$(DEMO_DATA)),--no-demo-data,--demo-data)

test: $(VENV)/development ## Run all tests: those without a running stack two at a time, then those with one, on two stacks at once (ARGS: only these)
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --ignore tests/e2e --ignore tests/faults
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadscope tests/e2e tests/faults
endif

test-faults: $(VENV)/development ## Run all fault tests, with five minutes of kills (FMRP_CHAOS_SECONDS); `make test` has a short form
	@FMRP_FAULTS=full FMRP_CHAOS_SECONDS=$(or $(FMRP_CHAOS_SECONDS),300) $(BIN)/python -m pytest -m faults -s $(ARGS)

test-conformance: $(VENV)/development ## Run all schemathesis phases at length, as each role; `make test` has a short form
	@FMRP_CONFORMANCE=full $(BIN)/python -m pytest tests/serve/test_serve_conformance.py -s $(ARGS)

lint: $(VENV)/development ## Check style, types and which room may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/development ## Print performance figures
	@$(BIN)/python -m bench

format: $(VENV)/development ## Format the code
	@$(BIN)/ruff check --fix --exit-zero --quiet .
	@$(BIN)/ruff format --quiet .

lock: $(VENV)/development ## Write what is installed now into requirements/
	@$(BIN)/python requirements/lock.py

PLUGINS := sdk folder erp_sftp erp_db erp_api imap gmail

$(VENV)/runtime: requirements/runtime.txt pyproject.toml $(PLUGINS:%=plugins/%/pyproject.toml)
	@echo "Setting up the virtual environment (once, a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) --requirement requirements/runtime.txt
	@$(INSTALL) --no-deps --no-build-isolation $(PLUGINS:%=--editable plugins/%) --editable .
	@touch $@

$(VENV)/development: $(VENV)/runtime requirements/development.txt
	@$(INSTALL) --requirement requirements/development.txt
	@touch $@

clean: ## Remove the virtual environment and caches (never the data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
