import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { CLICKHOUSE_METRICS, keeperXml, serverXml, usersXml } from "../../infra/clickhouse/config-files.ts";
import { ENVIRONMENT_NAMES, environmentNamed } from "../../infra/config/environments.ts";
import { writeNodeFiles } from "../../infra/stacks/clickhouse-stack.ts";

const run = promisify(execFile);

/** Names and nesting, which is what a hand that edits XML breaks. */
function assertNested(xml: string): void {
  const open: string[] = [];
  for (const [, closing, name, rest] of xml.matchAll(/<(\/?)([a-zA-Z0-9_]+)([^<>]*)>/g)) {
    if (closing === "/") expect(open.pop()).toBe(name);
    else if (!rest!.endsWith("/")) open.push(name!);
  }
  expect(open).toEqual([]);
}

describe("files of a ClickHouse node", () => {
  test.each(ENVIRONMENT_NAMES)("%s: configuration is well nested, names every node and opens no port without TLS", (name) => {
    const environment = environmentNamed(name);
    for (const xml of [serverXml(environment), usersXml(environment), keeperXml(environment)]) assertNested(xml);
    const server = serverXml(environment);
    for (const port of ["http_port", "tcp_port", "mysql_port", "postgresql_port", "interserver_http_port"])
      expect(server).toContain(`<${port} remove="1"/>`);
    expect(server.match(/<replica><host>/g)).toHaveLength(environment.clickhouse.replicas);
    expect(keeperXml(environment).match(/<server><id>/g)).toHaveLength(environment.clickhouse.keepers);
    expect(keeperXml(environment)).toContain("<secure>true</secure>");
  });

  test("no user but the local one for backups is without a password, and a quorum of replicas takes each insert", () => {
    const users = usersXml(environmentNamed("prod"));
    expect(users).toContain('<default remove="1"/>');
    expect(users.match(/<no_password\/>/g)).toHaveLength(1);
    expect(users).toMatch(/<backup><no_password\/><networks><ip>127\.0\.0\.1<\/ip><ip>::1<\/ip><\/networks>/);
    expect(users).toContain("<insert_quorum>2</insert_quorum>");
    expect(usersXml(environmentNamed("dev"))).toContain("<insert_quorum>0</insert_quorum>");
  });

  test("everything that node.sh takes is in the bundle, and its scripts parse", async () => {
    const folder = mkdtempSync(join(tmpdir(), "weir-node-test-"));
    try {
      writeNodeFiles(folder, environmentNamed("prod"));
      const files = readdirSync(folder);
      for (const script of files.filter((file) => file.endsWith(".sh"))) await run("bash", ["-n", join(folder, script)]);
      const node = readFileSync(join(folder, "node.sh"), "utf8");
      const taken = [...node.matchAll(/^ *(?:cp|install -m \d+) (.+) \S+$/gm)]
        .flatMap(([, sources]) => sources!.split(" "))
        .filter((source) => /^[a-z-]+\.[a-z]+$/.test(source));
      expect(taken.length).toBeGreaterThanOrEqual(9);
      for (const file of taken) expect(files).toContain(file);
      const agent = readFileSync(join(folder, "agent.json"), "utf8");
      for (const metric of Object.values(CLICKHOUSE_METRICS)) expect(agent).toContain(metric);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
