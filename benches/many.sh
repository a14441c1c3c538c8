#!/usr/bin/env bash
# Measures looking at stores in which a hundred thousand objects lie beside a backup, and as many segments of a log, in a folder and behind
# S3's protocol: seconds, memory, and whether that stays bounded. Ends with 1 where it does not.
#
#   benches/many.sh [DIR]        DIR: where to work, with 2 GB free; a new folder below /tmp where it is left out
#
#   BENCH_OBJECTS   100000       objects at the store's root, and segments
#   BENCH_PLAN                   the program to measure; left out, the one that is built here
#
# Needs python3 and GNU time. The server of the second half is the script's own: it holds names and small objects in memory, and answers a
# listing page by page, as S3 does.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly objects="${BENCH_OBJECTS:-100000}"
. benches/bucket.sh "${1:-}"

main() {
  rm -rf "$work/results" "$work/folder" "$work/state"
  mkdir -p "$work/results" "$work/folder" "$work/site"
  echo one >"$work/site/file"
  start
  write_plan near "dir { path = \"$work/folder\" }"
  local far="s3 { bucket = \"buck\", endpoint = \"http://127.0.0.1:$port\", access_key = env(\"ID\"), secret_key = env(\"KEY\") }"
  write_plan far "$far"
  write_log_plan near-log "dir { path = \"$work/folder\" }"
  write_log_plan far-log "$far"
  local name
  for name in near far; do
    "$plan" run "$work/$name.plan" --quiet
    "$plan" wal init "$work/$name-log.plan" main >/dev/null
    measure "$name" few list 'run --dry-run' status verify 'prune --dry-run'
    measure "$name-log" few status
    root_names | "strew_$name"
    segment_names "$name" | "strew_$name"
    measure "$name" many list 'run --dry-run' status verify 'prune --dry-run'
    measure "$name-log" many status
  done
  report
}

write_plan() {
  cat >"$work/$1.plan" <<PLAN
plan $1

store place: $2

source site: files {
  paths = ["$work/site"]
}

archive main {
  from = all
  to   = [place]
}
PLAN
}

write_log_plan() {
  cat >"$work/$1.plan" <<PLAN
plan ${1%-log}_log

store place: $2

source main: postgres {
  driver = basebackup
}

archive base {
  from = [main]
  to   = [place]
}

wal main {
  to = [place]
}
PLAN
}

root_names() { seq -f 'other-%07.0f.tar.gz' "$objects"; }

# Those of one cluster's segments, one after the other.
segment_names() {
  python3 -c '
import sys
for at in range(int(sys.argv[2])):
    high = f"{at >> 8:08X}"
    print(f".backplan-wal/{sys.argv[1]}_log/main/7000000000000000001-15/00000001{high}/00000001{high}{at & 255:08X}.gz")
' "$1" "$objects"
}

strew_near() {
  python3 -c '
import os, sys
for name in sys.stdin.read().split():
    path = os.path.join(sys.argv[1], name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").close()
' "$work/folder"
}

strew_far() { curl -sf -X POST --data-binary @- -H 'Expect:' "http://127.0.0.1:$port/strew"; }

# Each command behind $2 three times, as plan $1 with $2 objects. What a log without a backup says is no success.
measure() {
  local plan_name="$1" count="$2" round verb
  shift 2
  for round in 1 2 3; do
    for verb in "$@"; do
      # shellcheck disable=SC2086 # A command and its option.
      /usr/bin/time -q -a -o "$work/results/$plan_name.${verb// /_}.$count" -f '%e %U %S %M' \
        "$plan" $verb "$work/$plan_name.plan" >"$work/said" 2>&1 || [ "$verb" = status ]
    done
  done
}

start() {
  port="$(free_port)"
  python3 benches/lister.py "$port" &
  served=($!)
  wait_for_port "$port"
}

report() {
  python3 - "$work/results" "$objects" <<'PYTHON'
import pathlib, statistics, sys

results, objects = pathlib.Path(sys.argv[1]), int(sys.argv[2])
found = {}
for file in results.iterdir():
    rows = [[float(word) for word in line.split()] for line in file.read_text().splitlines()]
    found[file.name] = [statistics.median(column) for column in zip(*rows)]
print("medians of 3: seconds and MiB at most, with a few objects and with " + str(objects))
missed = False
for name in sorted({name.rsplit(".", 1)[0] for name in found}):
    few, many = found[f"{name}.few"], found[f"{name}.many"]
    holds = many[3] - few[3] <= 64 * 1024
    missed |= not holds
    print(f"  {name.replace('.', ' ').replace('_', ' '):<24} {few[0]:7.2f} {few[3] / 1024:6.0f}   {many[0]:7.2f} {many[3] / 1024:6.0f}")
    if not holds:
        print("  MISSED  at most 64 MiB more")
sys.exit(1 if missed else 0)
PYTHON
}

main
