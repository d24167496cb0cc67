# PatchSorter for institutions. `make run` and `make test` need Python 3.11 or newer and nothing else.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-dev chromium run test lint format types unit slow e2e screenshots frontend bench freeze clean

ifndef PYTHON
PYTHON := $(shell for found in python3.11 python3 python3.12 python3.13; do \
	if $$found -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$found; break; fi; done)
endif
IN := .venv/bin
TEMPLATES = $(shell find apps -name '*.html')

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make .venv, install the pinned packages, build the front end
	@test -n "$(PYTHON)" || { echo "PatchSorter needs Python 3.11 or newer, as python3.11 or python3 on the path"; exit 1; }
	@$(PYTHON) deploy/setup.py environment

setup-dev:
	@test -n "$(PYTHON)" || { echo "PatchSorter needs Python 3.11 or newer, as python3.11 or python3 on the path"; exit 1; }
	@$(PYTHON) deploy/setup.py environment --dev

chromium:
	@$(PYTHON) deploy/setup.py chromium

run: setup  ## run everything on this machine; Ctrl-C stops it
	@exec $(IN)/python manage.py run

test: setup-dev chromium lint types frontend unit e2e  ## every check: formatting, types, import rules, all tests but the slow ones

lint: setup-dev  ## formatting, ruff, import rules, templates
	$(IN)/ruff format --check .
	$(IN)/ruff check .
	$(IN)/lint-imports
	$(IN)/djade --target-version 5.2 --check $(TEMPLATES)

format: setup-dev  ## rewrite files as `make lint` wants them
	$(IN)/ruff format .
	$(IN)/ruff check --fix .
	-$(IN)/djade --target-version 5.2 $(TEMPLATES)
	$(PYTHON) deploy/setup.py npm run format

types: setup-dev  ## mypy
	$(IN)/mypy

unit: setup-dev  ## unit and integration tests; ARGS="-k name" is passed on
	$(IN)/pytest --ignore=tests/e2e -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

slow: setup-dev  ## the tests marked slow
	$(IN)/pytest --ignore=tests/e2e -m "slow and not gpu" $(ARGS)

e2e: setup-dev chromium  ## browser tests against the real server, workers and database
	PATCHSORTER_CHROMIUM="$$($(PYTHON) deploy/setup.py chromium | tail -n 1)" $(IN)/pytest tests/e2e -m "not gpu" $(ARGS)

screenshots: setup-dev chromium  ## the README's pictures, taken by the browser tests
	PATCHSORTER_SCREENSHOTS=docs/screenshots $(MAKE) e2e

frontend: setup-dev  ## front end: biome, tsc, vitest
	$(PYTHON) deploy/setup.py npm run check
	$(PYTHON) deploy/setup.py npm test

bench: setup-dev  ## one benchmark: make bench NAME=extract
	@test -n "$(NAME)" || { echo "which one? make bench NAME=extract; their names: .venv/bin/python -m tests.benchmarks"; exit 1; }
	$(IN)/python -m tests.benchmarks $(NAME) --json

freeze: setup-dev  ## after changing a requirement: pin what is installed
	$(IN)/pip freeze --all --exclude pip > deploy/constraints.txt
	$(PYTHON) deploy/setup.py lock

clean:  ## remove the environment, builds and caches; data/ stays
	rm -rf .venv frontend/node_modules frontend/dist test-artifacts
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find apps patchsorter_site tests deploy -name __pycache__ -type d -prune -exec rm -rf {} +
