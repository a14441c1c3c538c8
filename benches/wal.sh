#!/usr/bin/env bash
# Measures archiving the log and getting it back, segment by segment, side by side with pgBackRest, in one run on one
# machine: medians, ratios, and whether the project's promises hold. Ends with 1 where one does not.
#
#   benches/wal.sh [DIR]         DIR: where to work, with 10 GB free; a new folder below /tmp where it is left out
#
#   BENCH_PARTS      "folder bucket"     which parts to measure
#   BENCH_RUNS       5           rounds; in each, every command does all the segments
#   BENCH_SEGMENTS   16          segments that pgbench fills
#   BENCH_WAITING    200         segments that wait at once for a bucket
#   BENCH_PLAN                   the program to measure; left out, the one that is built here
#
# Needs hyperfine, python3, pgbackrest and a PostgreSQL below /usr/lib/postgresql; for a bucket also s3s-fs (`cargo install s3s-fs
# --version 0.14.1 --features binary --locked`) or moto_server, and openssl and stunnel4, as pgBackRest speaks to buckets by TLS alone.
# As root, the server and all that is measured run as `postgres`.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly runs="${BENCH_RUNS:-5}"
readonly segments="${BENCH_SEGMENTS:-16}"
readonly waiting="${BENCH_WAITING:-200}" parts="${BENCH_PARTS:-folder bucket}"
. benches/server.sh "${1:-}" hyperfine pgbackrest
. benches/wal_bucket.sh

sql() { server psql -qXAt -h "$work" -d postgres -c "$1"; }

main() {
  begin
  server mkdir -p spool store wal got again
  write_settings
  fill_segments
  local part
  for part in $parts; do
    "measure_$part"
  done
  report
}

measure_folder() {
  measure_start
  measure_push
  measure_fetch
  sizes
}

write_settings() {
  cat >p.plan <<PLAN
plan p

store local: dir {
  path = "$work/store"
}

source main: postgres {
  driver   = basebackup
  host     = "$work"
  user     = "postgres"
  data_dir = "$work/pg"
}

staging {
  path = "$work/staging"
}

archive a {
  from = [main]
  to   = [local]
}

wal main {
  to = [local]
}
PLAN
  # Its own default, what it has that is quickest, and the default with a second process that works ahead.
  local name more
  while read -r name more; do
    cat >"$name.conf" <<CONF
[global]
repo1-path=$work/repo.$name
lock-path=$work/lock.$name
spool-path=$work/spool
log-level-file=off
log-level-console=warn
$(tr ' ' '\n' <<<"$more")

[p]
pg1-path=$work/pg
pg1-socket-path=$work
CONF
    server mkdir -p "repo.$name" "lock.$name"
  done <<'VARIANTS'
gz compress-type=gz
gz3 compress-type=gz compress-level=3
lz4 compress-type=lz4
async compress-type=gz archive-async=y process-max=2 archive-get-queue-max=128MiB
VARIANTS
}

# The log of a cluster that pgbench writes to, and the stanzas.
fill_segments() {
  server initdb -D pg -A trust -N -U postgres --data-checksums >/dev/null
  server tee -a pg/postgresql.conf >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
fsync = off
archive_mode = on
archive_command = 'cp %p $work/wal/%f'
CONF
  server pg_ctl -w -s -D pg -l "$work/log" start
  server pgbench -q -i -s 5 -h "$work" postgres 2>/dev/null
  # What is loaded at once is the smaller part of a real log: changes to rows and indexes are the rest.
  until [ "$(find wal -type f -name '0*' | wc -l)" -gt "$segments" ]; do
    server pgbench -n -h "$work" -c 4 -t 4000 postgres >/dev/null 2>&1
    sql 'CHECKPOINT' && sql 'SELECT pg_switch_wal()' >/dev/null
  done
  local name
  for name in gz gz3 lz4 async; do
    server pgbackrest --config="$work/$name.conf" --stanza=p --no-online stanza-create
  done
  server pg_ctl -s -D pg -m fast stop
  server ./plan wal init p.plan main >/dev/null
  find wal -type f -name '0*' -printf '%f\n' | sort | head -n "$segments" >names
}

# Times command $2 as $1, after $3, in the data directory, as the server does.
time_it() {
  (cd pg && server hyperfine --shell="${6:-bash}" --warmup "${4:-0}" --runs "${5:-1}" --prepare "$3" --command-name "$1" \
    --export-json "$work/again/$1.json" "$2" >&2)
  mv "again/$1.json" "results/$1.${round:-1}.json"
}

each() { echo "for s in \$(cat $work/names); do $* || exit 1; done"; }

# What a command costs that finds a small file archived already.
measure_start() {
  printf '1\t0/5000000\tno recovery target specified\n' | server tee again/00000002.history >/dev/null
  (cd pg && server "$work/plan" wal push "$work/p.plan" main "$work/again/00000002.history")
  time_it start.plan "$work/plan wal push $work/p.plan main $work/again/00000002.history" true 3 50 none
  time_it start.pgbackrest "pgbackrest --config=$work/gz.conf --stanza=p version" true 3 50 none
}

# Rounds, each of one run of every command: machines drift, and drift then meets all of them alike.
measure_push() {
  local name
  for round in $(seq "$runs"); do
    time_it push.plan "$(each "$work/plan wal push $work/p.plan main $work/wal/\$s")" \
      "find $work/store/.backplan-wal/p/main -name '0000000*.gz' -delete; sync -f $work"
    for name in gz gz3 lz4; do
      time_it "push.$name" "$(each "pgbackrest --config=$work/$name.conf --stanza=p archive-push $work/wal/\$s")" \
        "rm -rf $work/repo.$name/archive/p/*/0*; sync -f $work"
    done
  done
  rm -rf repo.async && cp -a repo.gz repo.async
}

measure_fetch() {
  local clear="rm -rf $work/got/* $work/pg/.backplan-wal-ahead $work/spool/*; sync -f $work"
  local name
  for round in $(seq "$runs"); do
    time_it fetch.plan "$(each "$work/plan wal fetch $work/p.plan main \$s $work/got/\$s")" "$clear"
    for name in gz gz3 lz4 async; do
      time_it "fetch.$name" "$(each "pgbackrest --config=$work/$name.conf --stanza=p archive-get \$s $work/got/\$s")" "$clear"
    done
  done
  # What came back is what was there.
  eval "$clear"
  (cd pg && server bash -c "$(each "$work/plan wal fetch $work/p.plan main \$s $work/got/\$s && cmp $work/got/\$s $work/wal/\$s")")
}

sizes() { du -sb store/.backplan-wal repo.gz/archive repo.gz3/archive repo.lz4/archive >results/sizes.txt; }

report() {
  python3 - "$work/results" "$segments" <<'PYTHON'
import json, pathlib, statistics, sys

results, segments = pathlib.Path(sys.argv[1]), int(sys.argv[2])
times = {}
for file in sorted(results.glob("*.json")):
    name = file.name.rsplit(".", 2)[0]
    times.setdefault(name, []).append(json.loads(file.read_text())["results"][0]["median"])
medians = {name: statistics.median(all) for name, all in times.items()}
missed = []


def promise(what, value, holds):
    print(f"  {'holds ' if holds else 'MISSED'}  {what}: {value}")
    if not holds:
        missed.append(what)


print(f"milliseconds, per segment of {segments} where it is one that is pushed or fetched, for all that waited where they are drained; the least and the most of the rounds")
for name, all in times.items():
    per = 1000 / (1 if name.startswith(("start", "drain")) else segments)
    print(f"  {name:<18} {medians[name] * per:8.1f}   {min(all) * per:8.1f} {max(all) * per:8.1f}")
for file in results.glob("*.txt"):
    print(f"\n{'bytes in the archive' if file.stem == 'sizes' else file.stem}")
    for line in file.read_text().splitlines():
        print("  " + line.replace("\t", "  "))
print("\npromises")
if "start.plan" in medians:
    promise("start-up (under 20 ms)", f"{medians['start.plan'] * 1000:.1f} ms", medians["start.plan"] < 0.020)
PROMISED = (
    ("push", "gz", "archive-push as it comes"),
    ("fetch", "gz", "archive-get as it comes"),
    ("far", "gz", "archive-push into the same bucket as it comes"),
    ("drain", "gz", "its asynchronous mode with four processes"),
)
for what, peer, tool in PROMISED:
    if f"{what}.plan" in medians:
        ratio = medians[f"{what}.{peer}"] / medians[f"{what}.plan"]
        promise(f"{what}, times as fast as {tool} (at least 1)", f"{ratio:.2f}", ratio >= 1)
print("\nbeside them")
for name in medians:
    what, _, variant = name.partition(".")
    if what != "start" and variant not in ("plan", "gz"):
        print(f"  {what}, times as fast as pgBackRest with {variant:<8} {medians[name] / medians[f'{what}.plan']:6.2f}")
sys.exit(1 if missed else 0)
PYTHON
}

main
