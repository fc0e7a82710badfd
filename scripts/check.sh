#!/usr/bin/env bash
# Everything about the code that is not a test. All steps run, so that one run shows all that is wrong.
set -uo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0

failed=()
# step NAME COMMAND…: silent when it is well.
step() {
  local name=$1 began=$SECONDS out
  shift
  out=$("$@" 2>&1)
  local code=$?
  out=$(sed '/^go: downloading /d' <<<"$out") # of no interest, and many in a fresh clone
  if [ $code -eq 0 ]; then
    printf 'ok    %-12s %ss\n' "$name" $((SECONDS - began))
    [ -z "$out" ] || sed 's/^/      /' <<<"$out"
  else
    printf 'FAIL  %-12s %ss\n' "$name" $((SECONDS - began))
    sed 's/^/      /' <<<"$out"
    failed+=("$name")
  fi
}

formatted() {
  local files
  files=$(gofmt -l .) && [ -z "$files" ] || { echo "run make fmt:"; echo "$files"; return 1; }
}

modules() {
  go mod verify >/dev/null && go mod tidy -diff && go -C tools mod verify >/dev/null && go -C tools mod tidy -diff &&
    go -C e2e/provider mod verify >/dev/null && go -C e2e/provider mod tidy -diff
}

# The versions are those of tools/go.mod.
tools() {
  go -C tools build -o ../.tools/ honnef.co/go/tools/cmd/staticcheck golang.org/x/vuln/cmd/govulncheck
}

lint() {
  .tools/staticcheck ./...
}

# Layers, folders' map, documents made from code: the tests that look at the source instead of running it.
shape() {
  go test -vet=off ./internal/archtest && go test -vet=off -run '^TestDocumentation$' ./internal/config ./internal/cli
}

generated() {
  grep -rlq --include='*.go' '^//go:generate' . || return 0
  local before after
  before=$(git status --porcelain && git diff | cksum)
  go generate ./... || return 1
  after=$(git status --porcelain && git diff | cksum)
  [ "$before" = "$after" ] || { echo 'go generate changed files: commit what it writes'; git status --short; return 1; }
}

# Where the vulnerability database cannot be reached, nothing is known and nothing fails; 3 is "found some".
vulnerabilities() {
  local out code=0
  out=$(timeout 240 .tools/govulncheck ${GOVULNDB:+-db "$GOVULNDB"} ./... 2>&1) || code=$?
  case $code in
    0) ;;
    3) echo "$out"; return 1 ;;
    *) echo "not checked, the vulnerability database did not answer" ;;
  esac
}

scripts_parse() {
  local f
  for f in scripts/*.sh .ci/run; do bash -n "$f" || return 1; done
  ! command -v shellcheck >/dev/null || shellcheck scripts/*.sh .ci/run
}

step format formatted
step scripts scripts_parse
step modules modules
step vet go vet ./...
step tools tools
step lint lint
step shape shape
step generated generated
step vulncheck vulnerabilities
step fuzz scripts/fuzz.sh "${FUZZTIME:-2s}"

if [ ${#failed[@]} -gt 0 ]; then
  echo "check failed: ${failed[*]}"
  exit 1
fi
