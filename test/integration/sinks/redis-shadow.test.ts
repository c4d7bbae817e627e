/** Redis under random faults beside a shadow: what it holds is always exactly what the log says up to the marks, of the newest generation that wrote. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Redis } from "#shared/clients/redis/client.ts";
import { encodeClean, encodeWindows } from "#shared/events/block.ts";
import { WINDOW_KINDS } from "#shared/events/columns.ts";
import { activityKey, LIVE_WINDOW_MS, markKey } from "#shared/read/hot-keys.ts";
import { ActivityBatch } from "#sinks/redis/activity-batch.ts";
import { ClosedWindowsBatch } from "#sinks/redis/closed-windows-batch.ts";
import { createHotValuesStore } from "#sinks/redis/hot-values-store.ts";
import type { OutputRecord } from "#sinks/runtime/output-record.ts";
import { ReplayNeededError, type SinkPosition, type SinkStore } from "#sinks/runtime/partition-sink.ts";
import { settles } from "#test/support/process.ts";
import { cleanColumns, LARGE_USER, rowOf, USERS } from "#test/support/sink-rows.ts";
import { CopyableRedis } from "./redis-server-copy.ts";

const LANE = "shadow";
const FLOWS = ["clean", "windows"] as const;
type Flow = (typeof FLOWS)[number];
/** Rows of clean are so far apart that each user has several windows. */
const SPACING_MS = 20_000;

let server: CopyableRedis;
let redis: Redis;

beforeAll(async () => {
  server = await CopyableRedis.start();
  redis = new Redis(server.address);
  await redis.connect();
});

afterAll(async () => {
  redis.close();
  await server.stop();
});

interface Clean {
  readonly user: bigint;
  readonly timeMs: number;
  readonly windowStartMs: number;
  readonly windowEvents: number;
}

interface Closed {
  readonly user: bigint;
  readonly startMs: number;
  readonly events: number;
}

function cleanAt(oseq: number, generation: number): Clean {
  const { userId, eventTimeMs } = rowOf(oseq, SPACING_MS);
  const windowStartMs = Math.floor(eventTimeMs! / LIVE_WINDOW_MS) * LIVE_WINDOW_MS;
  // The second generation counts otherwise: its fold means something else.
  return { user: BigInt(userId!), timeMs: eventTimeMs!, windowStartMs, windowEvents: oseq + (generation === 1 ? 1_000 : 500) };
}

/** A log of 40 records of one to three rows; record i has offset i. */
const PLACES = Array.from({ length: 40 }, (_, offset) => {
  const count = 1 + (offset % 3);
  // Three records hold six rows.
  return { offset, count, oseq: 1 + Math.floor(offset / 3) * 6 + [0, 1, 3][offset % 3]! };
});
const ROWS = PLACES.at(-1)!.oseq + PLACES.at(-1)!.count - 1;

/** Every window but the newest of each user, in order of its end. */
function closedOf(generation: number): Closed[] {
  const windows = new Map<string, Closed>();
  for (let oseq = 1; oseq <= ROWS; oseq++) {
    const { user, windowStartMs, windowEvents } = cleanAt(oseq, generation);
    // Fewer than the live value says: what decides is that it is final.
    windows.set(`${user} ${windowStartMs}`, { user, startMs: windowStartMs, events: windowEvents - 100 });
  }
  const newest = Math.max(...[...windows.values()].map(({ startMs }) => startMs));
  return [...windows.values()].filter(({ startMs }) => startMs < newest).toSorted((a, b) => a.startMs - b.startMs);
}

const CLOSED = [1, 2].map(closedOf);

function record(offset: number, oseq: number, count: number, value: Uint8Array, generation: number): OutputRecord {
  return { offset, timestampMs: Date.now(), key: null, value, headers: [], generation, oseq, count, cut: 1, endsCut: false };
}

function cleanRecord({ offset, oseq, count }: (typeof PLACES)[number], generation: number): OutputRecord {
  const columns = cleanColumns(Array.from({ length: count }, (_, row) => rowOf(oseq + row, SPACING_MS)));
  for (let row = 0; row < count; row++) columns.windowEvents[row] = cleanAt(oseq + row, generation).windowEvents;
  return record(offset, oseq, count, encodeClean(columns), generation);
}

function windowRecord({ user, startMs, events }: Closed, i: number, generation: number): OutputRecord {
  const one = (value: number): Float64Array<ArrayBuffer> => Float64Array.of(value);
  const columns = {
    rows: 1,
    kind: Uint8Array.of(WINDOW_KINDS.indexOf("tumbling_5m")),
    userId: Uint32Array.of(Number(user & 0xffff_ffffn), Number(user >> 32n)),
    windowStartMs: one(startMs),
    windowEndMs: one(startMs + LIVE_WINDOW_MS),
    events: Uint32Array.of(events),
    valueCount: Uint32Array.of(1),
    valueSum: one(events / 2),
    valueMin: one(1),
    valueMax: one(2),
    firstEventMs: one(startMs),
    lastEventMs: one(startMs + 1),
  };
  return record(i, i + 1, 1, encodeWindows(columns), generation);
}

const LOGS: readonly Readonly<Record<Flow, readonly OutputRecord[]>>[] = [1, 2].map((generation) => ({
  clean: PLACES.map((place) => cleanRecord(place, generation)),
  windows: CLOSED[generation - 1]!.map((closed, i) => windowRecord(closed, i, generation)),
}));

/** A sink whose deliveries happen when the test says so: one that stands still for long is a zombie. */
class SteppedSink {
  readonly #store: SinkStore;
  readonly #log: readonly OutputRecord[];
  #next: number | null = null;

  constructor(flow: Flow, generation: number) {
    this.#log = LOGS[generation - 1]![flow];
    this.#store = createHotValuesStore({
      redis,
      markKey: markKey({ lane: LANE, generation }, flow, 0),
      generation,
      createdChannel: "weir:created:shadow",
      batch: () => (flow === "clean" ? new ActivityBatch(LANE) : new ClosedWindowsBatch(LANE)),
    });
  }

  get isAtEnd(): boolean {
    return this.#next === this.#log.length;
  }

  async step(shared: SharedPosition, records: number): Promise<void> {
    if (this.#next === null) {
      const position = await this.#store.resume(shared.committed);
      this.#next = position?.offset ?? 0;
      return;
    }
    const part = this.#log.slice(this.#next, this.#next + records);
    if (part.length === 0) return;
    try {
      shared.committed = await this.#store.deliver(part);
      this.#next += part.length;
    } catch (thrown) {
      if (!(thrown instanceof ReplayNeededError)) throw thrown;
      this.#next = null;
    }
  }
}

interface SharedPosition {
  /** Of the group: the last sink that committed has set it, be it a zombie. */
  committed: SinkPosition | null;
}

const USER_IDS = Array.from({ length: USERS }, (_, user) => (user === 0 ? LARGE_USER : BigInt(user)));

type Marks = Readonly<Record<Flow, number>>;

async function marksOf(generation: number): Promise<Marks> {
  const [clean, windows] = await Promise.all(FLOWS.map((flow) => redis.hash(markKey({ lane: LANE, generation }, flow, 0))));
  return { clean: Number(clean!["row"] ?? 0), windows: Number(windows!["row"] ?? 0) };
}

/** What the key of a user must hold when this generation was the last to begin it. */
function wanted(user: bigint, generation: number, marks: Marks): Record<string, string> | null {
  const rows = Array.from({ length: marks.clean }, (_, i) => cleanAt(i + 1, generation)).filter((row) => row.user === user);
  const closed = CLOSED[generation - 1]!.slice(0, marks.windows).filter((window) => window.user === user);
  const [row, final] = [rows.at(-1), closed.at(-1)];
  if (row === undefined && final === undefined) return null;
  const isFinal = final !== undefined && final.startMs >= (row?.windowStartMs ?? 0);
  return {
    gen: String(generation),
    window_start: String(isFinal ? final.startMs : row!.windowStartMs),
    window_events: String(isFinal ? final.events : row!.windowEvents),
    is_final: isFinal ? "1" : "0",
    ...(row === undefined ? {} : { last_event_time: String(row.timeMs) }),
    ...(final === undefined ? {} : { closed_window_start: String(final.startMs), closed_window_events: String(final.events) }),
  };
}

/** Where the newer generation has anything of a user, that counts, and nothing of the older shows. */
async function expectShadow(): Promise<Marks[]> {
  const marks = [await marksOf(1), await marksOf(2)];
  for (const user of USER_IDS) {
    const held = await redis.hash(activityKey(LANE, String(user)));
    const expected = wanted(user, 2, marks[1]!) ?? wanted(user, 1, marks[0]!);
    if (expected === null) expect(held, `user ${user}`).toEqual({});
    else expect(held, `user ${user} at ${JSON.stringify(marks)}`).toMatchObject(expected);
    if (expected?.["closed_window_start"] === undefined) expect(held["closed_window_start"], `user ${user}`).toBeUndefined();
  }
  return marks;
}

const flow = fc.constantFrom(...FLOWS);
/** Two sinks of each generation and flow, one of them often asleep. */
const sink = fc.record({ flow, generation: fc.integer({ min: 1, max: 2 }), twin: fc.nat({ max: 1 }) });
const step = fc.oneof(
  { weight: 14, arbitrary: fc.record({ kind: fc.constant("step" as const), sink, records: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const), sink }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("restart-without-position" as const), sink }) },
  { weight: 2, arbitrary: fc.constant({ kind: "flush" as const }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type SinkName = typeof sink extends fc.Arbitrary<infer T> ? T : never;

class Sinks {
  readonly #positions = new Map<string, SharedPosition>();
  readonly #sinks = new Map<string, SteppedSink>();

  async take(action: Step): Promise<void> {
    if (action.kind === "flush") return redis.flush();
    const position = this.position(action.sink);
    if (action.kind === "step") return this.#sink(action.sink).step(position, action.records);
    if (action.kind === "restart-without-position") position.committed = null;
    // A new process in its place: it knows nothing.
    this.#sinks.delete(JSON.stringify(action.sink));
  }

  position(name: Pick<SinkName, "flow" | "generation">): SharedPosition {
    const key = `${name.flow} ${name.generation}`;
    const known = this.#positions.get(key) ?? { committed: null };
    this.#positions.set(key, known);
    return known;
  }

  #sink(name: SinkName): SteppedSink {
    const key = JSON.stringify(name);
    const known = this.#sinks.get(key) ?? new SteppedSink(name.flow, name.generation);
    this.#sinks.set(key, known);
    return known;
  }

  /** One new sink of each flow of the generation reads on until it has everything. */
  async finish(generation: number): Promise<void> {
    for (const each of FLOWS) {
      const last = new SteppedSink(each, generation);
      while (!last.isAtEnd) await last.step(this.position({ flow: each, generation }), 5);
    }
  }
}

async function expectEverything(generation: number): Promise<void> {
  const marks = (await expectShadow())[generation - 1]!;
  expect(marks).toEqual({ clean: ROWS, windows: CLOSED[generation - 1]!.length });
}

test("with zombies of both generations, restarts, lost positions and lost data: never a value that the marks do not stand for, never an older one over a newer", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 80, size: "max" }), async (steps) => {
      await redis.flush();
      const sinks = new Sinks();
      let before: Marks[] = [];
      for (const action of steps) {
        await sinks.take(action);
        const now = await expectShadow();
        if (action.kind !== "flush") {
          for (const [i, marks] of before.entries()) for (const each of FLOWS) expect(now[i]![each]).toBeGreaterThanOrEqual(marks[each]);
        }
        before = now;
      }
    }),
    { numRuns: 60 },
  );
});

test("after whatever it was, one sink of the newest generation alone brings everything back", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: "max" }), async (steps) => {
      await redis.flush();
      const sinks = new Sinks();
      for (const action of steps) await sinks.take(action);
      await sinks.finish(2);
      await expectEverything(2);
    }),
    { numRuns: 25 },
  );
});

test("an old replica promoted, or a server that comes back empty, at any moment: what it has is what its marks say, and the rest comes back", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 25 }),
      fc.array(step, { minLength: 5, maxLength: 25 }),
      fc.array(step, { minLength: 5, maxLength: 25 }),
      fc.boolean(),
      async (before, lost, after, isEmpty) => {
        await redis.flush();
        const sinks = new Sinks();
        for (const action of before) await sinks.take(action);
        const kept = await expectShadow();
        await server.keep();
        for (const action of lost) await sinks.take(action);
        await (isEmpty ? server.comeBackEmpty() : server.goBack());
        await settles(() => redis.get("is-connected"));
        const empty = { clean: 0, windows: 0 };
        expect(await expectShadow()).toEqual(isEmpty ? [empty, empty] : kept);
        for (const action of after) {
          await sinks.take(action);
          await expectShadow();
        }
        await sinks.finish(2);
        await expectEverything(2);
      },
    ),
    { numRuns: 12 },
  );
});
