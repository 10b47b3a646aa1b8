# One command each: `make demo`, `make test`. Everything else is `nightscope --help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install wheel demo down chromium production-services production-test test test-unit test-gpu lint types layers docs check sbom bench clean

# Some containers forbid Python to keep its compiled files: every start of every service would compile them again.
unexport PYTHONDONTWRITEBYTECODE

HASHED := --only-binary :all: --require-hashes -r docker/build
UV := $(CURDIR)/.uv/bin/uv
NIGHTSCOPE := $(CURDIR)/.venv/bin/nightscope
RUN := $(UV) run --frozen --no-sync

# Test processes side by side: as many as there are cores.
WORKERS ?= 2

# make demo LINE=sperm-morphology
# make demo RECORDINGS=<dir> LABELS=<dir> FORMAT=voc [TEST="stem stem"] [FRAME_BASE=1] [SET="epochs=30 seed=1"]
LINE ?=
RECORDINGS ?=
LABELS ?=
FORMAT ?=
TEST ?=
FRAME_BASE ?=
SET ?=

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(UV):
	@echo "installing uv into .uv/"
	@python3 -m venv .uv 2>/dev/null && .uv/bin/python -m pip install --quiet --disable-pip-version-check $(HASHED)/uv.txt \
	  || (rm -rf .uv && python3 -m pip install --quiet --target .uv $(HASHED)/uv.txt)

install: $(UV) ## Install the locked environment, and Label Studio's own
	$(UV) sync --frozen --no-install-project --inexact
	$(UV) pip install --quiet --no-deps --require-hashes -r docker/build/requirements.txt
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	$(RUN) python -m tasks.stack.install --uv $(UV)

wheel: $(UV) ## Build the package into dist/: its base brings recordings, see docs/how-to/bring-recordings.md
	$(UV) build --quiet --wheel --build-constraints docker/build/requirements.txt

demo: install ## The nightly loop on sample recordings, or on yours: [LINE=] RECORDINGS= LABELS= FORMAT= [TEST=]
	$(NIGHTSCOPE) demo $(if $(LINE),--line $(LINE)) $(if $(RECORDINGS),--recordings "$(RECORDINGS)") $(if $(LABELS),--labels "$(LABELS)") \
	  $(if $(FORMAT),--format $(FORMAT)) $(foreach stem,$(TEST),--test "$(stem)") \
	  $(if $(FRAME_BASE),--frame-base $(FRAME_BASE)) $(foreach pair,$(SET),--set "$(pair)")

down: ## Stop the embedded stack
	$(NIGHTSCOPE) down

chromium:
	@for name in "$${NIGHTSCOPE_CHROMIUM:-}" chromium chromium-browser google-chrome; do \
	  if [ -n "$$name" ] && command -v "$$name" >/dev/null; then exit 0; fi; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Chromium for the tests in a browser"; \
	  { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium; } >/dev/null \
	    || echo "Chromium could not be installed: the tests in a browser will fail"; \
	else \
	  echo "the tests in a browser will fail: install Chromium (apt-get install chromium), or name it in NIGHTSCOPE_CHROMIUM"; \
	fi

# Debian's, for a night on docker/compose.yaml without a container engine. A service that is installed is not started:
# the tests start their own.
PRODUCTION := caddy iproute2 openssl postgresql redis-server tini wget
production-services:
	@missing=""; for name in $(PRODUCTION); do dpkg-query --show --showformat='$${Status}' $$name 2>/dev/null | grep -q 'ok installed' \
	  || missing="$$missing $$name"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing$$missing for the tests of docker/compose.yaml"; policy=/usr/sbin/policy-rc.d; \
	  if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' > $$policy; chmod 755 $$policy; trap "rm -f $$policy" EXIT; fi; \
	  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing; } >/dev/null \
	    || echo "they could not be installed: tests/production will fail"; \
	else \
	  echo "tests/production will fail: as root, run apt-get install$$missing, and the tests"; \
	fi

production-test: install production-services ## A night on all of docker/compose.yaml, a worker killed in it (needs root; no container engine)
	$(RUN) pytest tests/production --capture=no

test: install chromium production-services ## Run all tests; installs Chromium, PostgreSQL, Redis and Caddy where it may and they are missing
	$(RUN) pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-unit: install ## The tests that need no service: under a minute
	$(RUN) pytest -m unit -n $(WORKERS) --dist loadfile

test-gpu: install ## The tests that need a GPU, where there is one (two for some of them)
	$(RUN) pytest tests/gpu -o norecursedirs=.*

lint: install ## Style
	$(RUN) ruff check .
	$(RUN) ruff format --check .

types: install ## Types, strict for tasks/
	$(RUN) mypy

layers: install ## Imports go down only
	$(RUN) lint-imports

docs: install ## Build the site of docs/ into site/, and check every link of it
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict --quiet
	@echo "open site/index.html, or: $(UV) run --frozen --no-sync python -m http.server --bind 127.0.0.1 --directory site"

check: lint types layers docs test ## What CI runs

sbom: install ## What is installed, as CycloneDX, into sbom.json
	$(RUN) cyclonedx-py environment .venv/bin/python --of JSON -o sbom.json
	@$(RUN) python -c "import json; found = json.load(open('sbom.json'))['components']; \
	  names = {each['name'] for each in found}; assert {'mlflow', 'torch'} <= names, names; print(len(found), 'components')"

bench: install ## The benchmarks, as ratios within one run each
	@for script in tests/bench/bench_*.py; do \
	  echo "== $$script"; $(RUN) python -m "tests.bench.$$(basename "$$script" .py)" || echo "not measured"; done

clean: ## Remove the state of the embedded stack (recordings, labels and models in it!) and the caches
	-$(NIGHTSCOPE) down
	find .nightscope -mindepth 1 -maxdepth 1 ! -name envs -exec rm -rf {} + 2>/dev/null || true
	rm -rf .pytest_cache .mypy_cache .ruff_cache
