#!/usr/bin/env bash
# Measures what a run costs when little has changed, side by side with GNU tar and restic, in one run on one machine:
# medians and ratios.
#
#   benches/cycle.sh [DIR]       DIR: where to work, with 16 GB free; a new folder below /tmp where it is left out
#
#   BENCH_PARTS   still churn shared memory     which parts to measure
#   BENCH_RUNS    5                             runs of each command
#   BENCH_FILES   300000                        files of the tree in which nothing changes
#   BENCH_MB      2000                          megabytes of the tree in which one file in a hundred changes
#   RESTIC        restic                        the restic to measure against
#
# Needs hyperfine, GNU time, GNU tar, python3, restic; `shared` also needs xfsprogs and root.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly parts="${BENCH_PARTS:-still churn shared memory}"
readonly runs="${BENCH_RUNS:-5}"
readonly files="${BENCH_FILES:-300000}"
readonly megabytes="${BENCH_MB:-2000}"
readonly restic="${RESTIC:-restic}"

. benches/work.sh "${1:-}" hyperfine tar python3 /usr/bin/time "$restic"
tidy() { umount "$work/xfs"; }

main() {
  cargo build --release --locked --quiet -p backplan-cli
  plan="${CARGO_TARGET_DIR:-$here/target}/release/plan"
  rm -rf "$work/results"
  mkdir -p "$work/results"
  cat >"$work/churn.py" <<'PYTHON'
# Changes one file in a hundred; the same ones each time, or those that begin at OFFSET: python3 churn.py TREE [OFFSET]
import os, sys
at = int(sys.argv[2]) if len(sys.argv) > 2 else 0
for folder, folders, names in os.walk(sys.argv[1]):
    folders.sort()
    for name in sorted(names):
        at += 1
        if at % 100 == 0:
            with open(os.path.join(folder, name), "r+b") as file:
                first = file.read(1) or b"\0"
                file.seek(0)
                file.write(bytes([first[0] ^ 1]))
PYTHON
  cat >"$work/members.py" <<'PYTHON'
# What an artefact added to the disk, against the bytes of its gzip members that its base has not, those of the index
# apart: python3 members.py BYTES_ADDED BASE ARTEFACT
import hashlib, mmap, os, sys, zlib

def members(path):
    """The members: where each lies, its digest, and whether it belongs to the index, which ends an artefact."""
    is_index = False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 0
        while at < len(data):
            decoder, read, begins = zlib.decompressobj(31), at, b""
            while not decoder.eof:
                decoded = decoder.decompress(data[read:read + (1 << 18)])
                begins = begins or decoded[:512]
                read = min(read + (1 << 18), len(data))
            end = read - len(decoder.unused_data)
            is_index = is_index or begins.startswith(b".backplan/index\0")
            yield end - at, hashlib.sha256(data[at:end]).digest(), is_index
            at = end

added, base, artefact = int(sys.argv[1]), sys.argv[2], sys.argv[3]
known = {digest for _, digest, _ in members(base)}
changed = {False: 0, True: 0}
for length, digest, is_index in members(artefact):
    if digest not in known:
        changed[is_index] += length
both = sum(changed.values())
print(f"{added} bytes added to disk by an artefact of {os.path.getsize(artefact)}; changed members {changed[False]}, "
      f"index {changed[True]}: {added / both:.2f} times both (at most 1.2), {added / changed[False]:.2f} times the first")
PYTHON
  local part
  for part in $parts; do
    printf '\n== %s\n' "$part" >&2
    "measure_$part"
  done
  report
}

# A plan called $1 of folder $2; the archive's further attributes are $3, the cycle's base is $4, the store's folder $5.
write_plan() {
  cat >"$work/$1.plan" <<PLAN
plan $1

store local: dir {
  path = "${5:-$work/store.$1}"
}

source tree: files {
  paths = ["$2"]
}

archive main {
  from = all
  to   = [local]
  $3
}

cycle {
  incrementals = 1000
  base         = $4
}
PLAN
}

time_it() {
  hyperfine --shell=bash --warmup 1 --runs "$runs" --prepare "${4:-sleep 1}" --command-name "$2" \
    --export-json "$work/results/$1.$2.json" "$3" >&2
}

# Many small files.
measure_still() {
  python3 - "$work/still" "$files" <<'PYTHON'
import os, sys
root, count = sys.argv[1], int(sys.argv[2])
for index in range(count):
    folder = f"{root}/{index // 10000:03}/{index // 100 % 100:02}"
    if index % 100 == 0:
        os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{index:07}", "w") as file:
        file.write(f"file {index}\n" * (index % 40))
PYTHON
  cd "$work"
  sleep 2
  write_plan difference "$work/still" '' previous
  write_plan whole "$work/still" 'self_contained = true' full
  "$plan" run -q difference.plan >/dev/null && "$plan" run -q whole.plan >/dev/null
  "$restic" -q -r restic.still init && "$restic" -q -r restic.still backup still
  tar -g snapshot.base -czf base.tgz still
  time_it still walk "find still -printf '%s %T@ %C@ %i %m %U %G\n' >/dev/null"
  time_it still tar 'tar -g snapshot -czf next.tgz still' 'cp snapshot.base snapshot'
  time_it still restic "$restic -q -r restic.still backup still"
  time_it still difference "$plan run -q difference.plan"
  time_it still whole "$plan run -q whole.plan"
  rm -rf still store.difference store.whole restic.still ./*.tgz
  cd "$here"
}

# Files as they lie in /usr, several times over if need be.
real_files() {
  mkdir -p "$work/churn"
  local copy=0
  while [ "$(du -sm "$work/churn" | cut -f1)" -lt "$megabytes" ]; do
    copy=$((copy + 1))
    mkdir "$work/churn/$copy"
    find /usr/share /usr/include /usr/lib /usr/bin -xdev -type f -readable -size -20M 2>/dev/null | sort |
      tar -cf - --no-recursion -T - 2>/dev/null | head -c "$((megabytes * 1000000 / 2))" |
      tar -xf - -C "$work/churn/$copy" 2>/dev/null || true
  done
}

measure_churn() {
  [ -d "$work/churn" ] || real_files
  cd "$work"
  write_plan churned "$work/churn" 'self_contained = true' full
  "$plan" run -q churned.plan >/dev/null
  "$restic" -q -r restic.churn init && "$restic" -q -r restic.churn backup churn
  tar -g snapshot.base -czf base.tgz churn
  # Others each time: members that were whole are taken apart.
  local others='python3 churn.py churn $((RANDOM % 99 + 1)); sleep 1'
  time_it churn restic.others "$restic -q -r restic.churn backup churn" "$others"
  time_it churn others "$plan run -q churned.plan" "$others"
  # The warm-up takes them apart; what is counted is the same files changing again.
  time_it churn restic "$restic -q -r restic.churn backup churn" 'python3 churn.py churn; sleep 1'
  time_it churn again "$plan run -q churned.plan" 'python3 churn.py churn; sleep 1'
  time_it churn tar 'tar -g snapshot -czf next.tgz churn' 'cp snapshot.base snapshot; python3 churn.py churn'
  local base
  base="$(find store.churned -name '*.tar.gz' | sort | tail -n 1)"
  # To a new name each time, as a run writes: pages just given back by an rm are filled up to eight times as fast.
  time_it churn cp "cp $base copy.\$RANDOM" true
  rm -rf store.churned restic.churn ./*.tgz copy.*
  cd "$here"
}

# Blocks that a run adds to an XFS that can share them, against the bytes of the members that changed.
measure_shared() {
  if [ "$(id -u)" -ne 0 ] || ! command -v mkfs.xfs >/dev/null; then
    echo 'not measured: needs root and xfsprogs' >&2
    return
  fi
  [ -d "$work/churn" ] || real_files
  cd "$work"
  mkdir -p xfs
  truncate -s 6G disk && mkfs.xfs -q -m reflink=1 disk && mount -o loop disk xfs
  write_plan shared "$work/churn" 'self_contained = true
  share_blocks   = true' full "$work/xfs/store"
  "$plan" run -q shared.plan >/dev/null
  python3 churn.py churn && sleep 1 && "$plan" run -q shared.plan >/dev/null
  local before after
  sync -f xfs && before="$(df --output=used -k xfs | tail -n 1)"
  python3 churn.py churn && sleep 1 && "$plan" run -q shared.plan >/dev/null
  sync -f xfs && after="$(df --output=used -k xfs | tail -n 1)"
  find xfs/store -name '*.tar.gz' | sort | tail -n 2 | xargs python3 members.py "$(((after - before) * 1024))" >results/shared.txt
  umount xfs && rm -f disk
  cd "$here"
}

measure_memory() {
  python3 - "$work/many" 1000000 <<'PYTHON'
import os, sys
root, count = sys.argv[1], int(sys.argv[2])
for index in range(count):
    folder = f"{root}/{index // 10000:03}/{index // 100 % 100:02}"
    if index % 100 == 0:
        os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{index:07}", "w") as file:
        file.write(f"file {index}\n" * (index % 10))
PYTHON
  cd "$work"
  write_plan many "$work/many" 'self_contained = true' full
  "$plan" run -q many.plan >/dev/null
  python3 churn.py many
  /usr/bin/time -f '%M' -o results/memory.whole.txt "$plan" run -q many.plan >/dev/null
  write_plan many_difference "$work/many" '' full
  "$plan" run -q many_difference.plan >/dev/null
  python3 churn.py many
  /usr/bin/time -f '%M' -o results/memory.difference.txt "$plan" run -q many_difference.plan >/dev/null
  rm -rf many store.many store.many_difference
  cd "$here"
}

report() {
  python3 - "$work/results" <<'PYTHON'
import json, pathlib, sys

results = pathlib.Path(sys.argv[1])
median = {f.name.removesuffix(".json"): json.loads(f.read_text())["results"][0]["median"] for f in sorted(results.glob("*.json"))}
for name, seconds in median.items():
    print(f"{name:24} {seconds:8.3f} s")
for file in sorted(results.glob("*.txt")):
    print(f"{file.stem:24} {file.read_text().strip()}")

def ratio(title, a, b):
    if a in median and b in median:
        print(f"{title:64} {median[a] / median[b]:6.2f}")

ratio("nothing changed, difference: times a bare walk (at most 2)", "still.difference", "still.walk")
ratio("nothing changed, restic: times ours (at least 5)", "still.restic", "still.difference")
ratio("one in a hundred changed, restic: times ours, whole (over 1)", "churn.restic.others", "churn.others")
ratio("the same again, restic: times ours, whole (over 1)", "churn.restic", "churn.again")
ratio("the same churn again, whole: times cp of the base (at most 3)", "churn.again", "churn.cp")
PYTHON
}

main
