# Tools are pinned in a module of their own, so that what they need does not
# reach the dependencies of pushd.
TOOL := go tool -modfile=tools/go.mod

# How long "make fuzz" spends on each fuzz target.
FUZZTIME ?= 10s

# How long "make soak" keeps its connections under load: 10s to 2h.
SOAK_TIME ?= 10m

# The stress tests in full, which "make test" runs in small.
STRESS := PUSHD_STRESS=long go test -count 1 -timeout 3h -v ./test/stress -run

# What "make run" adds to the command line of serve, and "make bench" to its own.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help build run test bench churn soak faults delivery fuzz lint fmt generate checkgenerate clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/pushd
	go build -trimpath -o bin/pushd ./cmd/pushd

run: build ## Serve on this machine, with the demo page; ARGS="--flag ..." adds flags
	exec bin/pushd serve --dev $(ARGS)

test: checkgenerate ## Run every test; installs what the Node and browser tests need
	@test/run.sh

bench: ## Measure this version: CPU, memory, calls per second; ARGS="-quick" adds flags
	go run ./test/bench $(ARGS)

churn: ## A million connects and disconnects amid traffic: not a byte to the wrong user
	$(STRESS) '^TestChurn$$'

soak: ## 15 000 connections under mixed load for SOAK_TIME: nothing missed, nothing grows
	SOAK_TIME=$(SOAK_TIME) $(STRESS) '^TestSoak$$'

faults: ## Clients that stall, flood or never finish, and a lack of descriptors, in full
	$(STRESS) '^Test(StalledClients|StalledClientsDeflate|Slowloris|Floods|EndlessHeader|DeflateBomb|NoDescriptors|MoreClientsThanDescriptors)$$'

delivery: ## 240 000 messages, clients that resume anywhere: none lost, twice or out of order
	PUSHD_STRESS=long go test -count 1 -timeout 1h -v ./test/delivery

fuzz: ## Run each fuzz target for FUZZTIME
	@set -e; for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
	  done; \
	done

lint: ## Check the code and the .proto files by the project's rules
	$(TOOL) golangci-lint run ./...
	$(TOOL) buf lint

fmt: ## Format the code and the .proto files
	$(TOOL) golangci-lint fmt ./...
	$(TOOL) buf format -w

generate: ## Make gen/ from proto/
	$(TOOL) buf generate

checkgenerate: ## Check that gen/ is what proto/ makes
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	$(TOOL) buf generate -o "$$tmp" && \
	diff -r gen "$$tmp/gen" && echo "gen/ is up to date" || \
	{ echo 'gen/ differs from what proto/ makes: run "make generate"' >&2; exit 1; }

clean: ## Remove what the other targets made
	rm -rf bin test/node/node_modules
