#!/usr/bin/env bash
# Runs a command beside a private PostgreSQL server that ends with it. The command finds the server's URL in
# GATEHOUSE_TEST_POSTGRES; a server that is named there already is used as it is. One server for all packages:
# making one costs more than most packages' tests.
#
#   scripts/with-postgres.sh go test ./...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ -n "${GATEHOUSE_TEST_POSTGRES:-}" ]; then
  exec "$@"
fi
if ! bin=$("$here/postgres-bin.sh"); then
  echo "with-postgres.sh: no PostgreSQL from 15 on here, so only SQLite is used" >&2
  exec "$@"
fi

dir=$(mktemp -d /tmp/gatehouse-pg.XXXXXX) # short: a socket's path may have 107 bytes
as=()
if [ "$(id -u)" -eq 0 ]; then # the server refuses to run as root
  user=postgres
  id "$user" >/dev/null 2>&1 || user=nobody
  chown "$user" "$dir"
  as=(runuser -u "$user" --)
fi
stop() {
  "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Only the socket in a private folder: no port to collide on, nobody else to log in. The collation is deliberately not
# "C": a query whose order depends on it would answer differently on SQLite, and a test should see that.
# Tests lose nothing when the machine dies, so nothing waits for the disk unless GATEHOUSE_TEST_FSYNC=on.
cd "$dir"
fsync=${GATEHOUSE_TEST_FSYNC:-off}
if ! {
  "${as[@]}" "$bin/initdb" -D data -U gatehouse --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
    --locale-provider=icu --icu-locale=en --no-sync --no-instructions &&
    "${as[@]}" "$bin/pg_ctl" -D data -l log -w -t 60 start -o "-c listen_addresses= -c unix_socket_directories=$dir \
      -c max_connections=400 -c fsync=$fsync -c full_page_writes=$fsync -c synchronous_commit=$fsync"
} >setup.log 2>&1; then
  cat setup.log log >&2 2>/dev/null || true
  echo "with-postgres.sh: the PostgreSQL server did not start" >&2
  exit 1
fi
cd - >/dev/null

export GATEHOUSE_TEST_POSTGRES="postgres://gatehouse@/postgres?host=$dir"
"$@"
