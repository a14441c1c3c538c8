#!/usr/bin/env bash
# Measures what an incremental adds when a large file changed a little, side by side with restic, in one run on one machine.
#
#   benches/blocks.sh [DIR]      DIR: where to work, with 4 GB free; a new folder below /tmp where it is left out
#
#   BENCH_MB      400        megabytes of the file
#   BENCH_RUNS    3          how often each change is made; medians are shown
#   PLAN          a release build of this checkout
#   RESTIC        restic     the restic to measure against
#
# The file is half of pages of text and half of noise, as a database with large values is. Needs bc, python3, restic.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly megabytes="${BENCH_MB:-400}" runs="${BENCH_RUNS:-3}" restic="${RESTIC:-restic}"
if [ -z "${PLAN:-}" ]; then
  cargo build --release --locked --quiet -p backplan-cli
  PLAN="${CARGO_TARGET_DIR:-$PWD/target}/release/plan"
fi
readonly plan="$PLAN"

. benches/work.sh "${1:-}" python3 "$restic"
mkdir -p "$work/src"
cd "$work"
export RESTIC_REPOSITORY="$work/restic"

cat >change.py <<'PYTHON'
# change.py make FILE MB | pages FILE COUNT SEED | append FILE MB SEED | mails FILE COUNT SEED
import os, random, sys
what, path = sys.argv[1:3]
def page(source):
    text = " ".join(str(source.getrandbits(40)) for _ in range(400)).encode()[:4096]
    return text.ljust(4096, b" ") + source.randbytes(4096)
if what == "make":
    source = random.Random(1)
    with open(path, "wb") as file:
        for _ in range(int(sys.argv[3]) * 128):
            file.write(page(source))
elif what == "pages":
    source = random.Random(int(sys.argv[4]))
    with open(path, "r+b") as file:
        pages = os.path.getsize(path) // 8192
        for at in source.sample(range(pages), int(sys.argv[3])):
            file.seek(at * 8192)
            file.write(page(source))
elif what == "mails":
    # As many stretches of some kilobytes go, and as many new ones come, as mails do in the middle of a mailbox.
    source = random.Random(int(sys.argv[4]))
    with open(path, "rb") as file:
        rest = file.read()
    places = sorted(source.sample(range(len(rest)), 2 * int(sys.argv[3])))
    with open(path, "wb") as file:
        last = 0
        for number, at in enumerate(places):
            file.write(rest[last:at])
            last = at
            if number % 2:
                file.write(page(source)[: source.randrange(8192)])
            else:
                last = min(at + source.randrange(8192), len(rest))
        file.write(rest[last:])
else:
    source = random.Random(int(sys.argv[4]))
    with open(path, "ab") as file:
        for _ in range(int(sys.argv[3]) * 128):
            file.write(page(source))
PYTHON

for form in whole blocks; do
  mkdir -p "store-$form"
  cat >"$form.plan" <<PLAN
plan $form
store local: dir { path = "store-$form" }
source data: files { paths = ["src"] }
archive data {
  from        = [data]
  to          = [local]
  large_files = $form
}
cycle {
  incrementals = 100
  base         = previous
}
PLAN
done

added() { du -s --block-size=1 "$1" | cut -f1; }
median() { sort -n | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }

# measure NAME FOLDER COMMAND...: bytes that were added and seconds, to results/NAME.
measure() {
  local name="$1" folder="$2" before start
  shift 2
  before="$(added "$folder")"
  start="$(date +%s.%N)"
  "$@" >/dev/null 2>&1 || [ $? -eq 3 ]
  echo "$(($(added "$folder") - before)) $(echo "$(date +%s.%N) - $start" | bc)" >>"results/$name"
}

mkdir -p results
python3 change.py make src/file "$megabytes"
"$restic" init >/dev/null
measure first-whole store-whole "$plan" run whole.plan
measure first-blocks store-blocks "$plan" run blocks.plan
measure first-restic restic "$restic" backup src
for turn in $(seq "$runs"); do
  for change in pages append mails; do
    case "$change" in
      pages) python3 change.py pages src/file 500 "$turn" ;;
      append) python3 change.py append src/file 4 "$turn" ;;
      mails) python3 change.py mails src/file 20 "$turn" ;;
    esac
    sleep 1
    measure "$change-whole" store-whole "$plan" run whole.plan
    measure "$change-blocks" store-blocks "$plan" run blocks.plan
    measure "$change-restic" restic "$restic" backup src
  done
done
"$plan" restore blocks.plan --to back >/dev/null
cmp src/file back/data/src/file

"$plan" --version
"$restic" version
printf '%-24s %12s %10s\n' "$megabytes MB" 'MB added' seconds
for change in first pages append mails; do
  for form in whole blocks restic; do
    printf '%-24s %12s %10s\n' "$change, $form" \
      "$(cut -d' ' -f1 "results/$change-$form" | median | awk '{printf "%.1f", $1 / 1e6}')" \
      "$(cut -d' ' -f2 "results/$change-$form" | median | awk '{printf "%.2f", $1}')"
  done
done
