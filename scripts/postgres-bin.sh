#!/usr/bin/env bash
# Prints the folder with the programs of the newest PostgreSQL server from 15 on, or fails.
# Debian keeps them off the PATH so that several versions can be installed.
set -euo pipefail

best='' best_version=14
shopt -s nullglob
for postgres in "$(command -v postgres || true)" /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres; do
  [ -x "$postgres" ] || continue
  postgres=$(readlink -f "$postgres")
  [ -x "$(dirname "$postgres")/initdb" ] || continue
  version=$("$postgres" --version) # postgres (PostgreSQL) 15.18 (…)
  version=${version##*PostgreSQL) }
  version=${version%%[!0-9]*}
  if [ "${version:-0}" -gt "$best_version" ]; then
    best_version=$version
    best=$(dirname "$postgres")
  fi
done
[ -n "$best" ] && echo "$best"
