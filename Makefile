# `make demo` and `make test` need nothing but a clone and a Python 3.10: each sets up what it needs, once.
# ARGS is passed on: make demo ARGS='--data mnist:DIR', make test ARGS='-k chains'.

.NOTPARALLEL:
.PHONY: help demo test fuzz lint format bench clean core

PYTHON_OF_LAVA := 3.10
PYTHON_OF_CORE := 3.12
FUZZ_CASES := 10000
SETTINGS := pyproject.toml constraints.txt
INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

help:
	@echo "make demo    train on real digits with processes that exchange local messages; figures under out/"
	@echo "make test    every test, also against the built wheel and on Python $(PYTHON_OF_CORE) where there is one"
	@echo "make fuzz    10,000 damaged and hostile files, for a night (of which make test reads 500)"
	@echo "make lint    ruff, mypy, the direction of imports"
	@echo "make format  what ruff can mend by itself"
	@echo "make bench   speed and memory, as ratios measured in one run"
	@echo "make clean   remove all that make has made, except out/"

demo: .venv/.demo
	.venv/bin/dyadic-neuro demo --overwrite $(ARGS)

test: .venv/.dev core
	.venv/bin/python -m pytest -n 2 $(ARGS)

fuzz: .venv/.dev
	DYADIC_FUZZ_CASES=$(FUZZ_CASES) .venv/bin/python -m pytest --timeout 7200 tests/interchange/test_fuzz.py $(ARGS)

lint: .venv/.dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy -p dyadic_neuro
	.venv/bin/lint-imports

format: .venv/.dev
	.venv/bin/ruff check --fix-only
	.venv/bin/ruff format

# As a module and from here, so that `tests` is ours: lava-nc installs a package of that name too.
bench: .venv/.dev
	.venv/bin/python -m tests.benchmarks $(ARGS)

clean:
	rm -rf .venv .venv-core build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name .git -prune -o -name __pycache__ -prune -exec rm -rf {} +

# The set-up. A stamp file says that an environment holds what the settings of that moment asked for; it is written last, so
# what was interrupted is done again. .demo is a subset of .dev: with the latter there is nothing left to install for the former.

.venv/.made:
	@python=$$(scripts/find-python $(PYTHON_OF_LAVA)) && echo "Making .venv with $$python" && "$$python" -m venv --clear .venv
	@touch $@

.venv/.demo: $(SETTINGS) | .venv/.made
	@echo "Installing what the demo needs into .venv"
	@.venv/bin/python $(INSTALL) '.[lava,plot,data]'
	@touch $@

.venv/.dev: $(SETTINGS) | .venv/.made
	@echo "Installing what the demo, the tests and the checks need into .venv"
	@.venv/bin/python $(INSTALL) '.[all]'
	@touch .venv/.demo $@

# The core alone, without Lava, on a Python and a numpy that Lava does not know. Without such a Python the tests say so and go on.
core:
	@if scripts/find-python $(PYTHON_OF_CORE) >/dev/null 2>&1; then $(MAKE) --no-print-directory .venv-core/.test; fi

.venv-core/.made:
	@python=$$(scripts/find-python $(PYTHON_OF_CORE)) && echo "Making .venv-core with $$python" && "$$python" -m venv --clear .venv-core
	@touch $@

.venv-core/.test: $(SETTINGS) | .venv-core/.made
	@echo "Installing what the core and its tests need into .venv-core"
	@.venv-core/bin/python $(INSTALL) '.[data,test]'
	@touch $@
