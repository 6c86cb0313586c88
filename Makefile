# Everything is built with the Go toolchain; what else is missing is installed or built once into
# $(OVNKUBE_CACHE) by `ovnlab build`. The two commands that matter: make demo, make test.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

REPO := $(CURDIR)
BIN := $(REPO)/_output/bin
export OVNKUBE_CACHE ?= $(REPO)/.cache
export GOFLAGS ?= -buildvcs=false

# Go's own stamp is off: it would have every change of the checkout build all anew, and needs git's consent. So the linker says which revision it is.
REVISION := $(shell git rev-parse HEAD 2>/dev/null)$(shell git diff --quiet HEAD 2>/dev/null || echo -dirty)
# A release's own, also the image's tag.
VERSION ?= dev
TELEMETRY := github.com/ovnkube/ovnkube/go-controller/pkg/telemetry
GO_BUILD := CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X $(TELEMETRY).revision=$(REVISION) -X $(TELEMETRY).version=$(VERSION)"
OVNLAB := $(BIN)/ovnlab
LAB_NAME ?= lab
IP_FAMILY ?= ipv4
UNIT := ./go-controller/... ./dist/...
# Packages whose integration tests need root, Open vSwitch or OVN run one at a time: they share the CPU.
INTEGRATION_FLAGS := -race -tags integration -p 1 -timeout 20m
# What docs/conformance.md shows; it has the reasons for what is left out.
FOCUS ?= \[sig-network\]
SKIP ?= SCTPConnectivity|SCTP HostPort|SCTP service|Netpol|NetworkPolicy|LoadBalancer\]|Provider:GCE|[Kk]ube-?[Pp]roxy|Internet connection|PTR lookup|Disruptive|Feature:Networking-Performance|PerformanceDNS$(if $(filter dual,$(IP_FAMILY)),,|IPv6DualStack)

.PHONY: help build image demo test unit integration e2e faults bench bench-scale lint generate docs docs-look manifests lab-up lab-down conformance packages lab-tools clean

help: ## what each target does
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## ovnkube, the CNI plugin, kubectl-ovn and ovnlab, into _output/bin
	@mkdir -p $(BIN)
	@echo "building ovnkube, ovn-k8s-cni-overlay, kubectl-ovn, ovnlab"
	@$(GO_BUILD) -o $(BIN)/ ./go-controller/cmd/...
	@cd test && $(GO_BUILD) -o $(BIN)/ ./lab/cmd/ovnlab

lab-tools: build ## Kubernetes, containerd and images for the lab, once, into the cache
	@$(OVNLAB) build

image: build ## the container image, as the OCI archive _output/image/ovnkube.tar: make image [VERSION=v1.2.3]; needs root
	@$(OVNLAB) image build --bin-dir $(BIN) --output $(REPO)/_output/image/ovnkube.tar --tag $(VERSION)

demo: lab-tools ## a three-node cluster on this machine, with an application over all nodes
	@$(OVNLAB) demo

test: lint unit integration e2e ## everything that judges the project

packages: build # Debian packages: a C compiler for the race detector, Open vSwitch and OVN
	@$(OVNLAB) build packages

unit: packages ## unit tests, with the race detector
	go test -race $(UNIT)
	cd test && go test -race -count 1 ./... # not from Go's cache, which does not see changes of files outside of a module: docs, dist

integration: lab-tools ## tests against real OVN and Open vSwitch; needs root
	go test $(INTEGRATION_FLAGS) $(UNIT)
	cd test && go test $(INTEGRATION_FLAGS) ./...

e2e: lab-tools ## tests with real packets in the lab, IPv4, IPv6 and dual stack; needs root; make e2e FULL=1 runs all in each
	cd test && go test -race -tags e2e -count 1 -timeout $(if $(FULL),120m,60m) -v ./e2e $(if $(FULL),-args -full)
	cd test && go test -race -tags e2e -count 1 ./e2e/faults -run '^(TestJudge|TestOwners|TestChurnClears)$$'

faults: lab-tools ## breaks one part after the other under traffic, then at random; the table goes to _output/faults.md; needs root
	cd test && go test -tags e2e -count 1 -timeout 75m -v ./e2e/faults -args -table $(REPO)/_output/faults.md $(FAULTS)

bench: lab-tools ## measures and writes docs/performance.md; needs root
	cd test && go run ./scale/cmd/bench

bench-scale: lab-tools ## the same for clusters of 125 to 1,000 nodes with all kinds of objects and ovn-northd; takes long
	cd test && go run ./scale/cmd/bench whole-125 whole-250 whole-500 whole-1000 whole-125-debian13 whole-250-debian13 whole-500-debian13 whole-1000-debian13

conformance: build ## Kubernetes' own e2e suite in the lab: make conformance [FOCUS='…'] [SKIP='…'] [IP_FAMILY=ipv6|dual]
	@$(OVNLAB) build conformance
	@$(OVNLAB) conformance --ip-family '$(IP_FAMILY)' --focus '$(FOCUS)' --skip '$(SKIP)'

lint: packages ## golangci-lint over all modules of our own
	@$(OVNLAB) build lint
	$(OVNKUBE_CACHE)/tools/golangci-lint run --allow-parallel-runners ./go-controller/...
	cd test && $(OVNKUBE_CACHE)/tools/golangci-lint run --allow-parallel-runners --config ../.golangci.yml ./...

generate: ## OVSDB models, from the schemas of the installed packages
	go-controller/pkg/ovsdb/generate.sh

docs: ## the documentation as a site with search, into _output/site; needs npm
	cd docs && npm install --no-save --no-audit --no-fund && npx vitepress build

docs-look: docs ## opens each page of that site in Chromium, screenshots into _output/site-look: make docs-look [LINKS=1]; LINKS asks other sites, too
	cd docs && node .vitepress/look/main.mjs $(if $(LINKS),--links)

manifests: ## dist/manifests, rendered from the chart dist/helm/ovnkube
	cd test && go test ./chart -run '^TestRendered$$' -update

lab-up: lab-tools ## the lab alone: make lab-up [LAB_NAME=lab] [IP_FAMILY=ipv4|ipv6|dual]
	@$(OVNLAB) up --name $(LAB_NAME) --ip-family $(IP_FAMILY)

lab-down: build ## takes the lab down
	@$(OVNLAB) down --name $(LAB_NAME)

clean: ## removes what was built here, with the cache of this checkout
	rm -rf $(REPO)/_output $(REPO)/.cache $(REPO)/docs/node_modules
