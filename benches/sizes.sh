#!/usr/bin/env bash
# Measures what grows with what there is: time, CPU seconds and peak memory of commands, for trees of different sizes, long
# catalogs, a file of a terabyte of nothing, little memory and many jobs. Ends with 1 where a promise does not hold: no command
# takes 128 MiB, and ten times as much takes no more than thirteen times as long.
#
#   benches/sizes.sh [DIR]       DIR: where to work; a new folder below /tmp where it is left out
#
#   BENCH_PARTS    files catalog sparse little jobs     which parts to measure
#   BENCH_SIZES    "10000 100000 1000000"               files of the trees
#   BENCH_CATALOGS "1000 10000 33333"                   runs of the catalogs; each is three objects of a store
#
# Needs GNU time and python3. A tree of a million files takes 2 GB on a tmpfs, or 5 GB on ext4. `little` limits memory by a control
# group where it may make one (root, version 2), else by `ulimit -v`.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly parts="${BENCH_PARTS:-files catalog sparse little jobs}"
readonly sizes="${BENCH_SIZES:-10000 100000 1000000}"
readonly catalogs="${BENCH_CATALOGS:-1000 10000 33333}"

. benches/work.sh "${1:-}" python3 /usr/bin/time

main() {
  plan="${BENCH_PLAN:-}"
  if [ -z "$plan" ]; then
    cargo build --release --locked --quiet -p backplan-cli
    plan="${CARGO_TARGET_DIR:-$here/target}/release/plan"
  fi
  : >"$work/results"
  local part
  for part in $parts; do
    printf '\n== %s\n' "$part" >&2
    "measure_$part"
  done
  report
}

# A plan called $1 of folder $2; $3 are declarations of its own.
write_plan() {
  mkdir -p "$work/store.$1"
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
  level = 1
}
${3:-}
PLAN
}

# Runs a command, and notes part $1, size $2, what it is called $3: seconds, CPU seconds, KiB at the peak.
measure() {
  local part="$1" size="$2" name="$3" status=0
  shift 3
  /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$@" >"$work/output" 2>"$work/errors" || status=$?
  # 2 is what `diff-run` says where something differs, 3 a prune of artefacts that bear another run's mark, as multiplied ones do.
  if [ "$status" -gt 1 ] && [[ ! "$name $status" =~ ^(diff-run 2|prune-nearly-all 3)$ ]]; then
    echo "benches/sizes.sh: $name failed ($status):" >&2
    head -5 "$work/errors" >&2
    echo "$part $size $name failed" >>"$work/results"
    return
  fi
  echo "$part $size $name $(tail -1 "$work/time")" >>"$work/results"
  tail -1 "$work/results" >&2
}

# A tree of $2 files in $1, a hundred a folder; one in ten holds something.
make_tree() {
  [ -d "$1" ] || python3 - "$1" "$2" <<'PYTHON'
import os, sys
root, count = sys.argv[1], int(sys.argv[2])
for index in range(count):
    folder = f"{root}/{index // 10000:04}/{index // 100 % 100:02}"
    if index % 100 == 0:
        os.makedirs(folder)
    with open(f"{folder}/{index:08}", "w") as file:
        if index % 10 == 0:
            file.write(f"file {index}\n" * 20)
PYTHON
}

measure_files() {
  local size one
  for size in $sizes; do
    local name="files$size" tree="$work/tree.$size"
    make_tree "$tree" "$size"
    write_plan "$name" "$tree" 'cycle { incrementals = 100 }'
    local file="$work/$name.plan"
    one="tree/${tree#/}/0000/05/00000510"
    measure files "$size" run-full "$plan" run -q "$file"
    measure files "$size" run-unchanged "$plan" run -q "$file"
    python3 - "$tree" "$size" <<'PYTHON'
import sys
root, count = sys.argv[1], int(sys.argv[2])
for index in range(0, count, 100):
    with open(f"{root}/{index // 10000:04}/{index // 100 % 100:02}/{index:08}", "a") as file:
        file.write("more\n")
PYTHON
    measure files "$size" run-1-percent "$plan" run -q "$file"
    measure files "$size" list "$plan" list "$file"
    measure files "$size" ls-all "$plan" ls latest -f "$file"
    measure files "$size" ls-folder "$plan" ls latest "${one%/*}" -f "$file"
    measure files "$size" cat "$plan" cat latest "$one" -f "$file"
    measure files "$size" restore-one "$plan" restore -q "$file" --to "$work/back" --path "$one"
    rm -rf "$work/back"
    measure files "$size" diff-run "$plan" diff-run 1 latest -f "$file"
    measure files "$size" verify "$plan" verify -q "$file"
    measure files "$size" verify-deep "$plan" verify -q --deep "$file"
    measure files "$size" restore-all "$plan" restore -q "$file" --to "$work/back"
    rm -rf "$work/back" "$work/store.$name" "$tree"
  done
}

# Copies the one run of plan $1 until there are $2, an hour apart: manifests of their own, artefacts that share their bytes.
multiply() {
  python3 - "$work/store.$1" "$1" "$2" <<'PYTHON'
import datetime, os, sys
store, plan, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
home = f"{store}/.backplan/{plan}"
(name,) = os.listdir(f"{home}/manifests")
run = name.removesuffix(".yaml")
with open(f"{home}/manifests/{name}") as file:
    text = file.read()
artefact = next(line.split()[-1] for line in text.splitlines() if line.strip().startswith("artefact:"))
stamp = run.split("-")[1]
first = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ")
started = next(line.split()[-1] for line in text.splitlines() if line.startswith("started:"))
finished = next(line.split()[-1] for line in text.splitlines() if line.startswith("finished:"))
nonce = next(line.split()[-1] for line in text.splitlines() if line.startswith("nonce:"))
with open(f"{home}/sums/{run}.sha256") as file:
    sums = file.read()
for number in range(count, 0, -1):
    # The real one becomes the newest.
    at = first - datetime.timedelta(hours=count - number)
    new_stamp = at.strftime("%Y%m%dT%H%M%SZ")
    new = f"{number:08}-{new_stamp}-{number:06}".replace("0", "a", 0)
    if number == count:
        new = f"{number:08}-{stamp}-{run.split('-')[2]}"
    swaps = [(run, new), (f"{plan}_main_{stamp}.tar.gz", f"{plan}_main_{new_stamp}.tar.gz"),
             (started, at.strftime("%Y-%m-%dT%H:%M:%S.000000001Z")), (finished, at.strftime("%Y-%m-%dT%H:%M:%S.5Z")),
             (nonce, f"{number:032x}")]
    own, own_sums = text, sums
    for old, replacement in swaps:
        own, own_sums = own.replace(old, replacement), own_sums.replace(old, replacement)
    with open(f"{home}/manifests/{new}.yaml", "w") as file:
        file.write(own)
    with open(f"{home}/sums/{new}.sha256", "w") as file:
        file.write(own_sums)
    other = f"{store}/{plan}_main_{new_stamp}.tar.gz"
    if not os.path.exists(other):
        os.link(f"{store}/{artefact}", other)
if count > 1:
    os.remove(f"{home}/manifests/{name}")
    os.remove(f"{home}/sums/{run}.sha256")
PYTHON
}

measure_catalog() {
  local size
  make_tree "$work/tree.small" 10
  for size in $catalogs; do
    local name="catalog$size"
    write_plan "$name" "$work/tree.small" 'keep { cycles = 1000000 }'
    "$plan" run -q "$work/$name.plan"
    multiply "$name" "$size"
    # As if from before this machine wrote down which runs it makes: it made but one of them.
    find "$work/state" -name committed -delete
    measure catalog "$size" list "$plan" list "$work/$name.plan"
    measure catalog "$size" ls-latest "$plan" ls latest -f "$work/$name.plan"
    measure catalog "$size" status "$plan" status "$work/$name.plan"
    measure catalog "$size" dry-run "$plan" run --dry-run "$work/$name.plan"
    measure catalog "$size" run "$plan" run -q "$work/$name.plan"
    measure catalog "$size" prune-nothing "$plan" prune --dry-run "$work/$name.plan"
    sed -i 's/cycles = 1000000/cycles = 10/' "$work/$name.plan"
    measure catalog "$size" prune-nearly-all "$plan" prune "$work/$name.plan"
    rm -rf "$work/store.$name"
  done
}

measure_sparse() {
  mkdir -p "$work/sparse"
  truncate -s 1T "$work/sparse/disk.img"
  python3 - "$work/sparse/disk.img" <<'PYTHON'
import os, sys
with open(sys.argv[1], "r+b") as file:
    for place in range(0, 1 << 40, 1 << 36):
        file.seek(place)
        file.write(os.urandom(65536))
PYTHON
  write_plan sparse "$work/sparse"
  measure sparse 1T run "$plan" run -q "$work/sparse.plan"
  measure sparse 1T verify "$plan" verify -q --deep "$work/sparse.plan"
  measure sparse 1T restore "$plan" restore -q "$work/sparse.plan" --to "$work/back"
  rm -rf "$work/back" "$work/sparse" "$work/store.sparse"
}

# Runs a command with 64 MiB.
with_little() {
  local group=/sys/fs/cgroup/backplan-bench
  if mkdir "$group" 2>/dev/null && echo 64M >"$group/memory.max" 2>/dev/null; then
    echo 0 >"$group/memory.swap.max" 2>/dev/null || true
    (echo "$BASHPID" >"$group/cgroup.procs" && exec "$@")
    local status=$?
    rmdir "$group" 2>/dev/null || true
    return "$status"
  fi
  rmdir "$group" 2>/dev/null || true
  # Addresses, not memory: threads take 8 MiB of them each, and the allocator 64 MiB for each of the first.
  (ulimit -v $((2 << 20)) && MALLOC_ARENA_MAX=1 exec "$@")
}

measure_little() {
  make_tree "$work/tree.little" 100000
  head -c 300M /dev/urandom | base64 -w 0 >"$work/tree.little/large"
  write_plan little "$work/tree.little"
  export -f with_little
  measure little 64M run bash -c 'with_little "$@"' - "$plan" run -q "$work/little.plan"
  measure little 64M verify bash -c 'with_little "$@"' - "$plan" verify -q --deep "$work/little.plan"
  measure little 64M restore bash -c 'with_little "$@"' - "$plan" restore -q "$work/little.plan" --to "$work/back"
  rm -rf "$work/back" "$work/tree.little" "$work/store.little"
}

# Sixty-four sources, each with an archive of its own.
measure_jobs() {
  local jobs number declarations=
  for number in $(seq 64); do
    mkdir -p "$work/jobs/$number"
    head -c 4M /dev/urandom | base64 -w 0 >"$work/jobs/$number/file"
    declarations+="
source s$number: files { paths = [\"$work/jobs/$number\"] }
archive a$number { from = [s$number], to = [local] }"
  done
  for jobs in 1 8 64; do
    mkdir -p "$work/store.jobs$jobs"
    printf 'plan jobs%s\nlimits { jobs = %s }\nstore local: dir { path = "%s" }\n%s\n' "$jobs" "$jobs" \
      "$work/store.jobs$jobs" "$declarations" >"$work/jobs$jobs.plan"
    measure jobs "$jobs" run "$plan" run -q "$work/jobs$jobs.plan"
    rm -rf "$work/store.jobs$jobs"
  done
  rm -rf "$work/jobs"
}

report() {
  python3 - "$work/results" <<'PYTHON'
import collections, sys

rows = collections.OrderedDict()
missed = []
for line in open(sys.argv[1]):
    part, size, name, *figures = line.split()
    rows.setdefault((part, name), []).append((size, figures))
print(f"{'':<26} {'size':>9} {'seconds':>9} {'CPU s':>8} {'peak MiB':>9}   for ten times as much")
for (part, name), found in rows.items():
    before = None
    for size, figures in found:
        if len(figures) < 4:
            print(f"{part + ' ' + name:<26} {size:>9}    FAILED")
            missed.append(f"{part} {name} {size} failed")
            continue
        seconds, cpu, mib = float(figures[0]), float(figures[1]) + float(figures[2]), int(figures[3]) / 1024
        growth = ""
        if before and size.isdigit():
            more = int(size) / int(before[0])
            # What takes less than a tenth of a second is starting.
            if before[1] >= 0.1 and more > 1 and part != "jobs":
                times = cpu / before[1] * 10 / more
                growth = f"{times:5.1f}"
                if times > 13:
                    missed.append(f"{part} {name} {size}: {times:.1f} times the CPU seconds of a tenth of that")
        if mib >= 128:
            missed.append(f"{part} {name} {size}: {mib:.0f} MiB")
        print(f"{part + ' ' + name:<26} {size:>9} {seconds:9.2f} {cpu:8.2f} {mib:9.1f}   {growth}")
        before = (size, cpu)
print()
for what in missed:
    print(f"  MISSED  {what}")
if not missed:
    print("  holds   every command below 128 MiB, and in time that grows as what there is")
sys.exit(1 if missed else 0)
PYTHON
}

main
