#!/bin/sh
# Puts together what the platform gives in parts, and becomes the process, so that SIGTERM reaches it.
set -eu
if [ -n "${REDIS_HOSTS:-}" ]; then
  # The order says which partition is where.
  WEIR_REDIS=""
  IFS=","
  for host in $REDIS_HOSTS; do
    WEIR_REDIS="${WEIR_REDIS:+$WEIR_REDIS,}rediss://${REDIS_USER}:${REDIS_PASSWORD}@${host}:${REDIS_PORT}"
  done
  unset IFS
  export WEIR_REDIS
  unset REDIS_USER REDIS_PASSWORD REDIS_HOSTS REDIS_PORT
fi
if [ -n "${CLICKHOUSE_CA:-}" ]; then
  printf '%s\n' "$CLICKHOUSE_CA" > /scratch/clickhouse-ca.pem
  NODE_EXTRA_CA_CERTS=/scratch/clickhouse-ca.pem
  export NODE_EXTRA_CA_CERTS
fi
exec node --enable-source-maps /weir/main.mjs
