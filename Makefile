# Everything runs in $(VENV), made and filled with the locked versions. A fresh machine needs Python 3.11 only.

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
BENCH ?=
DATA = $(or $(MALMUNGCHI_DATA),../shared/data)/labels
JUDGE_LANGUAGE ?= $(DATA)/langid_dev.jsonl.zst
JUDGE_DUPLICATES ?= $(DATA)/neardup_dev_docs.jsonl.zst --pairs $(DATA)/neardup_dev_exact_pairs.parquet
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo test bench judge lock clean versitygw prism boot
.DELETE_ON_ERROR:

help: ## this text
	@echo "Malmungchi: Korean text in, deduplicated Parquet shards out."
	@echo
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(VENV)/.runtime ## build a release from samples/ and say where it is
	@rm -rf demo
	$(VENV)/bin/malmungchi build --input 'samples/*.jsonl*' --input samples/letters.parquet \
	    --input samples/essay.txt --input samples/proverbs.csv --output demo/release
	@echo
	@echo "Release:  demo/release"
	@echo "Summary:  demo/release/manifest.json, and for people demo/release/README.md"

test: $(VENV)/.dev ## lint, types and tests
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	cd tests/types && $(abspath $(VENV))/bin/lint-imports --no-cache ../../pyproject.toml
	$(VENV)/bin/pytest -q -n 2 --dist loadfile

bench: $(VENV)/.dev ## measure speed and memory; other files or settings: make bench BENCH='FILE … --workers 1'
	$(VENV)/bin/python -m benchmarks.build $(BENCH)

judge: $(VENV)/.dev ## judge languages and duplicates by labelled files: make judge JUDGE_LANGUAGE=FILE JUDGE_DUPLICATES='FILE …'
	$(VENV)/bin/python -m benchmarks.language $(JUDGE_LANGUAGE)
	$(VENV)/bin/python -m benchmarks.duplicates $(JUDGE_DUPLICATES)

lock: ## choose the locked versions anew from pyproject.toml (takes minutes)
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip --quiet install pip-tools
	build/lock/bin/pip-compile $(LOCK) --extra s3 --extra gcs --extra dask -o requirements.lock pyproject.toml
	build/lock/bin/pip-compile $(LOCK) --extra s3 --extra gcs --extra dask --extra dev --constraint requirements.lock \
	    -o requirements-dev.lock pyproject.toml

# No address of an index and no path goes into a lock: where packages come from is the machine's own business.
LOCK = --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

clean: ## remove the virtual environment and everything that was built
	rm -rf $(VENV) build dist demo *.egg-info

# Servers that the tests start, kept outside of the checkout since building them takes minutes.
CACHE = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/malmungchi
BEAM_VERSION = v2.77.0
VERSITYGW = $(CACHE)/versitygw-v1.8.0/versitygw
PRISM = $(CACHE)/prism-$(BEAM_VERSION)/prism
BOOT = $(CACHE)/boot-$(BEAM_VERSION)/container

versitygw: $(VERSITYGW) ## an S3 server, for the tests of object stores
prism: $(PRISM) ## Beam's portable runner, for its tests
boot: $(BOOT) ## the program that starts workers in Beam's images, for the tests of ours

where-%:
	@echo $($(shell echo $* | tr a-z A-Z))

$(VERSITYGW):
	GOBIN=$(@D) go install github.com/versity/versitygw/cmd/versitygw@v1.8.0

$(PRISM):
	GOBIN=$(@D) go install github.com/apache/beam/sdks/v2/go/cmd/prism@$(BEAM_VERSION)

$(BOOT):
	GOBIN=$(@D) go install github.com/apache/beam/sdks/v2/python/container@$(BEAM_VERSION)

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
