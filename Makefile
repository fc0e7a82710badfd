# What a person types. The work is in scripts/, each of which also runs alone.

# No cgo: the binary is static, and the checks, the demo and the build share one build cache. Only the race detector
# needs a C compiler; scripts/test.sh says so where it runs.
export CGO_ENABLED = 0

# Packages for test, and the time for each fuzz target in check.
PKG ?= ./...
FUZZTIME ?= 2s

# Which benchmarks, and how long each side of one is measured.
BENCH ?= .
BENCHTIME ?= 3s

.PHONY: help demo build test check fmt fuzz bench docs

help:
	@echo 'make demo    a sample world; a walk through every door; then a server to play with'
	@echo 'make test    all tests, both databases, race detector (PKG=./internal/config/... for some)'
	@echo 'make check   everything that is not a test: format, vet, lint, modules, fuzzing for a moment'
	@echo 'make fuzz    fuzz longer: make fuzz FUZZTIME=5m PKG=./internal/config'
	@echo 'make bench   the server against its floors, as ratios'
	@echo 'make build   bin/gatehouse'
	@echo 'make fmt     gofmt on everything'
	@echo 'make docs    write the documents that are made from code'

demo:
	go run ./cmd/gatehouse demo $(ARGS)

build:
	go build -trimpath -ldflags='-s -w' -o bin/gatehouse ./cmd/gatehouse

test:
	scripts/test.sh $(PKG)

check:
	FUZZTIME=$(FUZZTIME) scripts/check.sh

fuzz:
	GUIDED=1 scripts/fuzz.sh $(FUZZTIME) $(PKG)

bench:
	GATEHOUSE_TEST_FSYNC=on scripts/with-postgres.sh go test ./internal/bench -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -timeout 30m $(ARGS)

fmt:
	gofmt -w .

docs:
	go test ./internal/config ./internal/cli -run '^TestDocumentation$$' -update
