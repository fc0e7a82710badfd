#!/usr/bin/env bash
# Makes sure that the programs are there which the tests use beside Go, and installs what is missing when that is
# possible: as root on Debian. Everybody else is told the one line to run.
#
#   scripts/need.sh postgres cc
set -euo pipefail
cd "$(dirname "$0")"

# has NAME: is it there?
has() {
  case $1 in
    postgres) ./postgres-bin.sh >/dev/null ;;
    cc) command -v "${CC:-cc}" >/dev/null && printf '#include <stdlib.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1 ;;
    chromium) command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ;;
    *) echo "need.sh: unknown need: $1" >&2; exit 2 ;;
  esac
}

# packages NAME: the Debian packages that bring it.
packages() {
  case $1 in
    postgres) echo postgresql ;;
    cc) echo gcc libc6-dev ;;
    chromium) echo chromium ;;
  esac
}

wanted=()
for need in "$@"; do
  # shellcheck disable=SC2207 # package names have no blanks
  has "$need" || wanted+=($(packages "$need"))
done
[ ${#wanted[@]} -gt 0 ] || exit 0

install="apt-get install -y --no-install-recommends ${wanted[*]}"
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "The tests need: ${wanted[*]}. On Debian or Ubuntu run:" >&2
  echo "  sudo $install" >&2
  exit 1
fi

export DEBIAN_FRONTEND=noninteractive
# The lists may be missing or too old for the mirror; asking for them only then saves the usual run its seconds.
if ! $install >/dev/null 2>&1 </dev/null; then
  apt-get update -qq </dev/null
  $install -qq </dev/null
fi
for need in "$@"; do
  has "$need" || { echo "need.sh: $need is still missing after: $install" >&2; exit 1; }
done
