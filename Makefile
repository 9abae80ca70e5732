# Every target does its own set-up first (packaging/dev-setup): .venv, and what apt has to bring.

ARGS ?=
SETUP := @packaging/dev-setup
BIN := .venv/bin
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs bench bench-server bench-growth bench-sdk bench-sdk-long bench-client bench-credit bench-web simulate simulate-full fault fuzz-api fault-server fault-liars test-long test-parity test-postgres test-mixed test-site test-site-postgres screenshots test-desktop test-wine package clean

help:  ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

demo:  ## Factor 11^150+1 with a server and two volunteers on this computer; options in ARGS="--cheater ..."
	$(SETUP) demo
	@$(BIN)/dsage demo $(ARGS)

test: lint  ## Check everything: style, types, tests (a few minutes); options for pytest in ARGS="-k ..."
	$(SETUP) test
	@$(BIN)/pytest $(SIDE_BY_SIDE) -m "not slow" $(ARGS)

test-parity:  ## Run every test that docs/parity.md names, the long ones too (half an hour)
	$(SETUP) test
	@$(BIN)/pytest --parity $(ARGS)

lint:  ## Check style and types only
	$(SETUP) demo
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy --strict

docs:  ## Build the documents into a site, build/docs/index.html (seconds); any warning fails
	$(SETUP) demo
	@$(BIN)/sphinx-build -q -W --keep-going -b html -d build/doctrees docs build/docs $(ARGS)
	@echo "the site begins at build/docs/index.html"

bench:  ## Print the figures that DSage promises, measured here
	$(SETUP) demo
	@$(BIN)/python benchmarks/first_light.py $(ARGS)

bench-server:  ## Measure what one server does, beside other systems (a quarter of an hour); ARGS="--only throughput"
	$(SETUP) bench
	@$(BIN)/python benchmarks/server_bench.py $(ARGS)

bench-growth:  ## Measure what 10 million units in the tables cost (30 GB of disk, half an hour)
	$(SETUP) bench
	@$(BIN)/python benchmarks/growth.py $(ARGS)

bench-sdk:  ## Measure what researchers wait for, beside Dask and ipyparallel (a quarter of an hour); ARGS="--only trips"
	$(SETUP) bench-sdk
	@$(BIN)/python benchmarks/sdk_bench.py $(ARGS)

bench-sdk-long:  ## The same with 200 units of 10 s on each system (nearly two hours)
	$(SETUP) bench-sdk
	@$(BIN)/python benchmarks/sdk_bench.py --long $(ARGS)

bench-client:  ## Measure what the owner of a computer notices (ten minutes); ARGS="--only return"
	$(SETUP) desktop
	@$(BIN)/python benchmarks/client_bench.py $(ARGS)

test-long:  ## Run what takes too long for `make test`: each proxy that is installed, a network that is gone, 50,000 units (a quarter of an hour)
	$(SETUP) test
	@$(BIN)/pytest -m slow tests/acceptance tests/integration --ignore tests/acceptance/test_mixed.py \
	  --ignore tests/acceptance/test_site.py $(ARGS)

simulate:  ## Measure wrong results, waste and stolen credit with simulated liars (a quarter of an hour); ARGS="--pictures build"
	$(SETUP) demo
	@PYTHONPATH=benchmarks $(BIN)/python -m simulator $(ARGS)

simulate-full:  ## The same with more hosts and seeds (hours)
	$(SETUP) demo
	@PYTHONPATH=benchmarks $(BIN)/python -m simulator --full $(ARGS)

bench-credit:  ## Measure what the ledger costs: a million rows, 100,000 volunteers (minutes); ARGS="--only sqlite"
	$(SETUP) bench
	@$(BIN)/python benchmarks/credit_bench.py $(ARGS)

bench-web:  ## Measure what visitors of the site wait for, at 100,000 volunteers (a quarter of an hour); ARGS="--only views"
	$(SETUP) bench
	@$(BIN)/python benchmarks/web_bench.py $(ARGS)

fault:  ## Kill server, clients and driver at random during a factorisation (minutes)
	$(SETUP) demo
	@$(BIN)/pytest -m slow tests/fault/test_kills.py tests/fault/test_driver_kills.py tests/fault/test_hosted_kills.py $(ARGS)

fault-server:  ## Bad input and faults at real servers with a fleet on them (minutes); ARGS="-k disk"
	$(SETUP) fault
	@$(BIN)/pytest -m slow tests/fault/test_server_faults.py tests/fault/test_server_processes.py $(ARGS)

fault-liars:  ## Kill servers 200 times while liars work, then count the ledger again (a quarter of an hour); ARGS="--kills 20"
	$(SETUP) fault
	@$(BIN)/python benchmarks/liars.py $(ARGS)

fuzz-api:  ## Ask a real server everything that its API's description names, rightly and wrongly (minutes)
	$(SETUP) test
	@DSAGE_FUZZ=60 $(BIN)/pytest --timeout 1800 tests/hostile/test_api.py $(ARGS)

test-postgres:  ## Run the server's tests on PostgreSQL (minutes)
	$(SETUP) test
	@DSAGE_TEST_STORE=postgresql $(BIN)/pytest -m "not slow" tests/unit/dsage_server tests/integration tests/migration \
	  tests/hostile/test_server.py tests/hostile/test_server_pressure.py tests/hostile/test_blobs.py $(ARGS)

test-mixed:  ## Try today's programs with those of the previous release, both ways
	$(SETUP) demo
	@$(BIN)/pytest -m slow tests/acceptance/test_mixed.py $(ARGS)

test-site:  ## Look at every page of the site in every theme, language and width, with pictures in build/site (half an hour)
	$(SETUP) test
	@mkdir -p build/site
	@DSAGE_PICTURES=build/site $(BIN)/pytest -m slow tests/acceptance/test_site.py $(ARGS)

test-site-postgres:  ## Walk over the site, and attack its routes, on PostgreSQL (minutes)
	$(SETUP) test
	@DSAGE_TEST_STORE=postgresql $(BIN)/pytest -m "not slow" -k "not fit" tests/acceptance/test_site.py \
	  tests/hostile/test_site_routes.py tests/hostile/test_site_visitors.py tests/integration/test_seed_demo.py $(ARGS)

screenshots:  ## Take the pictures of the site that the documents show (minutes)
	$(SETUP) test
	@$(BIN)/python tests/support/screenshots.py $(ARGS)

package:  ## Build what volunteers install into dist/: wheel, .deb, installer for Windows; ARGS="wheel deb"
	$(SETUP) package
	@packaging/package $(ARGS)

test-desktop:  ## Install the .deb and use it as a person would, in a throw-away copy of this computer (minutes, as root)
	$(SETUP) desktop
	@packaging/package wheel deb
	@mkdir -p build
	@$(AS_ROOT) env ELSEWHERE_SHARE=$(CURDIR)/build ELSEWHERE_FOLDER=$(CURDIR) tests/desktop/elsewhere \
	  $(BIN)/pytest -p no:cacheprovider -m slow tests/desktop $(ARGS)

test-wine:  ## Try the installer for Windows under wine, in a throw-away copy of this computer (700 MB to install, as root)
	$(SETUP) wine
	@packaging/package windows
	@mkdir -p build
	@$(AS_ROOT) env ELSEWHERE_SHARE=$(CURDIR)/build ELSEWHERE_FOLDER=$(CURDIR) tests/desktop/elsewhere \
	  $(BIN)/pytest -p no:cacheprovider -m slow tests/desktop/test_windows.py $(ARGS)

clean:  ## Remove .venv and every cache
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
