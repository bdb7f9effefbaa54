# Everything that a person runs. CI runs test, and nothing that is not here.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 30s

# The playground against other Kubernetes releases than the one that playground/go.mod names.
MATRIX = bin/playground-1.34 bin/playground-1.36

.PHONY: build playground playground-modfiles $(MATRIX) test lint demo bench fuzz golden clean

build: ## bin/svmctl
	$(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/svmctl ./cmd/svmctl

playground: ## bin/playground: a real etcd, kube-apiserver and kube-controller-manager in one binary; takes minutes the first time
	cd playground && $(GO) build -trimpath -ldflags "-X k8s.io/component-base/version.gitVersion=v1.37.2" -o ../bin/playground .

$(MATRIX): bin/playground-1.%: playground/go-1.%.mod ## the same from the same source, with an older Kubernetes in it
	cd playground && version=$$($(GO) list -m -modfile=go-1.$*.mod -f '{{.Version}}' k8s.io/kubernetes) && \
	  $(GO) build -modfile=go-1.$*.mod -trimpath -ldflags "-X k8s.io/component-base/version.gitVersion=$$version" -o ../$@ .

playground-modfiles: ## playground/go-1.34.mod and go-1.36.mod, to be written again whenever playground/go.mod changes
	sh playground/modfile.sh 1.34.4
	sh playground/modfile.sh 1.36.3

lint: ## gofmt, go vet and staticcheck over both modules
	test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) build -o bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	$(GO) vet ./... && bin/staticcheck ./...
	cd playground && $(GO) vet ./... && ../bin/staticcheck ./...

test: lint build playground bin/etcd-3.4 bin/kine bin/chromium bin/cosign ## everything, with real servers on loopback
	cd playground && $(GO) test ./...
	$(GO) test -timeout 30m ./...

STORIES = ^(TestMigrateStory|TestMigrateBySVM|TestSelfieRequestsMoveToV2)$$

test-matrix: build playground $(MATRIX) ## both stories, by both backends, on each release of Kubernetes in docs/version-matrix.md
	@for playground in playground-1.34 playground-1.36 playground; do \
	  echo "== $$playground" && PLAYGROUND_BIN=$(CURDIR)/bin/$$playground $(GO) test -count=1 -timeout 30m ./e2e -run '$(STORIES)' || exit 1; done

bin/etcd-3.4: ## the oldest etcd that is supported, where the system's packages have it
	sh testdata/etcd-3.4.sh bin/etcd-3.4

bin/chromium: ## a browser to look at the pages of evidence with, where the system has one or its packages have
	sh testdata/chromium.sh bin/chromium

bin/kine: testdata/kine/go.mod ## the default datastore of k3s, with a SQLite that needs no C compiler
	cd testdata/kine && CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o ../../bin/kine github.com/k3s-io/kine

bin/cosign: testdata/cosign/go.mod ## verifies signed bundles as anybody would; takes minutes the first time
	cd testdata/cosign && CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o ../../bin/cosign github.com/sigstore/cosign/v3/cmd/cosign || echo "no cosign" >&2

demo: build playground ## both stories, each on a control plane of its own
	sh demo/demo.sh

bench: build playground ## speed, as ratios to what one would use instead
	$(GO) run ./bench

fuzz: ## FUZZTIME on each fuzz target
	@for target in $$(grep -rho --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' internal | sed 's/func //'); do \
	  dir=$$(grep -rl --include='*_test.go' "^func $$target(" internal | xargs dirname); \
	  $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./$$dir || exit 1; done

golden: ## write the files that tests compare with
	$(GO) test ./cmd/svmctl/internal/render -update && $(GO) test ./cmd/svmctl -run Current -update && $(GO) test ./internal/verify/evidence/page -run Golden -update

clean:
	rm -rf bin
