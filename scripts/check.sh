#!/usr/bin/env bash
# Everything about the code that is not a test. All steps run, so that one run shows all that is wrong.
set -uo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0

failures=$(mktemp)
trap 'rm -f "$failures"' EXIT
# step NAME COMMAND…: silent when it is well. What it has to say comes in one piece, because others run beside it.
step() {
  local name=$1 began=$SECONDS out code=0 word=ok
  shift
  out=$("$@" 2>&1) || code=$?
  out=$(sed '/^go: downloading /d' <<<"$out") # of no interest, and many in a fresh clone
  if [ $code -ne 0 ]; then
    word=FAIL
    echo "$name" >>"$failures"
  fi
  out=$(printf '%-5s %-12s %ss\n' "$word" "$name" $((SECONDS - began)); [ -z "$out" ] || sed 's/^/      /' <<<"$out")
  echo "$out"
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

# The linter reads all sources anew, the vulnerability check waits for the network, and compiling SQLite keeps one processor busy
# for long: side by side they leave none idle.
beside() {
  step tools tools
  step lint lint
  step vulncheck vulnerabilities
}

step format formatted
step scripts scripts_parse
step modules modules
beside &
step vet go vet ./...
step shape shape
step generated generated
wait
step fuzz scripts/fuzz.sh "${FUZZTIME:-2s}"

if [ -s "$failures" ]; then
  echo "check failed: $(paste -sd ' ' "$failures")"
  exit 1
fi
