# linkwitness: `make run` starts the agent, `make test` runs everything that is checked. Both set up what they need.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test setup lint types unit lab live faults bench clean

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# These time something, or own namespaces and ports: one after another.
ALONE := serial or root or live

help:  ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST)

run:  ## install if needed, then watch the circuits of config/agent.yaml; Ctrl-C stops
	@.ci/environment run
	@exec $(BIN)/linkwitness run -c config/agent.yaml

setup:  ## what the tests need: Debian packages (as root) and .venv
	@tests/packages.sh
	@.ci/environment dev

test: setup lint types  ## lint, types and all tests
	@tests/all.sh

lint:  ## ruff: rules and format
	@.ci/environment dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:  ## mypy --strict
	@.ci/environment dev
	$(BIN)/mypy --strict agent probes

unit:  ## tests that need nothing but Python, in parallel
	@.ci/environment dev
	$(PYTEST) -q -n 2 -m "not ($(ALONE))" </dev/null

lab:  ## the emulated network: namespaces and link emulator (root)
	@.ci/environment dev
	$(PYTEST) -q tests/lab </dev/null

live:  ## real servers and peers
	@.ci/environment dev
	$(PYTEST) -q tests/live </dev/null

# Hours: 10,000 kills, 1,000 power cuts, every call of the store failing in turn. tests/faults/counts.py tells the names
# by which one harness alone is made shorter or longer: LINKWITNESS_FAULTS_KILLS=500 make faults
faults:  ## the fault harnesses with their long counts: figures at the end (root, hours)
	@tests/packages.sh
	@.ci/environment dev
	LINKWITNESS_FAULTS=long $(PYTEST) -q tests/faults tests/agent/test_sla_zones.py tests/agent/test_sla_deletion.py \
	  tests/agent/test_sla_shared_fate.py tests/agent/test_sla_hours.py tests/agent/test_sla_calendar.py \
	  tests/agent/test_sla_credits.py tests/agent/test_sla_chronic.py tests/agent/test_sla_availability.py \
	  tests/agent/test_sla_every_availability.py tests/agent/test_sla_every_statistic.py \
	  tests/agent/test_assessment_oracle.py tests/agent/test_assessment_invariances.py \
	  tests/probes/reflect/test_stamp_hostile.py </dev/null

bench:  ## benchmarks, with peers beside us
	@.ci/environment dev
	@set -e; for file in benchmarks/*.py; do \
	  name=$$(basename "$$file" .py); echo "== $$name" >&2; $(BIN)/python -m "benchmarks.$$name"; \
	done

clean:  ## remove .venv and caches; measured data in var/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find agent probes tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
