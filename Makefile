# The commands for a clone. They need Python 3.11 or newer, make and git; the rest is installed into .venv.

PYTHON ?= python3
VENV ?= .venv
EXAMPLES ?= 50
# An idle worker takes tests from another, so that all end together and a module's fixtures are mostly made once.
# Some tests wait, so a third worker has work on two cores.
WORKERS ?= 3
SIDE_BY_SIDE = -n $(WORKERS) --dist worksteal --timeout 600
OF_COMMANDS := $(filter-out %/test_ui_command.py,$(wildcard tests/surfaces/test_*command*.py)) tests/surfaces/test_settings.py
OF_USERS := tests/contract tests/client $(OF_COMMANDS)
BIN := $(VENV)/bin

# Python compiles a module at its first import and keeps the byte code. Without that, each of the hundreds of processes
# that tests start would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE
export PIP_COMPILE := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test browser screenshots serve regen check clients-check extras coverage newest lowest mutants format fuzz fuzz-long soak eval bench bench-peers bench-quick build clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.server ## start a server, store and recall memories over HTTP, and print the URL of the page (ARGS=--stay keeps it running)
	@$(BIN)/python scripts/demo.py $(ARGS)

test: $(VENV)/.dev ## run the tests in parallel and in random order (ARGS='-k docs' selects some)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

browser: $(VENV)/.dev ## install Chromium for the tests of the page, with apt, as root
	@$(BIN)/python scripts/browser.py

screenshots: $(VENV)/.dev ## take pictures of each view of the page, wide and narrow, light and dark (ARGS=context selects some)
	@$(BIN)/python scripts/screenshots.py $(ARGS)

serve: $(VENV)/.server ## serve on http://127.0.0.1:9100 (ARGS='--port 9200 --store sqlite:///x.db')
	$(BIN)/memtrace serve $(ARGS)

regen: $(VENV)/.dev ## generate all files that are derived from openapi.yaml
	$(BIN)/python scripts/regen.py

check: $(VENV)/.dev ## check lint, formatting, strict types (inside and as users see them), derived files, and promises of the contract
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python scripts/typed.py
	$(BIN)/python scripts/regen.py --check
	$(BIN)/python scripts/compatibility.py

clients-check: $(VENV)/.dev ## lint the contract, and run clients that tools generate from it for TypeScript and pydantic
	@$(BIN)/python scripts/clients_check.py

extras: $(VENV)/.dev ## test each extra and its examples in an environment with that extra alone (ten minutes; EXTRAS='mcp cli' selects some)
	@$(BIN)/python scripts/extras.py $(EXTRAS)

coverage: $(VENV)/.dev ## run the tests of the SDK, and fail if they miss one of its branches
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(SIDE_BY_SIDE) tests/client tests/contract/test_moving.py tests/contract/test_fitted_contexts.py \
		tests/contract/test_sessions.py tests/contract/test_values.py tests/server/test_postgres_store.py tests/package/test_names.py tests/package/test_fail_next.py \
		tests/package/test_pytest_plugin.py tests/frameworks/test_tools.py $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

newest: .venv-newest/.done ## run the tests of the SDK and the commands with the newest installed Python and the newest dependencies
	.venv-newest/bin/python -m pytest $(SIDE_BY_SIDE) -o cache_dir=.venv-newest/cache $(OF_USERS) tests/package/test_typing.py $(ARGS)

lowest: .venv-lowest/.done ## run the tests of the SDK and the commands with the lowest versions of the dependencies
	.venv-lowest/bin/python -m pytest $(SIDE_BY_SIDE) -o cache_dir=.venv-lowest/cache $(OF_USERS) $(NEEDS_MORE:%=--ignore=%) $(SAME_WITH_LOWEST:%=--ignore=%) $(ARGS)

mutants: $(VENV)/.dev ## change the SDK in thousands of ways, and fail if its tests notice too few (some two hours)
	$(BIN)/python scripts/mutants.py $(ARGS)

format: $(VENV)/.dev ## format the code, and fix what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

fuzz: $(VENV)/.dev ## fuzz a new server for a minute or two, or the one of URL=… KEY=… [PEER_KEY=…]
	@$(BIN)/python scripts/fuzz.py --examples $(EXAMPLES) $(if $(SEED),--seed $(SEED)) \
		$(if $(URL),--url '$(URL)' --key '$(KEY)' --peer-key '$(PEER_KEY)')

fuzz-long: ## fuzz with EXAMPLES=1000 and a new seed each time
	@$(MAKE) fuzz EXAMPLES=1000 SEED=$$(date +%s)

soak: $(VENV)/.dev ## run honest and hostile clients on one server for ten minutes (ARGS='--minutes 2' for less)
	@$(BIN)/python scripts/soak.py $(ARGS)

eval: $(VENV)/.dev ## measure search on a labelled log, compared with FTS5's own ranking, up to 100,000 memories
	@$(BIN)/python scripts/eval.py

bench: $(VENV)/.dev ## measure against floors, up to a million memories (six minutes, longer the first time)
	@$(BIN)/python scripts/bench.py

bench-peers: $(VENV)/.dev ## measure the embedded store beside others, each in its own environment (some GB)
	@$(BIN)/python scripts/bench_peers.py

bench-quick: $(VENV)/.dev ## measure against floors, up to 100,000 memories (two minutes)
	@$(BIN)/python scripts/bench.py --quick

build: $(VENV)/.dev ## build the wheel and the sdist into dist/
	rm -rf dist
	$(BIN)/python -m build

clean: ## remove all files that these targets made
	rm -rf .venv .venv-newest .venv-lowest build dist junit.xml .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis .coverage .coverage.* mutants
	find src generated scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The demo and the server need few packages, and should not wait for all the tools.
$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Memtrace needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name a newer one: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv --upgrade-deps $(VENV)

$(VENV)/.server: pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --editable '.[server]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --editable '.[dev]'
	$(BIN)/python -m pip install --no-deps openapi-python-client==0.29.1
	@touch $(VENV)/.server $@

.venv-newest/.done: pyproject.toml
	@python=$$(for minor in 14 13 12 11; do python3.$$minor -c 'import sys; print(sys.executable)' 2>/dev/null && break; done); \
		if [ -z "$$python" ]; then echo "make newest needs one of python3.14, python3.13, python3.12 and python3.11 on PATH, and found none" >&2; exit 1; fi; \
		echo "$$python -m venv --clear --upgrade-deps .venv-newest"; "$$python" -m venv --clear --upgrade-deps .venv-newest
	.venv-newest/bin/python -m pip install --quiet --editable '.[test]'
	@touch $@

# Tests whose tools, such as other HTTP libraries, need newer versions; and those of the end of an interpreter, which
# is the same with older ones.
NEEDS_MORE := tests/client/test_interop.py tests/client/test_tracing.py tests/contract/test_httpx2.py
SAME_WITH_LOWEST := tests/client/test_buffer_exit.py

.venv-lowest/.done: pyproject.toml scripts/lowest.py | $(VENV)/.dev
	$(PYTHON) -m venv --clear --upgrade-deps .venv-lowest
	$(BIN)/python scripts/lowest.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet --editable '.[postgres]' \
		--constraint .venv-lowest/constraints.txt freezegun hypothesis pytest pytest-timeout pytest-xdist PyYAML trio
	@touch $@
