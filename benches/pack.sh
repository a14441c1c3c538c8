#!/usr/bin/env bash
# Measures packing, restoring and looking, side by side with the tools one would use otherwise, in one run on one
# machine: medians, ratios, and whether the project's promises hold. Ends with 1 where one does not.
#
#   benches/pack.sh [DIR]        DIR: where to work, with 12 GB free; a new folder below /tmp where it is left out
#
#   BENCH_PARTS   pack encrypt memory restore small     which parts to measure
#   BENCH_RUNS    5                             runs of each command
#   BENCH_MB      600                           megabytes of the tree of real files, taken from /usr
#   BENCH_FILES   1000000                       files of the large tree
#   BENCH_BIG     5G                            bytes of the large file
#   BENCH_PLAN    target/release/plan           the program; left out, it is built
#
# Needs hyperfine, pigz, GNU time, GNU tar, python3; measures igzip, zstd, restic and borg where they are there. Restores are timed on
# a fresh ext4 in a file each time, which needs root.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly parts="${BENCH_PARTS:-pack encrypt memory restore small}"
readonly runs="${BENCH_RUNS:-5}"
readonly megabytes="${BENCH_MB:-600}"
readonly files="${BENCH_FILES:-1000000}"
readonly big="${BENCH_BIG:-5G}"

. benches/work.sh "${1:-}" hyperfine pigz tar python3 /usr/bin/time
. benches/tree.sh
tidy() { umount "$work/mnt"; }

main() {
  plan="${BENCH_PLAN:-}"
  if [ -z "$plan" ]; then
    cargo build --release --locked --quiet -p backplan-cli
    plan="${CARGO_TARGET_DIR:-$here/target}/release/plan"
  fi
  rm -rf "$work/results"
  mkdir -p "$work/results" "$work/mnt"
  local part
  for part in $parts; do
    say "$part"
    "measure_$part"
  done
  say 'results'
  report
}

say() { printf '\n== %s\n' "$*" >&2; }

# A plan called $1 that packs folder $2 at level $3 of $4, or gzip, into $work/store.$1; $5: what else the archive says.
write_plan() {
  cat >"$work/$1.plan" <<PLAN
plan $1

store local: dir {
  path = "$work/store.$1"
}

source tree: files {
  paths = ["$2"]
}

archive main {
  from  = all
  to    = [local]
  level = $3
  compress = ${4:-gzip}
  ${5:-}
}
PLAN
}

# What a run before it left, so that each run is a first one.
forget() { echo "rm -rf $work/store.$1 $work/state && mkdir -p $work/store.$1"; }

# Times command $3 as $2 of part $1, after $4.
time_it() {
  hyperfine --shell=bash --warmup 1 --runs "$runs" --prepare "${4:-true}" --command-name "$2" \
    --export-json "$work/results/$1.$2.json" "$3" >&2
}

note() { echo "$2" >"$work/results/$1.txt"; }

noted_tree() {
  real_files
  note tree "$(find "$work/tree" -type f | wc -l) files, $(du -sb "$work/tree" | cut -f1) bytes"
}

measure_pack() {
  noted_tree
  cd "$work"
  write_plan level6 "$work/tree" 6
  write_plan level1 "$work/tree" 1
  time_it pack tar 'tar czf tar.tgz tree' 'rm -f tar.tgz'
  # What is compared is measured one right after the other: machines drift.
  time_it pack pigz 'tar -I pigz -cf pigz.tgz tree' 'rm -f pigz.tgz'
  time_it pack plan6 "$plan run -q level6.plan" "$(forget level6)"
  note size.pigz "$(stat -c %s pigz.tgz)"
  note size.plan6 "$(stat -c %s store.level6/*.tar.gz)"
  time_it pack pigz1 "tar -I 'pigz -1' -cf pigz1.tgz tree" 'rm -f pigz1.tgz'
  time_it pack plan1 "$plan run -q level1.plan" "$(forget level1)"
  note size.pigz1 "$(stat -c %s pigz1.tgz)"
  note size.plan1 "$(stat -c %s store.level1/*.tar.gz)"
  if command -v igzip >/dev/null; then
    time_it pack igzip1 "tar -I 'igzip -1' -cf igzip1.tgz tree" 'rm -f igzip1.tgz'
    note size.igzip1 "$(stat -c %s igzip1.tgz)"
  fi
  if command -v zstd >/dev/null; then
    time_it pack zstd1 'tar -I "zstd -q -T0 -1" -cf zstd1.tar.zst tree' 'rm -f zstd1.tar.zst'
    note size.zstd1 "$(stat -c %s zstd1.tar.zst)"
    write_plan zstd3 "$work/tree" 3 zstd
    time_it pack zstd 'tar -I "zstd -q -T0 -3" -cf zstd.tar.zst tree' 'rm -f zstd.tar.zst'
    time_it pack plan-zstd3 "$plan run -q zstd3.plan" "$(forget zstd3)"
    note size.zstd "$(stat -c %s zstd.tar.zst)"
    note size.plan-zstd3 "$(stat -c %s store.zstd3/*.tar.zst)"
  fi
  if command -v restic >/dev/null; then
    time_it pack restic 'restic -q -r restic backup tree' 'rm -rf restic && restic -q -r restic init'
    note size.restic "$(du -sb restic | cut -f1)"
  fi
  if command -v borg >/dev/null; then
    time_it pack borg 'borg create -C zstd,3 borg::a tree' 'rm -rf borg && borg init -e none borg'
    note size.borg "$(du -sb borg | cut -f1)"
  fi
  cd "$here"
}

# A public key; nobody is to read what it hides.
readonly recipient=age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p

measure_encrypt() {
  noted_tree
  cd "$work"
  local level
  for level in 6 1; do
    write_plan "clear$level" "$work/tree" "$level"
    write_plan "sealed$level" "$work/tree" "$level" gzip "encrypt = [\"$recipient\"]"
    time_it encrypt "clear$level" "$plan run -q clear$level.plan" "$(forget "clear$level")"
    time_it encrypt "sealed$level" "$plan run -q sealed$level.plan" "$(forget "sealed$level")"
    rm -rf "store.clear$level" "store.sealed$level"
  done
  cd "$here"
}

peak_of() {
  write_plan "$1" "$2" 6
  eval "$(forget "$1")"
  /usr/bin/time -f '%M' -o "$work/results/memory.$1.txt" "$plan" run -q "$work/$1.plan"
}

measure_memory() {
  if [ ! -d "$work/many" ]; then
    python3 - "$work/many" "$files" <<'PYTHON'
import os, sys
root, count = sys.argv[1], int(sys.argv[2])
for index in range(count):
    folder = f"{root}/{index // 10000:03}/{index // 100 % 100:02}"
    if index % 100 == 0:
        os.makedirs(folder)
    with open(f"{folder}/{index:07}", "w") as file:
        file.write(f"file {index}\n" * (index % 40))
PYTHON
  fi
  peak_of many "$work/many"
  rm -rf "$work/store.many"
  if [ ! -d "$work/big" ]; then
    mkdir "$work/big"
    # Half of it compresses: zeros would measure nothing, and noise only the reading.
    head -c "$(($(numfmt --from=iec "$big") * 3 / 4))" /dev/urandom | base64 -w 0 | head -c "$(numfmt --from=iec "$big")" >"$work/big/file"
  fi
  peak_of big "$work/big"
  rm -rf "$work/store.big" "$work/big"
}

fresh_ext4() {
  echo "{ umount $work/mnt 2>/dev/null || true; } && rm -f $work/disk && truncate -s 4G $work/disk &&
    mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 $work/disk && mount -o loop $work/disk $work/mnt && sync"
}

measure_restore() {
  if [ "$(id -u)" -ne 0 ]; then
    echo 'not measured: a fresh ext4 needs root' >&2
    return
  fi
  noted_tree
  cd "$work"
  write_plan level6 "$work/tree" 6
  eval "$(forget level6)"
  "$plan" run -q level6.plan
  [ -f pigz.tgz ] || tar -I pigz -cf pigz.tgz tree
  time_it restore tar "tar xzf pigz.tgz -C mnt && sync -f mnt" "$(fresh_ext4)"
  time_it restore pigz "pigz -dc pigz.tgz | tar xf - -C mnt && sync -f mnt" "$(fresh_ext4)"
  time_it restore plan "$plan restore -q --store store.level6 --to mnt/back && sync -f mnt" "$(fresh_ext4)"
  if command -v zstd >/dev/null; then
    write_plan zstd3 "$work/tree" 3 zstd
    eval "$(forget zstd3)"
    "$plan" run -q zstd3.plan
    [ -f zstd.tar.zst ] || tar -I "zstd -q -T0 -3" -cf zstd.tar.zst tree
    time_it restore tar-zstd "tar --zstd -xf zstd.tar.zst -C mnt && sync -f mnt" "$(fresh_ext4)"
    time_it restore plan-zstd "$plan restore -q --store store.zstd3 --to mnt/back && sync -f mnt" "$(fresh_ext4)"
  fi
  umount mnt
  cd "$here"
}

measure_small() {
  noted_tree
  cd "$work"
  write_plan level6 "$work/tree" 6
  eval "$(forget level6)"
  "$plan" run -q level6.plan
  local path
  path="$(find "$work/tree" -type f -size -64k | sort | awk '{ all[NR] = $0 } END { print all[int(NR / 2)] }')"
  time_it small cat "$plan cat latest 'tree/${path#/}' --store store.level6 | cmp - '$path'"
  cd "$here"
  hyperfine --shell=none --warmup 5 --runs 100 --command-name check \
    --export-json "$work/results/small.check.json" "$plan check plans/alation_v2_2023_1_included.plan" >&2
}

report() {
  python3 - "$work/results" <<'PYTHON'
import json, os, pathlib, sys

results = pathlib.Path(sys.argv[1])
medians, cpu, missed = {}, {}, []
for file in sorted(results.glob("*.json")):
    name, result = file.name.removesuffix(".json"), json.loads(file.read_text())["results"][0]
    medians[name] = result["median"]
    # Of all runs: a machine that does something else takes time, and hardly CPU seconds.
    cpu[name] = result["user"] + result["system"], result["mean"] * os.cpu_count()


def note(name):
    file = results / f"{name}.txt"
    return file.read_text().split("\n")[-2] if file.exists() else None


def promise(what, value, holds, unit=""):
    print(f"  {'holds ' if holds else 'MISSED'}  {what}: {value}{unit}")
    if not holds:
        missed.append(what)


if note("tree"):
    print(f"tree: {note('tree')}\n")
print("medians in seconds; CPU seconds; how busy the cores were")
for name, median in medians.items():
    used, most = cpu[name]
    print(f"  {name:<16} {median:9.4f} {used:9.3f} {used / most:7.0%}")
print("\npromises")
def sizes(one, other):
    return int(note(f"size.{one}")) / int(note(f"size.{other}"))


for level, plan, pigz, least in ((6, "plan6", "pigz", 2.7), (1, "plan1", "pigz1", 4.0)):
    if f"pack.{plan}" in medians:
        ratio = medians[f"pack.{pigz}"] / medians[f"pack.{plan}"]
        promise(f"packing at level {level}, times as fast as pigz (at least {least})", f"{ratio:.2f}", ratio >= least)
        if level == 6:
            promise("its size against pigz (at most 1.005)", f"{sizes(plan, pigz):.4f}", sizes(plan, pigz) <= 1.005)
        else:
            print(f"          its size against pigz -1: {sizes(plan, pigz):.4f}")
        saved = cpu[f"pack.{pigz}"][0] / cpu[f"pack.{plan}"][0]
        print(f"          CPU seconds of pigz against its: {saved:.2f}")
if "pack.igzip1" in medians:
    ratio = medians["pack.plan1"] / medians["pack.igzip1"]
    print(f"          level 1 against igzip -1: {ratio:.2f} times the time, {sizes('plan1', 'igzip1'):.4f} times the size")
if "pack.zstd1" in medians:
    ratio = medians["pack.plan1"] / medians["pack.zstd1"]
    promise("packing at level 1, times the time of zstd -T0 -1 (at most 1.2)", f"{ratio:.2f}", ratio <= 1.2)
    print(f"          its size against zstd -1: {sizes('plan1', 'zstd1'):.4f}")
if "pack.plan-zstd3" in medians:
    ratio, size = medians["pack.plan-zstd3"] / medians["pack.zstd"], sizes("plan-zstd3", "zstd")
    promise("packing with zstd, times the time of zstd -T0 -3 (at most 1.1)", f"{ratio:.2f}", ratio <= 1.1)
    promise("its size against zstd -3 (at most 1.1)", f"{size:.4f}", size <= 1.1)
    print(f"          zstd's size against gzip's at level 6: {sizes('plan-zstd3', 'plan6'):.4f}")
    for peer in ("restic", "borg"):
        if f"pack.{peer}" in medians:
            ratio, size = medians[f"pack.{peer}"] / medians["pack.plan-zstd3"], sizes("plan-zstd3", peer)
            promise(f"packing with zstd, times as fast as {peer} (at least 2.5)", f"{ratio:.2f}", ratio >= 2.5)
            promise(f"its size against that of {peer} (at most 1)", f"{size:.4f}", size <= 1)
for level in (6, 1):
    if f"encrypt.sealed{level}" in medians:
        for what, values in (("time", medians), ("CPU seconds", {name: used for name, (used, _) in cpu.items()})):
            ratio = values[f"encrypt.sealed{level}"] / values[f"encrypt.clear{level}"]
            promise(f"encrypted at level {level}, times the {what} (at most 1.25)", f"{ratio:.2f}", ratio <= 1.25)
for name, what in (("memory.many", "many files"), ("memory.big", "one large file")):
    if note(name):
        mib = int(note(name)) / 1024
        promise(f"peak memory, {what} (under 128 MiB)", f"{mib:.0f}", mib < 128, " MiB")
if "restore.plan" in medians:
    ratio = medians["restore.tar"] / medians["restore.plan"]
    promise("full restore, times as fast as tar xzf (at least 2.5)", f"{ratio:.2f}", ratio >= 2.5)
if "restore.plan-zstd" in medians:
    ratio = medians["restore.tar-zstd"] / medians["restore.plan-zstd"]
    promise("full restore, times as fast as tar --zstd -x (at least 1.5)", f"{ratio:.2f}", ratio >= 1.5)
if "small.cat" in medians:
    ms = medians["small.cat"] * 1000
    promise("one file (under 30 ms)", f"{ms:.1f}", ms < 30, " ms")
if "small.check" in medians:
    ms = medians["small.check"] * 1000
    promise("plan check of a page (under 10 ms)", f"{ms:.1f}", ms < 10, " ms")
sys.exit(1 if missed else 0)
PYTHON
}

main
