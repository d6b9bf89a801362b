# What developers and CI run. Every target sets up what it needs; stamps make the second run quick.
# Needs python3 (3.11 or newer), Node.js 20 or newer with npm, and make.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
ROUNDS ?= 21
VENV := .venv
BIN := $(VENV)/bin
SDK := guest_sdk/typescript
TARBALL := $(SDK)/dist/tenure-edge-runtime-0.1.0.tgz
SDK_SOURCES := $(shell find $(SDK) guest_sdk/wit -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '$(SDK)/wit/*' 2>/dev/null)
FUNCTIONS := $(patsubst functions/%/package.json,%,$(wildcard functions/*/package.json))
NPM := npm --no-fund --no-audit --loglevel=error

.PHONY: help setup bytecode demo tour test check lint types contract gate bench crash wheel clean

help: ## List the targets.
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: bytecode $(TARBALL) $(FUNCTIONS:%=functions/%/node_modules/.installed) ## Install and build everything.

demo: bytecode $(TARBALL) functions/account/node_modules/.installed ## The quick start: ship an account actor, curl it, kill the host, curl it again.
	@$(BIN)/python -m tools.demo

tour: bytecode $(TARBALL) $(patsubst %,functions/%/node_modules/.installed,account rate-limiter hello) ## Two tenants, quotas, secrets, a split, a rollback under load, a backup.
	@$(BIN)/python -m tools.tour

test: setup ## Run all tests.
	cd $(SDK) && $(NPM) run --silent test
	@# Whole hosts in one process, everything else beside them in another; then, with the machine to themselves, those that time.
	$(BIN)/python -m pytest -m 'not alone' tests/e2e & hosts=$$!; \
	rest=0; $(BIN)/python -m pytest -m 'not alone' --ignore=tests/e2e || rest=$$?; \
	wait $$hosts && test $$rest = 0
	$(BIN)/python -m pytest -m alone

check: setup lint types contract test gate ## What CI runs: lint, types, import contract, tests, cost of a request.

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed $(TARBALL) $(FUNCTIONS:%=functions/%/node_modules/.installed)
	$(BIN)/mypy --strict
	cd $(SDK) && npx --no-install tsc --noEmit && npx --no-install tsc --noEmit --strict -p ../conformance/typescript
	for name in $(FUNCTIONS); do \
	  if [ -f functions/$$name/tsconfig.json ]; then (cd functions/$$name && npx --no-install tsc --noEmit --strict); fi; \
	done

contract: $(VENV)/.installed
	$(BIN)/lint-imports --no-logo --no-cache

gate: setup ## Compare what a request costs with what it did.
	$(BIN)/python -m tools.bench.gate

bench: setup ## Measure the account workload here and on workerd.
	$(BIN)/python -m tools.bench

crash: setup ## Do harm to a host under load, ROUNDS times, and count the money.
	$(BIN)/python -m tools.crash --rounds $(ROUNDS)

wheel: setup ## Build dist/tenure-*.whl with the SDK inside.
	mkdir -p host/cli/sdk && cp $(TARBALL) host/cli/sdk/
	$(BIN)/python -m pip wheel --no-deps --quiet --wheel-dir dist .

clean: ## Remove everything that setup made, and all caches.
	rm -rf $(VENV) dist build host/cli/sdk host/sandbox/*.so $(SDK)/node_modules $(SDK)/dist functions/*/node_modules functions/*/.tenure
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml host/sandbox/_crossing.c tools/build_crossing.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tenure needs Python 3.11 or newer; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Where the environment says PYTHONDONTWRITEBYTECODE, every process of a host would compile the whole program again.
bytecode: $(VENV)/.installed
	@$(BIN)/python -m compileall -q host tests tools

# Not `npm ci`: it refuses any lock file here, because componentize-qjs names optional packages for three platforms that
# the registry does not have. `install --no-save` keeps to the lock file's versions and digests just as well.
$(SDK)/node_modules/.installed: $(SDK)/package.json $(SDK)/package-lock.json
	@node -e 'if (parseInt(process.versions.node) < 20) { console.error("Tenure needs Node.js 20 or newer"); process.exit(1) }'
	cd $(SDK) && $(NPM) install --no-save
	@touch $@

$(TARBALL): $(SDK)/node_modules/.installed $(SDK_SOURCES)
	cd $(SDK) && $(NPM) run --silent pack
	@touch $@

# The examples take the SDK as users do, from the tarball; without a lock file, which would hold the tarball's digest.
functions/%/node_modules/.installed: functions/%/package.json $(TARBALL)
	cd functions/$* && rm -rf node_modules/@tenure node_modules/@telnyx && $(NPM) install --no-package-lock
	@touch $@
