#!/usr/bin/env bash
# All tests, on SQLite and PostgreSQL, with the race detector and in random order.
#
#   scripts/test.sh [package…]
set -euo pipefail
cd "$(dirname "$0")/.."

# One test drives a browser.
scripts/need.sh postgres cc chromium

[ $# -gt 0 ] || set -- ./...

# These do things one after another, many of them, or measure: the race detector finds nothing in them, and makes minutes of each.
# They run by themselves, without it.
alone=(
  TestBadInput TestNthFault TestEveryActIsRecorded TestNobodyLearnsWhoIsThere TestMutantTokens TestTokensAtEveryOperation
  TestRefusalsKeepSecrets TestEnginesSayTheSame TestActingTouchesNothingOfHers TestManyLargestAtOnce
  TestExchanges TestStories TestExchangesOnPostgreSQL TestStoriesOnPostgreSQL TestScripts TestScriptsOnPostgreSQL
  TestSizesAndClaims TestAnswersWithOneTokenAreShort
)
slow="^($(IFS='|'; echo "${alone[*]}"))\$"

# The detector watches Go's memory. SQLite, which is C in the words of Go, keeps its own elsewhere: to watch that code finds
# nothing and makes it several times slower. What calls it is watched.
unwatched=('-gcflags=modernc.org/sqlite/lib=-race=false' '-gcflags=modernc.org/libc/...=-race=false')
# It would also sleep for a second at the end of each process, and there are hundreds.
export GORACE="atexit_sleep_ms=0 ${GORACE:-}"

result=0
# vet is part of `make check`. The time limit is for one package.
CGO_ENABLED=1 scripts/with-postgres.sh go test -race "${unwatched[@]}" -shuffle=on -vet=off -timeout=15m -skip "$slow" "$@" || result=1
mapfile -t with < <(go list "$@" | grep -Ex 'gatehouse/internal/(app|cli|picture|dialect/[^/]+)')
if [ ${#with[@]} -gt 0 ]; then
  CGO_ENABLED=0 scripts/with-postgres.sh go test -shuffle=on -vet=off -timeout=10m -run "$slow" "${with[@]}" || result=1
fi
exit $result
