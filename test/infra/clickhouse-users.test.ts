import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { usersXml } from "../../infra/clickhouse/config-files.ts";
import { environmentNamed } from "../../infra/config/environments.ts";
import { ROOT } from "./test-environment.ts";

const STARTS_WITHIN_MS = 60_000;

/** Two at a time, so that they differ. */
async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()];
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) => {
          server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return [ports[0]!, ports[1]!];
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** The users file of prod in the very engine of its version. What its package brings itself (profile, quota and user `default`) is added as the package has it. */
describe("users of ClickHouse in prod", () => {
  const folder = mkdtempSync(join(tmpdir(), "weir-users-"));
  let engine: ChildProcess;
  let port: number;

  async function ask(user: string, password: string, sql: string): Promise<string> {
    const answer = await fetch(`http://127.0.0.1:${port}/?user=${user}&password=${password}`, { method: "POST", body: sql });
    return (await answer.text()).trim();
  }

  beforeAll(async () => {
    const users = usersXml(environmentNamed("prod"))
      .replace(
        '<default remove="1"/>',
        "<default><password/><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default>",
      )
      .replace("<profiles>", "<profiles><default/>")
      .replace("<quotas>", "<quotas><default><interval><duration>3600</duration></interval></default>");
    writeFileSync(join(folder, "users.xml"), users);
    copyFileSync(join(ROOT, "local/services/clickhouse/config.xml"), join(folder, "config.xml"));
    mkdirSync(join(folder, "data"));
    const [httpPort, tcpPort] = await freePorts();
    port = httpPort;
    const library = createRequire(import.meta.url).resolve("@chdb/lib-linux-x64-gnu/libchdb.so");
    const args = [
      join(ROOT, "local/services/clickhouse/main.ts"),
      library,
      "config.xml",
      join(folder, "data"),
      String(httpPort),
      String(tcpPort),
    ];
    engine = spawn(process.execPath, args, {
      cwd: folder,
      stdio: ["pipe", "ignore", "ignore"],
      env: {
        PATH: process.env["PATH"],
        LC_ALL: "C",
        TZ: "UTC",
        SINKS_SHA256: hash("s"),
        OPERATOR_SHA256: hash("o"),
        ANALYST_SHA256: hash("a"),
        API_SHA256: hash("i"),
      },
    });
    const end = performance.now() + STARTS_WITHIN_MS;
    while (engine.exitCode === null && performance.now() < end) {
      if ((await ask("default", "", "CREATE DATABASE IF NOT EXISTS weir").catch(() => "down")) === "") break;
      await sleep(100);
    }
    expect(await ask("operator", "o", "CREATE TABLE weir.t (a Int64) ENGINE = MergeTree ORDER BY a")).toBe("");
  }, STARTS_WITHIN_MS + 10_000);

  afterAll(async () => {
    const ended = new Promise((resolve) => engine.once("exit", resolve));
    engine.stdin?.end();
    if (engine.exitCode === null) await ended;
    rmSync(folder, { recursive: true, force: true });
  }, 30_000);

  test("the sinks write and read, with a quorum of both replicas, and can change no table", async () => {
    expect(await ask("sinks", "s", "SELECT getSetting('insert_quorum')")).toBe("2");
    expect(await ask("sinks", "s", "INSERT INTO weir.t SETTINGS insert_quorum = 0 VALUES (1)")).toBe("");
    expect(await ask("sinks", "s", "SELECT count() FROM weir.t")).toBe("1");
    for (const refused of ["DROP TABLE weir.t", "TRUNCATE TABLE weir.t", "ALTER TABLE weir.t DELETE WHERE 1", "CREATE USER x"]) {
      expect(await ask("sinks", "s", refused), refused).toContain("ACCESS_DENIED");
    }
  });

  test("the sinks may look at each system table that their code asks, and end a query of their own", async () => {
    const folders = ["sinks/clickhouse", "shared/clients/clickhouse"].map((each) => join(ROOT, each));
    const files = folders.flatMap((each) => readdirSync(each).map((file) => join(each, file))).filter((file) => file.endsWith(".ts"));
    const tables = new Set(
      files.flatMap((file) => [...readFileSync(file, "utf8").matchAll(/\bsystem\.([a-z_]+)/g)].map(([, table]) => table)),
    );
    expect(tables.size).toBeGreaterThanOrEqual(4);
    for (const table of tables) expect(await ask("sinks", "s", `SELECT count() >= 0 FROM system.${table}`), table).toMatch(/^(1|true)$/);
    expect(await ask("sinks", "s", "KILL QUERY WHERE query_id = 'nobody' SYNC")).toBe("");
  });

  test("an operator migrates: tables of ours, and a scratch database to compare them with; nobody else's", async () => {
    expect(await ask("operator", "o", "CREATE DATABASE weir_expected_0a1b")).toBe("");
    expect(await ask("operator", "o", "CREATE TABLE weir_expected_0a1b.t (a Int64) ENGINE = MergeTree ORDER BY a")).toBe("");
    expect(await ask("operator", "o", "DROP DATABASE weir_expected_0a1b")).toBe("");
    expect(await ask("operator", "o", "CREATE DATABASE other")).toContain("ACCESS_DENIED");
  });

  test("analysts read within their limits and write nothing", async () => {
    expect(await ask("analyst", "a", "SELECT a FROM weir.t")).toBe("1");
    expect(await ask("analyst", "a", "INSERT INTO weir.t VALUES (2)")).toMatch(/READONLY|ACCESS_DENIED/);
    expect(await ask("analyst", "a", "SELECT 1 SETTINGS max_memory_usage = 1000000000000")).toContain("SETTING_CONSTRAINT_VIOLATION");
    expect(await ask("analyst", "a", "SELECT 1 SETTINGS max_execution_time = 3600")).toContain("SETTING_CONSTRAINT_VIOLATION");
    expect(await ask("analyst", "a", "SELECT count() FROM system.users")).toContain("ACCESS_DENIED");
  });

  test("the read API reads within its limits, sets how long a question may take, and writes nothing", async () => {
    expect(await ask("api", "i", "SELECT a FROM weir.t SETTINGS max_execution_time = 3")).toBe("1");
    expect(await ask("api", "i", "SELECT 1 SETTINGS max_execution_time = 60")).toContain("SETTING_CONSTRAINT_VIOLATION");
    expect(await ask("api", "i", "INSERT INTO weir.t VALUES (2)")).toMatch(/READONLY|ACCESS_DENIED/);
    expect(await ask("api", "i", "SELECT count() FROM system.users")).toContain("ACCESS_DENIED");
  });

  test("the local user for backups may back up and not change, and a wrong password opens nothing", async () => {
    expect(await ask("backup", "", "SELECT count() FROM system.backups")).toBe("0");
    expect(await ask("backup", "", "BACKUP TABLE weir.t TO Null")).toContain("BACKUP_CREATED");
    expect(await ask("backup", "", "DROP TABLE weir.t")).toContain("ACCESS_DENIED");
    expect(await ask("analyst", "wrong", "SELECT 1")).toContain("AUTHENTICATION_FAILED");
  });
});
