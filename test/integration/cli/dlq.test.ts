/** Dead letters of a pipeline that runs: what they keep, and that a replay sends each once, whatever is killed. */
import type { ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import { migratePostgres } from "#shared/clients/postgres/migrate.ts";
import { topicName } from "#shared/events/names.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import { settles } from "#test/support/process.ts";
import { type Outcome, RunningPipeline } from "./running-pipeline.ts";

const LETTERS = 10_000;
/** Ahead of the clock, within the skew allowed: however long the tests take, no event of theirs is late. */
const eventTime = new Date(Date.now() + 200_000).toISOString();

let pipeline: RunningPipeline;
let kafka: Kafka;
let database: Database;
let raw: string;
let dlq: string;

beforeAll(async () => {
  const stack = inject("stack");
  pipeline = new RunningPipeline(stack, { postgres: stack.postgres, maxEventBytes: 900_000 });
  database = new Database(stack.postgres);
  await migratePostgres(database);
  await pipeline.start();
  kafka = await openKafka({ brokers: stack.kafka.split(","), clientId: "test" });
  raw = topicName(pipeline.config.lane, "raw");
  dlq = topicName(pipeline.config.lane, "dlq");
});

afterAll(async () => {
  await kafka?.close();
  await database?.close();
  await pipeline?.stop();
});

interface EventParts {
  readonly user?: number;
  readonly key?: string | null;
  readonly changes?: Readonly<Record<string, unknown>>;
}

function event({ user = 1, key = String(user), changes = {} }: EventParts): OutgoingRecord {
  const fields = {
    event_id: randomUUID(),
    event_time: eventTime,
    user_id: user,
    event_type: "purchase",
    source: "web",
    properties: { amount: 5 },
  };
  return { key: key === null ? null : Buffer.from(key), value: Buffer.from(JSON.stringify({ ...fields, ...changes })) };
}

async function produce(records: readonly OutgoingRecord[]): Promise<void> {
  const { partitions } = pipeline.config;
  for (const [partition, group] of Map.groupBy(records, ({ key }) => (key === null ? 0 : partitionOf(key, partitions)))) {
    for (let at = 0; at < group.length; at += 1_000) await kafka.produce({ topic: raw, partition }, group.slice(at, at + 1_000));
  }
}

async function ends(topic: string): Promise<number[]> {
  const partitions = Array.from({ length: pipeline.config.partitions }, (_, partition) => partition);
  return Promise.all(partitions.map((partition) => kafka.listOffset({ topic, partition }, "latest", "read_uncommitted")));
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** What the commands print, as far as the tests look at it. */
interface Printed {
  readonly total: number;
  readonly reasons: Readonly<Record<string, number>>;
  readonly sources: Readonly<Record<string, number>>;
  readonly ages: Readonly<Record<string, number>>;
  readonly samples: readonly unknown[];
  readonly verdict: string;
  readonly totals: Readonly<Record<string, number>>;
  readonly mismatches: readonly unknown[];
  readonly letter: string;
  readonly eventId: string;
  readonly source: string;
  readonly name: string;
  readonly by: string;
  readonly value: string;
  readonly matching: number;
  readonly sent: number;
  readonly headers: readonly (readonly [string, string])[];
}

async function json(args: readonly string[], code = 0): Promise<Printed> {
  const outcome = await pipeline.weir([...args, "--json"]);
  expect(outcome, `${outcome.out}${outcome.err}\n${pipeline.log}`).toMatchObject({ code });
  return JSON.parse(outcome.out) as Printed;
}

const rowsOf = ({ out }: Pick<Outcome, "out">): Printed[] =>
  out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Printed);

async function lettersCome(filter: readonly string[], total: number): Promise<void> {
  await settles(async () => expect((await json(["dlq", "stats", ...filter])).total).toBe(total), { limitMs: 60_000 });
}

/** What the pipeline has of the lane, once it is through: `weir verify` waits for that. */
async function verified(): Promise<Printed["totals"]> {
  const { verdict, totals, mismatches } = await json(["verify", "--timeout", "60s"]);
  expect({ verdict, mismatches }).toEqual({ verdict: "balanced", mismatches: [] });
  return totals;
}

async function ended(child: ChildProcess): Promise<{ code: number | null; err: string }> {
  let err = "";
  child.stderr?.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, err };
}

describe("10,000 dead letters of several reasons", () => {
  const mending = ["--set", '/event_type="purchase"', "--set", "/properties/amount=1", "--set", '/source="web"', "--key-from", "/user_id"];
  const command = ["dlq", "replay", ...mending, "--rate", "4000/s"];
  const causes: readonly ((user: number) => EventParts)[] = [
    (user) => ({ user, changes: { event_type: "nothing_known" } }),
    (user) => ({ user, changes: { properties: { amount: "5" } } }),
    (user) => ({ user, changes: { source: "moon" } }),
    (user) => ({ user, key: `user-${user}` }),
    (user) => ({ user, key: null }),
  ];

  beforeAll(async () => {
    await produce(Array.from({ length: LETTERS }, (_, i) => event(causes[i % causes.length]!(1 + (i % 500)))));
    await lettersCome([], LETTERS);
  });

  test("stats counts them by reason, source and age; ls and show find them", async () => {
    const stats = await json(["dlq", "stats"]);
    const each = LETTERS / causes.length;
    expect(stats.reasons).toEqual({
      unknown_event: each,
      "schema.type": each,
      unknown_source: each,
      "key.mismatch": each,
      "key.missing": each,
    });
    expect(sum(Object.values(stats.sources))).toBe(LETTERS);
    expect(Object.keys(stats.sources).toSorted()).toEqual([`${raw}/0`, `${raw}/1`]);
    expect(sum(Object.values(stats.ages))).toBe(LETTERS);
    const listed = rowsOf(await pipeline.weir(["dlq", "ls", "--reason", "schema.*", "--user", "2", "-n", "7"]));
    expect(listed).toHaveLength(7);
    for (const row of listed) expect(row).toMatchObject({ reason: "schema.type", pointer: "/properties/amount", user: "2", replays: 0 });
    for (const name of [listed[0]!.letter, listed[0]!.eventId]) {
      const { code, out } = await pipeline.weir(["dlq", "show", name]);
      expect(code).toBe(0);
      expect(out).toContain("a field has another type than its schema says");
      expect(out).toContain('\n    "amount": "5"\n');
      expect(out).toContain(listed[0]!.source);
    }
  });

  test("a dry run shows what would happen and writes nothing", async () => {
    const before = [await ends(raw), await ends(dlq), await database.query("SELECT count(*) FROM dlq_replays")];
    const preview = await json([...command, "--dry-run"]);
    expect(preview).toMatchObject({ dryRun: true, matching: LETTERS, sent: LETTERS, verdicts: { ok: LETTERS } });
    expect(preview.samples).toHaveLength(3);
    const { out } = await pipeline.weir(["dlq", "replay", "--reason", "schema.type", "--set", "/properties/amount=1", "--dry-run"]);
    expect(out).toContain('  - /properties/amount  "5"\n  + /properties/amount  1\n');
    const unmended = await json(["dlq", "replay", "--dry-run"]);
    expect(unmended).toMatchObject({ sent: 0, left: { rejected: LETTERS }, verdicts: { "reject key.missing": LETTERS / causes.length } });
    expect([await ends(raw), await ends(dlq), await database.query("SELECT count(*) FROM dlq_replays")]).toEqual(before);
  });

  test("without PostgreSQL nothing is replayed, since nobody could be held to it", async () => {
    const before = await ends(raw);
    const outcome = await pipeline.weir(command, { environment: { WEIR_POSTGRES: "postgres://weir@127.0.0.1:1/weir" } });
    expect(outcome).toMatchObject({ code: 4, out: "", err: expect.stringContaining("code: POSTGRES_UNAVAILABLE") });
    expect(await ends(raw)).toEqual(before);
  });

  test("each goes out once, killed after a produce, killed half-way, killed at the end, and run again", async () => {
    // The records are in the log, and nobody has noted it.
    const afterProduce = await ended(pipeline.spawnWeir(command, { WEIR_FAILPOINT: "replay-after-produce:kill:2" }));
    expect(afterProduce.code).toBeNull();
    expect(sum(await ends(raw))).toBeGreaterThan(LETTERS);

    const halfWay = pipeline.spawnWeir(command);
    await settles(async () => expect(sum(await ends(raw))).toBeGreaterThan(1.5 * LETTERS), { limitMs: 30_000, intervalMs: 10 });
    halfWay.kill("SIGKILL");
    expect((await ended(halfWay)).err).toContain("goes on");
    expect(sum(await ends(raw))).toBeLessThan(2 * LETTERS);

    const other = await pipeline.weir(["dlq", "replay", "--reason", "schema.type"]);
    expect(other).toMatchObject({ code: 3, err: expect.stringMatching(/--resume [0-9a-f]{16}[^]*code: DLQ_REPLAY_UNFINISHED/) });

    const atTheEnd = await ended(pipeline.spawnWeir(command, { WEIR_FAILPOINT: "replay-before-end:kill" }));
    expect(atTheEnd.code).toBeNull();
    expect(sum(await ends(raw))).toBe(2 * LETTERS);

    expect(await json(command)).toMatchObject({ state: "done", sent: LETTERS });
    expect(await json(command)).toMatchObject({ state: "nothing", sent: 0, left: { replayed: LETTERS } });
    expect(sum(await ends(raw))).toBe(2 * LETTERS);

    const totals = await verified();
    expect(totals).toMatchObject({ raw: 2 * LETTERS, clean: LETTERS, deadLettered: LETTERS, duplicate: 0, late: 0, lost: 0, doubled: 0 });
    const where = `lane = '${pipeline.config.lane}'`;
    expect(await pipeline.sql(`SELECT count(), uniqExact(event_id), countIf(value = 1) FROM events WHERE ${where}`)).toBe(
      `${LETTERS}\t${LETTERS}\t${LETTERS}`,
    );
  });

  test("the audit log has the beginning and the end, with who and how many", async () => {
    const [stored] = rowsOf(await pipeline.weir(["dlq", "replays", "--json"]));
    expect(stored).toMatchObject({ state: "done", sent: LETTERS, planned: LETTERS });
    const rows = await database.query<{ action: string; actor: string; new_row: { state: string; counts: unknown } }>(
      "SELECT action, actor, new_row FROM audit_logs WHERE table_name = 'dlq_replays' AND row_key = $1 ORDER BY id",
      [stored!.name],
    );
    expect(rows.map(({ action, new_row }) => [action, new_row.state])).toEqual([
      ["INSERT", "running"],
      ["UPDATE", "done"],
    ]);
    expect(rows[1]!.actor).toBe(stored!.by);
    expect(rows[1]!.new_row.counts).toMatchObject({ sent: LETTERS, matching: LETTERS });
    await expect(database.query("UPDATE dlq_replays SET state = 'running' WHERE name = $1", [stored!.name])).rejects.toThrow(
      "kept as it is",
    );
    await expect(database.query("DELETE FROM dlq_replay_letters")).rejects.toThrow("append-only");
  });
});

describe("who replays too often or too late", () => {
  test("a process that was stopped and wakes up sends nothing twice", async () => {
    const before = await verified();
    const letters = 3_000;
    await produce(Array.from({ length: letters }, (_, i) => event({ user: 1 + i, changes: { event_type: "sleeper" } })));
    await lettersCome(["--reason", "unknown_event", "--since", "1h"], LETTERS / 5 + letters);
    const command = ["dlq", "replay", "--set", '/event_type="purchase"', "--reason", "unknown_event", "--rate", "1000"];
    const start = sum(await ends(raw));
    const zombie = pipeline.spawnWeir(command);
    const outcome = ended(zombie);
    await settles(async () => expect(sum(await ends(raw)) - start).toBeGreaterThan(500), { limitMs: 30_000, intervalMs: 10 });
    zombie.kill("SIGSTOP");
    expect(await json(command)).toMatchObject({ state: "done", sent: letters });
    zombie.kill("SIGCONT");
    const { code, err } = await outcome;
    expect({ code, err }).toMatchObject({ code: 3, err: expect.stringContaining("code: DLQ_REPLAY_OVERTAKEN") });
    expect(sum(await ends(raw)) - start).toBe(letters);
    const after = await verified();
    expect([after["clean"]! - before["clean"]!, after["duplicate"]! - before["duplicate"]!]).toEqual([letters, 0]);
  });

  test("what three replays did not mend is refused, with the number", async () => {
    await produce([event({ user: 77, changes: { event_type: "hopeless" } })]);
    const filter = ["--user", "77", "--reason", "unknown_event"];
    // The sleeper of that user.
    const earlier = 1;
    for (let replays = 0; replays < 3; replays++) {
      await settles(async () => expect(rowsOf(await pipeline.weir(["dlq", "ls", ...filter])).at(-1)).toMatchObject({ replays }));
      expect(await json(["dlq", "replay", ...filter, "--even-rejected"])).toMatchObject({ sent: 1, left: { replayed: earlier + replays } });
    }
    await settles(async () => expect(rowsOf(await pipeline.weir(["dlq", "ls", ...filter])).at(-1)).toMatchObject({ replays: 3 }));
    const refused = await pipeline.weir(["dlq", "replay", ...filter, "--even-rejected"]);
    expect(refused).toMatchObject({ code: 3, out: expect.stringContaining("left: 1, 3 replays did not mend them") });
    await verified();
  });

  test("a topic that is no lane's events.raw is no target", async () => {
    for (const target of ["__consumer_offsets", dlq, "other-lane.events.raw"]) {
      expect(await pipeline.weir(["dlq", "replay", "--target", target])).toMatchObject({
        code: 3,
        err: expect.stringContaining("code: DLQ_TARGET"),
      });
    }
  });
});

describe("a replay that cannot go on", () => {
  let name: string;

  test("refuses a log in which somebody else claims to have sent its letters", async () => {
    await produce(Array.from({ length: 2_000 }, (_, i) => event({ user: 1 + i, changes: { event_type: "disputed" } })));
    await settles(async () =>
      expect((await json(["dlq", "replay", "--reason", "unknown_event", "--dry-run"])).matching).toBe(LETTERS / 5 + 3_000 + 4 + 2_000),
    );
    const command = ["dlq", "replay", "--reason", "unknown_event", "--set", '/event_type="purchase"', "--rate", "1000"];
    const start = await ends(raw);
    const child = pipeline.spawnWeir(command);
    const outcome = ended(child);
    await settles(async () => expect(sum(await ends(raw)) - sum(start)).toBeGreaterThan(500), { limitMs: 30_000, intervalMs: 10 });
    child.kill("SIGKILL");
    await outcome;
    const [stored] = rowsOf(await pipeline.weir(["dlq", "replays", "--json"]));
    name = stored!.name;
    const [first] = await kafka.fetch([{ topic: raw, partition: 0, offset: start[0]! }], { isolation: "read_uncommitted" });
    await kafka.produce({ topic: raw, partition: 0 }, [first!.records[0]!]);
    const refused = await pipeline.weir(command);
    expect(refused).toMatchObject({ code: 3, out: "", err: expect.stringContaining(`code: DLQ_REPLAY_FOREIGN`) });
    expect(await pipeline.weir(["dlq", "replay", "--abandon", name])).toMatchObject({
      code: 3,
      err: expect.stringContaining("at work a moment ago"),
    });
  });

  test("is given up once its process is surely dead, and its letters are for another one", async () => {
    const { sent } = await settles(() => json(["dlq", "replay", "--abandon", name]), { limitMs: 45_000, intervalMs: 1_000 });
    expect(sent).toBeGreaterThan(500);
    const before = await ends(raw);
    expect(await json(["dlq", "replay", "--reason", "unknown_event", "--set", '/event_type="purchase"'])).toMatchObject({
      sent: 2_000 - sent,
      left: { refused: 1 },
    });
    expect(sum(await ends(raw)) - sum(before)).toBe(2_000 - sent);
    const totals = await verified();
    // The copy that was made by hand is the only duplicate.
    expect(totals).toMatchObject({ duplicate: 1, lost: 0, doubled: 0 });
  });
});

describe("an event at the limits", () => {
  const headers = [
    ["traceparent", Buffer.from("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")],
    ["oseq", Buffer.from("forged")],
    ["binary", Buffer.from([0xff, 0x00, 0xfe])],
  ] as [string, Buffer][];
  const room = 16_384 - headers.reduce((size, [name, value]) => size + name.length + value.length, 0) - 3;
  const fullHeaders: [string, Buffer][] = [...headers, ["pad", Buffer.alloc(room, "h")]];

  function eventOf(bytes: number, user: number): Buffer {
    const start = `{"event_id":"${randomUUID()}","user_id":${user},"event_type":"giant","properties":{"x":[`;
    const items = Array.from({ length: Math.floor((bytes - start.length - 3) / 2_000) }, () => `"${"x".repeat(1_997)}"`).join();
    return Buffer.from(`${`${start}${items}`.padEnd(bytes - 3)}]}}`);
  }

  /** Of events.dlq by user, from the export: the record as it was sent. */
  async function exported(user: number): Promise<Printed[]> {
    const file = join(pipeline.config.dataDir, `${randomUUID()}.jsonl`);
    expect(await pipeline.weir(["dlq", "export", file, "--user", String(user)])).toMatchObject({ code: 0 });
    return rowsOf({ out: readFileSync(file, "utf8") });
  }

  test("of maxEventBytes with headers at their limit fits as a row of a block and as a dead letter, several at once", async () => {
    const values = Array.from({ length: 5 }, () => eventOf(pipeline.config.maxEventBytes, 9_001));
    const partition = partitionOf(Buffer.from("9001"), pipeline.config.partitions);
    for (const value of values) await kafka.produce({ topic: raw, partition }, [{ key: Buffer.from("9001"), value, headers: fullHeaders }]);
    await lettersCome(["--reason", "unknown_event", "--user", "9001"], values.length);
    const letters = await exported(9_001);
    expect(letters.map(({ value }) => Buffer.from(value, "base64").equals(values.shift()!))).toEqual([true, true, true, true, true]);
    for (const letter of letters) {
      expect(letter).toMatchObject({ whole: true, key: Buffer.from("9001").toString("base64") });
      expect(letter.headers).toEqual(fullHeaders.map(([name, bytes]) => [name, bytes.toString("base64")]));
    }
    await verified();
  });

  test("as large as the broker takes is dead-lettered too; what the letter cannot hold is read in events.raw", async () => {
    const value = eventOf((2 << 20) - 20_000, 9_002);
    const partition = partitionOf(Buffer.from("9002"), pipeline.config.partitions);
    await kafka.produce({ topic: raw, partition }, [{ key: Buffer.from("9002"), value, headers: fullHeaders }]);
    await lettersCome(["--reason", "size.event"], 1);
    const [letter] = rowsOf(await pipeline.weir(["dlq", "export", "--reason", "size.event"]));
    expect(letter).toMatchObject({ reason: "size.event", whole: true });
    expect(Buffer.from(letter!.value, "base64").equals(value)).toBe(true);
    expect(letter!.headers).toEqual(fullHeaders.map(([name, bytes]) => [name, bytes.toString("base64")]));
    await verified();
  });
});
