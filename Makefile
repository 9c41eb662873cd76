# Regency: `make` lists what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# What bench takes; what is empty is the suite's, or else the harness's own (all backends, matched, 5 trials of each scenario).
SUITE ?=
BACKENDS ?=
SCENARIOS ?=
PROFILES ?=
TRIALS ?=
SEED ?=
OUT ?= results
ARGS ?=

MODULES := coordination storage broker bench cmd
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
export GOTOOLCHAIN := local
# Pure Go everywhere (the race detector apart): nothing here needs a C compiler.
export CGO_ENABLED ?= 0
ALL_BACKENDS := embedded,etcd,zookeeper,consul
comma := ,
space := $(subst ,, )

.PHONY: help
help: ## Show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '%s\n' '' 'Variables of bench: SUITE= BACKENDS= PROFILES= TRIALS= SCENARIOS= SEED= OUT=$(OUT) ARGS= (more flags)' \
	  '  make bench SUITE=quick                          every fault once, on every backend (make suites lists them)' \
	  '  make bench BACKENDS=embedded TRIALS=5           every scenario 5 times, without other servers' \
	  '  make bench SUITE=failover ARGS=--dry-run        the plan, its time and what it needs' \
	  'PROFILES: matched tuned default, and variants as tuned+peer, tuned+guardian (bin/regency bench run --help lists all)'

.PHONY: bench
bench: build servers-for-bench ## Break a cluster on every backend and write results/<run>/report.html (BACKENDS=embedded needs only Go)
	bin/regency bench run $(if $(SUITE),--suite '$(SUITE)') $(if $(BACKENDS),--backends '$(BACKENDS)') $(if $(PROFILES),--profiles '$(PROFILES)') \
	  $(if $(TRIALS),--trials '$(TRIALS)') $(if $(SCENARIOS),--scenarios '$(SCENARIOS)') $(if $(SEED),--seed '$(SEED)') --out '$(OUT)' $(ARGS)

.PHONY: resume
resume: build ## Go on with an interrupted run (RUN=results/<run>)
	@test -n '$(RUN)' || { echo 'say which: make resume RUN=results/<run>'; exit 1; }
	bin/regency bench run --resume '$(RUN)' $(ARGS)

.PHONY: suites
suites: build ## List the suites of bench, with the time that each takes
	@bin/regency bench suites

.PHONY: bench-coordination
bench-coordination: build servers-for-bench ## Compare coordination operations on every backend with the raw clients (ARGS=--quick: 2 min)
	bin/regency bench coordination $(or $(ARGS),$(if $(BACKENDS),--backends '$(BACKENDS)') --out '$(OUT)')

.PHONY: servers-for-bench
servers-for-bench:
	@list='$(subst $(comma), ,$(or $(BACKENDS),$(ALL_BACKENDS)))'; for b in $$list; do if [ "$$b" != embedded ]; then bench/servers/obtain.sh "$$b"; fi; done

.PHONY: test
test: ## Run everything that CI runs: linters, unit, conformance, cluster and client tests
	@.ci/test

.PHONY: build
build: ## Build bin/regency
	go build -o bin/regency ./cmd/regency

.PHONY: servers
servers: ## Obtain etcd, Consul and ZooKeeper (cached outside the checkout; ~12 min the first time)
	bench/servers/obtain.sh

.PHONY: deps
deps: ## Install the tools that tests use: kcat, the Compose tool, Chromium
	bench/servers/deps.sh

.PHONY: lint
lint: ## gofmt, go vet and staticcheck over all modules
	@unformatted=$$(gofmt -l $(MODULES)); [ -z "$$unformatted" ] || { echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; }
	@for m in $(MODULES); do (cd $$m && go vet ./... && go run $(STATICCHECK) ./...); done

.PHONY: soak
soak: ## Run what is too long for CI: the race detector over all modules, long random tests
	@for m in $(MODULES); do (cd $$m && CGO_ENABLED=1 REGENCY_SOAK=1 go test -race -timeout 60m ./...); done
	@cd storage/storagebench && GOWORK=off go vet ./...

.PHONY: bench-storage
bench-storage: build ## Measure the log against files, kfake and NATS, print the table of targets (20 GB of disk; ARGS='-quick', '-only append64', '-sustained 0', …)
	cd storage/storagebench && GOWORK=off go build -o ../../bin/storagebench .
	bin/storagebench -regency bin/regency $(ARGS)

.PHONY: compose-check
compose-check: ## Validate the Compose files with the Compose tool
	compose/check.sh

.PHONY: clean
clean: ## Remove what was built here (not the cached servers, not results)
	rm -rf bin
