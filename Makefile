# make demo    the whole loop on what the package ships; no key, no GPU
# make test    every test
# make help    the rest

PYTHON ?= python3
VENV   ?= .venv
DEMO   ?= teachback-demo
ARGS   ?=
# Tests at once. Two leave two cores a quarter idle, as many tests wait for a server, a browser or a disk.
JOBS   ?= 3
# A pip index with CPU builds of torch spares gigabytes of CUDA libraries on Linux machines without a GPU:
#   make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# The pin lets a local version such as 2.13.0+cpu be taken; the range of pyproject.toml is the fallback.
TORCH    := torch==2.13.0
TORCH_OR := torch>=2.8,<2.14
# Installed by itself: it is of the version of duckdb-cli, and asks for the library of that version as well.
DUCKDB_UI := duckdb-extension-ui==1.5.5

BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP   := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Of 25,000 files few are ever imported: these are compiled then, instead of all of them now.
GET   := $(PIP) install --no-compile
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# Tests load no model from a hub, and their models are too small to gain from more threads than one.
TEST_ENV := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1}
PYTEST   := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test quick check lint clean clean-all

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(STAMP) ## Make .venv and install Teachback with training and development parts, once

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(0 if sys.version_info >= (3, 11) else f"Python {v} is too old: Teachback needs 3.11 or newer; make setup PYTHON=python3.12 names another")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): torch, then the rest (some minutes, once)"
	@$(GET) $(INDEX) "$(TORCH)" || $(GET) $(INDEX) "$(TORCH_OR)"
	@$(GET) $(INDEX) -e ".[train,dev]"
	@$(GET) --no-deps $(DUCKDB_UI) || echo "note: without $(DUCKDB_UI) the test of DuckDB's page is skipped"
	@touch $@
	@echo "installed: $$($(BIN)/python -c 'import importlib.metadata as m; print(", ".join(f"{n} {m.version(n)}" for n in ("teachback", "torch", "duckdb", "langgraph")))')"

demo: setup ## Synthetic reports, teacher graph, two distillation rounds, report.html (DEMO=folder, ARGS=options)
	@$(BIN)/teachback demo $(DEMO) $(ARGS)

test: setup ## Run every test (ARGS="-k rules" to choose, JOBS=4 for as many at once)
	@$(TEST_ENV) $(PYTEST) $(ARGS)

quick: setup ## Run the tests that take no more than a moment each
	@$(TEST_ENV) $(PYTEST) -m "not slow and not browser and not openi" $(ARGS)

lint: setup ## Style, format, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## What CI runs: lint, then every test

clean: ## Remove caches and build outputs
	@rm -rf build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find agents distill store prompts src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

clean-all: clean ## Remove .venv and teachback-demo too
	@rm -rf $(VENV) teachback-demo
