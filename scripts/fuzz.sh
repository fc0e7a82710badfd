#!/usr/bin/env bash
# Fuzzes every target for a while.
#
#   scripts/fuzz.sh 3s [package…]
#
# With GUIDED=1 the fuzzer sees which code its inputs reach, which finds more and compiles everything once again; `make fuzz` does
# so. The check spends its minutes otherwise: it runs the corpus and what mutates from it.
set -euo pipefail
cd "$(dirname "$0")/.."
for_each=$1
shift
[ $# -gt 0 ] || set -- ./...

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
cache=$(go env GOCACHE)/fuzz

# Only packages that have targets are built, each once for all of its targets.
files=$(go list -f '{{$p := printf "%s %s" .ImportPath .Dir}}{{range .TestGoFiles}}{{$p}} {{.}}
{{end}}{{range .XTestGoFiles}}{{$p}} {{.}}
{{end}}' "$@")
mapfile -t packages < <(while read -r path dir file; do
  [ -z "$path" ] || ! grep -q '^func Fuzz' "$dir/$file" || echo "$path $dir"
done <<<"$files" | sort -u)

# fuzz PACKAGE FOLDER TARGET: the binary must run in its package's folder, where testdata/fuzz is.
fuzz() {
  cd "$2" && "$bin/fuzz.test" -test.run '^$' -test.fuzz "^$3\$" -test.fuzztime "$for_each" -test.fuzzcachedir "$cache/$1" 2>&1
}

failed=0 count=0
for package in "${packages[@]}"; do
  path=${package%% *} dir=${package#* }
  if ! go test -c -vet=off ${GUIDED:+-fuzz=.} -o "$bin/fuzz.test" "$path"; then
    failed=1
    continue
  fi
  for target in $(cd "$dir" && "$bin/fuzz.test" -test.list '^Fuzz'); do
    count=$((count + 1))
    # On a busy machine go's fuzzer may take its own stop for a failure: it then names no input that failed, and is asked again.
    for try in 1 2 3; do
      out=$(fuzz "$path" "$dir" "$target") && break
      if [ $try = 3 ] || ! grep -q 'context deadline exceeded' <<<"$out" || grep -q 'Failing input written' <<<"$out"; then
        echo "$out"
        echo "FAIL $path $target (what it found is in $path/testdata/fuzz)"
        failed=1
        break
      fi
    done
  done
done
echo "fuzzed $count targets for $for_each each"
exit $failed
