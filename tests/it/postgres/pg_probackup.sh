#!/bin/sh
# Stands in for pg_probackup, which is in no package registry: a catalogue laid out as that lays it out, of backups that
# pg_basebackup makes. Each is whole, whatever its mode. What it is not to be called with, it refuses.
set -e
fail() { echo "ERROR: $*" >&2; exit 1; }
command=$1; shift
for word in "$@"; do case "$command $word" in
  *\ --backup-path=/*) path=${word#*=} ;;
  *\ --instance=?*) instance=${word#*=} ;;
  add-instance\ --pgdata=/*|restore\ --pgdata=/*) data=${word#*=} ;;
  validate\ --backup-id=?*|restore\ --backup-id=?*|delete\ --backup-id=?*) id=${word#*=} ;;
  restore\ --skip-external-dirs) external=no ;;
  restore\ --no-validate) ;;
  restore\ --tablespace-mapping=/*=/*) maps="$maps${word#*=}
" ;;
  backup\ --backup-mode=FULL|backup\ --backup-mode=DELTA) mode=${word#*=} ;;
  backup\ --pghost=/*) host=${word#*=} ;;
  backup\ --pgport=?*) port=${word#*=} ;;
  backup\ --note=?*) note=${word#*=} ;;
  backup\ --stream|backup\ --temp-slot|backup\ --no-password|backup\ --compress-algorithm=zlib) ;;
  show\ --format=json|show-config\ --format=json) ;;
  delete\ --delete-expired) expired=yes ;;
  delete\ --delete-wal|delete\ --retention-redundancy=1) ;;
  archive-*\ --wal-file-path=?*) file=${word#*=} ;;
  archive-*\ --wal-file-name=?*) name=${word#*=} ;;
  *) fail "unexpected: $command $word" ;;
esac; done
[ -n "$path" ] || fail "no catalogue is named"
[ -n "$instance" ] || case $command in init|show) ;; *) fail "no instance is named" ;; esac
backups=$path/backups/$instance
is_empty() { [ -z "$(ls -A "$1")" ]; }
# What `show` says of a backup, and its field of a name.
said() { sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p" "$backups/$1/show.json"; }
status() { sed -i "s/\"status\":\"[A-Z]*\"/\"status\":\"$2\"/" "$backups/$1/show.json"; }
sum() { (cd "$backups/$1/database" && find . -type f | LC_ALL=C sort | tr '\n' '\0' | xargs -0 cat | cksum); }
# Each that rests on one, itself first.
resting() {
  echo "$1"
  for one in $(ls "$backups"); do [ "$(said "$one" parent-backup-id)" != "$1" ] || resting "$one"; done
}
# Reads a backup, and what it rests on.
validate() {
  [ -f "$backups/$1/show.json" ] || fail "backup $1 is not there"
  before=$(said "$1" parent-backup-id)
  if [ -n "$before" ] && [ ! -d "$backups/$before" ]; then status "$1" ORPHAN; fail "Backup $1 has missing parent $before"; fi
  if [ "$(sum "$1")" != "$(cat "$backups/$1/sum")" ]; then status "$1" CORRUPT; fail "Backup $1 data files are corrupted"; fi
  [ -z "$before" ] || validate "$before"
}
case $command in
  init) mkdir "$path/backups" "$path/wal" ;;
  add-instance)
    [ -f "$data/PG_VERSION" ] || fail "$data is no data directory"
    mkdir "$path/wal/$instance" "$backups.new"
    PROGRAMS/pg_controldata "$data" | sed -n 's/^Database system identifier: *//p' > "$path/wal/$instance.system"
    mv "$backups.new" "$backups" ;;
  show-config)
    [ -d "$backups" ] || fail "Instance '$instance' does not exist"
    printf '{"instance":"%s","system-identifier":"%s","xlog-seg-size":"16777216"}' "$instance" "$(cat "$path/wal/$instance.system")" ;;
  backup)
    newest=$(ls "$backups" | tail -n 1)
    digits=123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ
    [ -z "$newest" ] || digits=${digits#*"${newest#SAAAA}"}
    id=SAAAA$(printf %.1s "$digits")
    last=$(grep -l '"status":"OK"' "$backups"/*/show.json 2>/dev/null | tail -n 1)
    last=$(basename "$(dirname "$last")")
    mkdir -p "$backups/$id"
    [ -z "$note" ] || note="\"note\":\"$note\","
    if [ "$mode" != FULL ] && [ "$last" = . ]; then
      printf '{"id":"%s",%s"backup-mode":"%s","status":"ERROR"}\n' "$id" "$note" "$mode" > "$backups/$id/show.json"
      echo "WARNING: Valid full backup on current timeline 1 is not found, trying to look up on previous timelines" >&2
      fail "Create new full backup before an incremental one"
    fi
    mkdir -m 700 "$backups/$id/database"
    cd "$backups/$id"
    printf '{"id":"%s",%s"backup-mode":"%s","status":"RUNNING"}\n' "$id" "$note" "$mode" > show.json
    [ ! -e "$(dirname "$0")/killed" ] || fail "no space left on device"
    PROGRAMS/pg_basebackup -h "$host" -p "$port" -w -D tars -Ft -X fetch -c fast
    tar xf tars/base.tar -C database
    for tar in tars/[0-9]*.tar; do
      [ -e "$tar" ] || continue
      space=database/pg_tblspc/$(basename "$tar" .tar)
      rm -f "$space"; mkdir -m 700 "$space"; tar xf "$tar" -C "$space"
    done
    rm -r tars
    start=$(sed -n 's/^START WAL LOCATION: \([^ ]*\) .*/\1/p' database/backup_label)
    [ "$mode" = FULL ] || parent="\"parent-backup-id\":\"$last\","
    stop=$(PROGRAMS/psql -h "$host" -p "$port" -w -d postgres -XAtc 'select pg_current_wal_lsn()')
    sum "$id" > sum
    printf '{"id":"%s",%s%s"backup-mode":"%s","wal":"STREAM","program-version":"2.5.0","status":"OK","start-lsn":"%s","stop-lsn":"%s","end-time":"%s","data-bytes":%s,"wal-bytes":16777216,"pgdata-bytes":%s,"current-tli":1,"server-version":"%s"}\n' \
      "$id" "$parent" "$note" "$mode" "$start" "$stop" "$(date -u '+%F %T+00')" "$(du -sb database | cut -f1)" "$(du -sb database | cut -f1)" "$(cat database/PG_VERSION)" > show.json ;;
  show)
    instance=$(ls "$path/backups")
    printf '[{"instance":"%s","backups":[%s]}]' "$instance" "$(cat "$path/backups/$instance"/*/show.json 2>/dev/null | paste -sd,)" ;;
  validate)
    [ ! -e "$(dirname "$0")/locked" ] || fail "Cannot lock backup $id directory"
    validate "$id" ;;
  restore)
    [ -f "$backups/$id/show.json" ] || fail "backup $id is not there"
    [ "$(said "$id" status)" = OK ] || fail "Backup $id has status: $(said "$id" status)"
    [ "$external" = no ] || fail "external folders would be restored"
    is_empty "$data" || fail "restore destination is not empty: $data"
    # As the tool does, it leaves what it writes to the account that it runs as.
    cp -r --preserve=mode "$backups/$id/database/." "$data"
    [ ! -f "$data/tablespace_map" ] || while read -r oid was; do
      new=$(printf %s "$maps" | sed -n "s|^$was=||p")
      [ -n "$new" ] || fail "restore tablespace destination is not empty: $was"
      is_empty "$new" || fail "restore tablespace destination is not empty: $new"
      mv "$data/pg_tblspc/$oid"/* "$new"; rmdir "$data/pg_tblspc/$oid"; ln -s "$new" "$data/pg_tblspc/$oid"
    done < "$data/tablespace_map"
    rm -f "$data/tablespace_map" ;;
  delete)
    if [ -n "$id" ]; then
      [ -d "$backups/$id" ] || fail "Failed to find backup $id, cannot delete"
      for one in $(resting "$id"); do rm -r "$backups/$one"; done
      exit
    fi
    if [ -n "$expired" ]; then
      newest=$(grep -l '"backup-mode":"FULL"' "$backups"/*/show.json | tail -n 1)
      for one in "$backups"/*/show.json; do
        [ "$one" != "$newest" ] || break
        rm -r "$(dirname "$one")"
      done
    else
      # Without a backup none of the log is needed.
      oldest=$(sed -n 's/^START WAL LOCATION: .*file \([0-9A-F]*\).*/\1/p' "$backups"/*/database/backup_label | head -n 1)
      for one in $(ls "$path/wal/$instance"); do
        [ -n "$oldest" ] && [ "$(printf '%s\n' "$oldest" "$one" | LC_ALL=C sort | head -n 1)" = "$oldest" ] || rm "$path/wal/$instance/$one"
      done
    fi ;;
  archive-push) gzip -c "$file" > "$path/wal/$instance/$name.part"; mv "$path/wal/$instance/$name.part" "$path/wal/$instance/$name.gz" ;;
  archive-get) gzip -dc "$path/wal/$instance/$name.gz" > "$file" ;;
  *) fail "unexpected: $command" ;;
esac
