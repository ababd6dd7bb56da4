# `make ladder` and `make test` are all a new user needs; `make help` lists the rest.

PYTHON ?= python3
CUDA ?= cu13
COMMA := ,
SASS := $(if $(filter cu13,$(CUDA)),$(COMMA)sass)
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
LAYERS ?= 5000
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,python3)
GPU_RESULTS ?= gpu-results
SECONDS_EACH ?= 500

.PHONY: help ladder test test-deep mutants lint format gpu gpu-tests gpu-bench gpu-profile record sass readme clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

ladder: $(VENV)/core ## take a photograph through every rung (sets up .venv the first time, without torch)
	@$(BIN)/scc-numba ladder $(ARGS)

test: $(VENV)/test ## run all tests (adds torch and the test tools to .venv the first time)
	@$(BIN)/python -m pytest $(ARGS)

test-deep: $(VENV)/test ## hold every rung to LAYERS=5000 drawn layers
	@SCC_NUMBA_LAYERS=$(LAYERS) $(BIN)/python -m pytest tests/kernels/test_rungs.py --durations=0 $(ARGS)

mutants: $(VENV)/test ## break every rung's kernels, one small change at a time, and see the checker notice (a night's work)
	@mkdir -p build
	@$(BIN)/scc-numba mutants --report build/mutants.txt --csv build/mutants.csv $(ARGS)

lint: $(VENV)/test ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/test ## let ruff tidy the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# On a machine with a CUDA GPU, from a plain checkout: no .venv is needed if GPU_PYTHON has torch, numba-cuda, hypothesis
# and pytest. Each of the three stops after SECONDS_EACH and goes on where it stopped when called again.
GPU_RUN = PYTHONPATH=.:reference:tests SCC_NUMBA_DEVICE=gpu $(GPU_PYTHON) -m
GPU_TESTS = tests/device tests/kernels tests/check tests/nn tests/measure/bench tests/measure/test_climb.py
NO_GPU_NEEDED = test_compiles test_predictions test_registers

gpu: gpu-tests gpu-bench gpu-profile ## on a CUDA GPU: tests, benchmark, profiler, into GPU_RESULTS; run it until nothing is left

gpu-tests: ## the tests of everything that runs on the GPU
	@mkdir -p $(GPU_RESULTS)
	$(GPU_RUN) pytest -q -p slices --slice $(GPU_RESULTS)/passed.txt --slice-seconds $(SECONDS_EACH) \
		--junitxml=$(GPU_RESULTS)/tests.xml $(NO_GPU_NEEDED:%=--ignore=tests/kernels/%.py) $(GPU_TESTS) $(ARGS)

gpu-bench: ## the benchmark's standard set; BENCH="--full" for the whole grid
	$(GPU_RUN) scc_numba bench --output $(GPU_RESULTS)/bench --seconds $(SECONDS_EACH) $(BENCH)

gpu-profile: ## the best rungs under Nsight Compute, where ncu is there
	$(GPU_RUN) scc_numba.measure.bench.nsight $(GPU_RESULTS)/ncu --seconds $(SECONDS_EACH)

record: ## make the results in GPU_RESULTS part of the package: README's table of times, the tiles that `best` takes
	@PYTHONPATH=.:reference $(GPU_PYTHON) -m scc_numba.measure.bench.record $(GPU_RESULTS)/bench

sass: $(VENV)/test ## compile every rung to machine code, and record what it says in scc_numba/measure/results/sass.csv
	@$(BIN)/scc-numba sass --csv scc_numba/measure/results/sass.csv

CHECK := scc-numba check tests/check/my_kernel.py:run --op forward
FILL = $(BIN)/python -m scc_numba.measure.readme README.md

readme: $(VENV)/test ## run the commands, and put their output and the figures into README.md
	@mkdir -p build tutorials/images
	@$(BIN)/python -m scc_numba.pictures.windows tutorials/images/sliding_windows.svg
	@$(BIN)/scc-numba model --plot tutorials/images/roofline.svg > build/model.txt
	@COLUMNS=96 $(BIN)/scc-numba ladder --report build/readme > build/ladder.txt
	@$(BIN)/$(CHECK) > build/check.txt || test $$? = 1
	@$(FILL) "ladder table=build/readme/ladder.csv" "make ladder=build/ladder.txt" "$(CHECK)=build/check.txt" \
		"times=scc_numba/measure/results"
	@$(BIN)/python -m pytest -q > build/pytest.txt || { tail -n 20 build/pytest.txt; exit 1; }
	@{ echo …; tail -n 1 build/pytest.txt; } > build/test.txt
	@$(FILL) "make test=build/test.txt"

clean: ## remove .venv and everything generated
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; $(PYTHON) is older. Name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "setting up .venv: the core (about 300 MB to download, no torch)"
	@$(PIP) -e '.[$(CUDA)]'
	@touch $@

$(VENV)/test: $(VENV)/core
	@echo "setting up .venv: torch and the test tools"
	@$(PIP) -e '.[$(CUDA),torch,test$(SASS)]'
	@touch $@
