# `make` alone lists the targets; each sets everything up first.
# uv does the work. Where it is missing, it is put into .tools/ with its cache; nothing outside this folder is touched.
UV_VERSION := 0.13.9
ifeq ($(shell command -v uv),)
CACHE := $(CURDIR)/.tools/cache
UV := PYTHONPATH="$(CURDIR)/.tools" UV_CACHE_DIR="$(CACHE)" "$(CURDIR)/.tools/bin/uv"
SETUP := .tools/bin/uv
IN_SHELL := PATH="$(CURDIR)/.tools/bin:$$PATH" UV_CACHE_DIR="$(CACHE)"
HINT := @echo "uv is in .tools/, not on your PATH: make shell opens a shell in which uv run ... works"
else
UV := uv
endif
export UV_PYTHON_DOWNLOADS ?= never
# Every stage is a process with seconds of imports, and three times as many where Python may not keep its byte code.
export UV_COMPILE_BYTECODE ?= 1

.PHONY: help repro test test-fast check docs ui table shell pictures pins
help:
	@echo "make repro      sets everything up (several GB, in this folder), then runs the experiment"
	@echo "make ui         shows all runs in the browser"
	@echo "make table      prints a table of all experiments"
	@echo "make shell      opens a shell in which uv is found, where it was missing"
	@echo "make test       runs all tests; make test-fast most of them"
	@echo "make check      runs what CI checks besides: ruff and mypy"
	@echo "make docs       makes a site of docs/: open site/index.html"
repro: $(SETUP)
	$(UV) run dvc repro
	$(HINT)
test: $(SETUP)
	$(UV) run pytest
test-fast: $(SETUP)
	$(UV) run pytest -m "not slow"
check: $(SETUP)
	$(UV) run ruff check . && $(UV) run ruff format --check . && $(UV) run mypy
# Without the experiment's own packages: the API reference is read from the sources, which nothing runs.
docs: $(SETUP)
	NO_MKDOCS_2_WARNING=1 $(UV) run --only-group docs mkdocs build --strict --quiet
	@echo "open site/index.html"
ui: $(SETUP)
	@$(UV) run --quiet python -m stages.ui
table: $(SETUP)
	@$(UV) run --quiet python -m stages.table
pictures: $(SETUP)
	$(UV) run python -m tests.pictures
shell: $(SETUP)
	@echo "uv run ... works in this shell; leave it by exit."
	@$(IN_SHELL) exec "$${SHELL:-/bin/sh}"
pins: $(SETUP)
	$(UV) run --no-project python .ci/pins.py

.tools/bin/uv:
	python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --target .tools uv==$(UV_VERSION)
