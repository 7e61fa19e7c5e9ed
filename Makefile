# Everything runs in $(VENV), made and filled with the locked versions. A fresh machine needs Python 3.11 only.

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
BENCH ?=
DATA = $(or $(MALMUNGCHI_DATA),../shared/data)/labels
JUDGE_LANGUAGE ?= $(DATA)/langid_dev.jsonl.zst
JUDGE_DUPLICATES ?= $(DATA)/neardup_dev_docs.jsonl.zst --pairs $(DATA)/neardup_dev_exact_pairs.parquet
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo test bench judge lock clean
.DELETE_ON_ERROR:

help: ## this text
	@echo "Malmungchi: Korean text in, deduplicated Parquet shards out."
	@echo
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.runtime ## build a release from samples/ and say where it is
	@rm -rf demo
	$(VENV)/bin/malmungchi build --input 'samples/*.jsonl*' --input samples/letters.parquet \
	    --input samples/essay.txt --output demo/release
	@echo
	@echo "Release:  demo/release"
	@echo "Summary:  demo/release/manifest.json, and for people demo/release/README.md"

test: $(VENV)/.dev ## lint, types and tests
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest -q

bench: $(VENV)/.dev ## measure speed and memory; other files or settings: make bench BENCH='FILE … --workers 1'
	$(VENV)/bin/python -m benchmarks.build $(BENCH)

judge: $(VENV)/.dev ## judge languages and duplicates by labelled files: make judge JUDGE_LANGUAGE=FILE JUDGE_DUPLICATES='FILE …'
	$(VENV)/bin/python -m benchmarks.language $(JUDGE_LANGUAGE)
	$(VENV)/bin/python -m benchmarks.duplicates $(JUDGE_DUPLICATES)

lock: ## choose the locked versions anew from pyproject.toml (takes minutes)
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip --quiet install pip-tools
	build/lock/bin/pip-compile $(LOCK) --extra s3 --extra gcs -o requirements.lock pyproject.toml
	build/lock/bin/pip-compile $(LOCK) --extra s3 --extra gcs --extra dev --constraint requirements.lock \
	    -o requirements-dev.lock pyproject.toml

# No address of an index and no path goes into a lock: where packages come from is the machine's own business.
LOCK = --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

clean: ## remove the virtual environment and everything that was built
	rm -rf $(VENV) build dist demo *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	    || { echo "Python 3.11 is needed; say where it is: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
