#!/usr/bin/env bash
# Measures what goes to a bucket and comes back from it, side by side with rclone, s3cmd and restic against the same local server,
# the commands in turn in each round, and once over a line of 50 ms and 100 Mbit/s: medians, ratios, CPU seconds, bytes over the wire, memory, and whether the project's
# promises hold. Ends with 1 where one does not.
#
#   benches/far.sh [DIR]         DIR: where to work, with 8 GB free; a new folder below /tmp where it is left out
#
#   BENCH_RUNS      5            rounds; in each, every command once, in another order
#   BENCH_MB        600          megabytes of the tree of real files, taken from /usr
#   BENCH_SIZE      1024         MiB of the large file, and of all files of 1 MiB together
#   BENCH_SERVER                 the server: `s3s-fs` (`cargo install s3s-fs --version 0.14.1 --features binary --locked`), which
#                                keeps objects as files, `rclone` (`rclone serve s3` of 1.65 or newer, by the program that
#                                BENCH_SERVE names), which does too, or `moto` (`moto_server`), which is slow and keeps them in
#                                memory; left out, the first of them that is there
#   BENCH_PLAN                   the program to measure; left out, the one that is built here
#
# Needs python3, rclone, s3cmd, restic, GNU time. As root all of it has a network of its own, so that the bytes are its own alone. Where
# the machine does something else meanwhile, wall time is no measure: look at the CPU seconds beside it.
set -euo pipefail

cd "$(dirname "$0")/.."
if [ "$(id -u)" -eq 0 ] && [ -z "${BENCH_ALONE:-}" ] && unshare --net true 2>/dev/null; then
  export BENCH_ALONE=yes
  exec unshare --net -- "$0" "$@"
fi
[ -z "${BENCH_ALONE:-}" ] || ip link set lo up
readonly runs="${BENCH_RUNS:-5}" megabytes="${BENCH_MB:-600}" size="${BENCH_SIZE:-1024}"
server="${BENCH_SERVER:-$(command -v s3s-fs >/dev/null && echo s3s-fs || echo moto)}"
readonly server
. benches/bucket.sh "${1:-}" rclone s3cmd restic
. benches/tree.sh
export AWS_ACCESS_KEY_ID="$ID" AWS_SECRET_ACCESS_KEY="$KEY"

main() {
  rm -rf "$work/results"
  mkdir -p "$work/one" "$work/many" "$work/results" "$work/bucket"
  [ -s "$work/one/big" ] || head -c "${size}M" /dev/urandom >"$work/one/big"
  [ -n "$(ls -A "$work/many")" ] || split -b 1M -a 4 "$work/one/big" "$work/many/part."
  # As much as the line takes in three quarters of a minute.
  mkdir -p "$work/line"
  [ -s "$work/line/big" ] || head -c 512M "$work/one/big" >"$work/line/big"
  real_files
  serve
  settings
  local round task
  for ((round = 1; round <= runs; round++)); do
    for task in one many; do
      in_turn "$round" upload "$task" plan rclone s3cmd
      in_turn "$round" download "$task" plan rclone s3cmd
    done
    in_turn "$round" backup tree plan restic
  done
  in_turn 1 send line plan
  report
}

serve() {
  port="$(free_port)"
  case "$server" in
    moto) moto_server -H 127.0.0.1 -p "$port" >/dev/null 2>&1 & ;;
    rclone)
      mkdir -p "$work/bucket/buck"
      RCLONE_CONFIG="$work/rclone.conf" "${BENCH_SERVE:-rclone}" serve s3 --addr "127.0.0.1:$port" --auth-key "$ID,$KEY" \
        --dir-cache-time 0 --vfs-cache-mode off "$work/bucket" >/dev/null 2>&1 &
      ;;
    *) mkdir -p "$work/bucket/buck" && s3s-fs --host 127.0.0.1 --port "$port" --access-key "$ID" --secret-key "$KEY" "$work/bucket" >/dev/null 2>&1 & ;;
  esac
  served=($!)
  wait_for_port "$port"
  line="$(free_port)"
  python3 benches/link.py "$line" "$port" 50 100 &
  served+=($!)
  wait_for_port "$line"
  make_bucket
}

s3() { s3cmd --config="$work/s3cfg" --quiet "$@"; }

make_bucket() {
  cat >"$work/s3cfg" <<CFG
[default]
access_key = $ID
secret_key = $KEY
host_base = 127.0.0.1:$port
host_bucket = 127.0.0.1:$port
use_https = False
CFG
  [ "$server" != moto ] || s3 mb s3://buck
}

# What a round before it left, so that each is a first one.
forget() {
  rm -rf "$work/state"
  case "$server" in
    moto) curl -sf -X POST "http://127.0.0.1:$port/moto-api/reset" >/dev/null && make_bucket ;;
    *) rm -rf "$work/bucket" && mkdir -p "$work/bucket/buck" ;;
  esac
}

settings() {
  : >"$work/rclone.conf"
  local task to
  for task in one many tree line; do
    [ "$task" = line ] && to="$line" || to="$port"
    cat >"$work/$task.plan" <<PLAN
plan $task

store far: s3 {
  bucket     = "buck"
  prefix     = "plan"
  endpoint   = "http://127.0.0.1:$to"
  access_key = env("ID")
  secret_key = env("KEY")
}

source $task: files {
  paths = ["$work/$task"]
}

archive main {
  from = all
  to   = [far]
}
PLAN
  done
  export RCLONE_CONFIG="$work/rclone.conf" RCLONE_CONFIG_FAR_TYPE=s3 RCLONE_CONFIG_FAR_PROVIDER=Other
  export RCLONE_CONFIG_FAR_ACCESS_KEY_ID="$ID" RCLONE_CONFIG_FAR_SECRET_ACCESS_KEY="$KEY"
  # What another server than Amazon answers to questions of rclone costs it a minute.
  export RCLONE_S3_NO_HEAD_OBJECT=true RCLONE_S3_NO_CHECK_BUCKET=true
  export RCLONE_CONFIG_FAR_ENDPOINT="http://127.0.0.1:$port" RESTIC_REPOSITORY="s3:http://127.0.0.1:$port/buck/restic"
}

# What it says tells how long the server took to put the parts together: real ones only note it, one that keeps objects as files writes each
# once more.
do_upload_plan() { BACKPLAN_LOG=debug "$plan" run "$work/$1.plan" --quiet; }
do_upload_rclone() { rclone copy "$work/$1" "far:buck/rclone/"; }
do_upload_s3cmd() { s3 put --recursive "$work/$1/" s3://buck/s3cmd/; }
# A download has ended when it is on the disk: `plan` sees to that by itself.
do_download_plan() { "$plan" restore "$work/$1.plan" --to "$work/out" --format json; }
do_download_rclone() { rclone copy "far:buck/rclone/" "$work/out" && sync -f "$work/out"; }
# By their names: not every server lists what it wants to know.
do_download_s3cmd() {
  local names
  mapfile -t names < <(ls "$work/$1")
  s3 get "${names[@]/#/s3://buck/s3cmd/}" "$work/out/" && sync -f "$work/out"
}
do_backup_plan() { do_upload_plan "$1"; }
do_send_plan() { do_upload_plan "$1"; }
do_backup_restic() { restic --quiet backup "$work/$1"; }

# Bytes that came over the loopback of this network.
wire() { awk '$1 == "lo:" { print $2 }' /proc/net/dev; }

# Does $2 with $3 by each of the tools behind, beginning with another one each round ($1).
in_turn() {
  local round="$1" what="$2" task="$3"
  shift 3
  local tools=("$@") at tool before
  # What is downloaded was uploaded just before; the tools stand in one bucket.
  [ "$what" = download ] || forget
  [ "$what $round" != "backup $round" ] || restic --quiet init >/dev/null
  for ((at = 0; at < ${#tools[@]}; at++)); do
    tool="${tools[$(((at + round) % ${#tools[@]}))]}"
    rm -rf "$work/out" && mkdir "$work/out"
    printf 'round %s: %s of %s by %s\n' "$round" "$what" "$task" "$tool" >&2
    # What others left to be written is not theirs.
    sync -f "$work"
    before="$(wire)"
    export -f "do_${what}_$tool" do_upload_plan s3
    export plan work
    /usr/bin/time -o "$work/time" -f '%e %U %S %M' \
      bash -c "do_${what}_$tool $task" >/dev/null 2>"$work/said" || { cat "$work/said" >&2; exit 2; }
    echo "$(cat "$work/time") $(($(wire) - before)) $(joined)" >>"$work/results/$what.$task.$tool"
    [ "$what" != download ] || same "$task" "$tool"
  done
}

# Seconds in which the server put parts together.
joined() {
  sed -n 's/.* parts of .* together: //p' "$work/said" |
    awk '{ unit = $1; sub(/[0-9.]+/, "", unit); all += $1 * (unit == "s" ? 1 : unit == "ms" ? 1e-3 : 1e-6) } END { print all + 0 }'
}

# What came back is what was there.
same() {
  local out="$work/out"
  [ "$2" != plan ] || out="$(dirname "$(find "$work/out" -type f ! -name '.*' -print -quit)")"
  diff -rq "$work/$1" "$out" >&2
}

report() {
  python3 - "$work/results" "$size" "$server" "$work" <<'PYTHON'
import pathlib, statistics, sys

results, size, server = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
found = {}
for file in sorted(results.iterdir()):
    rows = [[float(word) for word in line.split()] for line in file.read_text().splitlines()]
    found[file.name] = [statistics.median(column) for column in zip(*rows)]
    found[file.name].append(len(rows))

print(f"against {server}; medians: seconds, of these the server's own to join parts, CPU seconds, MiB of memory at most, MB over the wire")
for name, (wall, user, system, memory, wire, joined, rounds) in found.items():
    of_it = f"{joined:8.2f}" if joined else " " * 8
    print(f"  {name.replace('.', ' '):<28} {wall:8.2f} {of_it} {user + system:8.2f} {memory / 1024:8.0f} {wire / 1e6:10.1f}")

missed = False
def promise(what, value, bound, unit=""):
    global missed
    holds = value >= bound
    missed |= not holds
    print(f"  {'holds ' if holds else 'MISSED'} {what}: {value:.2f}{unit} (at least {bound}{unit})")

for what in ("upload", "download"):
    for task in ("one", "many"):
        own = found[f"{what}.{task}.plan"][0]
        promise(f"{what} of {size} MiB, {task}, times as fast as rclone", found[f"{what}.{task}.rclone"][0] / own, 1)
        promise(f"{what} of {size} MiB, {task}, times as fast as s3cmd", found[f"{what}.{task}.s3cmd"][0] / own, 2)
many, joined = found["upload.many.plan"][0], found["upload.many.plan"][5]
if joined:
    rclone = found["upload.many.rclone"][0] / (many - joined)
    print(f"         without what the server joins, which has nothing to join for the others: {rclone:.2f} times as fast as rclone")
sent = (pathlib.Path(sys.argv[4]) / "line/big").stat().st_size
promise("share of a line of 50 ms and 100 Mbit/s that is filled", sent * 8 / found["send.line.plan"][0] / 100e6, 0.9)
promise("backup of the tree, times as fast as restic", found["backup.tree.restic"][0] / found["backup.tree.plan"][0], 1.5)
memory = max(values[3] for name, values in found.items() if name.endswith(".plan")) / 1024
holds = memory <= 128 + 64
missed |= not holds
print(f"  {'holds ' if holds else 'MISSED'} memory at most 128 MiB and 64 MiB of parts: {memory:.0f} MiB")
sys.exit(1 if missed else 0)
PYTHON
}

main
