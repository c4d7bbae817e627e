/**
 * The real servers that tests of adapters run against: Kafka, ClickHouse, PostgreSQL and Redis on loopback, started once per test run in a
 * fresh folder and gone with it. Tests keep apart by lane ({@link uniqueLane}), never by server.
 */
import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import type { RunningServer } from "#local/services/running-server.ts";
import { type Addresses, SERVER_NAMES, startServer } from "#local/services/servers.ts";
import { processFlags } from "#shared/config/config.ts";

declare module "vitest" {
  // Merged with the interface of vitest, which is what types `inject("stack")`.
  interface ProvidedContext {
    stack: Addresses;
  }
}

let folder: string | undefined;
let servers: RunningServer[] = [];

export async function setup(project: TestProject): Promise<void> {
  if (processFlags.testStack !== undefined) {
    project.provide("stack", JSON.parse(await readFile(processFlags.testStack, "utf8")) as Addresses);
    return;
  }
  folder = await mkdtemp(join(tmpdir(), "weir-stack-"));
  // PostgreSQL runs under another account when we are root.
  await chmod(folder, 0o755);
  const starts = await Promise.allSettled(SERVER_NAMES.map((name) => startServer(name, { dir: join(folder!, name) })));
  servers = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
  const failure = starts.find((start) => start.status === "rejected");
  if (failure !== undefined) {
    await teardown();
    throw failure.reason;
  }
  const addressOf = Object.fromEntries(servers.map((server) => [server.name, server.address]));
  project.provide("stack", addressOf as Addresses);
}

export async function teardown(): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()));
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
}

/** A pipeline of its own for one test: topics, groups and rows that no other test sees. */
export function uniqueLane(): string {
  return `test-${randomBytes(4).toString("hex")}`;
}
