#!/bin/bash
# weir-backup: a full backup of everything but the events at midnight UTC, what changed since at each other hour; the events once a day, on top of the
# month's first. Replicas hold the same, so replica 1 does it; the other would only if it were asked by hand. Reports its success, whose absence is an alarm.
set -euo pipefail
if [ "$NODE_NUMBER" != 1 ] && [ "${1:-}" != --here ]; then exit 0; fi
day=$(date -u +%F)
hour=$(date -u +%H)
month=$(date -u +%Y-%m)
events_today=$BACKUP_URL/events/$month/$day

sql() { clickhouse-client --secure --host localhost --port 9440 --user backup --receive_timeout 7200 --query "$1"; }
done_already() { [ "$(sql "SELECT count() FROM system.backups WHERE name LIKE '%$1%' AND status = 'BACKUP_CREATED'")" != 0 ]; }
target() { printf "S3('%s/')" "$1"; }

if [ "$hour" = 00 ]; then
  sql "BACKUP DATABASE weir EXCEPT TABLES weir.events TO $(target "$BACKUP_URL/rest/$day/00")"
else
  base=$BACKUP_URL/rest/$day/00
  if ! done_already "rest/$day/00"; then
    sql "BACKUP DATABASE weir EXCEPT TABLES weir.events TO $(target "$base")"
  else
    sql "BACKUP DATABASE weir EXCEPT TABLES weir.events TO $(target "$BACKUP_URL/rest/$day/$hour") SETTINGS base_backup = $(target "$base")"
  fi
fi
if [ "$hour" = 01 ]; then
  first=$BACKUP_URL/events/$month/${month}-01
  if [ "$day" = "${month}-01" ]; then
    sql "BACKUP TABLE weir.events TO $(target "$events_today")"
  else
    sql "BACKUP TABLE weir.events TO $(target "$events_today") SETTINGS base_backup = $(target "$first")"
  fi
fi
aws cloudwatch put-metric-data --namespace Weir/ClickHouse --metric-name BackupsMade --dimensions "job=$JOB" --unit Count --value 1
