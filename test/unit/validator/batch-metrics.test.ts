import { beforeEach, describe, expect, test } from "vitest";
import { type BatchFacts, emitBatch } from "#functions/validator/batch-metrics.ts";
import { BatchValidator, noCounts } from "#functions/validator/batch-validator.ts";
import { readInvocationEvent } from "#functions/validator/invocation-event.ts";
import { DEFAULT_LIMITS } from "#functions/validator/scanner/limits.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { compilePlan } from "#shared/rules/plan.ts";
import { parseRelease } from "#shared/rules/release.ts";
import { EmfMetrics } from "#shared/telemetry/emf.ts";
import { goodEvent, NOW_MS } from "#test/support/validated-event.ts";

type Document = Readonly<Record<string, unknown>>;

let lines: string[];
let metrics: EmfMetrics;

beforeEach(() => {
  lines = [];
  metrics = new EmfMetrics({
    dimensions: { service: "validator", environment: "test", lane: "live" },
    intervalMs: 0,
    now: () => NOW_MS,
    write: (line) => lines.push(line),
  });
});

const documents = (): Document[] => lines.map((line) => JSON.parse(line) as Document);

function factsOf(changes: Partial<BatchFacts>): BatchFacts {
  return {
    counts: noCounts(),
    failed: false,
    durationMs: 7.00049,
    produceMs: 2,
    retries: 0,
    rules: { version: 4, ageMs: 2_400, failingForMs: null },
    startedAtMs: NOW_MS + 80,
    initDurationMs: null,
    ...changes,
  };
}

async function validate(texts: readonly string[], plan = compilePlan(loadSeedRelease())): Promise<ReturnType<typeof noCounts>> {
  const batch = new BatchValidator(DEFAULT_LIMITS, { encode: () => new Uint8Array(70), send: async () => undefined });
  const records = texts.map((text, offset) => ({
    topic: "events.raw",
    partition: 0,
    offset,
    timestamp: NOW_MS - offset,
    key: Buffer.from("42").toString("base64"),
    value: Buffer.from(text).toString("base64"),
    headers: [],
  }));
  return batch.run(readInvocationEvent({ eventSource: "aws:kafka", records: { "events.raw-0": records } }, "events.raw"), plan);
}

describe("a batch", () => {
  test("counts what came in and what was refused, by reason", async () => {
    const good = JSON.stringify(goodEvent());
    emitBatch(metrics, factsOf({ counts: await validate([good, "{", "x", good]) }));
    const [document, byReason] = documents();
    expect(document).toMatchObject({
      BatchesValidated: 1,
      BatchFailures: 0,
      EventsIn: 4,
      EventsRejected: 2,
      EventsFlagged: 0,
      BytesIn: 2 * good.length + 2,
      BlocksProduced: 1,
      BlockBytes: 70,
      BatchDurationMs: [7],
      ProduceDurationMs: [2],
      RecordAgeMs: [83],
      RulesVersion: 4,
      RulesAgeSeconds: 2,
      RulesFailingSeconds: 0,
    });
    expect(document).not.toHaveProperty("ColdStarts");
    expect(byReason).toMatchObject({ reason: "json.syntax", RejectsByReason: 2 });
  });

  test("that failed is one failure and no events, since they come again", async () => {
    emitBatch(metrics, factsOf({ counts: await validate(["{"]), failed: true }));
    const [document, ...more] = documents();
    expect(more).toEqual([]);
    expect(document).toMatchObject({ BatchFailures: 1, BlocksProduced: 1 });
    expect(document).not.toHaveProperty("EventsIn");
  });

  test("first of its runtime, under rules that cannot be refreshed, says both", () => {
    emitBatch(metrics, factsOf({ initDurationMs: 250, rules: { version: 4, ageMs: 61_000, failingForMs: 60_000 } }));
    expect(documents()[0]).toMatchObject({ ColdStarts: 1, InitDurationMs: [250], RulesAgeSeconds: 61, RulesFailingSeconds: 60 });
  });

  test("before any rules says nothing of them", () => {
    emitBatch(metrics, factsOf({ rules: null, failed: true }));
    expect(documents()[0]).not.toHaveProperty("RulesVersion");
  });

  test("with events of an older schema version counts them and names the versions in the line, never as a dimension", async () => {
    const seed = loadSeedRelease();
    const clicked = seed.eventTypes.find(({ name }) => name === "click")!;
    const release = parseRelease({ ...seed, eventTypes: [...seed.eventTypes, { ...clicked, schemaVersion: 2 }] }, "test");
    const click = (version?: number): string =>
      JSON.stringify({ ...goodEvent(), event_type: "click", ...(version === undefined ? {} : { schema_version: version }) });
    const counts = await validate([click(2), click(1), click(), click(2)], compilePlan(release));
    expect([counts.events, counts.rejects]).toEqual([4, 0]);
    emitBatch(metrics, factsOf({ counts }));
    expect(documents()).toHaveLength(1);
    expect(documents()[0]).toMatchObject({ OlderSchemaEvents: 2, olderSchemas: "click@1:2" });
    const { Dimensions, Metrics } = (
      documents()[0]!["_aws"] as { CloudWatchMetrics: { Dimensions: string[][]; Metrics: { Name: string }[] }[] }
    ).CloudWatchMetrics[0]!;
    expect(Dimensions).toEqual([["service", "environment", "lane"]]);
    expect(Metrics.map(({ Name }) => Name)).not.toContain("olderSchemas");
  });
});
