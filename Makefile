# Every target is one line over a command that also works by hand; set-up happens by itself.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup exam known upkeep smoke test slow coverage mutants faults gpu check base notebooks clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(READY) ## make .venv and install everything into it (done by the other targets too)

exam: $(READY) ## the embedded exam: RAG, LoRA, continued pretraining and their controls; seeds=3 for three trainings
	$(BIN)/python -m lab experiment=exam seed=$(shell seq -s, 0 $$(($(or $(seeds),1) - 1)))

known: $(READY) ## what the literature knows, asked of this lab: ten known answers, three trainings each, under 90 minutes
	$(BIN)/python -m lab experiment=known_answers

upkeep: $(READY) ## a corpus that changes: every way to keep a route up to date, after one update and after ten
	$(BIN)/python -m lab experiment=upkeep

smoke: $(READY) ## the same at its smallest, in under a minute; its figures say nothing
	$(BIN)/python -m lab experiment=smoke

test: $(READY) ## run the tests, two at a time, but for those that start whole commands
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

slow: $(READY) ## the tests that start whole commands: several processes, killed routes, full disks, notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m slow

coverage: $(READY) ## the tests once more, and what they leave out: fails below 90 % of lines and branches
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report term

mutants: $(READY) ## plant small faults in the judge, the mixture, the store; list those that no test catches (hours)
	OMP_NUM_THREADS=1 $(BIN)/mutmut run --max-children 2 && $(BIN)/mutmut results

faults: $(READY) ## let the disk fail at every place of a run, kill runs 200 times (kills=N), and compare what they end with
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.disk
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.kills $(or $(kills),200)

gpu: $(READY) ## what only a GPU can show, in steps that go on where they were (steps="train answer encoder embedded base exam known table collect")
	$(BIN)/python benchmarks/gpu.py $(steps)

check: $(READY) ## lint, format and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy lab

base: $(READY) ## train the embedded base model again (about an hour and a half on two cores)
	$(BIN)/python -m lab.foundry model=tiny

notebooks: $(READY) ## execute the notebooks on the runs below runs/
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

clean: ## remove runs and prepared artifacts; .venv stays
	rm -rf runs artifacts

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv || (rm -rf .venv; echo "Debian: apt-get install python3-venv" >&2; exit 1)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)
