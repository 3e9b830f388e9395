# Everything a person or a machine runs on this repository. `make help` lists it.

PYTHON ?= python3
BIN := .venv/bin
PEER_PYTHON ?= $(BIN)/python
PACKAGES := cluster coordinator deploy kernels protos server shard_tool storyteller transformer worker
STORY ?= Tell me a story about a brave fox and a lost kite.

.DEFAULT_GOAL := help
.PHONY: help demo demo-real test test-quick test-real test-clients test-page picture fuzz test-avx2 test-arm test-networks test-hosts test-hosts-quick test-faults test-faults-quick soak-faults check lock format protos docs bench bench-kernels bench-pipeline soak bench-server bench-forced-ids soak-server bench-prediction bench-virtual bench-quality bench-real bench-real-quality bench-transfer bench-startup test-sanitized wheels clean

help: ## list these targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: .venv/installed ## set everything up, start three workers here, and let them tell a story
	@$(BIN)/pi-cluster up --local 3 --cluster demo
	@$(BIN)/pi-cluster prompt "$(STORY)" --seed 5 --verbose --cluster demo; \
	status=$$?; $(BIN)/pi-cluster down --cluster demo; exit $$status

REAL_MODEL := build/smollm2/store
QUESTION ?= Why is the sky blue?

demo-real: .venv/installed ## get a real model (93 MB, once), shard it, start three workers here, and ask it
	@gguf=$$($(BIN)/python -m benchmarks.real_model.smollm2) && $(BIN)/pi-cluster shard "$$gguf" --out $(REAL_MODEL)
	@$(BIN)/pi-cluster up $(REAL_MODEL) --local 3 --cluster demo-real
	@$(BIN)/pi-cluster prompt "$(QUESTION)" --temperature 0 --verbose --cluster demo-real; \
	status=$$?; $(BIN)/pi-cluster down --cluster demo-real; exit $$status

# More at a time than there are cores, since the tests of integration wait most of the time.
AT_ONCE ?= 4

test: .venv/developing ## run all tests: unit, parity and integration (real processes), ten to twenty minutes
	$(BIN)/python -m pytest --numprocesses $(AT_ONCE)

test-quick: .venv/developing ## run what a change breaks first: unit, parity and a prompt to three workers, a minute
	$(BIN)/python -m pytest --numprocesses $(AT_ONCE) tests/integration/test_prompt.py tests/unit tests/parity

test-real: .venv/developing ## ask a real model, SmolLM2 135M (93 MB, once), on one, two and three workers here, two minutes
	$(BIN)/python -m pytest -m real tests/integration

# npm, which Debian has as a package, fetches axe-core, the judge of accessibility.
test-clients: .venv/developing ## ask a server by the clients that people use, which are installed once: needs npm, two minutes
	$(BIN)/python -m pytest -m clients tests/clients

test-page: .venv/browsing build/axe/node_modules/axe-core/axe.min.js ## use the page in Chromium: needs chromium and npm, a minute
	AXE=$(CURDIR)/build/axe/node_modules/axe-core/axe.min.js $(BIN)/python -m pytest -m browser tests/page

picture: .venv/browsing ## take docs/page.png anew, of the page that is served at URL
	$(BIN)/python -m tests.page.picture $(URL) docs/page.png

build/axe/node_modules/axe-core/axe.min.js:
	npm install --silent --no-save --ignore-scripts --prefix build/axe axe-core@4.14.1

fuzz: .venv/developing ## send 10 000 random messages to every method of a worker, with and without certificates: ten minutes
	$(BIN)/python -m pytest tests/integration/test_fuzz.py --fuzz-messages 10000

# The emulator gives no memory back (MADV_REMOVE), which one test asks for.
test-avx2: .venv/developing ## run the tests of the arithmetic on an emulated x86 without AVX-512: needs qemu-user, a quarter of an hour
	qemu-x86_64 -cpu Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-invpcid,-rtm $(BIN)/python -m pytest --timeout 600 \
		--deselect tests/unit/kernels/test_kernels_attention.py::test_memory_is_provided_as_texts_grow_and_taken_back_when_they_are_shortened \
		tests/unit/kernels $(addprefix tests/unit/transformer/test_,arithmetic.py attention.py kernel_arithmetic.py rope.py stage.py) \
		tests/unit/worker/test_loading.py tests/parity

test-arm: .venv/developing ## cross-compile the kernels and compare their bits on an emulated Pi 4 and Pi 5
	$(BIN)/python -m pytest -m arm

test-networks: .venv/developing ## pull cables, move nodes and shout on emulated networks: needs root, six minutes
	$(BIN)/python -m pytest -m networks tests/integration

test-hosts: .venv/developing ## boot systemd hosts and emulated Pis on an emulated network: needs root, twenty minutes
	$(BIN)/python -m pytest -m hosts tests/hosts

test-hosts-quick: .venv/developing ## systemd hosts alone, and two that are set up over SSH: needs root, three minutes
	$(BIN)/python -m pytest -m "hosts and not emulated and not thorough" tests/hosts

FAULTS ?= 300
SEED ?= 1
test-faults: .venv/developing ## let FAULTS faults strike while answers are under way: none may differ, hang or leak; needs root, an hour
	$(BIN)/python -m tests.faults --faults $(FAULTS) --seed $(SEED) --table build/faults.md

test-faults-quick: .venv/developing ## twenty faults that are soon over: needs root, three minutes
	$(BIN)/python -m tests.faults --faults 20 --seed $(SEED) --longest 3

SOAK_FAULTS_SECONDS ?= 1800
soak-faults: .venv/developing ## ask a server for SOAK_FAULTS_SECONDS while a fault strikes every 20 s: no text may differ, no memory may grow; needs root
	$(BIN)/python -m tests.faults.soak --seconds $(SOAK_FAULTS_SECONDS) --seed $(SEED)

check: .venv/developing ## format, lint, types, and whether the generated stubs are up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@mkdir -p build/types/pi_cluster
	@ln -sfn $(CURDIR)/python_api/pi_cluster/* $(addprefix $(CURDIR)/,$(PACKAGES)) build/types/pi_cluster/
	$(BIN)/mypy build/types/pi_cluster benchmarks docs tests/testbed tests/faults
	$(generate)
	@for stub in protos/*_pb2*; do \
		cmp -s $$stub build/stubs/pi_cluster/$$stub || { echo "$$stub is stale: run make protos"; exit 1; }; \
	done; echo "stubs are up to date"

lock: .venv/created ## renew constraints.txt, the versions that development and CI use: then run check and test
	$(BIN)/python -m pip install --quiet --group lock
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --all-extras --group dev --group browser --no-annotate \
		--custom-compile-command "make lock" --output-file constraints.txt pyproject.toml

format: .venv/developing ## bring the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos: .venv/developing ## generate the stubs from protos/pi_cluster.proto
	$(generate)
	cp build/stubs/pi_cluster/protos/*_pb2* protos/

docs: .venv/installed ## write docs/commands.md anew from the commands' own help
	$(BIN)/python docs/commands.py > docs/commands.md

bench: .venv/installed ## measure the embedded model on three workers here
	@$(BIN)/pi-cluster up --local 3 --cluster bench
	@$(BIN)/pi-cluster bench --cluster bench; \
	status=$$?; $(BIN)/pi-cluster down --cluster bench; exit $$status

# The peer, llama.cpp, is optional: benchmarks/kernels/__main__.py says how to build it.
bench-kernels: .venv/installed ## measure the kernels on one core: nothing else should be running
	@$(BIN)/python -m benchmarks.kernels --peer-python $(PEER_PYTHON)

bench-pipeline: .venv/installed ## measure pipelines of two workers here, with PEER_PYTHON against llama.cpp: six minutes
	@$(BIN)/python -m benchmarks.pipeline --peer-python $(PEER_PYTHON)

soak: .venv/installed ## ask three workers here 10 000 requests, 100 at once: nothing may be wrong or grow, two minutes
	@$(BIN)/python -m benchmarks.soak

bench-server: .venv/installed ## measure what a server costs beside the library, on three workers here: three minutes
	@$(BIN)/python -m benchmarks.server

bench-forced-ids: .venv/installed ## count the round trips of a tool call, on three workers here: half a minute
	@$(BIN)/python -m benchmarks.forced_ids

SOAK_SECONDS ?= 300
soak-server: .venv/installed ## ask a server by 32 streams for SOAK_SECONDS: no text may differ, no memory may grow
	@$(BIN)/python -m benchmarks.server.soak --seconds $(SOAK_SECONDS)

bench-prediction: .venv/installed ## compare what plan predicts with what bench measures, about two minutes
	@$(BIN)/python -m benchmarks.prediction

bench-virtual: .venv/installed ## simulate clusters of Pis on emulated networks: needs root and gcc, half an hour
	@$(BIN)/python -m benchmarks.virtual

# The peer's quantisers are one small wheel for x86: benchmarks/quality/__main__.py names it.
bench-quality: .venv/developing ## measure what each format of four bits costs real models (330 MB, once), with PEER_PYTHON beside llama.cpp's: half an hour
	@$(BIN)/python -m benchmarks.quality --peer-python $(PEER_PYTHON)

REFERENCE_PYTHON ?= $(BIN)/python
PEER_AVX2_PYTHON ?=
bench-real: .venv/installed ## measure a real model's tokens per second on one worker, with PEER_PYTHON against llama.cpp: five minutes
	@$(BIN)/python -m benchmarks.real_model --peer-python $(PEER_PYTHON) $(addprefix --peer-avx2-python ,$(PEER_AVX2_PYTHON))

bench-real-quality: .venv/installed ## compare a real model's logits with float32, which needs REFERENCE_PYTHON with torch and transformers: four minutes
	@$(BIN)/python -m benchmarks.real_model.quality --reference-python $(REFERENCE_PYTHON) --peer-python $(PEER_PYTHON)

bench-transfer: .venv/installed ## hand a gigabyte to each of three nodes on an emulated network: needs root and gcc, five minutes
	@$(BIN)/python -m benchmarks.transfer

STARTUP_BIN ?= $(BIN)
bench-startup: .venv/installed ## measure what commands cost before they do anything, one minute; STARTUP_BIN is another installation's bin
	@$(BIN)/python -m benchmarks.startup --bin $(STARTUP_BIN)

# In a folder and an environment of their own, since an editable install would be found first.
test-sanitized: ## run the tests of kernels and of loading under AddressSanitizer and UndefinedBehaviorSanitizer
	$(PYTHON) -m venv build/sanitized-venv
	build/sanitized-venv/bin/python -m pip install --quiet --constraint constraints.txt \
		gguf hypothesis jinja2 numpy psutil pytest pytest-timeout safetensors sentencepiece
	rm -rf build/sanitized
	build/sanitized-venv/bin/python -m pip install --quiet --no-deps --target build/sanitized \
		-C cmake.define.KERNELS_SANITIZE=ON -C build-dir=build/sanitized-objects .
	cp -r tests pyproject.toml build/sanitized/
	cd build/sanitized && ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		../sanitized-venv/bin/python -m pytest -q --import-mode=importlib \
		tests/unit/kernels tests/unit/worker/test_loading.py

wheels: .venv/created ## build the wheels for this machine and for the Raspberry Pi (aarch64)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	CMAKE_ARGS="-DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/kernels/aarch64.cmake" _PYTHON_HOST_PLATFORM=linux-aarch64 \
		$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist -C build-dir=build/aarch64 .

clean: ## remove what was built and installed here
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stubs import each other as parts of the package, so the contract gets its name in there.
define generate
@rm -rf build/stubs && mkdir -p build/stubs
$(BIN)/python -m grpc_tools.protoc -Ipi_cluster/protos=protos --python_out=build/stubs --pyi_out=build/stubs \
	--grpc_python_out=build/stubs pi_cluster/protos/pi_cluster.proto
endef

.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is missing or older than 3.11: install a newer one, or name it with" \
			"make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Python's venv module is missing: sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

.venv/installed: .venv/created pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[pull,serve]'
	@touch $@

.venv/developing: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev
	@touch $@

.venv/browsing: .venv/developing
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group browser
	@touch $@
