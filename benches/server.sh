# What the measurements beside a PostgreSQL have in common beyond `work.sh`: sourced as that is, with the tools
# that are needed. Leaves `work`, and `server`, which runs a command as the account that the server runs as.
programs="$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)"
export PATH="${programs:-/nowhere}:$PATH"
. benches/work.sh "${1:-}" initdb pgbench python3 "${@:2}"
readonly programs

tidy() { server pg_ctl -s -D "$work/pg" -m immediate stop; }

server() {
  if [ "$(id -u)" -eq 0 ]; then
    runuser -u postgres -- env PATH="$PATH" XDG_STATE_HOME="$work/state" "$@"
  else
    env XDG_STATE_HOME="$work/state" "$@"
  fi
}

# Builds the program, or takes the one that BENCH_PLAN names, lays it where the server's account can start it, and goes there.
begin() {
  [ -n "${BENCH_PLAN:-}" ] || cargo build --release --locked --quiet -p backplan-cli
  chmod 755 "$work"
  [ "$(id -u)" -ne 0 ] || chown postgres: "$work"
  install -m 755 "${BENCH_PLAN:-${CARGO_TARGET_DIR:-$PWD/target}/release/plan}" "$work/plan"
  cd "$work"
  rm -rf results && mkdir results
}
