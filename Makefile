# What developers and CI run. `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# Programs built from this checkout.
BIN := bin
# The sources of the consoles; the APIs' documents are some of them.
WEB_SHARED = $(shell find web/src/shared web/public web/vite.shared.ts web/package.json -type f 2>/dev/null)
WEB_SOURCES = $(shell find web/src web/index.html web/vite.config.ts adminapi/openapi.yaml -type f 2>/dev/null) $(WEB_SHARED)
OPERATOR_SOURCES = $(shell find web/operator web/vite.operator.config.ts adminapi/operatorapi/openapi.yaml -type f 2>/dev/null) $(WEB_SHARED)
NPM_CI := npm ci --no-audit --no-fund --loglevel=error
GO_TOOL := go tool -modfile=tools/go.mod

.PHONY: help
help: ## List what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: dev
dev: ## Run everything on this machine until Ctrl-C; installs what is missing
	@scripts/ensure.sh dev
	@$(MAKE) --no-print-directory -j2 build
	@exec $(BIN)/dev -with-parent $$PPID

NAME ?= Operator
EMAIL ?= operator@example.com
.PHONY: operator
operator: ## Make an operator of a running make dev, or reset one: prints the link; NAME= and EMAIL= say who
	@test -f $${DEV_DIR:-.dev}/api.env || { echo "make dev isn't running, or not ready yet" >&2; exit 1; }
	@set -a; . $${DEV_DIR:-.dev}/api.env; set +a; \
	if $(BIN)/api operator list | cut -f1 | grep -qixF "$(EMAIL)"; then $(BIN)/api operator reset "$(EMAIL)"; else $(BIN)/api operator add "$(NAME)" "$(EMAIL)"; fi

.PHONY: test
test: ## Run every check and test; ends with the line "N passed, N failed"
	@scripts/ensure.sh test
	@scripts/test.sh

.PHONY: test-go
test-go: ## Run the Go tests
	@scripts/ensure.sh dev
	go test -race ./...

.PHONY: test-web
test-web: web/node_modules/.stamp ## Run the console's checks and tests
	cd web && npm run --silent lint && npm run --silent typecheck && npm run --silent test

.PHONY: test-e2e
test-e2e: ## Run the official clients and a browser against the whole product
	@scripts/ensure.sh test
	@$(MAKE) --no-print-directory -j2 build e2e/node_modules/.stamp
	cd e2e && node run.mjs

# `make test` runs this with three of the five pairs of transport and protocol.
.PHONY: test-behind
test-behind: ## Run all conformance tests against app servers behind the service; make test runs most
	@scripts/ensure.sh test
	@$(MAKE) --no-print-directory -j2 build e2e/node_modules/.stamp
	cd e2e && E2E_FOLDERS=behind E2E_MATRIX=whole node run.mjs

.PHONY: fuzz
fuzz: ## Fuzz each target for a minute, or for FUZZTIME=10m; send every request of the contract walk
	@scripts/ensure.sh dev
	@scripts/fuzz.sh

# The load generator has a core of its own, as far as the machine can pin it.
.PHONY: bench
bench: build ## Measure Signalbox beside its peers; writes docs/benchmarks.md (takes a quarter of an hour)
	cd bench && go build -o ../$(BIN)/bench .
	@if command -v taskset >/dev/null; then exec taskset -c 1 $(BIN)/bench -programs $(BIN) -report docs/benchmarks.md; else exec $(BIN)/bench -programs $(BIN) -report docs/benchmarks.md; fi

ROWS ?=
SEEDS ?= 1
CHAOS ?=
# Set it to run the programs with the race detector.
RACE ?=
.PHONY: reconcile
reconcile: ## Compare what clients count with the usage ledger, with edges and Redis killed under load (a minute)
	SIGNALBOX_RECONCILE=20 go test -count=1 -v -timeout 10m -run TestSEC_46 ./internal/app/api

.PHONY: chaos
chaos: build ## Break things under load: make chaos ROWS=F-01,F-03 SEEDS=1,2; writes docs/faults.md
	cd e2e/chaos && go build -mod=mod -o ../../$(BIN)/chaos .
	$(if $(RACE),go build -race -o $(BIN)/race/ ./cmd/api ./cmd/edge)
	@exec $(BIN)/chaos -programs $(BIN)$(if $(RACE),/race) -rows "$(ROWS)" -seeds "$(SEEDS)" $(CHAOS)

.PHONY: chaos-skewed
chaos-skewed: ## Build edges whose clocks are off, for make chaos ROWS=F-16 CHAOS="-skewed bin/skewed"
	scripts/skewed.sh $(BIN)/skewed

# One process may open some 20,000 files on many machines: six edges and six load
# generators.
.PHONY: scale
scale: build ## Hold 100,000 connections for ten minutes; adds to docs/benchmarks.md
	cd bench && go build -o ../$(BIN)/bench .
	$(BIN)/bench scale -programs $(BIN) -report docs/benchmarks.md

.PHONY: build
build: web compile ## Build the console and the programs into bin/
	go build -o $(BIN)/ ./cmd/...

# Most of a first build does not depend on the console: it runs beside it. The console's
# files come and go meanwhile, so what fails here is tried, and told, by build.
.PHONY: compile
compile:
	@mkdir -p $(BIN)
	@go build ./cmd/... 2>/dev/null || true

.PHONY: web
web: web/dist/index.html web/dist-operator/index.html ## Build the consoles when their sources changed

web/dist/index.html: web/node_modules/.stamp $(WEB_SOURCES)
	@echo "building the console"
	@cd web && npm run --silent build:customer -- --logLevel warn
	@touch $@

web/dist-operator/index.html: web/node_modules/.stamp $(OPERATOR_SOURCES)
	@echo "building the operators' console"
	@cd web && npm run --silent build:operator -- --logLevel warn
	@touch $@

web/node_modules/.stamp: web/package-lock.json
	@echo "installing the console's packages"
	@cd web && $(NPM_CI)
	@touch $@

e2e/node_modules/.stamp: e2e/package-lock.json
	@echo "installing the end-to-end tests' packages"
	@cd e2e && $(NPM_CI)
	@touch $@

.PHONY: gen
gen: web/node_modules/.stamp ## Make generated code, the tables of tests in docs and docs/errors again
	cd adminapi && go tool -modfile=../tools/go.mod oapi-codegen -config oapi-codegen.yaml openapi.yaml
	cd adminapi/operatorapi && go tool -modfile=../../tools/go.mod oapi-codegen -config oapi-codegen.yaml openapi.yaml
	cd adminapi/client && go tool -modfile=../../tools/go.mod oapi-codegen -config oapi-codegen.yaml ../openapi.yaml
	cd web && npm run --silent gen
	go run ./e2e/conformance/table
	go run ./internal/fault/pages
	go run ./adminapi/rolespage
	go run ./tenants/limitspage
	go run ./cmd/signalbox reference docs/cli.md

.PHONY: verify
verify: ## Check that what make gen makes is fresh
	@scripts/verify.sh

.PHONY: lint
lint: ## Check formatting and run the linters
	$(GO_TOOL) golangci-lint run --allow-parallel-runners
	cd e2e/chaos && go tool -modfile=../../tools/go.mod golangci-lint run --allow-parallel-runners

.PHONY: fmt
fmt: ## Format the Go code
	$(GO_TOOL) golangci-lint fmt

.PHONY: clean
clean: ## Remove what was built; keeps .dev with its data
	rm -rf $(BIN) test-results web/node_modules e2e/node_modules tools/pg/node_modules
	find web/dist web/dist-operator -mindepth 1 ! -name .keep -delete
