/** The commands on a pipeline that runs: what they show, what `verify` finds, and what it must find when something is wrong. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { createGenerator, type EventKind } from "#loadgen/generator.ts";
import { settles } from "#test/support/process.ts";
import { type Outcome, RunningPipeline } from "./running-pipeline.ts";

const EVENTS = 4_000;

interface Verified {
  readonly verdict: string;
  readonly totals: Readonly<Record<string, number>>;
  readonly mismatches: readonly { readonly what: string; readonly recounted: number; readonly claimed: number }[];
  readonly partitions: readonly { readonly partition: number; readonly examples: Readonly<Record<string, readonly number[]>> }[];
}

let pipeline: RunningPipeline;
const kinds: Record<EventKind, number> = { normal: 0, late: 0, duplicate: 0, poison: 0, futureClock: 0 };
let file: string;

beforeAll(async () => {
  pipeline = new RunningPipeline(inject("stack"));
  await pipeline.start();
  file = join(pipeline.config.dataDir, "events.jsonl");
});

afterAll(() => pipeline.stop());

async function verified(code: number): Promise<Verified> {
  const outcome = await pipeline.weir(["verify", "--json", "--timeout", "30s"]);
  expect(outcome, `${outcome.err}\n${pipeline.log}`).toMatchObject({ code });
  return JSON.parse(outcome.out) as Verified;
}

const rowsOf = ({ out }: Outcome): Record<string, unknown>[] =>
  out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test("verify says unknown, not balanced, as long as nothing was produced", async () => {
  expect(await pipeline.weir(["verify"])).toMatchObject({ code: 3, out: expect.stringContaining("unknown: nothing was produced") });
});

describe("with events", () => {
  beforeAll(async () => {
    const generator = createGenerator({
      seed: "cli",
      users: 200,
      distribution: "uniform",
      shares: { late: 0.02, duplicate: 0.02, poison: 0.02, futureClock: 0.01 },
    });
    const lines: Uint8Array[] = [];
    const nowMs = Date.now();
    // Keys that are not the user's own, and bytes that are no line, only a producer can send.
    const aLine = (value: Uint8Array): boolean => !value.includes(0x0a) && Buffer.from(value).toString().trim() !== "";
    while (lines.length < EVENTS) {
      const { kind, value, key } = generator.next(nowMs + Math.floor(lines.length / 4));
      const isOwn = !Buffer.from(value).includes('"user_id":') || Buffer.from(value).includes(`"user_id":${Buffer.from(key).toString()},`);
      if (!aLine(value) || (kind === "poison" && !isOwn)) continue;
      // The watermark has to stand somewhere before anything can be late.
      if (kind !== "normal" && lines.length < 100) continue;
      kinds[kind]++;
      lines.push(value);
    }
    writeFileSync(file, Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")])));
    const sent = await pipeline.weir(["send", file, "--json"]);
    expect(sent.err).toBe("");
    expect(JSON.parse(sent.out)).toMatchObject({ sent: EVENTS, retries: 0 });
    // Each kind must be there, or the ledger below would show nothing.
    expect(Math.min(...Object.values(kinds))).toBeGreaterThan(10);
  });

  test("verify balances, with the numbers that were sent", async () => {
    const { verdict, totals, mismatches } = await verified(0);
    expect(mismatches).toEqual([]);
    expect({ verdict, ...totals }).toMatchObject({
      verdict: "balanced",
      raw: EVENTS,
      clean: kinds.normal,
      deadLettered: kinds.poison + kinds.futureClock,
      duplicate: kinds.duplicate,
      late: kinds.late,
      lost: 0,
      doubled: 0,
    });
  });

  test("verify for a person ends with the identity and the verdict", async () => {
    const { code, out } = await pipeline.weir(["verify"]);
    expect(code).toBe(0);
    expect(out).toContain(
      `raw ${EVENTS} = clean ${kinds.normal} + dead-lettered ${kinds.poison + kinds.futureClock} + duplicate ${kinds.duplicate} + late ${kinds.late}\nlost 0, doubled 0;`,
    );
    expect(out).toMatch(/\nbalanced\n$/);
  });

  test("status and topics show how far each partition is", async () => {
    const status = await pipeline.weir(["status", "--json"]);
    const { partitions } = JSON.parse(status.out) as {
      partitions: { rawEnd: number; progress: { hw: number; counts: { raw: number } } }[];
    };
    expect(partitions).toHaveLength(2);
    for (const { rawEnd, progress } of partitions) expect(progress).toMatchObject({ hw: rawEnd - 1, counts: { raw: rawEnd } });
    const topics = await pipeline.weir(["topics", "--json"]);
    expect(topics.code).toBe(0);
    const raw = (JSON.parse(topics.out) as { topics: { role: string }[] }).topics.find(({ role }) => role === "raw");
    expect(raw).toMatchObject({ partitions: 2, records: EVENTS });
    expect(await pipeline.weir(["status"])).toMatchObject({ code: 0, out: expect.stringMatching(/^p +produced +validated/m) });
  });

  test("tail shows the newest rows of each topic", async () => {
    expect(rowsOf(await pipeline.weir(["tail", "raw", "-n", "3"]))).toHaveLength(3);
    const clean = rowsOf(await pipeline.weir(["tail", "clean", "-n", "300"]));
    expect(clean).toHaveLength(300);
    expect(clean.at(-1)).toMatchObject({ event_id: expect.stringMatching(/^[0-9a-f-]{36}$/), source: expect.any(String) });
    const dead = rowsOf(await pipeline.weir(["tail", "dlq", "-n", "1000"]));
    expect(dead).toHaveLength(kinds.poison + kinds.futureClock);
    expect(dead.filter((row) => row["weir-reason"] === "time.future")).toHaveLength(kinds.futureClock);
    const late = rowsOf(await pipeline.weir(["tail", "late", "-n", "1000"]));
    expect(late).toHaveLength(kinds.late);
    expect(late[0]).toMatchObject({ window: expect.any(String), window_start: expect.any(String) });
  });

  test("get answers with the newest value and where it is from, and says when there is none", async () => {
    const [newest] = rowsOf(await pipeline.weir(["tail", "clean", "-n", "1"]));
    const [user, event] = [String(newest!["user_id"]), String(newest!["event_id"])];
    const got = async (...args: string[]): Promise<{ value: Record<string, unknown> | null; from: string; code: number | null }> => {
      const { code, out, err } = await pipeline.weir(["get", ...args, "--json"]);
      expect(out, err).not.toBe("");
      return { ...(JSON.parse(out) as { value: Record<string, unknown> | null; from: string }), code };
    };
    // Redis while it is at most ten seconds behind, else whichever is newer.
    expect(await got("user", user)).toMatchObject({
      code: 0,
      from: expect.stringMatching(/^(redis|clickhouse)$/),
      value: { userId: user },
    });
    expect(await got("event", event)).toMatchObject({ code: 0, from: "clickhouse", value: { userId: user } });
    expect(await got("user", "18446744073709551615")).toMatchObject({ code: 3, value: null });
    expect(await got("metric", "events:nobody")).toMatchObject({ code: 3, value: null });
    expect(await pipeline.weir(["get", "user", "minus one"])).toMatchObject({ code: 3, err: expect.stringContaining("minus one") });
  });

  test("tail --follow shows what comes, and Ctrl-C ends it with 130", async () => {
    const child = pipeline.spawnWeir(["tail", "raw", "-n", "1", "--follow"]);
    let out = "";
    child.stdout?.on("data", (chunk: Buffer) => (out += chunk.toString()));
    await settles(() => expect(out.split("\n")).toHaveLength(2));
    await pipeline.weir(["send", "-"], { input: '{"user_id":7,"greeting":"h\u00e9"}\n' });
    await settles(() => expect(out).toContain("h\u00e9"));
    child.kill("SIGINT");
    expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(130);
  });

  test("lines without a usable event go to the dead letters and the ledger goes on balancing", async () => {
    const before = await verified(0);
    const sent = await pipeline.weir(["send", "-"], { input: 'not json\n{"user_id":1}\n[1]\n' });
    expect(sent).toMatchObject({ code: 0, out: expect.stringContaining("3 events sent") });
    const { totals } = await verified(0);
    expect(totals["deadLettered"]! - before.totals["deadLettered"]!).toBe(3);
  });

  test("recorded rows go into the live lane with a mapping and --shift-to-now, none late, none twice", async () => {
    const before = await verified(0);
    const rows = Array.from({ length: 300 }, (_, i) => `{"delay":${i % 7},"distance":${100 + (i % 5)},"time":${i / 600}}`).join("\n");
    const mapping = join(import.meta.dirname, "../../../loadgen/mappings/flights.json");
    for (const _ of [1, 2]) {
      const sent = await pipeline.weir(["send", "-", "--map", mapping, "--shift-to-now", "--rate", "1000"], { input: rows });
      expect(sent, sent.err).toMatchObject({ code: 0 });
    }
    const { totals } = await verified(0);
    expect(totals["clean"]! - before.totals["clean"]!).toBe(600);
    expect(totals["late"]).toBe(before.totals["late"]);
  });
});

describe("verify finds what is wrong", () => {
  const where = (offset: number): string => `lane = '${pipeline.config.lane}' AND p = 0 AND source_offset = ${offset}`;
  const offsetOf = async (rank: number): Promise<number> =>
    Number(
      await pipeline.sql(
        `SELECT source_offset FROM events WHERE lane = '${pipeline.config.lane}' AND p = 0 ORDER BY source_offset LIMIT 1 OFFSET ${rank}`,
      ),
    );
  const examplesOf = ({ partitions }: Verified) => partitions.find(({ partition }) => partition === 0)!.examples;

  test("a row that stands in ClickHouse twice", async () => {
    const offset = await offsetOf(10);
    await pipeline.sql(`INSERT INTO events SELECT * FROM events WHERE ${where(offset)} SETTINGS insert_deduplicate = 0`);
    const result = await verified(3);
    expect(result).toMatchObject({ verdict: "unbalanced", totals: { lost: 0, doubled: 1 } });
    expect(examplesOf(result)["doubled"]).toEqual([offset]);
  });

  test("a row that ClickHouse has lost, also as a view that adds up to more than its table", async () => {
    const offset = await offsetOf(20);
    await pipeline.sql(`ALTER TABLE events DELETE WHERE ${where(offset)} SETTINGS mutations_sync = 2`);
    const result = await verified(3);
    expect(result).toMatchObject({ verdict: "unbalanced", totals: { lost: 1, topicOnly: 1 } });
    expect(examplesOf(result)["lost"]).toEqual([offset]);
    expect(result.mismatches).toContainEqual({
      what: "events in user_activity_1min",
      recounted: expect.any(Number),
      claimed: expect.any(Number),
    });
    const { code, out } = await pipeline.weir(["verify"]);
    expect(code).toBe(3);
    expect(out).toContain(`lost: partition 0, offset ${offset}`);
    expect(out).toMatch(/\nunbalanced\n$/);
  });

  test("a pipeline that stands still: time-out instead of a wrong verdict", async () => {
    await pipeline.kill("processor");
    await pipeline.weir(["send", "-"], { input: '{"user_id":1}\n' });
    const outcome = await pipeline.weir(["verify", "--timeout", "1s"]);
    expect(outcome).toMatchObject({ code: 5, out: "" });
    expect(outcome.err).toMatch(
      /the processor is behind after 1 s: partition \d at \d+ of \d+\n {2}fix: weir status\n {2}code: VERIFY_PROCESSOR_BEHIND/,
    );
  });

  test("a broker that is not there: exit 4, naming it", async () => {
    const outcome = await pipeline.weir(["topics"], { environment: { WEIR_KAFKA: "127.0.0.1:1" } });
    expect(outcome.code).toBe(4);
    expect(outcome.err).toContain("127.0.0.1:1");
  });
});
