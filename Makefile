# The two commands of the README: `make run` and `make check`.
# Needs Go 1.26, Node 20 and, for the browser tests, Chromium.

GO      ?= go
VERSION ?= 0.1.0-dev
TOOLS   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/holdfast-tools

GOLANGCI_VERSION := v2.15.0
GOLANGCI         := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint

# Where one test needs more than a few seconds it stands in a folder of its own.
UNIT := ./cmd/... ./internal/... ./test/agent/... ./test/layout/... ./test/mockmodel/... ./web/...

.PHONY: run build test test-go test-e2e test-go-race test-e2e-all test-browser test-browser-quick test-real test-supervisors test-soak soak test-race lint lint-go lint-web check release test-release image bench bench-page web shots tools

run: build
	exec bin/holdfast up

build:
	$(GO) build -trimpath -ldflags "-s -w -X github.com/holdfast-dev/holdfast/internal/app.Version=$(VERSION)" -o bin/holdfast ./cmd/holdfast

# Quick: under six minutes on two cores. What drives the built binary is never
# taken from go's cache of results (-count 1): it does not know of that binary.
# In the browser each case is at one of the two sizes, by turns. `make check` runs
# the same with the race detector and without leaving anything out.
test: test-go test-e2e test-browser-quick

test-go:
	$(GO) test -timeout 5m $(UNIT)

test-e2e:
	HOLDFAST_TEST_KILLS=40 $(GO) test -count 1 -short -timeout 10m -parallel 4 ./test/e2e/...

test-go-race:
	$(GO) test -race -timeout 8m $(UNIT)

test-e2e-all:
	$(GO) test -count 1 -timeout 10m -parallel 4 ./test/e2e/...

# The built binary in Chromium, then the page against a host that a script plays.
test-browser: web/node_modules test/browser/node_modules
	cd test/browser && npm test
	cd web && npm run drive

test-browser-quick: export HOLDFAST_TEST_QUICK := 1
test-browser-quick: test-browser

# The real Hermes Agent and OpenCode, with a scripted model. Most of it is waiting.
test-real:
	test/real/setup.sh
	$(GO) test -count 1 -timeout 20m -parallel 8 ./test/real/...
	$(GO) test -count 1 -timeout 20m -tags real -run '^TestReal' ./test/e2e/...

# The host under runit, s6, supervisord, daemontools and a systemd of its own;
# in Debian: runit s6 supervisor daemontools systemd tini. Most of it is waiting,
# so more runs at once than there are cores: under four minutes on two.
test-supervisors:
	$(GO) test -count 1 -timeout 10m -parallel 12 -tags supervisors -run '^TestSupervis' ./test/e2e/

# What takes its time: hosts that become deaf, that are full of streams, that get
# ten thousand requests and a thousand runs, and two minutes of everything. Most
# of it is waiting, so more at once than there are cores.
test-soak:
	$(GO) test -count 1 -timeout 15m -parallel 6 -tags soak -run '$(SOAK)' ./test/e2e/

SOAK := ^Test(Deaf|GreedyClient|BusyHost|StreamsUnder|ManyStreams|LoadOf|Soak)

# Half an hour of heavy mixed load without one false alarm, with the figures.
SOAK_MINUTES ?= 30

soak:
	SOAK_MINUTES=$(SOAK_MINUTES) $(GO) test -count 1 -timeout 24h -v -tags soak -run '^TestSoak$$' ./test/e2e/

lint: lint-go lint-web

lint-go: $(GOLANGCI)
	$(GOLANGCI) run ./...
	$(GO) vet -tags failpoints ./...
	$(GO) vet -tags soak ./test/...
	GOOS=darwin $(GO) vet ./...
	GOOS=windows $(GO) build -o /dev/null ./cmd/holdfast

# The page's own checks, and that the committed build is what its source builds.
lint-web: web/node_modules
	cd web && npm run check
	.ci/web-dist

# The host itself under the race detector, in the tests where most happens at
# once. All of them take eight minutes so.
test-race:
	HOLDFAST_TEST_KILLS=30 $(GO) test -count 1 -race -timeout 10m \
		-run 'TestRandomKills|TestApprovalOverTwoRestarts|TestCancelPauses|TestEviction|TestSecondSession|TestKeeperKilled$$' ./test/e2e/

check: lint test-go-race test-e2e-all test-browser test-race test-real test-supervisors test-soak test-release

# Archives, Debian packages and a Homebrew formula in dist/, with checksums;
# signed where HOLDFAST_SIGNING_KEY names minisign's secret key.
release:
	$(GO) run ./packaging/release -version $(VERSION) -out dist

# A release for this machine, installed and looked at. Uses dpkg, lintian,
# minisign and ruby.
test-release:
	$(GO) test -count 1 -timeout 5m ./packaging/...

# A container image, by podman or docker. Podman's own format has no health check.
ENGINE ?= podman

image: release
	$(ENGINE) build $(if $(filter podman,$(notdir $(ENGINE))),--format docker) -f packaging/Containerfile -t holdfast:$(VERSION) .

# The figures of docs/performance.md; printed, never asserted.
bench:
	$(GO) run ./test/bench $(BENCH)
	$(GO) test -run '^$$' -bench . -timeout 90m ./internal/store ./internal/session
	$(MAKE) bench-page

# The page with a session of 50,000 events, in Chromium.
bench-page: test/browser/node_modules
	cd test/browser && npm run -s bench

web: web/node_modules
	cd web && npm run build

# Pictures of every page at both sizes, for looking at.
shots: test/browser/node_modules
	cd test/browser && npm run shots

%/node_modules: %/package-lock.json
	cd $* && npm ci --no-audit --no-fund
	touch $@

tools: $(GOLANGCI)

$(GOLANGCI):
	mkdir -p $(dir $@)
	GOBIN=$(abspath $(dir $@)) GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
