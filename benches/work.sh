# What all measurements have in common: sourced, with the folder to work in (or nothing) and the tools that are needed. Leaves
# `work`, which goes with the script where it was not given, and `here`, the repository. What is to be undone before that, a
# function `tidy` says.
readonly here="$PWD" is_given="${1:+yes}"
work="${1:-$(mktemp -d /tmp/backplan-bench.XXXXXX)}"
mkdir -p "$work"
work="$(cd "$work" && pwd)"
readonly work
export XDG_STATE_HOME="$work/state" RESTIC_PASSWORD=bench
shift

tidy() { :; }
end() {
  tidy 2>/dev/null || true
  # What is still mounted in it is not emptied.
  [ -n "$is_given" ] || rm -rf --one-file-system "$work"
}
trap end EXIT

for tool in "$@"; do
  command -v "$tool" >/dev/null || { echo "$0: \`$tool\` is missing" >&2; exit 2; }
done

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Until somebody listens at port $1.
wait_for_port() {
  local _
  for _ in $(seq 100); do
    python3 -c "import socket; socket.create_connection(('127.0.0.1', $1))" 2>/dev/null && return
    sleep 0.1
  done
}
