# make demo: set up, train three methods on real digits, write the page.   make test: set up, run the tests, JOBS=2 at a time.
PYTHON ?= python3
VENV ?= .venv
EPOCHS ?= 240
ROOT ?= .
JOBS ?= 2
BIN := $(VENV)/bin

.PHONY: demo test gate lint check install format clean

demo: install
	$(BIN)/bench run soflow meanflow flow_matching --epochs $(EPOCHS) --root $(ROOT)
	$(BIN)/bench report --root $(ROOT)

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

gate: install
	$(BIN)/bench check

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The virtual environment, made again when what it should hold has changed.
install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python %d.%d found; 3.11 or newer is needed: make PYTHON=python3.11 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
