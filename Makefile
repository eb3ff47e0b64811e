# Targets for developers and continuous integration. `make help` lists them.

GO       ?= go
FUZZTIME ?= 10s
VERSION  ?= $(shell git describe --tags --dirty 2>/dev/null)

# required: tests fail if a broker, a proxy or root's rights are missing. optional: they are
# skipped.
COMPONENTS ?= required

export GO FUZZTIME

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help deps build generate fmt lint generated cross unit test bench fuzz soak pictures screenshots clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install the programs that the tests start (Debian)
	scripts/deps

build: ## build the program into bin/
	$(GO) build -trimpath -ldflags '-X github.com/prometheus/common/version.Version=$(VERSION)' -o bin/ ./cmd/...

generate: ## update generated files
	$(GO) generate ./...

fmt: ## format the source
	gofmt -l -w .

lint: ## gofmt, go vet, staticcheck
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "Not formatted; run make fmt:"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags soak,pictures ./test
	$(GO) tool staticcheck ./...

generated: ## check that generated files are up to date
	scripts/generated

# With -o /dev/null the programs are linked, and then thrown away.
cross: ## build for the other systems
	GOOS=darwin $(GO) vet ./cmd/... ./collector/... ./internal/... ./synthetic/... ./test/lab/...
	GOOS=darwin $(GO) build -o /dev/null ./cmd/...
	GOOS=windows $(GO) build -o /dev/null ./cmd/... ./test/lab/...

# Packages that start no goroutines. Some of them take long to build with the race detector.
QUIET := ./alerts/... ./dashboards/... ./deploy/... ./internal/exported/...

# Everything is built first. The end-to-end tests start first, because they take longest.
unit: ## run the tests only
	@raced=$$($(GO) list ./... | grep -vxF "$$($(GO) list $(QUIET))") && \
	$(GO) test -race -run='^$$' $$raced >/dev/null && \
	PINGREQ_TEST_COMPONENTS=$(COMPONENTS) $(GO) test -race -count=1 -timeout=30m -parallel=8 ./test $$raced
	PINGREQ_TEST_COMPONENTS=$(COMPONENTS) $(GO) test -count=1 -timeout=30m $(QUIET)

ifeq ($(COMPONENTS),required)
test: deps
endif
test: lint generated cross unit ## run all checks and all tests (COMPONENTS=optional: skip what is missing)

bench: ## run the benchmarks
	$(GO) test -run='^$$' -bench=. -timeout=90m ./test/bench/... ./collector ./internal/diagnosis ./internal/history ./internal/web

fuzz: ## run each fuzz target for FUZZTIME (10s)
	scripts/fuzz

soak: ## half an hour of chaos with 20 targets (PINGREQ_SOAK_FOR=2m: shorter)
	PINGREQ_TEST_COMPONENTS=required $(GO) test -tags soak -count=1 -timeout=60m -v -run='^TestSoak$$' ./test

pictures: ## draw the dashboards into docs/pictures (takes 15 minutes, and 700 MB from npm)
	scripts/deps pictures
	PINGREQ_TEST_COMPONENTS=required $(GO) test -tags pictures -count=1 -timeout=60m -v -run='^TestPictures$$' ./test

screenshots: ## pictures of the agent's pages into bin/pages
	mkdir -p bin/pages
	PINGREQ_TEST_COMPONENTS=required PINGREQ_TEST_SCREENSHOTS=$(CURDIR)/bin/pages $(GO) test -count=1 -v -run='^TestPages$$' ./test

clean: ## remove bin/
	rm -rf bin
