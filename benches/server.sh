# What the measurements beside a PostgreSQL have in common: sourced, with the folder to work in (or nothing) and the tools
# that are needed. Leaves `work`, and `server`, which runs a command as the account that the server runs as.
programs="$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)"
export PATH="${programs:-/nowhere}:$PATH"
is_given="${1:+yes}"
work="${1:-$(mktemp -d /tmp/backplan-bench.XXXXXX)}"
mkdir -p "$work"
work="$(cd "$work" && pwd)"
readonly programs work is_given
shift

for tool in initdb pgbench python3 "$@"; do
  command -v "$tool" >/dev/null || { echo "$0: \`$tool\` is missing" >&2; exit 2; }
done

end() {
  server pg_ctl -s -D "$work/pg" -m immediate stop 2>/dev/null || true
  [ -n "$is_given" ] || rm -rf "$work"
}
trap end EXIT

server() {
  if [ "$(id -u)" -eq 0 ]; then
    runuser -u postgres -- env PATH="$PATH" XDG_STATE_HOME="$work/state" "$@"
  else
    env XDG_STATE_HOME="$work/state" "$@"
  fi
}

# Builds the program, lays it where the server's account can start it, and goes there.
begin() {
  cargo build --release --locked --quiet -p backplan-cli
  chmod 755 "$work"
  [ "$(id -u)" -ne 0 ] || chown postgres: "$work"
  install -m 755 "${CARGO_TARGET_DIR:-$PWD/target}/release/plan" "$work/plan"
  cd "$work"
  rm -rf results && mkdir results
}
