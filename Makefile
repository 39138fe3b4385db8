# Threadkeeper: every command sets up what it needs. Override on the command line: make run PORT=4000, make test WORKERS=0

VENV ?= .venv
PYTHONS ?= python3.11 python3.12 python3.13 python3
# Tests are spread over processes, one more than two cores: many wait. One that has nothing left takes of another's.
WORKERS ?= 3
ARGS ?=

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check -qq install
COMPILE := $(PY) -m uv pip compile pyproject.toml -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
RUN_STAMP := $(VENV)/.requirements
DEV_STAMP := $(VENV)/.requirements-dev
# An environment whose Python is gone is made anew, so what its stamps say is no longer true.
$(shell test -x $(PY) || rm -f $(RUN_STAMP) $(DEV_STAMP))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run chat dev test check lint pytest interop image-check bench campaign requirements clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(RUN_STAMP) ## Set up, start the bot, print its address
	@exec $(PY) -m bot serve

chat: $(RUN_STAMP) ## Talk to the bot in this terminal
	@exec $(PY) -m bot chat

dev: $(DEV_STAMP) ## Set up what the tests need, and run none

test: $(DEV_STAMP) ## Set up and run the tests, less their long forms (ARGS="-k page" for some of them)
	$(PY) -m pytest -n $(WORKERS) --dist worksteal -m "not long" $(ARGS)

check: $(DEV_STAMP) lint pytest ## Lint, formatting and types, then all tests

lint: $(DEV_STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright --pythonpath $(PY)

pytest: $(DEV_STAMP)
	$(PY) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

interop: $(DEV_STAMP) ## Try the bot against Microsoft's own client, server and rules, and MCP servers (sets up more)
	@failed=0; for each in tests/interop/run tests/interop/agentserver/run tests/interop/mcp/run tests/interop/appmanifest/run; do \
	  PYTHON=$(PY) $$each || failed=1; \
	done; exit $$failed

image-check: $(DEV_STAMP) ## Take the steps of infra/Dockerfile in an empty folder, and run what they make (2 minutes)
	@exec $(PY) -m tests.deploy.image

bench: $(DEV_STAMP) ## Measure the bot beside a stock echo bot
	@exec $(PY) -m tests.bench.echo $(ARGS)

campaign: $(DEV_STAMP) ## Break everything under load and count what became of each message (5 minutes)
	@exec $(PY) -m tests.campaign $(ARGS)

# For all platforms and for Python 3.11 to 3.13, with the hash of each file that may be installed. What is pinned stays;
# ARGS="--upgrade-package NAME" moves one on.
requirements: $(DEV_STAMP) ## Pin what pyproject.toml asks for, in requirements.txt and requirements-dev.txt
	$(COMPILE) $(ARGS) -o requirements.txt
	$(COMPILE) $(ARGS) --group dev -o requirements-dev.txt
	$(PY) -m infra.licences

clean: ## Remove what was installed and cached; databases and .env stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
	find adapters bot infra tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@found=; \
	for name in $(PYTHONS); do \
	  if $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	  then found=$$name; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Threadkeeper needs Python 3.11, 3.12 or 3.13, and none of these is one: $(PYTHONS)." >&2; \
	  echo "Install one (on Debian or Ubuntu: apt-get install python3 python3-venv), or name it: make run PYTHONS=/path/to/python3.11" >&2; \
	  exit 1; \
	fi; \
	if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
	  version=$$($$found -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "$$found cannot make an environment, since it has no ensurepip. This cures it, as root:" >&2; \
	  echo "  apt-get install python$$version-venv" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$found --version) ..."; \
	$$found -m venv --clear $(VENV)

# The stamps stand inside the environment, so that a new environment has none. The interpreter is order-only:
# its link has the age of the system's Python.
$(RUN_STAMP): requirements.txt | $(PY)
	@echo "Installing requirements.txt into $(VENV), a minute the first time ..."
	@$(PIP) -r requirements.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt $(RUN_STAMP) | $(PY)
	@echo "Installing requirements-dev.txt into $(VENV) ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@
