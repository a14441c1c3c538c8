#!/usr/bin/env bash
# Measures what a Postgres driver costs through the program against the same tool alone, round by round in one run on
# one machine, packing not counted (but for base backups, which come while they are packed), and the memory of the
# program beside the tool: medians, ratios, and whether the project's promises hold. Ends with 1 where one does not.
#
#   benches/postgres.sh [DIR]    DIR: where to work, with 14 GB free; a new folder below /tmp where it is left out
#
#   BENCH_RUNS    5      rounds
#   BENCH_SCALE   140    of pgbench: 15 MB each
#   BENCH_PARTS   pgbackrest basebackup dump     which drivers
#
# Needs python3, pgbackrest and a PostgreSQL below /usr/lib/postgresql. As root, the server, the tools and the program run
# as `postgres`.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly runs="${BENCH_RUNS:-5}" scale="${BENCH_SCALE:-140}" parts="${BENCH_PARTS:-pgbackrest basebackup dump}"
. benches/server.sh "${1:-}" pgbackrest pg_basebackup pg_dump

main() {
  begin
  server mkdir -p staging
  fill
  local part
  for part in $parts; do
    write_plan "$part"
    "first_$part"
    for round in $(seq "$runs"); do
      # Who goes first has the colder cache: they take turns.
      if [ $((round % 2)) -eq 0 ]; then alone "$part" && through "$part"; else through "$part" && alone "$part"; fi
    done
    rm -rf "store.$part" alone alone.conf "staging.$part"
  done
  report
}

# A cluster of a size that is found in the field, and a log that goes to every repository there is.
fill() {
  server initdb -D pg -A trust -N -U postgres --data-checksums >/dev/null
  server tee pgbackrest.archive >/dev/null <<'SCRIPT'
#!/bin/sh
for conf in ../*.conf ../staging.pgbackrest/pgbackrest.conf; do
  [ ! -e "$conf" ] || pgbackrest --config="$(realpath "$conf")" --stanza=bench archive-push "$1" || exit 1
done
SCRIPT
  server tee -a pg/postgresql.conf >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
fsync = off
max_wal_size = 4GB
archive_mode = on
archive_command = 'sh ../pgbackrest.archive %p'
CONF
  server pg_ctl -w -s -D pg -l "$work/log" start
  server pgbench -q -i -s "$scale" -h "$work" postgres 2>/dev/null
  server psql -qXAt -h "$work" -d postgres -c CHECKPOINT \
    -c "SELECT sum(pg_database_size(oid)) FROM pg_database" | tee results/size.txt >/dev/null
}

write_plan() {
  local more="data_dir = \"$work/pg\""
  case "$1" in
    pgbackrest) more="$more
  stanza   = \"bench\"
  staging  = \"$work/staging.pgbackrest\"" ;;
    dump) more='database = "postgres"' ;;
  esac
  # A base backup comes while it is packed: stored, so that the packing which counts with it is short.
  local level=1
  [ "$1" != basebackup ] || level=0
  cat >"$1.plan" <<PLAN
plan $1

store local: dir {
  path = "$work/store.$1"
}

source main: postgres {
  driver   = $1
  host     = "$work"
  user     = "postgres"
  $more
}

staging {
  path = "$work/staging"
}

archive a {
  from  = [main]
  to    = [local]
  level = $level
}

keep {
  last = 1
}
PLAN
}

# The repository that the tool uses alone has the settings that the program wrote for its own.
first_pgbackrest() {
  server ./plan run -q pgbackrest.plan
  sed "s|$work/staging.pgbackrest|$work/alone|" staging.pgbackrest/pgbackrest.conf >alone.new
  server mkdir alone
  install -m 644 alone.new alone.conf
  server pgbackrest --config="$work/alone.conf" --stanza=bench stanza-create
}

first_basebackup() { server ./plan run -q basebackup.plan; }
first_dump() { server ./plan run -q dump.plan; }

alone_pgbackrest() {
  server pgbackrest --config="$work/alone.conf" --stanza=bench --type=full --start-fast --no-expire-auto backup
}

alone_basebackup() {
  server pg_basebackup --host="$work" --username=postgres --format=plain --wal-method=stream --checkpoint=fast \
    --manifest-checksums=SHA256 --no-sync --pgdata="$work/alone"
  server pg_verifybackup --quiet "$work/alone"
}

alone_dump() {
  server pg_dump --host="$work" --username=postgres --dbname=postgres --compress=0 --format=custom >alone
}

# The tool alone, in seconds.
alone() {
  case "$1" in pgbackrest) ;; *) rm -rf alone ;; esac
  sync -f "$work"
  local begun ended
  begun="$(date +%s.%N)"
  "alone_$1" >/dev/null
  ended="$(date +%s.%N)"
  python3 -c "print($ended - $begun)" >>"results/$1.alone"
  [ "$1" != pgbackrest ] || server pgbackrest --config="$work/alone.conf" --stanza=bench --repo1-retention-full=1 expire
}

# The step of the program that drives the tool, in seconds, and the most memory that the program had in the whole run.
through() {
  sync -f "$work"
  server python3 - "$work/plan" "$1" >"results/$1.run" <<'PYTHON'
import json, subprocess, sys, time

program, driver = sys.argv[1:]
run = subprocess.Popen([program, "run", "--level", "full", "--format", "json", driver + ".plan"],
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
peak = 0
# What it prints is short and comes at its end.
while run.poll() is None:
    try:
        lines = open(f"/proc/{run.pid}/status").read().splitlines()
        peak = max([peak] + [int(line.split()[1]) for line in lines if line.startswith("VmHWM")])
    except OSError:
        pass
    time.sleep(0.02)
report = json.loads(run.stdout.read())
assert run.returncode == 0, report
# A base backup comes from the server in the step that packs it.
counted = ["dump/main", "pack/a"] if driver == "basebackup" else ["dump/main"]
took = sum(step["took_ms"] / 1000 for step in report["steps"] if step["step"] in counted)
print(took, peak / 1024)
PYTHON
  cut -d' ' -f1 "results/$1.run" >>"results/$1.through"
  cut -d' ' -f2 "results/$1.run" >>"results/$1.memory"
}

report() {
  python3 - "$work/results" <<'PYTHON'
import pathlib, statistics, sys

results = pathlib.Path(sys.argv[1])
missed = []


def promise(what, value, holds):
    print(f"  {'holds ' if holds else 'MISSED'}  {what}: {value}")
    if not holds:
        missed.append(what)


def numbers(name):
    return [float(line) for line in (results / name).read_text().split()]


print(f"a database of {numbers('size.txt')[0] / 1e9:.2f} GB; seconds: median, least, most")
for file in sorted(results.glob("*.alone")):
    driver = file.stem
    alone, through, memory = (numbers(f"{driver}.{kind}") for kind in ("alone", "through", "memory"))
    for name, all in (("alone", alone), ("through", through)):
        print(f"  {driver:<11} {name:<8} {statistics.median(all):8.2f} {min(all):8.2f} {max(all):8.2f}")
    # Of each round: what a machine does to one it does to the other.
    ratio = statistics.median(two / one for one, two in zip(alone, through))
    promise(f"{driver}, times as long as alone (at most 1.05)", f"{ratio:.3f}", ratio <= 1.05)
    promise(f"{driver}, memory beside the tool (under 128 MiB)", f"{max(memory):.0f} MiB", max(memory) < 128)
sys.exit(1 if missed else 0)
PYTHON
}

main
