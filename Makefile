# These commands do all their own set-up: `make demo`, `make test` and `make test-lowest`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := -m pytest -n 2 --dist worksteal
LOWEST := .venv-lowest

.PHONY: demo test test-lowest lint clean

demo: $(VENV)/.demo
	$(BIN)/pushforward demo $(ARGS)

test: $(VENV)/.test lint
	env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST)

test-lowest: $(LOWEST)/.test # on the lowest versions that pyproject.toml names, with the lowest Python
	env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(LOWEST)/bin/python $(PYTEST)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 src # text files name their encoding
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.demo: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) -e '.[test]'
	touch $@

$(LOWEST)/.test: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) uv
	test -x $(LOWEST)/bin/python || $(BIN)/uv venv --quiet --python 3.11 $(LOWEST)
	$(BIN)/uv pip install --no-cache --quiet --upgrade --python $(LOWEST) --resolution lowest-direct -e '.[test,demo]'
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
