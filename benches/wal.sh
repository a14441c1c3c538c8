#!/usr/bin/env bash
# Measures archiving a segment and bringing it back, side by side with pgBackRest, in one run on one machine: medians,
# ratios, and whether the project's promises hold. Ends with 1 where one does not.
#
#   benches/wal.sh [DIR]         DIR: where to work, with 2 GB free; a new folder below /tmp where it is left out
#
#   BENCH_RUNS    15             runs of each command
#
# Needs PostgreSQL, pgBackRest, hyperfine, and root: the server and both tools run as `postgres`.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly here="$PWD"
readonly runs="${BENCH_RUNS:-15}"
work="${1:-$(mktemp -d /tmp/backplan-wal.XXXXXX)}"
mkdir -p "$work"
work="$(cd "$work" && pwd)"
readonly work
programs="$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)"
readonly programs
trap 'as "$programs/pg_ctl" -s -D "$work/pg" -m immediate stop || true; rm -rf "$work"' EXIT

for tool in pgbackrest hyperfine runuser python3; do
  command -v "$tool" >/dev/null || { echo "benches/wal.sh: \`$tool\` is missing" >&2; exit 2; }
done

as() { runuser -u postgres -- "$@"; }

main() {
  cargo build --release --locked --quiet -p backplan-cli
  chmod 755 "$work"
  cp "${CARGO_TARGET_DIR:-$here/target}/release/plan" "$work/plan"
  install -d -o postgres -m 700 "$work/pg"
  install -d -o postgres "$work/sock" "$work/repo" "$work/got"
  install -d -m 755 "$work/store"
  as "$programs/initdb" -D "$work/pg" -A trust -N -U postgres >/dev/null
  printf "listen_addresses = ''\nunix_socket_directories = '%s'\nfsync = off\nwal_keep_size = 1GB\n" "$work/sock" >>"$work/pg/postgresql.conf"
  printf "archive_mode = on\narchive_command = 'pgbackrest --config=%s --stanza=backplan_bench archive-push %%p'\n" "$work/pgbackrest.conf" >>"$work/pg/postgresql.conf"
  printf '[global]\nrepo1-path=%s\nlog-level-file=off\n[backplan_bench]\npg1-path=%s\npg1-socket-path=%s\n' "$work/repo" "$work/pg" "$work/sock" >"$work/pgbackrest.conf"
  cat >"$work/node.plan" <<PLAN
plan node

store store: dir {
  path = "$work/store"
}

source main: postgres {
  driver   = basebackup
  host     = "$work/sock"
  data_dir = "$work/pg"
  run_as   = "postgres"
}

archive a {
  from = [main]
  to   = [store]
}

wal main {
  to = [store]
}
PLAN
  as "$programs/pg_ctl" -s -w -D "$work/pg" -l "$work/sock/log" start
  as pgbackrest --config="$work/pgbackrest.conf" --stanza=backplan_bench --log-level-console=error stanza-create
  "$work/plan" wal init "$work/node.plan" main >/dev/null
  as "$programs/pgbench" -q -i -s 5 -h "$work/sock" postgres 2>/dev/null
  as "$programs/pgbench" -n -t 4000 -c 2 -h "$work/sock" postgres >/dev/null 2>&1
  # A segment that pgbench filled.
  segment="$(as psql -XAtq -h "$work/sock" -d postgres -c "select pg_walfile_name(pg_current_wal_lsn())")"
  as psql -XAtq -h "$work/sock" -d postgres -c "select pg_switch_wal()" >/dev/null
  sleep 2
  # From here on nothing but the benchmark archives.
  as psql -XAtq -h "$work/sock" -d postgres -c "alter system set archive_command = '/bin/false'" -c "select pg_reload_conf()" >/dev/null
  sleep 1
  measure
  report
}

time_it() {
  hyperfine -N --warmup 1 --runs "$runs" --prepare "${3:-true}" --command-name "$1" --export-json "$work/$1.json" "$2" >&2
}

measure() {
  local folder
  folder="$(find "$work/repo/archive/backplan_bench" -name "$segment-*" -printf '%h\n' | head -n 1)"
  # Both as the account that the server runs as, by the same small program.
  local by="setpriv --reuid=postgres --regid=postgres --clear-groups env -C $work/pg HOME=$work"
  time_it nothing "$by true"
  time_it push.pgbackrest "$by pgbackrest --config=$work/pgbackrest.conf --stanza=backplan_bench archive-push pg_wal/$segment" \
    "find $folder -name $segment-* -delete"
  time_it push.plan "$by $work/plan wal push $work/node.plan main pg_wal/$segment" \
    "find $work/store/.backplan-wal/node/main -name $segment.gz -delete"
  time_it get.pgbackrest "$by pgbackrest --config=$work/pgbackrest.conf --stanza=backplan_bench archive-get $segment $work/got/a"
  time_it fetch.plan "$by $work/plan wal fetch $work/node.plan main $segment $work/got/b" "rm -rf $work/pg/.backplan-wal-ahead"
  cmp "$work/got/a" "$work/got/b"
  hyperfine -N -i --warmup 1 --runs "$runs" --command-name start --export-json "$work/start.json" \
    "$by $work/plan wal fetch $work/node.plan main 00000009.history $work/got/c" >&2
  echo "$(find "$folder" -name "$segment-*" -printf '%s') $(find "$work/store" -name "$segment.gz" -printf '%s')" >"$work/sizes"
}

report() {
  python3 - "$work" <<'PYTHON'
import json, pathlib, sys

work = pathlib.Path(sys.argv[1])
median = {f.stem: json.loads(f.read_text())["results"][0]["median"] for f in work.glob("*.json")}
for name, seconds in sorted(median.items()):
    print(f"{name:16} {seconds * 1000:8.1f} ms")
theirs, ours = map(int, (work / "sizes").read_text().split())
print(f"bytes of the segment: pgbackrest {theirs}, plan {ours}")
start = (median["start"] - median["nothing"]) * 1000
promises = [
    ("push, pgbackrest: times ours (at least 1)", median["push.pgbackrest"] / median["push.plan"], 1, False),
    ("fetch, pgbackrest: times ours (at least 1)", median["get.pgbackrest"] / median["fetch.plan"], 1, False),
    ("`plan wal` from start to answer, in ms (under 20)", start, 20, True),
]
missed = False
for what, figure, bound, below in promises:
    holds = figure < bound if below else figure >= bound
    missed |= not holds
    print(f"{'holds' if holds else 'MISSED':7} {what}: {figure:.2f}")
sys.exit(missed)
PYTHON
}

main
