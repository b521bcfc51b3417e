# Every door of the project. The environment is .venv; it is rebuilt only when requirements.txt changes.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.requirements
SERVERS := .venv-lama-cleaner/.requirements .venv-iopaint/.requirements
OTHERS := $(SERVERS) .venv-streaming/.requirements
PACKAGES_OF := import sysconfig; print(sysconfig.get_path("purelib"))
JOBS ?= 2
PACKAGES := catalog tasks trainer evaluation flows

export DO_NOT_TRACK := 1
export UV_LINK_MODE ?= hardlink
# Compiled modules are kept, whatever the shell says: without them each process compiles torch and diffusers for 10 s.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup lama-cleaner iopaint streaming demo server dashboard test test-gpu check bench pins clean clean-data

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## the environment at .venv, from pinned packages

$(STAMP): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed (PYTHON=...); this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

lama-cleaner: .venv-lama-cleaner/.requirements ## the real lama-cleaner server: .venv-lama-cleaner/bin/lama-cleaner

iopaint: .venv-iopaint/.requirements ## the real IOPaint server: .venv-iopaint/bin/iopaint

streaming: .venv-streaming/.requirements ## mosaicml-streaming, for the benchmark loader_vs_streaming

# Each has an environment of its own on top of .venv, whose packages it sees behind its own (the .pth file). Their own
# pins are old and would downgrade the project's, so nothing but the listed packages is installed.
$(OTHERS): .venv-%/.requirements: infra/%.txt $(STAMP)
	@rm -rf .venv-$*
	$(BIN)/uv venv --quiet --python $(BIN)/python .venv-$*
	$(BIN)/uv pip install --quiet --python .venv-$*/bin/python --no-deps -r $<
	@$(BIN)/python -c '$(PACKAGES_OF)' > "$$(.venv-$*/bin/python -c '$(PACKAGES_OF)')/zz_packages_of_the_project.pth"
	@touch $@

demo: $(STAMP) ## the whole chain on real photos, on a CPU
	@$(BIN)/python -m flows.demo

server: $(STAMP) ## a local Prefect server and worker, until Ctrl-C
	@$(BIN)/python -m flows.local_server

dashboard: $(STAMP) ## data, mix, training and evaluation runs in a browser, until Ctrl-C
	@$(BIN)/python -m infra.dashboard

test: $(STAMP) $(SERVERS) ## all tests, JOBS (2) files at a time; T=path or T='-k name' picks some
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(T)

test-gpu: $(STAMP) ## the tests that need a CUDA GPU: training, sampling and LaMa on it, against the CPU
	IEIW_TEST_GPU=1 $(BIN)/python -m pytest tests/gpu $(T)

check: $(STAMP) ## ruff, mypy, layers between packages, README against the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit/test_docs.py tests/unit/test_layout.py

bench: $(STAMP) ## performance figures into tests/benchmarks/results.json; ONLY='name ...' picks some
	@$(BIN)/python tests/benchmarks/run.py $(ONLY)

pins: $(STAMP) ## write requirements.txt anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-emit-index-url --no-header --no-annotate \
		--output-file requirements.txt pyproject.toml

clean: ## caches and the local Prefect server's home
	rm -rf .prefect .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

clean-data: $(STAMP) ## everything that builds, mixes and runs made; datasets below data/ stay
	@$(BIN)/python -m catalog clean
