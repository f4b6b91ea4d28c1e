# `make test` and `make demo` do their own set-up. Every environment is a folder in this tree, pinned by a file in tests/,
# and made again only when that file or pyproject.toml changes.

PYTHON  ?= python3
# The Pythons that `make test-pythons` looks for: as pythonX.Y on PATH, then among pyenv's.
PYTHONS ?= 3.10 3.11 3.12 3.13
# For LAVIS: 3.11 itself.
PYTHON311 ?= $(shell $(PYTHON) -c 'import sys; print(sys.executable if sys.version_info[:2] == (3, 11) else "python3.11")')
# How many tests run at once: they wait for servers more than they compute.
TESTS   ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

BIN    := .venv/bin
BIN036 := .venv-hub036/bin
BINLAVIS := .venv-lavis/bin
PIP    := -m pip --disable-pip-version-check --no-input -qq
PYTEST := -m pytest -q -n $(TESTS) --dist worksteal

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint lavis-env test-lavis test-pythons bench soak wheel clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.made ## make .venv: the project with its extras, what checks it, and the `hf` command
	@:

demo: setup ## from a manifest to an answer about a picture, on a hub on this machine
	@$(BIN)/python -m tests.demo

test: lint .venv-hub036/.made .venv-img2dataset/.made test-lavis ## every check: lint, the tests with LAVIS and with huggingface_hub 0.36, all tests
	@echo '== pytest, the hub tests on huggingface_hub 0.36'
	@$(BIN036)/python $(PYTEST) -m 'hub and not soak and not torch' $(addprefix --ignore=tests/,datasets lavis models)
	@echo '== pytest'
	@$(BIN)/python $(PYTEST)

lint: setup ## ruff, strict types, the layers of the architecture
	@echo '== ruff'
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --quiet --check . || { echo 'unformatted: run .venv/bin/ruff format'; exit 1; }
	@echo '== mypy'
	@$(BIN)/mypy --no-error-summary
	@echo '== import-linter'
	@said=$$($(BIN)/lint-imports --no-logo) || { echo "$$said"; exit 1; }

lavis-env: .venv-lavis/.made ## make .venv-lavis: LAVIS 1.0.2 in the one environment in which it works, with assetmgr
	@:

test-lavis: .venv-lavis/.made ## the tests that need LAVIS itself
	@echo '== pytest, LAVIS itself'
	@$(BINLAVIS)/python $(PYTEST) -m 'lavis and not soak' tests/lavis

# The core without torch, on each Python that is found; all are tried before the verdict.
test-pythons: ## the tests of the core on Python 3.10 to 3.13, as far as they are installed
	@passed=; failed=; missing=; \
	for version in $(PYTHONS); do \
	    python=; \
	    for candidate in python$$version "$$(pyenv root 2>/dev/null)"/versions/$$version.*/bin/python \
	                     "$$HOME"/.pyenv/versions/$$version.*/bin/python; do \
	        if [ "$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = $$version ]; \
	        then python=$$candidate; break; fi; \
	    done; \
	    if [ -z "$$python" ]; then missing="$$missing $$version"; continue; fi; \
	    echo "== Python $$version"; \
	    if $(MAKE) .venv-py$$version/.made PYTHON="$$python" && \
	        .venv-py$$version/bin/python $(PYTEST) -m 'not torch and not soak and not lavis'; \
	    then passed="$$passed $$version"; else failed="$$failed $$version"; fi; \
	done; \
	echo "passed:$${passed:- none}   failed:$${failed:- none}   not found here:$${missing:- none}"; \
	[ -n "$$passed" ] && [ -z "$$failed" ]

bench: setup ## every measured claim of the README, beside its peer
	@$(BIN)/python -m tests.benchmarks

soak: setup ## long random runs: kills, races, broken wires
	@$(BIN)/python -m pytest -m soak tests -q

wheel: setup ## dist/assetmgr-*.whl
	@$(BIN)/python $(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

clean: ## remove the environments, caches and builds
	rm -rf .venv .venv-hub036 .venv-img2dataset .venv-lavis .venv-py3.* dist build .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find assetmgr tests -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call environment,FOLDER,CONSTRAINTS,WHAT): WHAT installed editable in a virtual environment, at the pinned versions.
# The build backend goes in first, pinned too, so that nothing unpinned is fetched for the build. An environment that
# is there is brought up to date in place.
define environment
@echo 'making $(1) (the first time, some minutes of downloads)'
@$(1)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(1)
@$(1)/bin/python $(PIP) install -c $(2) hatchling editables
@$(1)/bin/python $(PIP) install -c $(2) --no-build-isolation -e '$(3)'
@touch $(1)/.made
endef

.venv/.made: pyproject.toml tests/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo '.venv needs Python 3.11 or newer: make PYTHON=python3.11 ...'; exit 1; }
	$(call environment,.venv,tests/constraints.txt,.[all$(comma)dev])

.venv-hub036/.made: pyproject.toml tests/constraints-hub036.txt
	$(call environment,.venv-hub036,tests/constraints-hub036.txt,.[datasets$(comma)test])

# LAVIS's dependencies have no wheels for a newer Python than 3.11. The steps are those that the README gives to users.
.venv-lavis/.made: pyproject.toml assetmgr/requirements/lavis.txt tests/constraints-hub036.txt
	@$(PYTHON311) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	    { echo '.venv-lavis needs Python 3.11: make PYTHON311=/path/to/python3.11 ...'; exit 1; }
	@echo 'making .venv-lavis (the first time, a minute or two of downloads)'
	@$(BINLAVIS)/python -c '' 2>/dev/null || $(PYTHON311) -m venv --clear .venv-lavis
	@$(BINLAVIS)/python $(PIP) install -c assetmgr/requirements/lavis.txt torch
	@$(BINLAVIS)/python $(PIP) install --no-deps -r assetmgr/requirements/lavis.txt
	@$(BINLAVIS)/python $(PIP) install -c tests/constraints-hub036.txt hatchling editables
	@$(BINLAVIS)/python $(PIP) install -c tests/constraints-hub036.txt --no-build-isolation -e '.[video,test]'
	@touch .venv-lavis/.made

# Of no package of ours: the tests have this Python as the one that fetches lists of URLs.
.venv-img2dataset/.made: tests/constraints-img2dataset.txt
	@echo 'making .venv-img2dataset (the first time, some minutes of downloads)'
	@.venv-img2dataset/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv-img2dataset
	@.venv-img2dataset/bin/python $(PIP) install -c tests/constraints-img2dataset.txt img2dataset pyspark
	@touch $@

.venv-py%/.made: pyproject.toml tests/constraints.txt
	$(call environment,.venv-py$*,tests/constraints.txt,.[datasets$(comma)crc32c$(comma)zstd$(comma)test])

comma := ,
