# What the measurements against a server of S3's protocol have in common beyond `work.sh`: sourced as that is, with the tools that are
# needed. Leaves `plan`, the program to measure (BENCH_PLAN, or the one that is built here), and keys for a bucket in `ID` and `KEY`.
# The script sets `served`, the processes that end with it.
. benches/work.sh "${1:-}" python3 /usr/bin/time "${@:2}"
export ID=bench-id KEY=bench-key
# What this machine has for servers elsewhere is not for that one.
unset "${!AWS_@}" http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
served=()
tidy() { kill "${served[@]}"; }

plan="${BENCH_PLAN:-}"
if [ -z "$plan" ]; then
  cargo build --release --locked --quiet -p backplan-cli
  plan="${CARGO_TARGET_DIR:-$here/target}/release/plan"
fi
readonly plan
