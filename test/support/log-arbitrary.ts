/** Random logs of events.valid for property tests: few users and ids, so that duplicates, conflicts, merges and bridges are common. */
import fc from "fast-check";
import type { EventRow } from "./event-batch.ts";
import type { LogEntry, NaiveEnrichment } from "./naive-fold.ts";

/** Not on a window's edge, so that events fall on both sides of several. */
const T0 = 1_700_000_000_000 - (1_700_000_000_000 % 3_600_000) + 3_480_000;

interface Step {
  readonly advanceMs: number;
  readonly backMs: number;
  readonly user: number;
  readonly id: number | null;
  readonly value: number | null;
  readonly verdict: "ok" | "reject" | "warning";
  readonly repeats: number | null;
  readonly text: string | null;
  readonly control: "tick" | "rules" | "enrichment" | "none";
  readonly properties: string;
  readonly logMs: number;
  readonly endsBlock: boolean;
}

const PLANS = { gold: { tier: "1", region: "eu" }, silver: { tier: "2" }, "7": { tier: "ß" }, "": {} };
const TABLES: readonly Omit<NaiveEnrichment, "version">[] = [
  { key: "source", rows: { "source-1": { region: "eu" }, "source-2": { region: "us", tier: "2" } } },
  { key: "event_type", rows: { purchase: { kind: "sale" } } },
  { key: "/properties/plan", rows: PLANS },
  { key: "/properties/in/plan", rows: PLANS },
];

const REJECTS = ["json.syntax", "json.empty", "schema.required", "schema.range", "id.format", "key.mismatch", "time.future"] as const;
const WARNINGS = ["rule.flag", "time.unchecked"] as const;

const HUGE_ID = 0xfedcba9876543210n;

const step: fc.Arbitrary<Step> = fc.record({
  advanceMs: fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 4_000 }) },
    { weight: 2, arbitrary: fc.constantFrom(0, 29_999, 30_000, 30_001) },
    { weight: 1, arbitrary: fc.integer({ min: 30_000, max: 700_000 }) },
  ),
  backMs: fc.oneof(
    { weight: 6, arbitrary: fc.constant(0) },
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 60_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 400_000 }) },
  ),
  user: fc.integer({ min: 0, max: 3 }),
  /** null = a new id. */
  id: fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 2 }) }),
  value: fc.option(fc.integer({ min: -400, max: 400 }).map((quarters) => quarters / 4)),
  verdict: fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom("ok" as const) },
    { weight: 1, arbitrary: fc.constantFrom("reject" as const, "warning" as const) },
  ),
  /** An earlier row of the log, sent again by its producer. */
  repeats: fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat({ max: 30 }) }),
  text: fc.option(fc.constantFrom("", "a", "ß and more", "x".repeat(60))),
  control: fc.oneof(
    { weight: 15, arbitrary: fc.constantFrom("none" as const) },
    { weight: 1, arbitrary: fc.constantFrom("tick" as const, "rules" as const, "enrichment" as const) },
  ),
  properties: fc.constantFrom(
    "{}",
    '{"plan":"gold"}',
    '{ "x" : [1,{"plan":"no"}], "plan" : "si\\u006cver" }',
    '{"\\u0070lan":7,"in":{"plan":"gold"}}',
    '{"in":{"plan":"silver","y":"}"},"plan":null}',
  ),
  logMs: fc.oneof(
    { weight: 4, arbitrary: fc.constant(0) },
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 800 }) },
    { weight: 1, arbitrary: fc.integer({ min: -50, max: 20_000 }) },
    { weight: 1, arbitrary: fc.constantFrom(3_600_000, 8_000_000) },
  ),
  endsBlock: fc.boolean(),
});

export const logArbitrary: fc.Arbitrary<LogEntry[]> = fc
  .tuple(fc.array(step, { minLength: 1, maxLength: 120, size: "max" }), fc.boolean(), fc.constantFrom(0, 17, 4_294_967_290))
  .map(([steps, drains, firstOffset]) => buildLog(steps, drains, firstOffset));

function buildLog(steps: readonly Step[], drains: boolean, firstOffset: number): LogEntry[] {
  const log: LogEntry[] = [];
  const sent: EventRow[] = [];
  let rows: EventRow[] = [];
  let newestMs = T0;
  let logTimeMs = T0;
  const endBlock = (): void => {
    if (rows.length > 0) log.push({ kind: "block", logTimeMs, rows });
    rows = [];
  };
  for (const [i, s] of steps.entries()) {
    newestMs += s.advanceMs;
    const sourceOffset = firstOffset + i;
    const again = s.repeats === null ? undefined : sent[sent.length - 1 - s.repeats];
    const row: EventRow =
      again === undefined
        ? {
            sourceOffset,
            eventId: s.id ?? 1_000_000 + i,
            eventTimeMs: newestMs - s.backMs,
            userId: s.user === 3 ? HUGE_ID : s.user,
            value: s.value,
            sessionId: s.text,
            deviceInfo: s.text,
            properties: s.properties,
            eventType: i % 3 === 0 ? "purchase" : "click",
            source: s.text === null ? null : `source-${s.user}`,
            verdict: s.verdict,
            reason: s.verdict === "ok" ? null : s.verdict === "reject" ? REJECTS[i % 7]! : WARNINGS[i % 2]!,
            raw: s.verdict === "reject" ? "{" : null,
          }
        : { ...again, sourceOffset };
    sent.push(row);
    rows.push(row);
    if (s.endsBlock || s.control !== "none") endBlock();
    logTimeMs += s.endsBlock || s.control !== "none" ? s.logMs : 0;
    if (s.control === "tick") log.push({ kind: "tick", logTimeMs, now: newestMs + 7_000 });
    if (s.control === "enrichment") log.push({ kind: "enrichment", logTimeMs, table: { version: i, ...TABLES[i % TABLES.length]! } });
    if (s.control === "rules") log.push({ kind: "rules", logTimeMs, version: i });
  }
  endBlock();
  if (drains) log.push({ kind: "drain", logTimeMs });
  return log;
}
