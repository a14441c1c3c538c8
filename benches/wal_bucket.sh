# The part of `wal.sh` against a bucket: sourced by it. One segment after the other, each waited for, and many that wait at once, as after
# a night without the bucket: the server's archiver asks for one after the other, oldest first, and goes on when it is answered.

bucket_served=()
tidy() {
  local pid
  for pid in "${bucket_served[@]}"; do
    # What runs as another account is a child of what was started.
    pkill -P "$pid" || true
    kill "$pid" || true
  done
  server pg_ctl -s -D "$work/pg" -m immediate stop
}

measure_bucket() {
  serve_bucket
  bucket_settings
  fill_waiting
  local name
  for round in $(seq "$runs"); do
    time_it far.plan "$(each "$work/plan wal push $work/far.plan main $work/wal/\$s")" "$work/forget plan"
    for name in gz gz3 lz4; do
      time_it "far.$name" "$(each "pgbackrest --config=$work/far.$name.conf --stanza=p archive-push $work/wal/\$s")" \
        "$work/forget $name"
    done
    time_it drain.plan "$work/drain $work/plan wal push $work/far.plan main" "$work/forget plan"
    for name in gz lz4; do
      time_it "drain.$name" "$work/drain pgbackrest --config=$work/drain.$name.conf --stanza=p archive-push" "$work/forget $name"
    done
  done
  [ ! -s again/failed ] || mv again/failed results/failed.txt
  echo "of $bucket_server; $waiting segments wait where they are drained" >"$work/results/bucket.txt"
}

# A server of S3's protocol, and TLS before it: pgBackRest has no buckets without.
serve_bucket() {
  local plain tool
  for tool in openssl stunnel4 curl; do
    command -v "$tool" >/dev/null || { echo "$0: \`$tool\` is missing" >&2; exit 2; }
  done
  export ID=bench-id KEY=bench-key
  unset "${!AWS_@}" http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
  plain="$(free_port)"
  server mkdir -p bucket/buck
  bucket_server=s3s-fs
  if command -v s3s-fs >/dev/null; then
    server s3s-fs --host 127.0.0.1 --port "$plain" --access-key "$ID" --secret-key "$KEY" bucket >/dev/null 2>&1 &
  else
    bucket_server=moto
    moto_server -H 127.0.0.1 -p "$plain" >/dev/null 2>&1 &
  fi
  bucket_served+=($!)
  wait_for_port "$plain"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=localhost \
    -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost 2>/dev/null
  chmod 644 cert.pem
  far_port="$(free_port)"
  cat >stunnel.conf <<CONF
foreground = yes
pid =
[s3]
accept = 127.0.0.1:$far_port
connect = 127.0.0.1:$plain
cert = $work/cert.pem
key = $work/key.pem
TIMEOUTclose = 0
CONF
  stunnel4 stunnel.conf >/dev/null 2>&1 &
  bucket_served+=($!)
  wait_for_port "$far_port"
  write_forget "$plain"
}

# What makes the bucket empty and all segments wait again, each command's archive made anew: none of it is measured.
write_forget() {
  local empty="rm -rf $work/bucket/buck && mkdir $work/bucket/buck"
  [ "$bucket_server" = s3s-fs ] ||
    empty="curl -sf -X POST http://127.0.0.1:$1/moto-api/reset && curl -sf -X PUT http://127.0.0.1:$1/buck"
  cat >forget <<FORGET
#!/usr/bin/env bash
set -euo pipefail
{ $empty; } >/dev/null
rm -rf $work/spool/* $work/pg/.backplan-wal-pushed
for s in \$(cat $work/waiting); do
  rm -f $work/pg/pg_wal/archive_status/\$s.done
  : >$work/pg/pg_wal/archive_status/\$s.ready
done
case \$1 in
  plan) $work/plan wal init $work/far.plan main >/dev/null ;;
  *) pgbackrest --config=$work/far.\$1.conf --stanza=p --no-online stanza-create ;;
esac
sync -f $work
FORGET
  # As the server's archiver does it, which asks three times. What failed is in the report.
  cat >drain <<DRAIN
#!/usr/bin/env bash
for s in \$(cat $work/waiting); do
  for attempt in 1 2 3; do
    "\$@" pg_wal/\$s 2>$work/again/said && break
    { echo "attempt \$attempt of \$s: \$1"; cat $work/again/said; } >>$work/again/failed
    [ \$attempt -lt 3 ] || exit 1
    sleep 1
  done
  mv pg_wal/archive_status/\$s.ready pg_wal/archive_status/\$s.done
done
DRAIN
  chmod 755 forget drain
}

bucket_settings() {
  cat >far.plan <<PLAN
plan p

store far: s3 {
  bucket     = "buck"
  prefix     = "plan"
  endpoint   = "https://localhost:$far_port"
  access_key = env("ID")
  secret_key = env("KEY")
  ca_file    = "$work/cert.pem"
}

$(sed -n '/^source main/,$p' p.plan | sed 's/\[local\]/[far]/')
PLAN
  local name more part
  while read -r name more; do
    for part in far drain; do
      cat >"$part.$name.conf" <<CONF
[global]
repo1-type=s3
repo1-path=/repo
repo1-s3-bucket=buck
repo1-s3-endpoint=localhost
repo1-s3-region=us-east-1
repo1-s3-key=$ID
repo1-s3-key-secret=$KEY
repo1-s3-uri-style=path
repo1-storage-host=localhost
repo1-storage-port=$far_port
repo1-storage-ca-file=$work/cert.pem
lock-path=$work/lock.$name
spool-path=$work/spool
log-level-file=off
log-level-console=warn
$(tr ' ' '\n' <<<"$more")
$([ "$part" = far ] || printf 'archive-async=y\nprocess-max=4\n')

[p]
pg1-path=$work/pg
pg1-socket-path=$work
CONF
    done
  done <<'VARIANTS'
gz compress-type=gz
gz3 compress-type=gz compress-level=3
lz4 compress-type=lz4
VARIANTS
}

# As many segments as are to wait, in the log of the cluster itself: those that pgbench filled, under names behind them, with the place in
# the log that such a name stands for.
fill_waiting() {
  rm -rf pg/pg_wal/0* pg/pg_wal/archive_status/*
  server python3 - wal names "$waiting" pg/pg_wal <<'PYTHON' >waiting
import pathlib, struct, sys

wal, names, count, to = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text().split(), int(sys.argv[3]), pathlib.Path(sys.argv[4])
size = (wal / names[0]).stat().st_size
first = max(int(name[8:16], 16) * ((1 << 32) // size) + int(name[16:], 16) for name in names) + 1
for number in range(first, first + count):
    content = bytearray((wal / names[number % len(names)]).read_bytes())
    content[8:16] = struct.pack("=Q", number * size)
    high, low = divmod(number, (1 << 32) // size)
    name = f"{names[0][:8]}{high:08X}{low:08X}"
    (to / name).write_bytes(content)
    print(name)
PYTHON
}
