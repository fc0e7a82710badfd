#!/usr/bin/env bash
# Fuzzes every target for a while.
#
#   scripts/fuzz.sh 3s [package…]
#
# With GUIDED=1 the fuzzer sees which code its inputs reach, which finds more and compiles everything once again; `make fuzz` does
# so. The check spends its minutes otherwise: it runs the corpus and what mutates from it.
set -euo pipefail
cd "$(dirname "$0")/.."
export for_each=$1
shift
[ $# -gt 0 ] || set -- ./...

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
cache=$(go env GOCACHE)/fuzz
export bin cache

# Only packages that have targets are built, each once for all of its targets.
files=$(go list -f '{{$p := printf "%s %s" .ImportPath .Dir}}{{range .TestGoFiles}}{{$p}} {{.}}
{{end}}{{range .XTestGoFiles}}{{$p}} {{.}}
{{end}}' "$@")
mapfile -t packages < <(while read -r path dir file; do
  [ -z "$path" ] || ! grep -q '^func Fuzz' "$dir/$file" || echo "$path $dir"
done <<<"$files" | sort -u)

# one PACKAGE FOLDER BINARY TARGET fuzzes with one worker. The binary must run in its package's folder, where testdata/fuzz is.
one() {
  local try out
  cd "$2"
  # On a busy machine go's fuzzer may take its own stop for a failure: it then names no input that failed, and is asked again.
  for try in 1 2 3; do
    out=$("$3" -test.run '^$' -test.fuzz "^$4\$" -test.fuzztime "$for_each" -test.parallel 1 -test.fuzzcachedir "$cache/$1" 2>&1) && return
    if [ $try = 3 ] || ! grep -q 'context deadline exceeded' <<<"$out" || grep -q 'Failing input written' <<<"$out"; then
      break
    fi
  done
  printf '%s\nFAIL %s %s (what it found is in %s/testdata/fuzz)\n' "$out" "$1" "$4" "$1"
  return 1
}
export -f one

failed=0 n=0
: >"$bin/targets"
for package in "${packages[@]}"; do
  path=${package%% *} dir=${package#* } n=$((n + 1))
  if ! go test -c -vet=off -ldflags='-s -w' ${GUIDED:+-fuzz=.} -o "$bin/$n.test" "$path"; then
    failed=1
    continue
  fi
  for target in $(cd "$dir" && "$bin/$n.test" -test.list '^Fuzz'); do
    printf '%s\0%s\0%s\0%s\0' "$path" "$dir" "$bin/$n.test" "$target" >>"$bin/targets"
  done
done
# As many targets at a time as there are processors: the start and the end of one keep none of them busy.
# shellcheck disable=SC2016
xargs -0 -r -n 4 -P "$(getconf _NPROCESSORS_ONLN)" bash -c 'one "$@"' _ <"$bin/targets" || failed=1
echo "fuzzed $(($(tr -dc '\0' <"$bin/targets" | wc -c) / 4)) targets for $for_each each"
exit $failed
