# One word for each chore, here and in CI. Options for the command behind it: make up ARGS="--port 9000"
.DEFAULT_GOAL := help
.PHONY: help install runtime up down test test-long check

VENV := .venv
PY := $(VENV)/bin/python
VENDOR_SDK := tests/vendor-sdk.txt
TIMESCALE := tests/timescale
ARGS ?=

help:
	@echo "make up        everything, alive in a browser: stores, local exchange, workers, web, dry-run traders"
	@echo "make down      stop it (ARGS=--purge deletes its data too)"
	@echo "make test      the suite; make check: format, lint, types, import contracts, migrations"
	@echo "make test-long what the suite leaves out: long histories, many examples"
	@echo "make install   only the virtual environment, with everything in it"

up: runtime
	@$(PY) manage.py up $(ARGS)

down: runtime
	@$(PY) manage.py down $(ARGS)

test: install
	@$(PY) -m pytest -n 2 $(ARGS)

test-long: install
	@$(PY) -m pytest -n 2 -m long $(ARGS)

check: install
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy .
	$(VENV)/bin/lint-imports
	$(PY) -W "ignore:Got an error checking a consistent migration history:RuntimeWarning" \
		manage.py makemigrations --check --dry-run

# What is installed is known by a copy of the lock file it came from, written last.
install:
	@cmp -s requirements-dev.lock $(VENV)/installed-dev.lock || \
		$(MAKE) --no-print-directory venv LOCK=requirements-dev.lock INSTALLED=$(VENV)/installed-dev.lock
	@cmp -s $(VENDOR_SDK) $(VENV)/installed-vendor-sdk.txt || $(MAKE) --no-print-directory vendor-sdk
	@cmp -s $(TIMESCALE)/package-lock.json $(TIMESCALE)/node_modules/installed-lock.json || \
		$(MAKE) --no-print-directory timescale

# TimescaleDB for tests. Without node they say so and are skipped; nothing else needs it.
.PHONY: timescale
timescale:
	@if ! command -v npm >/dev/null 2>&1; then \
		echo "npm is missing: the tests on TimescaleDB will be skipped"; \
	elif npm ci --loglevel=error --prefix $(TIMESCALE); then \
		cp $(TIMESCALE)/package-lock.json $(TIMESCALE)/node_modules/installed-lock.json; \
	else \
		echo "npm could not fetch TimescaleDB: the tests on it will be skipped"; \
	fi

# The vendor's own client, which only the contract tests run. It says that it needs Python 3.13, so no resolver takes it
# on 3.11, where it works all the same; what it needs stands in the lock.
.PHONY: vendor-sdk
vendor-sdk:
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --python $(PY) --python-version 3.13 --no-deps --require-hashes -r $(VENDOR_SDK) || exit 1; \
	else \
		$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python --require-hashes \
			-r $(VENDOR_SDK) || exit 1; \
	fi; \
	cp $(VENDOR_SDK) $(VENV)/installed-vendor-sdk.txt

runtime:
	@cmp -s requirements-dev.lock $(VENV)/installed-dev.lock || cmp -s requirements.lock $(VENV)/installed.lock || \
		$(MAKE) --no-print-directory venv LOCK=requirements.lock INSTALLED=$(VENV)/installed.lock

.PHONY: venv
venv:
	@found=""; \
	for candidate in python3.13 python3.12 python3.11 python3; do \
		if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "kalshimm needs Python 3.11 or newer, and neither python3.13, python3.12, python3.11 nor python3 is one." >&2; \
		exit 1; \
	fi; \
	if command -v uv >/dev/null 2>&1; then \
		[ -x $(PY) ] || uv venv --quiet --python "$$(command -v $$found)" $(VENV) || exit 1; \
		uv pip install --quiet --python $(PY) --require-hashes -r $(LOCK) || exit 1; \
	else \
		if ! $(PY) -m pip --version >/dev/null 2>&1 && ! $$found -m venv $(VENV); then \
			echo "$$found cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; \
			exit 1; \
		fi; \
		echo "Installing $(LOCK) into $(VENV), about a minute the first time"; \
		$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK) || exit 1; \
	fi; \
	cp $(LOCK) $(INSTALLED)
