# What a person and CI both run. It needs python3 (3.11 or newer), make, a C compiler and a package index; the rest it installs.

PYTHON ?= python3
VENV ?= .venv
HOST = 127.0.0.1   # not taken from the environment, where some shells keep the machine's name
PORT ?= 8000

PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help venv serve test lint bench check-browser check-fuzz check-load check-soak check-wheel constraints clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 16

venv: $(VENV)/.all  ## everything that a developer needs, in .venv

serve: $(VENV)/.serve  ## the HTTP service: make serve [HOST=0.0.0.0] [PORT=8000]
	@exec $(VENV)/bin/vocoder serve --host $(strip $(HOST)) --port $(strip $(PORT))

test: $(VENV)/.all  ## the whole suite, doctests included: make test [ARGS='-k flows']
	$(VENV)/bin/python -m pytest $(ARGS)

lint: $(VENV)/.all  ## ruff, mypy and the import contracts
	@failed=0; for tool in 'ruff check .' mypy lint-imports; do \
		echo "== $$tool"; $(VENV)/bin/$$tool || failed=1; \
	done; exit $$failed

bench: $(VENV)/.serve  ## how fast synthesis is on this machine, as a table: make bench [ARGS=...]
	$(VENV)/bin/vocoder bench $(ARGS)

check-fuzz: $(VENV)/.all  ## damaged bodies by the thousand, against every route that reads one
	FUZZ_EXAMPLES=4000 $(VENV)/bin/python -m pytest -q --timeout 3600 tests/server/test_fuzz.py

check-browser: $(VENV)/.all  ## the page in a real browser, which has to be there; pictures in out/page
	@command -v chromium >/dev/null || { echo "check-browser needs chromium" >&2; exit 1; }
	SCREENSHOTS=out/page $(VENV)/bin/python -m pytest tests/server/test_page.py tests/server/test_browser.py tests/server/test_browser_edges.py $(ARGS)

check-load: $(VENV)/.all  ## the service under load, about five minutes: make check-load [ARGS=...]
	$(VENV)/bin/python -m benchmarks.load --check $(ARGS)

check-soak: $(VENV)/.all  ## whether the service grows: make check-soak [MINUTES=12] [ARGS=...]
	$(VENV)/bin/python -m benchmarks.load --soak $(or $(MINUTES),12) --check $(ARGS)

check-wheel: $(VENV)/.all  ## build the wheel, install it in an empty environment elsewhere, speak with it there
	PYTHON=$(VENV)/bin/python tests/house/check_wheel.sh

constraints: pyproject.toml | $(VENV)/pyvenv.cfg  ## resolve every version anew into constraints.txt
	rm -rf build/resolve && $(VENV)/bin/python -m venv build/resolve
	build/resolve/bin/python -m pip install --quiet --editable '.[server,client,codecs,otel,text,espeak,train,eval,flows,dev]'
	build/resolve/bin/python -m pip freeze --exclude-editable --exclude setuptools --exclude wheel \
		| sed -E 's/\+[A-Za-z0-9.]+$$//' > constraints.txt
	rm -rf build/resolve

clean:  ## remove what was built, installed and cached
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment, filled in two steps: the service asks for less than the tests. A stamp says which step was taken, and
# a change of what the project asks for takes it again.
$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "This project needs Python 3.11 or newer, and '$(PYTHON)' is not: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.serve: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(PIP) --editable '.[server]'
	@touch $@

$(VENV)/.all: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(PIP) --editable '.[server,client,codecs,otel,text,espeak,train,eval,flows,dev]'
	@touch $@ $(VENV)/.serve
