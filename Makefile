# `make` alone shows what there is. Works with GNU make 3.81 and later; all is done inside this folder.
# STACK=docker|native chooses the stack; without it, Docker's where an engine answers.

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)

VENV    := .venv
PY      := $(VENV)/bin/python
STAMP   := $(VENV)/.installed
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
WHEEL   := dist/finlake-$(VERSION)-py3-none-any.whl
SOURCES := $(shell find contracts datagen pipeline ml emulator -type f -not -name '*.pyc')

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help install doctor up down status shell e2e test test-slow test-unit test-docker conformance lint format dictionary lineage wheel tf-plan tf-apply tf-destroy tflocal-apply tf-docs clean need-env

help: ## Show these targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## Install everything into .venv and fetch Spark's jars (again only if something changed)
	@$(PY) -m pipeline.doctor --quiet
	@$(PY) -m pipeline.jars
	@$(PY) -m pipeline.class_archive

doctor: $(STAMP) ## Check what a package manager cannot bring: Python, Java 17, Terraform, ...
	@$(PY) -m pipeline.doctor

up: install ## Start the local AWS and Spark (STACK=docker|native; FINLAKE_PORT=4600 for another port than 4566)
	@$(PY) -m emulator up

down: $(STAMP) ## Stop the local AWS; its data is kept
	@$(PY) -m emulator down

status: $(STAMP) ## Show which stack runs, and where
	@$(PY) -m emulator status

shell: $(STAMP) ## Open a Python shell on the stack's Spark, with the tables at hand
	@$(PY) -m pipeline.cli shell

e2e: install wheel ## Run the whole story: infrastructure, data, Silver and Gold, checks; leaves the stack up
	@$(PY) -m emulator up
	@$(PY) -m pipeline.e2e

SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadgroup

test: install lint ## Run the tests for each change, and the linters; without Docker
	$(PY) -m pytest -m "not docker and not slow" $(SIDE_BY_SIDE)

test-slow: install ## Run the other tests that need no Docker: long histories, faults, other people's clients, Terraform
	$(PY) -m pytest -m "slow and not docker" $(SIDE_BY_SIDE)

test-unit: $(STAMP) ## Run the tests that need neither Java nor the local AWS
	$(PY) -m pytest tests/unit

test-docker: install ## Run the tests that need a Docker engine
	$(PY) -m pytest -m docker tests/docker tests/conformance

conformance: install ## Try what emulators and clients do, and write it into the docs (LocalStack: with Docker)
	$(PY) -m pytest tests/conformance tests/emulator/test_athena_clients.py --write-table

lint: $(STAMP) ## Check style, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(STAMP) ## Put the code into the project's format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

dictionary: $(STAMP) ## Write docs/data-dictionary.md from the contracts, and docs/gold.md from the marts
	$(PY) -m contracts.dictionary
	$(PY) -m pipeline.gold.page

lineage: install ## Write pipeline/gold/lineage.json: which columns each column of a mart is made from
	$(PY) -m pytest tests/spark/test_mart_lineage.py --write-table

wheel: $(WHEEL) ## Build the Python package that Glue installs, if its sources changed

tf-plan: need-env install wheel ## Show what Terraform would change: make tf-plan ENV=dev
	@$(PY) -m pipeline.cli infra plan --env $(ENV) || [ $$? -eq 2 ] # 2: there are changes

tf-apply: need-env install wheel ## Let Terraform change it: make tf-apply ENV=dev
	@$(PY) -m pipeline.cli infra apply --env $(ENV)

tf-destroy: need-env install ## Let Terraform remove it all: make tf-destroy ENV=local
	@$(PY) -m pipeline.cli infra destroy --env $(ENV)

tflocal-apply: install wheel ## Apply Terraform to the local AWS that `make up` has started
	@$(PY) -m pipeline.cli infra apply --env local

tf-docs: $(STAMP) ## Write the tables of variables and outputs into the READMEs of Terraform's modules
	@$(PY) -m pipeline.terraform_docs

clean: ## Stop the local AWS and delete its data (.finlake, Docker's volumes): all local buckets and tables
	@if [ -x $(PY) ]; then $(PY) -m emulator clean; fi
	rm -rf .finlake

# An ENV that merely happens to be in the shell's environment must not choose what is deployed to.
need-env:
	@if [ "$(origin ENV)" != "command line" ]; then \
	  echo "Which environment? Say for example: make $(or $(filter tf-%,$(MAKECMDGOALS)),tf-plan) ENV=local" >&2; exit 2; fi

$(WHEEL): $(SOURCES) pyproject.toml README.md LICENSE | $(STAMP)
	@mkdir -p dist
	@$(PY) -m hatchling build --target wheel --directory dist >dist/build.log 2>&1 || { cat dist/build.log >&2; exit 1; }
	@touch $@
	@echo "Built $@"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or later is needed; found: $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Get it with 'apt install python3.11 python3.11-venv', 'brew install python@3.11' or pyenv," >&2; \
	  echo "then run: make install PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu get what is missing with" >&2; \
	  echo "'apt install python3-venv' (or python3.11-venv, after the version of $(PYTHON))." >&2; exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lakehouse,connect,dashboard,emulator,ml,dev]'
	@touch $@
