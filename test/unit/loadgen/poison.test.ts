import { expect, test } from "vitest";
import { BatchValidator } from "#functions/validator/batch-validator.ts";
import { readInvocationEvent } from "#functions/validator/invocation-event.ts";
import { DEFAULT_LIMITS } from "#functions/validator/scanner/limits.ts";
import { createGenerator, type GeneratedEvent } from "#loadgen/generator.ts";
import { POISON_KINDS } from "#loadgen/poison.ts";
import { encodeEvent, encodeRecord, type EventSource } from "#local/lambda-twin/invocation-event.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { compilePlan } from "#shared/rules/plan.ts";

const SOURCE: EventSource = { arn: "arn:aws:kafka:local:000000000000:cluster/weir/1", bootstrapServers: "b", timestampType: "CREATE_TIME" };
const AT = { topic: "events.raw", partition: 0 };

/** Through the event source mapping's event into the validator: what it says to each, null = accepted. */
async function reasonsOf(events: readonly GeneratedEvent[], nowMs: number): Promise<(string | null)[]> {
  const encoded = events.map(({ key, value }, offset) => encodeRecord(AT, { offset, timestampMs: nowMs, key, value, headers: [] }, SOURCE));
  const batches = readInvocationEvent(JSON.parse(encodeEvent([{ ...AT, encoded }], SOURCE)), AT.topic);
  const reasons: (string | null)[] = [];
  const validator = new BatchValidator(DEFAULT_LIMITS, {
    encode: ({ rows, reason }) => {
      for (let i = 0; i < rows; i++) reasons.push(reason.codes[i]! < 0 ? null : reason.values[reason.codes[i]!]!);
      return new Uint8Array(1);
    },
    send: async () => undefined,
  });
  await validator.run(batches, compilePlan(loadSeedRelease()));
  return reasons;
}

test("the validator gives every kind of poison the reason that it promises", async () => {
  const nowMs = Date.UTC(2026, 5, 1);
  const generator = createGenerator({
    seed: "1",
    users: 100,
    distribution: "uniform",
    shares: { late: 0, duplicate: 0, poison: 1, futureClock: 0 },
  });
  const reasons = await reasonsOf(
    Array.from(POISON_KINDS, () => generator.next(nowMs)),
    nowMs,
  );
  expect(POISON_KINDS.map(({ name }, i) => `${name}: ${reasons[i]}`)).toEqual(POISON_KINDS.map(({ name, reason }) => `${name}: ${reason}`));
});

test("the validator accepts all other events but those of the future, which are too early", async () => {
  const nowMs = Date.UTC(2026, 5, 1);
  const generator = createGenerator({
    seed: "2",
    users: 100,
    distribution: "zipf",
    shares: { late: 0.1, duplicate: 0.1, poison: 0, futureClock: 0.1 },
  });
  const events = Array.from({ length: 5_000 }, () => generator.next(nowMs));
  const reasons = await reasonsOf(events, nowMs);
  expect(reasons).toHaveLength(events.length);
  for (const [i, { kind, reason }] of events.entries()) expect(reasons[i], kind).toBe(reason);
});
