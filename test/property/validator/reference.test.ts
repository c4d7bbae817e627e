/**
 * The validator against a reference that shares nothing with it but the texts of the rules (test/support/reference), and both against
 * JSON.parse. Documents come from one seed, which a failure prints: WEIR_SEED=<seed> runs the same ones again.
 */
import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS, type Limits } from "#functions/validator/scanner/limits.ts";
import { createValidator, type Validator } from "#functions/validator/scanner/validator.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { compilePlan } from "#shared/rules/plan.ts";
import { parseRelease, type Release } from "#shared/rules/release.ts";
import { Random } from "#test/simulation/world.ts";
import { HostileDocuments } from "#test/support/hostile-documents.ts";
import { minimise } from "#test/support/minimise.ts";
import { type ReferenceRecord, ReferenceValidator } from "#test/support/reference/validator.ts";
import { goodEvent, NOW_MS } from "#test/support/validated-event.ts";
import { addRecord, difference, type Layout, LAYOUTS, rowOf } from "#test/support/validator-comparison.ts";
import { STRICT_RELEASE, STRICT_VALUES } from "#test/support/strict-release.ts";

/** The same in every run of the tests; `npm run fuzz` draws new ones. */
const SEED = Number(process.env["WEIR_SEED"] ?? 20_261_124);
/** By engine: the kernel takes what it finds right and leaves the rest to its TypeScript twin, which can also do without it. */
const ENGINES = [
  { engine: "kernel and twin", kernel: true, documents: 100_000, strictDocuments: 20_000 },
  { engine: "twin alone", kernel: false, documents: 20_000, strictDocuments: 5_000 },
] as const;
const FRESH_DOCUMENTS = 1_000;
const fatal = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function isJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(fatal.decode(bytes));
    return true;
  } catch {
    return false;
  }
}

/** Codes that say "no JSON text". */
const NOT_JSON: ReadonlySet<string | null> = new Set(["json.empty", "json.syntax", "json.multiple", "encoding", "encoding.bom", "format"]);

interface Sample {
  readonly record: ReferenceRecord;
  readonly layout: Layout;
}

function* samples(seed: number, count: number, often = {}): Generator<Sample> {
  const random = new Random(seed);
  const documents = new HostileDocuments(random, often);
  for (let i = 0; i < count; i++) {
    const value = documents.next();
    const key = random.chance(0.85) ? Buffer.from("42") : random.chance(0.5) ? undefined : random.chance(0.5) ? null : Buffer.from("043");
    const timestampMs = random.chance(0.97) ? NOW_MS : -1;
    yield { record: { value, key, timestampMs }, layout: LAYOUTS[random.int(0, LAYOUTS.length - 1)]! };
  }
}

interface Engine {
  readonly release: Release;
  readonly limits: Limits;
  readonly kernel: boolean;
}

function newValidator({ release, limits, kernel }: Engine): Validator {
  return createValidator(compilePlan(release), limits, { kernel });
}

/** Prints what repeats the failure, with the smallest record that shows it in a validator of its own, if one does. */
async function fail(engine: Engine, { record, layout }: Sample, what: string): Promise<never> {
  const differs = (value: Uint8Array): string | null => {
    const validator = newValidator(engine);
    validator.begin();
    addRecord(validator, { ...record, value }, 0, layout);
    return difference(rowOf(validator.finish(), 0), new ReferenceValidator(engine.release, engine.limits).row({ ...record, value }));
  };
  const value = record.value!;
  const smallest = differs(value) === null ? value : await minimise(value, (bytes) => differs(bytes) !== null, 500);
  const alone = differs(smallest) ?? "nothing: the difference comes from the records before it";
  return expect.fail(
    `${what}\nWEIR_SEED=${SEED}\nrecord: ${JSON.stringify(Buffer.from(value).toString("latin1"))}\n` +
      `smallest: ${JSON.stringify(Buffer.from(smallest).toString("latin1"))} (hex ${Buffer.from(smallest).toString("hex")}): ${alone}`,
  );
}

/** Blocks of random length, so that each record comes at any place, with any records before it. Counts by reason. */
async function compare(engine: Engine, count: number, seed: number, often = {}): Promise<Map<string, number>> {
  const validator = newValidator(engine);
  const reference = new ReferenceValidator(engine.release, engine.limits);
  const random = new Random(seed + 1);
  const counts = new Map<string, number>();
  let block: Sample[] = [];
  let blockSize = 1;
  const close = async (): Promise<void> => {
    validator.begin();
    for (const [offset, { record, layout }] of block.entries()) addRecord(validator, record, offset, layout);
    const columns = validator.finish();
    for (const [row, sample] of block.entries()) {
      const expected = reference.row(sample.record);
      const actual = rowOf(columns, row);
      const wrong = difference(actual, expected);
      if (wrong !== null) await fail(engine, sample, wrong);
      const parses = isJson(sample.record.value!);
      if (NOT_JSON.has(actual.reason) ? parses : actual.verdict !== "reject" && !parses)
        await fail(engine, sample, `JSON.parse disagrees with ${actual.reason ?? "ok"}`);
      counts.set(actual.reason ?? "ok", (counts.get(actual.reason ?? "ok") ?? 0) + 1);
    }
    block = [];
    blockSize = random.int(1, 200);
  };
  for (const sample of samples(seed, count, often)) {
    block.push(sample);
    if (block.length >= blockSize) await close();
  }
  await close();
  return counts;
}

describe.each(ENGINES)(`the validator ($engine) and a reference, seed ${SEED},`, ({ kernel, documents, strictDocuments }) => {
  // The smaller run may draw a rare one only now and then.
  const least = kernel ? 5 : 1;

  it(`give the same row for each of ${documents} random and mutated records, in any block`, async () => {
    const counts = await compare({ release: loadSeedRelease(), limits: DEFAULT_LIMITS, kernel }, documents, SEED);
    // A run that never reaches a check proves nothing about it.
    const rare = [
      "ok",
      "encoding",
      "encoding.bom",
      "encoding.surrogate",
      "json.empty",
      "json.syntax",
      "json.multiple",
      "json.depth",
      "json.duplicate_key",
      "forbidden_key",
      "number.unsafe",
      "number.range",
      "text.nul",
      "schema.not_object",
      "schema.required",
      "schema.type",
      "schema.range",
      "schema.length",
      "schema.version",
      "unknown_event",
      "unknown_source",
      "id.format",
      "id.placeholder",
      "size.field",
      "time.unparseable",
      "time.zone",
      "time.unit",
      "time.future",
      "time.ancient",
      "time.unchecked",
      "key.missing",
      "key.mismatch",
    ].filter((reason) => (counts.get(reason) ?? 0) < least);
    expect(rare, JSON.stringify(Object.fromEntries(counts))).toEqual([]);
  });

  it(`give the same row for ${strictDocuments} records under narrow limits and rules that refuse what they do not know`, async () => {
    const limits: Limits = {
      ...DEFAULT_LIMITS,
      depth: 6,
      keys: 20,
      items: 5,
      stringBytes: 40,
      keyBytes: 24,
      eventBytes: 600,
      sessionIdBytes: 10,
    };
    const counts = await compare(
      { release: parseRelease(STRICT_RELEASE, "in the test"), limits, kernel },
      strictDocuments,
      SEED + 2,
      STRICT_VALUES,
    );
    const rare = [
      "size.event",
      "size.key",
      "size.field",
      "json.depth",
      "json.items",
      "json.keys",
      "schema.enum",
      "schema.unknown_field",
      "rule.flag",
    ];
    expect(
      rare.filter((reason) => (counts.get(reason) ?? 0) < least),
      JSON.stringify(Object.fromEntries(counts)),
    ).toEqual([]);
  });

  it(`see ${FRESH_DOCUMENTS} records alike whether a record is the first of a new validator or one of many in an old one`, async () => {
    const engine = { release: loadSeedRelease(), limits: DEFAULT_LIMITS, kernel };
    const old = newValidator(engine);
    const rowIn = (validator: Validator, { record, layout }: Sample): string => {
      validator.begin();
      addRecord(validator, record, 0, layout);
      return JSON.stringify(rowOf(validator.finish(), 0), (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value));
    };
    // Filled with keys until nothing more can be remembered, then with other keys.
    for (let i = 0; i < 1_500; i++) {
      const value = Buffer.from(JSON.stringify(goodEvent({ properties: { amount: 1, [`filler${i}`]: { [`inner${i % 70}`]: i } } })));
      rowIn(old, { record: { value, key: undefined, timestampMs: NOW_MS }, layout: "alone" });
    }
    for (const sample of samples(SEED + 3, FRESH_DOCUMENTS)) {
      const alone = rowIn(newValidator(engine), sample);
      const later = rowIn(old, sample);
      if (later !== alone) await fail(engine, sample, `the row is ${alone} in a new validator, ${later} in one that has seen others`);
    }
  });

  it("see keys that were made to collide alike, whatever came before", () => {
    const engine = { release: loadSeedRelease(), limits: DEFAULT_LIMITS, kernel };
    // "Aa" and "BB" have one sum under every hash of the form 31 h + byte: 128 keys of seven such pairs.
    const names = Array.from({ length: 128 }, (_, i) => Array.from({ length: 7 }, (__, bit) => ((i >> bit) & 1 ? "Aa" : "BB")).join(""));
    const value = Buffer.from(
      JSON.stringify(goodEvent({ properties: { amount: 1, ...Object.fromEntries(names.map((name) => [name, 1])) } })),
    );
    const record: ReferenceRecord = { value, key: undefined, timestampMs: NOW_MS };
    const verdictIn = (validator: Validator): string | null => {
      validator.begin();
      addRecord(validator, record, 0);
      return rowOf(validator.finish(), 0).reason;
    };
    const old = newValidator(engine);
    for (let filler = 200; filler < 260; filler++) {
      old.begin();
      const properties = { amount: 1, ...Object.fromEntries(Array.from({ length: filler }, (_, i) => [`filler${filler}-${i}`, 1])) };
      addRecord(old, { ...record, value: Buffer.from(JSON.stringify(goodEvent({ properties }))) }, 0);
      expect(verdictIn(old), `after an event with ${filler} keys`).toBe(verdictIn(newValidator(engine)));
    }
  });
});
