# Tidemark. `make` lists the targets.
SHELL := /bin/bash
GO ?= go
BIN := bin
PKGS := ./...
SEEDS ?= 2000
FUZZTIME ?= 60s
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.DEFAULT_GOAL := help
.PHONY: help setup build console demo test check lint vuln sim sim-postgres fuzz e2e cover bench generate verify clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build: console ## build bin/tidemark, with the console where npm is
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(BIN)/tidemark ./cmd/tidemark

console: ## build the web console into console/dist (quick when nothing changed)
	@scripts/console

demo: build ## the whole story on this machine, in under a minute
	$(BIN)/tidemark demo

setup: ## install what the tests need and this machine lacks (Debian packages, as root)
	scripts/setup

test: setup ## install what is missing, then run every test and the coverage gate
	scripts/test

check: ## the fast tests only: no processes, no network namespaces
	$(GO) vet $(PKGS)
	$(GO) test -short $(PKGS)

lint: ## golangci-lint with the project's list
	scripts/lint

vuln: ## govulncheck
	scripts/vuln

sim: ## the simulator on many seeds: make sim SEEDS=20000
	$(GO) test ./internal/sim -run 'TestSeeds$$|TestSeedsThat|TestMutants' -count=1 -timeout 6h -v -args -seeds $(SEEDS)

sim-postgres: ## the simulator with the hub on PostgreSQL: make sim-postgres SEEDS=500
	$(GO) test ./internal/sim -run 'TestSeedsPostgres' -count=1 -timeout 12h -v -args -seeds $(SEEDS)

fuzz: ## every fuzz target for FUZZTIME each
	scripts/fuzz $(FUZZTIME)

e2e: build ## real processes: kill -9, full disks, cut networks, Chinook
	$(GO) test ./e2e -count=1 -timeout 30m -v

cover: ## coverage per room, from the tests' own profile
	scripts/cover

bench: build ## every speed target as a ratio to its ceiling, in one table
	$(GO) run ./bench

generate: ## regenerate code and reference pages
	scripts/generate

verify: generate ## generated files are fresh and go.mod is tidy
	$(GO) mod tidy -diff
	git diff --exit-code

clean: ## remove what was built
	rm -rf $(BIN) coverage.out
