# Each target is the only command needed on a machine with Python 3.11 to 3.13.

PYTHON ?= python3
# Parallel test processes; `make test WORKERS=0` runs the suite in one process.
WORKERS ?= 2
# ArviZ 1.x needs Python 3.12 or later; `make test-arviz1` tests the conversion with it, in an environment of its own.
ARVIZ1_PYTHON ?= python3.12

PY := .venv/bin/python
# Processes that each start a thread per core only take turns, so torch gets one thread in each. The tests compile far
# more than they compute, so XLA is asked to optimise little.
PYTEST := OMP_NUM_THREADS=1 JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(PY) -m pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-all test-arviz1 lint style types format bench bench-peers roofline growth gpu-check study calibration c2st clean distclean

help:
	@echo "make demo       train, query and check a model on the embedded data"
	@echo "make test       the quick tests;  test-slow  the ones that train;  test-all  both"
	@echo "make test-arviz1  the conversion to ArviZ, on its 1.x (Python 3.12)"
	@echo "make lint       formatting, lint rules and types;  format  repairs the first two"
	@echo "make bench      training steps beside loops by hand, in torch and in JAX: about six minutes"
	@echo "make bench-peers  beside MultiVae, in an environment of its own: two minutes"
	@echo "make roofline   steps of all methods beside what the cores can do: seven minutes"
	@echo "make growth     time and memory against items, features, views and particles: five minutes"
	@echo "make gpu-check  parity, training, answers and timings on a GPU, where there is one"
	@echo "make study      compare the methods on the embedded data: about an hour; fills docs/methods.md"
	@echo "make calibration  how far their posteriors can be believed: hours, most of them for corrected posteriors; fills docs/calibration.md"
	@echo "make c2st       corrected posteriors beside long chains: about an hour; fills docs/calibration.md"
	@echo "make clean      remove what was built;  distclean  also removes .venv"

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit(f"ppvae needs Python 3.11 to 3.13, but $(PYTHON) is {v[0]}.{v[1]}: name another one with make PYTHON=python3.11")'
	@echo "Installing into .venv (a few minutes the first time)"
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: install
	.venv/bin/ppvae demo

test: install
	$(PYTEST) -m "not slow"

test-slow: install
	$(PYTEST) -m slow

test-all: install
	$(PYTEST)

test-arviz1: .venv-arviz1/.installed
	.venv-arviz1/bin/python -m pytest tests/arviz1

.venv-arviz1/.installed: Makefile
	@test -x .venv-arviz1/bin/python || $(ARVIZ1_PYTHON) -m venv .venv-arviz1
	@.venv-arviz1/bin/python -m pip install --quiet --disable-pip-version-check 'arviz>=1,<2' h5netcdf h5py numpy pytest scipy
	@touch $@

lint: style types

style: install
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

# mypy cannot see through the editable mapping of models/ and guides/, so it reads a built copy of the package.
types: install
	@rm -rf build
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-compile --target build/site .
	cd build/site && ../../.venv/bin/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache

format: install
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Each of the four fills its tables of docs/performance.md, and wants cores that do nothing else.
bench: install
	$(PY) benchmarks/bench.py --page
	$(PY) benchmarks/answers.py --page

bench-peers: install .venv-peers/.installed
	$(PY) benchmarks/peers.py --page

.venv-peers/.installed: Makefile constraints.txt
	@test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check multivae==1.0.3 "$$(grep '^torch==' constraints.txt)"
	@touch $@

roofline: install
	$(PY) benchmarks/roofline.py --page

growth: install
	$(PY) benchmarks/growth.py --page

gpu-check: install
	$(PY) benchmarks/accelerators.py

# Goes on where it was stopped; what is done already is in docs/study.
study: install
	$(PY) benchmarks/study.py

calibration: install
	$(PY) benchmarks/calibration.py

c2st: install
	$(PY) benchmarks/c2st.py

clean:
	rm -rf build dist out *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-arviz1 .venv-peers
