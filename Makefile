# The two commands of the README are `make demo` and `make test`; both set up what they need.

PYTHON ?= python3
VENV ?= .venv
# The build of torch to install. Another one, for example of a CUDA index that pip knows: make TORCH=torch
TORCH ?= torch==2.13.0
# A folder with the real KuaiRand-Pure files; empty: the synthetic generator.
DATA ?=
SEED ?= 0

BIN := $(VENV)/bin
CACHE := .cache

.PHONY: help demo test lint types fresh pytest lightning golden format playground site docs clean

help:
	@echo "make demo [DATA=folder]  validate, compile and train specs/kuairand.yaml, print a table"
	@echo "make test                everything that CI checks"
	@echo "make docs                serve the documentation at http://127.0.0.1:8000"
	@echo "make site                build the documentation into .cache/site"
	@echo "make lightning           the tests of training with the oldest Lightning allowed"
	@echo "make format              format and fix the code"
	@echo "make golden              accept the present outputs as the expected ones"
	@echo "make clean               remove the environment and everything made by these commands"

# ---------------------------------------------------------------- environment

# Debian keeps the parts of Python that make environments and extensions in packages of their own.
DEBIAN := python3-venv python3-dev g++

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  echo "make: this Python cannot make environments; installing $(DEBIAN)" && \
	  apt-get update -qq && apt-get install -y -qq $(DEBIAN) && \
	  $(PYTHON) -m venv --clear $(VENV); } || \
	{ rm -rf $(VENV); echo "make: $(PYTHON) cannot make a virtual environment." \
	  "On Debian: apt-get install $(DEBIAN). Another Python: make PYTHON=python3.12"; exit 2; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

# For the tests of sharded tables, which are skipped where there is no such package.
SHARDING := tests/sharding/requirements.txt

$(VENV)/.torchrec: $(SHARDING) $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(SHARDING) \
	&& touch $@ || echo "make: no TorchRec for this Python; the tests of sharding are skipped"

# For the tests of kernels, which are skipped where there is no Triton. It comes with torch for CUDA.
KERNELS := tests/interpreted/requirements.txt

$(VENV)/.triton: $(KERNELS) $(VENV)/.installed
	@{ $(BIN)/python -c "import triton" 2>/dev/null || \
	   $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(KERNELS); } \
	&& touch $@ || echo "make: no Triton for this Python; the tests of kernels are skipped"

# For the tests of the JSON Schema in an editor, which are skipped where there is no npm.
EDITOR_TESTS := tests/editor/requirements.txt
NPM_FLAGS := --silent --no-audit --no-fund --ignore-scripts --fetch-retries 1

$(VENV)/.editor: $(EDITOR_TESTS) $(VENV)/.installed
	@{ command -v npm >/dev/null && \
	   npm install $(NPM_FLAGS) --prefix $(VENV)/editor $$(cat $(EDITOR_TESTS)); } \
	&& touch $@ || echo "make: no yaml-language-server; the tests in an editor are skipped"

# The oldest Lightning that pyproject.toml allows; the environment has the newest.
OLDEST_LIGHTNING := 2.5.0

$(VENV)/lightning-$(OLDEST_LIGHTNING): $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@ lightning==$(OLDEST_LIGHTNING)

# ---------------------------------------------------------------- demo

demo: $(VENV)/.installed
ifeq ($(strip $(DATA)),)
	$(BIN)/python -m examples.kuairand.synthesize $(CACHE)/synthetic --seed $(SEED)
	$(BIN)/python -m examples.kuairand.prepare $(CACHE)/synthetic $(CACHE)/demo-synthetic
	$(MAKE) --no-print-directory demo-train PREPARED=$(CACHE)/demo-synthetic
else
	$(BIN)/python -m examples.kuairand.prepare "$(DATA)" $(CACHE)/demo-real
	$(MAKE) --no-print-directory demo-train PREPARED=$(CACHE)/demo-real
endif

.PHONY: demo-train
demo-train:
	$(BIN)/homespec validate specs/kuairand.yaml
	$(BIN)/homespec compile specs/kuairand.yaml
	$(BIN)/homespec train specs/kuairand.yaml --data $(PREPARED) --batch-size 256 --seed $(SEED) --overwrite

# ---------------------------------------------------------------- checks

test: lint types fresh pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

fresh: $(VENV)/.installed
	$(BIN)/homespec schema --check
	$(BIN)/homespec validate --strict specs
	$(BIN)/homespec compile --check specs
	$(BIN)/python -m homespec.reference --check
	$(BIN)/python benchmarks/tables.py --check

# One thread for each of the two workers: small tensors gain nothing from more.
pytest: $(VENV)/.installed $(VENV)/.torchrec $(VENV)/.triton $(VENV)/.editor playground
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal

# Training by the oldest Lightning, in one's own Trainer and in that of `homespec train`.
LIGHTNING_TESTS := test_own_trainer test_lit_module test_resume test_ddp

lightning: $(VENV)/lightning-$(OLDEST_LIGHTNING)
	PYTHONPATH=$< OMP_NUM_THREADS=1 $(BIN)/pytest -q $(LIGHTNING_TESTS:%=tests/train/%.py)

golden: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -q --update-golden tests/rules tests/diagnostics tests/cli tests/analysis tests/test_readme.py tests/test_tutorial.py tests/howto

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# ---------------------------------------------------------------- documentation

# No advertisement of the theme's successors among the warnings.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

# Without npm, or without a network at the first time, the site has no playground.
playground: $(VENV)/.installed
	@$(BIN)/python docs/playground/build.py

site: $(VENV)/.installed playground
	$(MKDOCS) build --strict --config-file docs/site/mkdocs.yml

docs: $(VENV)/.installed playground
	$(MKDOCS) serve --config-file docs/site/mkdocs.yml

clean:
	rm -rf $(VENV) $(CACHE) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
