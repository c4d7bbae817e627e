/** `weir lag`, `weir checkpoint` and `weir state` on a pipeline that runs, and on one whose processor is dead. */
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { freePorts } from "#local/services/port.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { topicName } from "#shared/events/names.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import { settles } from "#test/support/process.ts";
import { parsePrometheus } from "#test/support/prometheus-text.ts";
import { RunningPipeline } from "./running-pipeline.ts";

interface LagPartition {
  readonly partition: number;
  readonly lagBlocks: number;
  readonly lagEvents: number;
  readonly lagMs: number;
  readonly watermarkLagMs: number | null;
  readonly why: readonly string[];
}

interface CheckedSnapshot {
  readonly key: string;
  readonly partition: number;
  readonly offset: number;
  readonly problem: string | null;
  readonly code: string | null;
  readonly progress: string | null;
}

const USERS = 40;
const PER_USER = 25;
let pipeline: RunningPipeline;
let kafka: Kafka;
let sinksMetricsPort: number;
/** Event time of the first event. */
let fromMs: number;

beforeAll(async () => {
  [sinksMetricsPort = 0] = await freePorts(1);
  pipeline = new RunningPipeline(inject("stack"), { snapshotIntervalMs: 300, sinksMetricsPort });
  await pipeline.start();
  kafka = await openKafka({ brokers: pipeline.config.kafka.split(","), clientId: "weir-inspection-test" });
  // All within one five-minute window, ten seconds long, so that every user has one session.
  fromMs = Math.floor(Date.now() / 300_000) * 300_000;
  if (Date.now() - fromMs > 200_000) fromMs += 200_000;
  else fromMs = Date.now();
  await send(0);
});

afterAll(async () => {
  await kafka.close();
  await pipeline.stop();
});

async function send(round: number): Promise<void> {
  const lines = Array.from({ length: USERS * PER_USER }, (_, i) =>
    JSON.stringify({
      event_id: `0192f3a1-7b6e-7c1d-9a51-${String(round * USERS * PER_USER + i).padStart(12, "0")}`,
      event_time: new Date(fromMs + i * 10).toISOString(),
      user_id: 1 + (i % USERS),
      event_type: "purchase",
      source: "web",
      session_id: `s-${i % USERS}`,
      properties: { amount: 2.5, currency: "EUR" },
    }),
  );
  const outcome = await pipeline.weir(["send", "-"], { input: `${lines.join("\n")}\n` });
  expect(outcome, outcome.err).toMatchObject({ code: 0 });
}

async function json<T>(args: readonly string[], code = 0): Promise<T> {
  const outcome = await pipeline.weir([...args, "--json"]);
  expect(outcome, `${outcome.err}\n${pipeline.log}`).toMatchObject({ code });
  return JSON.parse(outcome.out) as T;
}

const lag = async (): Promise<readonly LagPartition[]> =>
  (await json<{ partitions: LagPartition[] }>(["lag", "--explain", "--for", "300ms"])).partitions;

async function allFolded(): Promise<void> {
  await settles(
    async () => {
      for (const partition of await lag()) expect(partition).toMatchObject({ lagEvents: 0, lagBlocks: 0, lagMs: 0 });
    },
    { limitMs: 60_000 },
  );
}

describe("while it runs", () => {
  beforeAll(allFolded);

  test("lag is nothing, and explain says that nothing waits", async () => {
    // A tick may be under way at one look.
    await settles(async () => {
      for (const { why, watermarkLagMs } of await lag()) {
        expect(why[0]).toContain("nothing waits");
        expect(watermarkLagMs).toBeGreaterThan(0);
      }
    });
    const text = await pipeline.weir(["lag", "--explain"]);
    expect(text.out).toMatch(/^p +log end +committed/);
    expect(text.out).toContain("earliest watermark");
  });

  test("checkpoint ls lists what the store holds, oldest first, and show tells the newest's progress", async () => {
    const { snapshots } = await settles(
      async () => {
        const listed = await json<{ snapshots: CheckedSnapshot[] }>(["checkpoint", "ls"]);
        expect(new Set(listed.snapshots.map(({ partition }) => partition)).size).toBe(2);
        return listed;
      },
      { limitMs: 30_000 },
    );
    for (const partition of [0, 1]) {
      const offsets = snapshots.filter((one) => one.partition === partition).map(({ offset }) => offset);
      expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
    }
    const shown = await json<{ partition: number; progress: { hw: number }; storedBytes: number }>([
      "checkpoint",
      "show",
      "--partition",
      "1",
    ]);
    expect(shown).toMatchObject({ v: 1, lane: pipeline.config.lane, partition: 1 });
    expect(shown.storedBytes).toBeGreaterThan(100);
  });

  test("verify finds every snapshot good, and one of each partition leads to the committed hash", async () => {
    const { verdict, snapshots } = await json<{ verdict: string; snapshots: CheckedSnapshot[] }>(["checkpoint", "verify"]);
    expect(verdict).toBe("good");
    for (const partition of [0, 1]) {
      const compared = snapshots.filter((one) => one.partition === partition && ["committed", "replayed"].includes(one.progress ?? ""));
      expect(compared.length, JSON.stringify(snapshots)).toBeGreaterThanOrEqual(1);
    }
  });

  test("state get shows a user's open windows exactly, as of the committed offset, and nobody's for a user who never came", async () => {
    const { windows, asOf, partition } = await json<{ windows: Record<string, unknown>[]; asOf: number; partition: number }>([
      "state",
      "get",
      "7",
    ]);
    expect(partition).toBe(partitionOf(Buffer.from("7"), 2));
    expect(asOf).toBeGreaterThan(0);
    const five = windows.filter(({ kind }) => kind === "tumbling_5m");
    const events = five.reduce((sum, window) => sum + Number(window["events"]), 0);
    const sum = five.reduce((total, window) => total + Number(window["valueSum"]), 0);
    // The window may have closed by now; while it is open it is whole.
    if (five.length > 0) expect([events, sum]).toEqual([PER_USER, PER_USER * 2.5]);
    expect(windows.length).toBeGreaterThan(0);
    const stranger = await json<{ windows: unknown[] }>(["state", "get", "18446744073709551615"]);
    expect(stranger.windows).toEqual([]);
  });

  test("the sinks' page counts every row that each store has taken", async () => {
    const rowsOf = async (sink: string): Promise<number | undefined> => {
      const page = parsePrometheus(await (await fetch(`http://127.0.0.1:${sinksMetricsPort}/metrics`)).text());
      return page.get("weir_sink_rows_total")!.samples.find(({ labels }) => labels["sink"] === sink)?.value;
    };
    await settles(
      async () => {
        expect(await rowsOf("clickhouse.clean")).toBe(USERS * PER_USER);
        expect(await rowsOf("redis.clean")).toBe(USERS * PER_USER);
      },
      { limitMs: 30_000 },
    );
  });

  test("a user that is none and a word too many are said to be that", async () => {
    expect(await pipeline.weir(["state", "get", "18446744073709551616"])).toMatchObject({
      code: 2,
      err: expect.stringContaining("below 2^64") as string,
    });
    expect(await pipeline.weir(["state", "drop", "7"])).toMatchObject({ code: 2 });
    expect(await pipeline.weir(["checkpoint", "remove"])).toMatchObject({ code: 2 });
    expect(await pipeline.weir(["checkpoint", "verify", "--partition", "2"])).toMatchObject({ code: 2 });
  });
});

describe("with its processor dead", () => {
  beforeAll(async () => {
    await allFolded();
    await pipeline.kill("processor");
    await send(1);
    await settles(
      async () => {
        const ends = await Promise.all(
          [0, 1].map((partition) =>
            kafka.listOffset({ topic: topicName(pipeline.config.lane, "valid"), partition }, "latest", "read_committed"),
          ),
        );
        const partitions = await lag();
        expect(
          partitions.every(({ lagBlocks }) => lagBlocks > 0),
          JSON.stringify(ends),
        ).toBe(true);
      },
      { limitMs: 30_000 },
    );
  });

  test("lag counts the events and the time that wait, and says that the processor stands still", async () => {
    const before = await lag();
    expect(before.reduce((sum, { lagEvents }) => sum + lagEvents, 0)).toBe(USERS * PER_USER);
    for (const { why } of before) expect(why[0]).toContain("stands still");
    const later = await lag();
    for (const [i, { lagMs }] of later.entries()) expect(lagMs).toBeGreaterThan(before[i]!.lagMs);
  });

  test("state get still answers, from snapshot and log, and the snapshot alone says its own offset", async () => {
    const whole = await json<{ asOf: number; hash: string }>(["state", "get", "7"]);
    const alone = await json<{ asOf: number; snapshot: string }>(["state", "get", "7", "--snapshot"]);
    expect(whole.asOf).toBeGreaterThanOrEqual(alone.asOf);
    expect(alone.snapshot).toContain(String(alone.asOf).padStart(20, "0"));
  });

  test("verify names a damaged snapshot and exits 3; state get says so and takes the next older one", async () => {
    const partition = partitionOf(Buffer.from("7"), 2);
    const folder = join(pipeline.config.dataDir, "objects", "snapshots", `${pipeline.config.lane}-1`, String(partition));
    const newest = readdirSync(folder)
      .toSorted((a, b) => (a < b ? -1 : 1))
      .at(-1)!;
    const path = join(folder, newest);
    const bytes = readFileSync(path);
    const damaged = Buffer.from(bytes);
    damaged[damaged.length - 40] = damaged.at(-40)! ^ 1;
    writeFileSync(`${path}.new`, damaged);
    renameSync(`${path}.new`, path);
    const { verdict, snapshots } = await json<{ verdict: string; snapshots: CheckedSnapshot[] }>(["checkpoint", "verify"], 3);
    expect(verdict).toBe("bad");
    const bad = snapshots.filter(({ problem }) => problem !== null);
    expect(bad).toMatchObject([{ partition, code: "SNAPSHOT_CORRUPT", key: expect.stringContaining(newest) as string }]);
    const outcome = await pipeline.weir(["state", "get", "7", "--json"]);
    expect(outcome).toMatchObject({ code: 0, err: expect.stringContaining("the next older snapshot is taken") as string });
    expect((JSON.parse(outcome.out) as { snapshot: string }).snapshot).not.toContain(newest);
    writeFileSync(`${path}.new`, bytes);
    renameSync(`${path}.new`, path);
    expect((await json<{ verdict: string }>(["checkpoint", "verify"])).verdict).toBe("good");
  });

  test("verify of a store without snapshots is unknown, not good", async () => {
    const outcome = await pipeline.weir(["checkpoint", "verify", "--json"], { environment: { WEIR_GENERATION: "9" } });
    expect(outcome).toMatchObject({ code: 3 });
    expect(JSON.parse(outcome.out)).toMatchObject({ verdict: "unknown" });
  });
});
