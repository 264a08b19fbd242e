# Everything lives in .venv; nothing outside this folder is touched. `make` alone lists the targets.

# Looked for when first needed; `make setup PYTHON=/path/to/python3.11` says where it is.
PYTHON ?= $(eval PYTHON := $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1 && echo $$p && break; done))$(PYTHON)
CONFIG ?= configs/starter.yaml
WORKSPACE ?= runs/demo
DICOM ?=
RESULTS ?=
QUESTION ?=
PYTEST_ARGS ?=

BIN := .venv/bin
STAMP := .venv/.installed
CODE := medreasoner_monai flows tests benchmarks

# The text of a variable as one argument: spaces, quotes and dollar signs stay what they are.
argument = '$(subst ','\'',$(value $(1)))'
option = $(if $(value $(2)),$(1) $(call argument,$(2)))

.DEFAULT_GOAL := help
.PHONY: help setup demo test wheel neighbours monailabel monaideploy test-integrations viewer test-viewer vendored review-pictures lint stage-digests \
	types clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  for example: make demo DICOM=path/to/series QUESTION="Which organ filters the blood?"'

setup: $(STAMP) ## Make .venv and install everything with uv (quick when nothing changed)

demo: $(STAMP) ## Run the whole chain; takes DICOM=, QUESTION=, CONFIG= and WORKSPACE=
	$(BIN)/medreasoner run --config $(call argument,CONFIG) --workspace $(call argument,WORKSPACE) \
		$(call option,--dicom,DICOM) $(call option,--question,QUESTION)

test: $(STAMP) ## Run every test; PYTEST_ARGS= is passed on
	$(BIN)/python -m pytest $(PYTEST_ARGS)

wheel: $(STAMP) ## Build the wheel into dist/ and install it alone in .venv/wheel, as another machine would have it
	rm -rf dist .venv/wheel
	PATH="$$PATH:$$PWD/.venv/uv/bin"; uv build --quiet --wheel --python $(BIN)/python --out-dir dist . \
		&& uv venv --quiet --python $(BIN)/python .venv/wheel \
		&& uv pip install --quiet --python .venv/wheel/bin/python --constraints constraints/python311.txt dist/*.whl

neighbours: $(STAMP) ## Hold the exports against LLaMA-Factory and verl, and SAM 2 against the original, each in an environment of its own (gigabytes)
	PATH="$$PATH:$$PWD/.venv/uv/bin"; for n in lf:llamafactory==0.9.5 verl:verl==0.9.1 sam2:sam2==1.1.0; do \
		at=.venv/neighbours/$${n%%:*}; test -x $$at/bin/python || uv venv --quiet --python $(BIN)/python $$at; \
		SAM2_BUILD_CUDA=0 uv pip install --quiet --python $$at/bin/python $${n#*:} torch==2.13.0 torchvision==0.28.0 qwen-vl-utils || exit 1; done
	MEDREASONER_LLAMAFACTORY_PYTHON=$$PWD/.venv/neighbours/lf/bin/python \
	MEDREASONER_VERL_PYTHON=$$PWD/.venv/neighbours/verl/bin/python \
	MEDREASONER_SAM2_PYTHON=$$PWD/.venv/neighbours/sam2/bin/python \
		$(BIN)/python -m pytest tests/export/test_neighbours.py tests/segmenters/test_sam2_original.py $(PYTEST_ARGS)

monailabel: .venv-monailabel/.installed ## Make .venv-monailabel, for the MONAI Label app (gigabytes; docs/monai-label.md)
	@echo 'Ready. Write the app and see how to start it: .venv-monailabel/bin/python -m medreasoner_monai.integrations.monailabel runs/monailabel'

monaideploy: .venv-monaideploy/.installed ## Make .venv-monaideploy, for the MONAI Deploy app (gigabytes; docs/monai-deploy.md)
	@echo 'Ready. Write the app and see how to run it: .venv-monaideploy/bin/python -m medreasoner_monai.integrations.monaideploy runs/monaideploy'

test-integrations: $(STAMP) monailabel monaideploy ## Test both apps on their real servers; PYTEST_ARGS= is passed on
	$(BIN)/python -m pytest tests/integrations $(PYTEST_ARGS)

viewer: $(STAMP) ## Show an answer over its images in OHIF: DICOM= the series, RESULTS= the answer's folder (docs/viewer.md)
	$(BIN)/python -m tests.integrations.viewer $(call argument,DICOM) $(call argument,RESULTS)

test-viewer: $(STAMP) .venv-viewer/.installed ## Test the archive, and what OHIF shows in a browser; PYTEST_ARGS= is passed on
	$(BIN)/python -m tests.integrations.viewer.ohif
	$(BIN)/python -m pytest tests/integrations/test_archive.py tests/integrations/viewer $(PYTEST_ARGS)

vendored: $(STAMP) ## Fetch the files of npm packages that lie in this repository anew: the review page's viewer, the test's axe-core
	$(BIN)/python -m tests.review.vendored

review-pictures: $(STAMP) ## Take the pictures in docs/review.md anew, of drawn phantoms (needs Chromium)
	$(BIN)/python -m tests.review.screenshots docs/images

lint: $(STAMP) ## Check format and lint rules (ruff), and that imports point one way (import-linter)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/lint-imports --no-cache

stage-digests: $(STAMP) ## Write the table of stage versions (CONTRIBUTING.md); UNCHANGED= names stages whose results stay the same
	$(BIN)/python -m tests.pipeline.stage_digests $(if $(UNCHANGED),--unchanged $(UNCHANGED))

types: $(STAMP) ## Check types (mypy)
	$(BIN)/mypy

clean: ## Remove .venv and caches; runs/ stays
	rm -rf .venv .venv-monailabel .venv-monaideploy .venv-viewer .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# uv is taken from the PATH; where there is none, it is fetched into .venv/uv with pip. The byte code is compiled here,
# once: imports then take a third of the time, also where PYTHONDONTWRITEBYTECODE is set.
$(STAMP): pyproject.toml constraints/python311.txt
	@test -n '$(PYTHON)' || { echo 'Python 3.11 was not found: install it, or give its path: PYTHON=…' >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || { rm -rf .venv && $(PYTHON) -m venv --without-pip .venv; }
	@command -v uv >/dev/null || test -x .venv/uv/bin/uv \
		|| { $(PYTHON) -m venv .venv/uv >/dev/null 2>&1 && .venv/uv/bin/python -m pip install --quiet uv; } \
		|| { rm -rf .venv/uv; $(PYTHON) -m pip install --quiet --target .venv/uv uv; } \
		|| { rm -rf .venv/uv; echo 'uv could not be fetched: install uv, or pip for $(PYTHON)' >&2; exit 1; }
	export PATH="$$PATH:$$PWD/.venv/uv/bin"; uv pip install --compile-bytecode --python $(BIN)/python \
		--constraints constraints/python311.txt --editable '.[dev]' \
		&& uv pip install --compile-bytecode --python $(BIN)/python --constraints constraints/python311.txt \
		--no-deps rapidocr-onnxruntime # asks for an OpenCV that would take the place of the headless one
	@touch $@

# Every package as it is listed, nothing resolved: these two hold what no resolver would put together (constraints/*.in
# say what was asked for). The module is one that pydicom 3 no longer has and MONAI Label's pydicom-seg asks for.
.venv-%/.installed: constraints/%.txt pyproject.toml | $(STAMP)
	export PATH="$$PATH:$$PWD/.venv/uv/bin"; uv venv --quiet --clear --python $(BIN)/python $(@D) \
		&& uv pip install --quiet --compile-bytecode --no-deps --python $(@D)/bin/python --requirements $< \
		&& uv pip install --quiet --no-deps --python $(@D)/bin/python --editable .
	@test $* != monailabel || echo 'from pydicom.uid import *' > $(@D)/lib/python3.11/site-packages/pydicom/_storage_sopclass_uids.py
	@touch $@
