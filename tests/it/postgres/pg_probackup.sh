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
  validate\ --backup-id=?*|restore\ --backup-id=?*) id=${word#*=} ;;
  restore\ --skip-external-dirs) external=no ;;
  restore\ --tablespace-mapping=/*=/*) maps="$maps${word#*=}
" ;;
  backup\ --backup-mode=FULL|backup\ --backup-mode=DELTA) mode=${word#*=} ;;
  backup\ --pghost=/*) host=${word#*=} ;;
  backup\ --pgport=?*) port=${word#*=} ;;
  backup\ --stream|backup\ --temp-slot|backup\ --no-password|backup\ --compress-algorithm=zlib|show\ --format=json) ;;
  delete\ --delete-expired|delete\ --delete-wal|delete\ --retention-redundancy=1) ;;
  archive-*\ --wal-file-path=?*) file=${word#*=} ;;
  archive-*\ --wal-file-name=?*) name=${word#*=} ;;
  *) fail "unexpected: $command $word" ;;
esac; done
[ -n "$path" ] || fail "no catalogue is named"
[ -n "$instance" ] || case $command in init|show) ;; *) fail "no instance is named" ;; esac
backups=$path/backups/$instance
is_empty() { [ -z "$(ls -A "$1")" ]; }
case $command in
  init) mkdir "$path/backups" "$path/wal" ;;
  add-instance)
    [ -f "$data/PG_VERSION" ] || fail "$data is no data directory"
    mkdir "$backups" "$path/wal/$instance" ;;
  backup)
    last=$(ls "$backups" | tail -n 1)
    id=SAAAA$((${last#SAAAA} + 1))
    mkdir -p "$backups/$id"; mkdir -m 700 "$backups/$id/database"
    cd "$backups/$id"
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
    printf '{"id":"%s",%s"backup-mode":"%s","wal":"STREAM","status":"OK","start-lsn":"%s","end-time":"%s","pgdata-bytes":%s,"current-tli":1,"server-version":"%s"}\n' \
      "$id" "$parent" "$mode" "$start" "$(date -u '+%F %T+00')" "$(du -sb database | cut -f1)" "$(cat database/PG_VERSION)" > show.json ;;
  show)
    instance=$(ls "$path/backups")
    printf '[{"instance":"%s","backups":[%s]}]' "$instance" "$(cat "$path/backups/$instance"/*/show.json 2>/dev/null | paste -sd,)" ;;
  validate) [ -f "$backups/$id/show.json" ] || fail "backup $id is not there" ;;
  restore)
    [ -f "$backups/$id/show.json" ] || fail "backup $id is not there"
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
    newest=$(grep -l '"backup-mode":"FULL"' "$backups"/*/show.json | tail -n 1)
    for one in "$backups"/*/show.json; do
      [ "$one" != "$newest" ] || break
      rm -r "$(dirname "$one")"
    done ;;
  archive-push) gzip -c "$file" > "$path/wal/$instance/$name.part"; mv "$path/wal/$instance/$name.part" "$path/wal/$instance/$name.gz" ;;
  archive-get) gzip -dc "$path/wal/$instance/$name.gz" > "$file" ;;
  *) fail "unexpected: $command" ;;
esac
