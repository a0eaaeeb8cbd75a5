# Two commands matter: `make demo` and `make test`. What they need is installed into .venv, .emul, .lambda and .sam,
# once, and again when a lock in requirements/ changes. Nothing is needed beforehand but make and Python >= 3.11.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
EMUL := .emul
LAMBDA := .lambda
SAM := .sam
BENCH := .bench
BIN := $(VENV)/bin
WORKERS ?= 2
CANDIDATES := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3)
# An emulator folder of one's own (DDBTRAIL_EMULATORS) is used as it is, never installed into.
EMULATORS := $(if $(DDBTRAIL_EMULATORS),,$(EMUL)/.locked)
INSTALLED := $(VENV)/.installed
RUNTIME := $(LAMBDA)/.locked
DEPLOYER := $(SAM)/.locked
PEERS := $(BENCH)/.locked
# Lambda's runtime is Python 3.13, whatever else this machine has.
LAMBDA_PYTHONS := $(or $(LAMBDA_PYTHON),python3.13 $(wildcard $(HOME)/.pyenv/versions/3.13.*/bin/python3.13))

# ensurepip is what Debian leaves out of python3 and puts into python3-venv.
SUITABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
SUITABLE_FOR_LAMBDA := import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 13))

# $(call install_locked,FOLDER,LOCK): a virtual environment with exactly the packages of the lock.
define install_locked
	@python=; for candidate in $(CANDIDATES); do \
		if "$$candidate" -c '$(SUITABLE)' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "ddbtrail needs Python >= 3.11 with the venv module; none of these is: $(CANDIDATES)"; \
		echo "  on Debian or Ubuntu type: apt-get install python3-venv"; \
		echo "  to name another one type: make PYTHON=/path/to/python3 $(or $(MAKECMDGOALS),help)"; \
		exit 1; \
	fi >&2; \
	if ! $(1)/bin/python -c '$(SUITABLE)' >/dev/null 2>&1; then \
		echo "making $(1) with $$("$$python" --version)"; \
		"$$python" -m venv --clear $(1) || exit 1; \
	fi; \
	echo "installing $(2) into $(1)"; \
	$(call pip,$(1),-r $(2))
	@touch $@
endef

# $(call install_for_lambda,FOLDER,LOCK): the same with Lambda's Python, every package of the lock and no other. Not an
# error where Python 3.13 is missing: all other tests run without, and those that need it say so.
define install_for_lambda
	@python=; for candidate in $(LAMBDA_PYTHONS); do \
		if "$$candidate" -c '$(SUITABLE_FOR_LAMBDA)' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "no Python 3.13 here: tests that need $(1) will skip (LAMBDA_PYTHON=/path/to/python3.13)" >&2; \
		exit 0; \
	fi; \
	if ! $(1)/bin/python -c '$(SUITABLE_FOR_LAMBDA)' >/dev/null 2>&1; then \
		echo "making $(1) with $$("$$python" --version)"; \
		"$$python" -m venv --clear $(1) || exit 1; \
	fi; \
	echo "installing $(2) into $(1)"; \
	$(call pip,$(1),--no-deps -r $(2)); \
	touch $@
endef

# $(call pip,FOLDER,WHAT): pip install, silent but for errors, asking nobody. Python compiles what it imports, later.
pip = $(1)/bin/python -m pip install -qq --no-compile --disable-pip-version-check --no-input $(2) || { \
	echo "installing into $(1) failed; mend what pip says above and type the same again" >&2; exit 1; }

# Python keeps what it compiled, whatever this shell is told: else every test process compiles all it imports anew.
unexport PYTHONDONTWRITEBYTECODE

# Tests make and remove a great many small files, for which a disk has them wait: in memory where there is room (4 GB; a
# whole run makes half of one). What a run that failed has made stays there to be looked at.
IN_MEMORY = $(shell [ -w /dev/shm ] && [ "$$(df -Pk /dev/shm | awk 'END { print $$4 }')" -gt 4000000 ] && echo /dev/shm)

# $(call pytest,OPTIONS): pytest with all workers and a folder for temporary files.
define pytest
	@folder=$$(mktemp -d "$(or $(TMPDIR),$(IN_MEMORY),/tmp)/ddbt-XXXXXX") || exit 1; \
	trap 'rm -rf "$$folder"; exit 130' INT TERM; \
	TMPDIR="$$folder" $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder $(1) || { \
		status=$$?; echo "what the tests made is in $$folder" >&2; exit $$status; }; \
	rm -rf "$$folder" || true
endef

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' Makefile | while IFS=@ read -r target what; do \
		printf '%-20s %s\n' "$$target" "$$what"; done

.PHONY: demo
demo: $(INSTALLED) $(EMULATORS) ## Write to a DynamoDB on this machine, archive its stream, ask, check the answers
	@$(BIN)/python demo/demo.py

.PHONY: test
test: lint types $(EMULATORS) $(RUNTIME) $(DEPLOYER) ## Run everything but the long campaigns: lint, types, tests
	$(call pytest,-m "not long")

.PHONY: test-long
test-long: $(INSTALLED) $(EMULATORS) $(RUNTIME) $(DEPLOYER) ## Run the long campaigns
	$(call pytest,-m long)

.PHONY: mutants
mutants: $(INSTALLED) ## Change the code that vouches for an archive, and see whether its tests notice
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.mutation --workers $(WORKERS) $(MODULES)

.PHONY: test-rgw
test-rgw: $(INSTALLED) ## Run the tests that need Ceph RADOS Gateway
	@$(BIN)/python -m pytest -m rgw

.PHONY: bench
bench: $(INSTALLED) $(EMULATORS) ## Measure; docs/performance.md says what the figures mean
	@$(BIN)/python -m benchmarks

.PHONY: bench-peers
bench-peers: $(INSTALLED) $(PEERS) ## Measure Spark, Delta Lake and others at the same question (needs Java 17)
	@DDBTRAIL_BENCH_PYTHON=$(BENCH)/bin/python $(BIN)/python -m benchmarks peers

.PHONY: package
package: $(INSTALLED) ## Build the Lambda packages, and the templates that deploy them, into build/
	@$(BIN)/python -m infra.build $(if $(CODE_BUCKET),--code-bucket $(CODE_BUCKET))

.PHONY: docs
docs: $(INSTALLED) ## Build the documentation site into build/site, with warnings as errors
	@$(BIN)/python -m docs.site

.PHONY: lint
lint: $(INSTALLED) ## Check style and format with ruff
	@$(BIN)/ruff check --quiet --extend-exclude $(EMUL)
	@$(BIN)/ruff format --quiet --check --extend-exclude $(EMUL) || { echo "to format: $(BIN)/ruff format" >&2; exit 1; }

.PHONY: types
types: $(INSTALLED) ## Check types with mypy --strict
	@$(BIN)/mypy

.PHONY: venv
venv: $(INSTALLED) ## Install the project and its tools into .venv
	@:

.PHONY: emulators
emulators: $(EMULATORS) ## Install the AWS emulator into .emul (it needs packages that .venv must not have)
	@:

.PHONY: runtime
runtime: $(RUNTIME) ## Install Lambda's runtime client into .lambda (needs Python 3.13; without it its tests skip)
	@:

.PHONY: sam
sam: $(DEPLOYER) ## Install the SAM CLI, and the emulator it deploys to, into .sam (needs Python 3.13)
	@:

.PHONY: lock
lock: ## Write the locks anew from pyproject.toml (with the oldest supported Python)
	@rm -rf build/lock && mkdir -p build/lock
	@python3.11 -m venv build/lock/dev && $(call pip,build/lock/dev,-e '.[dev]' hatchling editables)
	@python3.11 -m venv build/lock/emulators && $(call pip,build/lock/emulators,ministack==1.5.33 boto3 cryptography duckdb)
	@python3.11 -m venv build/lock/bench && $(call pip,build/lock/bench,pyspark deltalake pyarrow duckdb)
	@build/lock/dev/bin/python -m pip freeze --exclude-editable >requirements/dev.txt
	@build/lock/emulators/bin/python -m pip freeze >requirements/emulators.txt
	@build/lock/bench/bin/python -m pip freeze >requirements/bench.txt
	@rm -rf build/lock

# boto3 is of the month in which Lambda got Python 3.13: no runtime has an older one. aws-sam-cli is there for the
# Runtime Interface Emulator in its wheel, without the eighty packages it needs for itself. Those are in sam.txt, beside
# the MiniStack of .emul: it runs a function with its own Python, which therefore must be 3.13. It pins a botocore that
# the SAM CLI excludes, so pip is not asked whether the two agree; tests/system/test_sam.py is.
OF_MINISTACK := ^(ministack|Hypercorn|h11|h2|hpack|hyperframe|priority|wsproto|defusedxml|graphql-core|jsonata-python)==
.PHONY: lock-lambda
lock-lambda: $(INSTALLED) $(RUNTIME) ## Write the locks of the Lambda packages, of Lambda's runtime and of SAM anew
	@$(BIN)/python -m infra.wheels
	@rm -rf build/lock && $(LAMBDA)/bin/python -m venv build/lock/lambda
	@$(call pip,build/lock/lambda,awslambdaric boto3==1.35.60)
	@$(call pip,build/lock/lambda,--no-deps aws-sam-cli)
	@build/lock/lambda/bin/python -m pip freeze >requirements/runtime.txt
	@$(LAMBDA)/bin/python -m venv build/lock/sam
	@$(call pip,build/lock/sam,aws-sam-cli)
	@$(call pip,build/lock/sam,--no-deps $$(grep -E '$(OF_MINISTACK)' requirements/emulators.txt))
	@build/lock/sam/bin/python -m pip freeze >requirements/sam.txt
	@rm -rf build/lock

.PHONY: clean
clean: ## Remove caches and what was built
	@rm -rf build dist .aws-sam .cache demo-archive .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -not -path './.emul/*' -not -path './.lambda/*' \
		-not -path './.sam/*' -not -path './.bench/*' -prune -exec rm -rf {} +

.PHONY: clean-all
clean-all: clean ## Remove .venv, .emul, .lambda, .sam and .bench too
	@rm -rf $(VENV) $(EMUL) $(LAMBDA) $(SAM) $(BENCH)

$(VENV)/.locked: requirements/dev.txt
	$(call install_locked,$(VENV),requirements/dev.txt)

$(EMUL)/.locked: requirements/emulators.txt
	$(call install_locked,$(EMUL),requirements/emulators.txt)

$(PEERS): requirements/bench.txt
	$(call install_locked,$(BENCH),requirements/bench.txt)

$(RUNTIME): requirements/runtime.txt
	$(call install_for_lambda,$(LAMBDA),requirements/runtime.txt)

$(DEPLOYER): requirements/sam.txt
	$(call install_for_lambda,$(SAM),requirements/sam.txt)

$(INSTALLED): $(VENV)/.locked pyproject.toml
	@$(call pip,$(VENV),--no-build-isolation --no-deps -e .)
	@touch $@
