/** One event of each kind, followed through the real servers. */
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import { settles } from "#test/support/process.ts";
import { RunningPipeline } from "./running-pipeline.ts";

interface Life {
  readonly partition: number;
  readonly offset: number;
  readonly eventId: string | null;
  readonly outcome: string;
  readonly original: string | null;
  readonly stages: readonly {
    readonly stage: string;
    readonly status: string;
    readonly text: string;
    readonly facts: Readonly<Record<string, unknown>>;
  }[];
}

const ID = { closed: 1, clean: 2, late: 3, poison: 4 } as const;
const idOf = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;

let pipeline: RunningPipeline;

beforeAll(async () => {
  pipeline = new RunningPipeline(inject("stack"));
  await pipeline.start();
  const nowMs = Date.now();
  const event = (id: string, timeMs: number, change: object = {}): string =>
    JSON.stringify({
      event_id: id,
      event_time: new Date(timeMs).toISOString(),
      user_id: 7,
      event_type: "page_view",
      source: "web",
      session_id: "s-7",
      ...change,
    });
  const oldMs = nowMs - 1_800_000;
  const lines = [
    event(idOf(ID.closed), oldMs),
    event(idOf(ID.closed), oldMs),
    event(idOf(ID.poison), oldMs, { event_type: "no_such_type" }),
    event(idOf(ID.clean), nowMs),
    event(idOf(ID.late), oldMs),
    event(idOf(ID.late), oldMs),
  ];
  const sent = await pipeline.weir(["send", "-"], { input: `${lines.join("\n")}\n` });
  expect(sent, sent.err).toMatchObject({ code: 0 });
  await settles(async () => expect(await pipeline.weir(["verify", "--json"])).toMatchObject({ code: 0 }));
});

afterAll(() => pipeline.stop());

async function inspected(target: string, code = 0): Promise<Life[]> {
  const outcome = await pipeline.weir(["inspect", target, "--json"]);
  expect(outcome, `${outcome.err}\n${outcome.out}`).toMatchObject({ code });
  return (JSON.parse(outcome.out) as { events: Life[] }).events;
}

const stageOf = ({ stages }: Life, name: RegExp) => stages.find(({ stage }) => name.test(stage));

test("a clean event and its duplicate, by id: block, verdict, row, view, windows, hot values", async () => {
  const [first, second, ...rest] = await inspected(idOf(ID.closed));
  expect(rest).toEqual([]);
  expect(first).toMatchObject({ eventId: idOf(ID.closed), outcome: "clean", original: null });
  expect(stageOf(first!, /events\.raw/)).toMatchObject({ status: "found", facts: { offset: first!.offset, key: "7" } });
  expect(stageOf(first!, /events\.valid/)!.facts).toMatchObject({ verdict: "ok", reason: null, rulesVersion: expect.any(Number) });
  expect(stageOf(first!, /events\.clean/)!.facts).toMatchObject({ oseq: 1, event_id: idOf(ID.closed) });
  expect(stageOf(first!, /ClickHouse events/)).toMatchObject({ status: "found", text: expect.stringMatching(/^1 row, oseq 1, cut/) });
  expect(stageOf(first!, /user_activity_1min/)).toMatchObject({ status: "found", text: expect.stringMatching(/^1 events of user 7/) });
  expect(stageOf(first!, /ClickHouse windows/)!.text).toMatch(/tumbling_5m of .*: 1 events/);
  expect(stageOf(first!, /Redis .*user:7:activity/)).toMatchObject({ status: "found" });
  expect(stageOf(first!, /Redis .*session:s-7/)).toMatchObject({ status: "found" });
  expect(second).toMatchObject({
    outcome: "duplicate",
    original: expect.stringMatching(new RegExp(`events.raw/${first!.partition}/${first!.offset}$`)),
  });
  expect(second!.stages.map(({ stage }) => stage)).not.toContain("ClickHouse events");
});

test("a dead letter, by id and by its position in events.dlq: reason and pointer", async () => {
  const [letter] = await inspected(idOf(ID.poison));
  expect(letter).toMatchObject({ outcome: "deadLettered" });
  expect(stageOf(letter!, /events\.valid/)!.facts).toMatchObject({ verdict: "reject", reason: expect.any(String) });
  const facts = stageOf(letter!, /events\.dlq/)!.facts;
  expect(facts).toMatchObject({ reason: expect.any(String), replays: 0 });
  expect(stageOf(letter!, /dead_letters/)).toMatchObject({ status: "found" });
  expect(await inspected(`events.dlq/${letter!.partition}/${facts["offset"] as number}`)).toMatchObject([{ offset: letter!.offset }]);
});

test("a late event names its window, and its repetition is a duplicate of it", async () => {
  const lives = await inspected(idOf(ID.late));
  expect(lives).toMatchObject([{ outcome: "late" }, { outcome: "duplicate", original: expect.stringMatching(`/${lives[0]!.offset}$`) }]);
  expect(stageOf(lives[0]!, /events\.late/)!.text).toMatch(/^late, its window was closed: \w+ of 20/);
});

test("for a person: one line a stage, in the order of its way", async () => {
  const { out, code } = await pipeline.weir(["inspect", idOf(ID.clean)]);
  expect(code).toBe(0);
  expect(out).toMatch(/^00000000-0000-4000-8000-000000000002: clean \(\S*events\.raw\/\d\/\d+, 20/);
  const order = ["events.raw", "events.valid", "fold", "events.clean", "ClickHouse events", "Redis mark"].map(
    (stage) => out.indexOf(` ${stage}`) + out.indexOf(`.${stage}`),
  );
  expect(order).toEqual(order.toSorted((a, b) => a - b));
});

test("what was sent again of a dead letter is named, and says of itself what it repeats", async () => {
  const [letter] = await inspected(idOf(ID.poison));
  expect(stageOf(letter!, /^replays$/)).toBeUndefined();
  const { partition, stages } = letter!;
  const position = stages.find(({ stage }) => stage.endsWith("events.dlq"))!.facts["offset"] as number;
  const replay = `mended/${partition}/${position}`;
  const kafka = await openKafka({ ...(await kafkaOptions(pipeline.config)), clientId: "inspect-test" });
  const value = { event_id: idOf(5), event_time: new Date().toISOString(), user_id: 7, event_type: "page_view", source: "web" };
  const offset = await kafka.produce({ topic: topicName(pipeline.config.lane, "raw"), partition }, [
    {
      key: Buffer.from("7"),
      value: Buffer.from(JSON.stringify(value)),
      headers: [
        [HEADERS.replay, Buffer.from(replay)],
        [HEADERS.replays, Buffer.from("1")],
      ],
    },
  ]);
  await kafka.close();
  await settles(async () => expect(await pipeline.weir(["verify", "--json"])).toMatchObject({ code: 0 }));
  const [again] = await inspected(idOf(ID.poison));
  expect(stageOf(again!, /^replays$/)).toMatchObject({ text: expect.stringContaining(`events.raw/${partition}/${offset} by mended`) });
  const [mended] = await inspected(`${partition}/${offset}`);
  expect(mended).toMatchObject({ outcome: "clean" });
  expect(stageOf(mended!, /events\.raw/)!.text).toContain(`replay ${replay}`);
});

test("a store that is down is named, and the others still tell", async () => {
  const outcome = await pipeline.weir(["inspect", `${(await inspected(idOf(ID.clean)))[0]!.partition}/0`, "--json"], {
    environment: { WEIR_CLICKHOUSE: "http://127.0.0.1:1", WEIR_REDIS: "redis://127.0.0.1:1" },
  });
  const [life] = (JSON.parse(outcome.out) as { events: Life[] }).events;
  expect(life).toMatchObject({ outcome: "clean" });
  expect(stageOf(life!, /^ClickHouse$/)).toMatchObject({ status: "unknown" });
});

test("an event that is nowhere: exit 3; a position that is none: exit 2", async () => {
  expect(await inspected(idOf(99), 3)).toEqual([]);
  expect(await inspected("0/99999999", 3)).toMatchObject([{ outcome: "absent" }]);
  expect(await pipeline.weir(["inspect", "events.nonsense/0/1"])).toMatchObject({ code: 2 });
  expect(await pipeline.weir(["inspect", "what"])).toMatchObject({ code: 2 });
});
