import { describe, expect, test } from "vitest";
import { createGenerator, DEFAULT_SHARES, type GeneratedEvent, type GeneratorOptions } from "#loadgen/generator.ts";
import { POISON_KINDS } from "#loadgen/poison.ts";
import seedRelease from "#shared/rules/seed-release.json" with { type: "json" };

const OPTIONS: GeneratorOptions = { seed: "7", users: 1_000, distribution: "zipf", shares: DEFAULT_SHARES };
const START_MS = Date.UTC(2026, 5, 1);

function generate(count: number, options: Partial<GeneratorOptions> = {}): GeneratedEvent[] {
  const generator = createGenerator({ ...OPTIONS, ...options });
  return Array.from({ length: count }, (_, i) => generator.next(START_MS + Math.floor(i / 2)));
}

const parse = (event: GeneratedEvent): Record<string, unknown> =>
  JSON.parse(Buffer.from(event.value).toString()) as Record<string, unknown>;

test("the same seed gives the same bytes, another seed others", () => {
  const bytes = (seed: string): string =>
    generate(5_000, { seed })
      .map((event) => `${event.kind} ${Buffer.from(event.key).toString()} ${Buffer.from(event.value).toString("latin1")}`)
      .join("\n");
  expect(bytes("7")).toBe(bytes("7"));
  expect(bytes("7")).not.toBe(bytes("8"));
});

test("an event has the fields of the seed schema, an identity of its own and the size that the figures assume", () => {
  const events = generate(5_000, { shares: { late: 0, duplicate: 0, poison: 0, futureClock: 0 } });
  const types = new Set(seedRelease.eventTypes.map((type) => type.name));
  const sources = new Set(seedRelease.sources.map((source) => source.name));
  for (const event of events) {
    const body = parse(event);
    expect(body).toMatchObject({
      user_id: expect.any(Number),
      schema_version: 1,
      properties: expect.any(Object),
      session_id: expect.any(String),
    });
    expect(body["event_id"]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(types).toContain(body["event_type"]);
    expect(sources).toContain(body["source"]);
    expect(Buffer.from(event.key).toString()).toBe(String(body["user_id"]));
    expect(event).toMatchObject({ kind: "normal", reason: null });
  }
  expect(new Set(events.map((event) => parse(event)["event_id"])).size).toBe(events.length);
  const mean = events.reduce((sum, event) => sum + event.value.length, 0) / events.length;
  expect(mean).toBeGreaterThan(300);
  expect(mean).toBeLessThan(360);
});

test("shares hold within sampling error", () => {
  const shares = { late: 0.05, duplicate: 0.1, poison: 0.02, futureClock: 0.01 };
  const count = 40_000;
  const kinds = Map.groupBy(generate(count, { shares }), (event) => event.kind);
  for (const [kind, share] of Object.entries(shares)) {
    const deviation = Math.sqrt((share * (1 - share)) / count);
    const found = (kinds.get(kind as keyof typeof shares)?.length ?? 0) / count;
    expect(Math.abs(found - share), kind).toBeLessThan(5 * deviation);
  }
});

test("a duplicate repeats the bytes and the key of an event sent within the last minute", () => {
  const seen = new Map<string, string>();
  let duplicates = 0;
  for (const event of generate(20_000, { shares: { late: 0, duplicate: 0.1, poison: 0, futureClock: 0 } })) {
    const value = Buffer.from(event.value).toString();
    if (event.kind === "duplicate") {
      duplicates++;
      expect(seen.get(value)).toBe(Buffer.from(event.key).toString());
    } else {
      expect(seen.has(value)).toBe(false);
      seen.set(value, Buffer.from(event.key).toString());
    }
  }
  expect(duplicates).toBeGreaterThan(1_500);
});

test("late events lie at least ten minutes back, future ones at least ten minutes ahead, the others within two seconds", () => {
  const generator = createGenerator({ ...OPTIONS, shares: { late: 0.2, duplicate: 0, poison: 0, futureClock: 0.2 } });
  for (let i = 0; i < 5_000; i++) {
    const event = generator.next(START_MS + i);
    const aheadMs = Date.parse(String(parse(event)["event_time"])) - (START_MS + i);
    if (event.kind === "late") expect(aheadMs).toBeLessThanOrEqual(-600_000);
    else if (event.kind === "futureClock") expect(aheadMs).toBeGreaterThanOrEqual(600_000);
    else expect(aheadMs <= 0 && aheadMs > -2_000).toBe(true);
  }
});

test("poison comes in every kind in turn, each with its reason", () => {
  const events = generate(POISON_KINDS.length * 3, { shares: { late: 0, duplicate: 0, poison: 1, futureClock: 0 } });
  expect(events.map((event) => event.reason)).toEqual(Array.from({ length: 3 }, () => POISON_KINDS.map((kind) => kind.reason)).flat());
});

describe("users", () => {
  const shareOfBusiest = (distribution: "uniform" | "zipf"): { busiest: number; distinct: number } => {
    const counts = new Map<string, number>();
    const events = generate(20_000, { distribution });
    for (const event of events) {
      const key = Buffer.from(event.key).toString();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return { busiest: Math.max(...counts.values()) / events.length, distinct: counts.size };
  };

  test("uniform: nobody stands out", () => {
    const { busiest, distinct } = shareOfBusiest("uniform");
    expect(busiest).toBeLessThan(0.004);
    expect(distinct).toBeGreaterThan(990);
  });

  test("zipf: the busiest of a thousand sends about an eighth", () => {
    const { busiest, distinct } = shareOfBusiest("zipf");
    expect(busiest).toBeGreaterThan(0.1);
    expect(busiest).toBeLessThan(0.17);
    expect(distinct).toBeGreaterThan(800);
  });
});
