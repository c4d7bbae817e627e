import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { isRunning, settles } from "#test/support/process.ts";

const PARENT = join(import.meta.dirname, "../../support/local/parent.ts");

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-parent-"));
  chmodSync(folder, 0o755);
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("every server and every grandchild dies with a parent that is killed with -9", async () => {
  const parent = spawn(process.execPath, [PARENT, folder, "stubborn", "redis", "postgres", "clickhouse", "kafka"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pids = await new Promise<number[]>((resolve, reject) => {
    parent.stdout.once("data", (chunk: Buffer) => resolve(JSON.parse(chunk.toString()) as number[]));
    parent.once("exit", (code) => reject(new Error(`parent ended with ${code}`)));
  });
  expect(pids).toHaveLength(6);
  expect(pids.filter(isRunning)).toEqual(pids);
  parent.kill("SIGKILL");
  await settles(() => expect(pids.filter(isRunning)).toEqual([]), { limitMs: 5_000 });
});
