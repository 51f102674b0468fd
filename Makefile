# `make help` lists what there is. Everything is set up in .venv, and again only when the lock changed.

PYTHON ?=
KEEP ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests demo test check bench faults soak sbom audit catalogue lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: .venv/.complete ## make .venv with all that Fraisier and its tests need

.venv/.complete: requirements.lock pyproject.toml infra/setup.sh
	@PYTHON="$(PYTHON)" sh infra/setup.sh
	@touch $@

setup-tests: setup ## install what the tests need beside Python: Docker, a browser, servers
	@bash infra/setup-tests.sh

demo: setup ## a rollout over three regions on a stack of its own; KEEP=1 leaves it up
	@$(BIN)/fraisier demo $(if $(filter 1,$(KEEP)),--keep)

test: setup-tests ## set up what the tests need and run them all
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --tb=short --durations=15

check: setup ## format, lint, types and layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

COMPILE = uv pip compile --quiet --upgrade --universal --python-version 3.10 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

bench: setup ## measure beside the floor, in one run; figures are ratios
	@for one in benchmarks/*.py; do echo "== $$one"; $(BIN)/python $$one || exit 1; done

faults: setup ## break what can break while rollouts run: ROW=nats-stop SEED=7 ROUNDS=3 AT_ONCE=13; without any, two rounds of each row
	@$(BIN)/python -m tests.faults $(ROW) --seed $(or $(SEED),1) --rounds $(or $(ROUNDS),$(if $(ROW),1,2)) --at-once $(or $(AT_ONCE),13)

soak: setup ## rollouts back to back with faults by chance, MINUTES=60 SEED=1 AT_ONCE=13: sizes of everything as a table and plots in dist/soak
	@$(BIN)/python -m tests.faults --soak $(or $(MINUTES),60) --seed $(or $(SEED),1) --at-once $(or $(AT_ONCE),13)

sbom: .venv-audit/.complete ## write dist/fraisier.cdx.json: all that a worker is made of, for whoever looks for what is vulnerable
	@mkdir -p dist
	@.venv-audit/bin/cyclonedx-py requirements infra/requirements-worker.lock --pyproject pyproject.toml \
		--output-reproducible --output-file dist/fraisier.cdx.json

audit: .venv-audit/.complete ## ask PyPI whether anything that is locked is known to be vulnerable; fails where it cannot be asked
	@.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

.venv-audit/.complete: infra/requirements-audit.lock .venv/.complete
	@$(BIN)/python -m venv --clear .venv-audit
	@.venv-audit/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement infra/requirements-audit.lock
	@touch $@

catalogue: setup ## write docs/event-catalogue.md and lock what is new in the event catalogue
	@$(BIN)/python -m fraisier.nats.catalogue docs/event-catalogue.md

lock: ## compile the lock files anew from pyproject.toml (needs uv)
	@$(COMPILE) pyproject.toml --group dev --extra local --extra postgres --output-file requirements.lock
	@$(COMPILE) pyproject.toml --extra postgres --constraint requirements.lock \
		--output-file infra/requirements-worker.lock
	@printf 'cyclonedx-bom\npip-audit\n' | $(COMPILE) - --constraint requirements.lock --output-file infra/requirements-audit.lock
	@printf 'build\nhatchling\n' | $(COMPILE) - --constraint requirements.lock --output-file infra/requirements-build.lock

clean: ## remove .venv and everything that tools left here; servers in the cache stay
	@rm -rf .venv .venv-audit dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
