#!/usr/bin/env bash
# Measures looking at stores in which a hundred thousand other objects lie, in a folder and behind S3's protocol: seconds, memory, and
# whether that stays bounded. Ends with 1 where it does not.
#
#   benches/many.sh [DIR]        DIR: where to work, with 2 GB free; a new folder below /tmp where it is left out
#
#   BENCH_OBJECTS   100000       objects, at the store's root
#   BENCH_PLAN                   the program to measure; left out, the one that is built here
#
# Needs python3 and GNU time. The server of the second half is the script's own: it holds names and small objects in memory, and answers a
# listing page by page, as S3 does.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly objects="${BENCH_OBJECTS:-100000}"
. benches/work.sh "${1:-}" python3 /usr/bin/time
export ID=bench-id KEY=bench-key
unset "${!AWS_@}" http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
tidy() { kill "$served"; }

main() {
  plan="${BENCH_PLAN:-}"
  if [ -z "$plan" ]; then
    cargo build --release --locked --quiet -p backplan-cli
    plan="${CARGO_TARGET_DIR:-$here/target}/release/plan"
  fi
  rm -rf "$work/results" "$work/folder" "$work/state"
  mkdir -p "$work/results" "$work/folder" "$work/site"
  echo one >"$work/site/file"
  start
  write_plan near "dir { path = \"$work/folder\" }"
  write_plan far "s3 { bucket = \"buck\", endpoint = \"http://127.0.0.1:$port\", access_key = env(\"ID\"), secret_key = env(\"KEY\") }"
  local name
  for name in near far; do
    "$plan" run "$work/$name.plan" --quiet
    measure "$name" few
    "strew_$name"
    measure "$name" many
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

strew_near() { (cd "$work/folder" && seq -f 'other-%07.0f.tar.gz' "$objects" | xargs touch); }
strew_far() { curl -sf -X POST "http://127.0.0.1:$port/strew?$objects" >/dev/null; }

# Each command three times, as plan $1 with $2 objects.
measure() {
  local round verb
  for round in 1 2 3; do
    for verb in list 'run --dry-run' status verify prune\ --dry-run; do
      # shellcheck disable=SC2086 # A command and its option.
      /usr/bin/time -a -o "$work/results/$1.${verb// /_}.$2" -f '%e %U %S %M' "$plan" $verb "$work/$1.plan" >/dev/null
    done
  done
}

start() {
  port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
  python3 benches/lister.py "$port" &
  served=$!
  local _
  for _ in $(seq 100); do
    python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2>/dev/null && break
    sleep 0.1
  done
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
