import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { settles } from "#test/support/process.ts";
import { processesOf, Starter, temporaryFolder } from "#test/support/starter.ts";

/** Killed one after the other, each only once the one before works again. */
const VICTIMS = ["processor", "validator", "sinks", "processor", "kafka", "clickhouse", "validator", "redis", "processor"] as const;

describe("kill -9 of every part in turn, under load", () => {
  let folder: string;
  let starter: Starter;
  let exitCode: number;

  beforeAll(async () => {
    folder = temporaryFolder();
    starter = new Starter(["--data-dir", folder, "--rate", "2000", "--headless", "--for", "75s"], folder);
    await starter.says(/first event in ClickHouse after/);
    for (const victim of VICTIMS) {
      const before = starter.part(victim);
      expect(before.state).toBe("running");
      process.kill(before.pid!, "SIGKILL");
      await settles(
        () => {
          const now = starter.part(victim);
          expect(now.state).toBe("running");
          expect(now.restarts).toBeGreaterThan(before.restarts);
        },
        { limitMs: 60_000 },
      );
    }
    exitCode = await starter.exited;
  }, 280_000);

  afterAll(async () => {
    await settles(() => expect(processesOf(folder)).toEqual([]));
    if (exitCode === 0) rmSync(folder, { recursive: true, force: true });
  });

  test("loses nothing, doubles nothing, and the ledger balances", () => {
    const said = `${starter.stderr}\n${starter.stdout}`;
    expect(said).toContain("lost 0, doubled 0");
    expect(said).toMatch(/^balanced$/m);
    expect(exitCode).toBe(0);
  });

  test("counts enough to mean something: events flowed between and after the kills", () => {
    const raw = Number(/raw (\d+) = clean/.exec(starter.stdout)?.[1]);
    expect(raw).toBeGreaterThan(50_000);
    const returns = [...starter.stderr.matchAll(/✓ (\w+) is back/g)].map((match) => match[1]);
    for (const victim of VICTIMS) expect(returns).toContain(victim);
  });
});
