/** Redis under random faults beside a shadow: what it holds is always exactly what the log says up to the mark. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startRedis } from "#local/services/redis.ts";
import type { RunningServer } from "#local/services/running-server.ts";
import { Redis } from "#shared/clients/redis/client.ts";
import { decodeClean, encodeClean } from "#shared/events/block.ts";
import { activityKey, activityOf } from "#sinks/redis/hot-values.ts";
import { createHotValuesStore } from "#sinks/redis/hot-values-store.ts";
import type { OutputRecord } from "#sinks/runtime/output-record.ts";
import { ReplayNeededError, type SinkPosition, type SinkStore } from "#sinks/runtime/partition-sink.ts";
import { cleanColumns, LARGE_USER, rowOf, USERS } from "#test/support/sink-rows.ts";

const LANE = "shadow";
const MARK = "weir:mark:shadow";

const folder = mkdtempSync(join(tmpdir(), "weir-shadow-"));
let server: RunningServer;
let redis: Redis;

beforeAll(async () => {
  chmodSync(folder, 0o755);
  server = await startRedis({ dir: folder });
  redis = new Redis(server.address);
  await redis.connect();
});

afterAll(async () => {
  redis.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A log of 40 records of one to three rows; record i has offset i. */
const RECORDS: readonly OutputRecord[] = Array.from({ length: 40 }, (_, offset) => {
  const count = 1 + (offset % 3);
  // Three records hold six rows.
  const oseq = 1 + Math.floor(offset / 3) * 6 + [0, 1, 3][offset % 3]!;
  const value = encodeClean(cleanColumns(Array.from({ length: count }, (_, row) => rowOf(oseq + row))));
  return { offset, timestampMs: Date.now(), key: null, value, headers: [], generation: 1, oseq, count, cut: 1, endsCut: false };
});

/** A sink whose deliveries happen when the test says so: one that stands still for long is a zombie. */
class SteppedSink {
  readonly #store: SinkStore = createHotValuesStore({
    redis,
    markKey: MARK,
    valuesOf: (value) => activityOf(LANE, decodeClean(value)),
  });
  #next: number | null = null;

  async step(log: SharedLog, records: number): Promise<void> {
    if (this.#next === null) {
      const position = await this.#store.resume(log.committed);
      this.#next = position?.offset ?? 0;
      return;
    }
    const part = RECORDS.slice(this.#next, this.#next + records);
    if (part.length === 0) return;
    try {
      log.committed = await this.#store.deliver(part);
      this.#next += part.length;
    } catch (thrown) {
      if (!(thrown instanceof ReplayNeededError)) throw thrown;
      this.#next = null;
    }
  }
}

interface SharedLog {
  /** Of the group: the last sink that committed has set it, be it a zombie. */
  committed: SinkPosition | null;
}

const USER_IDS = Array.from({ length: USERS }, (_, user) => (user === 0 ? LARGE_USER : BigInt(user)));

/** Last row of the user among the first `rows`, 0 = none. */
function lastRow(user: bigint, rows: number): number {
  for (let oseq = rows; oseq > 0; oseq--) if (BigInt(rowOf(oseq).userId!) === user) return oseq;
  return 0;
}

async function expectShadow(): Promise<number> {
  const mark = Number((await redis.get(MARK)) ?? 0);
  for (const user of USER_IDS) {
    const { session_events: held } = await redis.hash(activityKey(LANE, String(user)));
    const wanted = lastRow(user, mark);
    expect(held === undefined ? 0 : Number(held) - 1, `user ${user} at mark ${mark}`).toBe(wanted);
  }
  return mark;
}

const sink = fc.nat({ max: 2 });
const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant("step" as const), sink, records: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const), sink }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("restart-without-position" as const), sink }) },
  { weight: 2, arbitrary: fc.constant({ kind: "flush" as const }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Sinks {
  readonly log: SharedLog = { committed: null };
  readonly #sinks = [new SteppedSink(), new SteppedSink(), new SteppedSink()];

  async take(action: Step): Promise<void> {
    if (action.kind === "flush") return redis.flush();
    if (action.kind === "step") return this.#sinks[action.sink]!.step(this.log, action.records);
    if (action.kind === "restart-without-position") this.log.committed = null;
    // A new process in its place: it knows nothing.
    this.#sinks[action.sink] = new SteppedSink();
  }
}

test("with zombies, restarts, lost positions and lost data: never a value that the mark does not stand for, never an older one over a newer", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 80, size: "max" }), async (steps) => {
      await redis.flush();
      const sinks = new Sinks();
      let mark = 0;
      for (const action of steps) {
        await sinks.take(action);
        const now = await expectShadow();
        if (action.kind !== "flush") expect(now).toBeGreaterThanOrEqual(mark);
        mark = now;
      }
    }),
    { numRuns: 150 },
  );
});

test("after whatever it was, one sink alone brings everything back", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: "max" }), async (steps) => {
      await redis.flush();
      const sinks = new Sinks();
      for (const action of steps) await sinks.take(action);
      const last = new SteppedSink();
      for (let round = 0; round < 2 + RECORDS.length; round++) await last.step(sinks.log, 5);
      const end = RECORDS.at(-1)!;
      expect(await expectShadow()).toBe(end.oseq + end.count - 1);
    }),
    { numRuns: 30 },
  );
});
