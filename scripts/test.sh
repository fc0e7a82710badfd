#!/usr/bin/env bash
# All tests, on SQLite and PostgreSQL, with the race detector and in random order.
#
#   scripts/test.sh [package…]
set -euo pipefail
cd "$(dirname "$0")/.."

# One test drives a browser.
scripts/need.sh postgres cc chromium

[ $# -gt 0 ] || set -- ./...
# vet is part of `make check`. The time limit is for one package.
CGO_ENABLED=1 scripts/with-postgres.sh go test -race -shuffle=on -vet=off -timeout=10m "$@"
