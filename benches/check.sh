#!/usr/bin/env bash
# Measures what the check of plans costs, with medians: one page, a thousand plans that share a library, ten thousand sources,
# ten years of half-hourly runs, and each question that an editor asks on a plan of 2,000 lines. Says `MISSED` behind what takes
# longer than it may.
#
#   benches/check.sh
#
#   BENCH_PARTS   page folder large years editor   which parts to measure
#   BENCH_RUNS    20                               runs of each command
#   BENCH_PLAN    target/release/plan              the program; left out, it is built
#
# Needs hyperfine and python3.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly parts="${BENCH_PARTS:-page folder large years editor}"
readonly runs="${BENCH_RUNS:-20}"
readonly target="${CARGO_TARGET_DIR:-$PWD/target}"
plan="${BENCH_PLAN:-}"
if [ -z "$plan" ]; then
  cargo build --release --quiet -p backplan-cli
  plan="$target/release/plan"
fi

work="$(mktemp -d /tmp/backplan-check.XXXXXX)"
trap 'rm -rf "$work"' EXIT

wants() { [[ " $parts " == *" $1 "* ]]; }

# verdict NAME MILLISECONDS MOST
verdict() {
  python3 -c 'import sys
name, took, most = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
print(f"{name:<44} {took:9.2f} ms  of {most:6.0f} ms" + ("" if took < most else "  MISSED"))' "$@"
}

# measure NAME MOST COMMAND...: the median of a program that is started anew each time.
measure() {
  local name="$1" most="$2"
  shift 2
  hyperfine -N --style none --warmup 3 --runs "$runs" --export-json "$work/times.json" -- "$*" >/dev/null
  verdict "$name" "$(python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["results"][0]["median"] * 1000)' "$work/times.json")" "$most"
}

# clean PATH: what is measured is a good plan, with every proof made.
clean() {
  "$plan" check --deny warnings "$1" >"$work/found" || {
    grep -m 1 -A 12 -E '^(error|warning): ' "$work/found"
    exit 1
  }
}

if wants page; then
  measure "plan check, one page" 10 "$plan" check plans/alation_v2_2023_1_included.plan
fi

if wants folder; then
  python3 - "$work/thousand" <<'PY'
import os, sys

root = sys.argv[1]
os.makedirs(root)
with open(f"{root}/company.plan", "w") as library:
    library.write("""# What every plan shares.
param site: string

store nas: dir {
  path = "/mnt/nas/${site}"
}

store cloud: s3 {
  bucket     = "company-backup"
  prefix     = "${site}"
  region     = "eu-central-1"
  access_key = env("S3_ACCESS_KEY")
  secret_key = env("S3_SECRET_KEY")
  offsite    = true
}

schedule { run = daily at 01:15 }
cycle { incrementals = 6 }
keep { daily = 7, weekly = 4, monthly = 12, prefer = full }
objective { rpo = 26h, copies = 2, offsite = 1 }
policy { require = [offsite, objective, schedule, keep], forbid = [inline_secrets] }
""")
for number in range(1000):
    folder = f"{root}/team{number % 40}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/site{number}.plan", "w") as plan:
        plan.write(f"""plan site{number}

import "../company.plan" {{ site = "site{number}" }}

let data = "/srv/site{number}"

source web: files {{
  paths          = ["${{data}}/www", "/etc/site{number}"]
  exclude        = ["*.tmp", "cache/"]
  exclude_caches = true
}}

source app: sqlite {{
  path = "${{data}}/app.db"
}}

source db: postgres {{
  driver   = dump
  database = "site{number}"
  run_as   = "postgres"
}}

archive main {{
  from = all
  to   = [nas, cloud]
}}
""")
PY
  clean "$work/thousand"
  measure "plan check, a folder of 1,000 plans" 1000 "$plan" check "$work/thousand"
fi

if wants large; then
  python3 - "$work/large.plan" <<'PY'
import sys

with open(sys.argv[1], "w") as plan:
    plan.write("""plan large

store local: dir { path = "/backup" }
store away: dir { path = "/mnt/away", offsite = true }
staging { path = "/staging" }
""")
    for number in range(10_000):
        plan.write(f'source s{number}: files {{ paths = ["/srv/{number % 97}/{number}"], exclude = ["tmp/"] }}\n')
    plan.write("""archive all { from = all, to = [local, away] }
schedule { run = hourly }
cycle { incrementals = 23, base = full }
keep { daily = 14, weekly = 8, monthly = 12, yearly = 3, prefer = full }
objective { rpo = 2h, copies = 2, offsite = 1 }
""")
PY
  clean "$work/large.plan"
  measure "plan check, 10,000 sources" 500 "$plan" check "$work/large.plan"
fi

if wants years; then
  # The example prints the best of five: what a simulation costs, not what else this machine does.
  cargo run --release --quiet -p backplan-compiler --example simulate | while IFS= read -r line; do
    case "$line" in
      half-hourly*) verdict "ten years, ${line%%:*}" "$(sed -E 's/.* in ([0-9.]+) ms$/\1/' <<<"$line")" 100 ;;
    esac
  done
fi

if wants editor; then
  echo "plan lsp, 2,000 lines, of 20 ms each:"
  python3 benches/lsp.py "$plan"
fi
