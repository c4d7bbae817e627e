import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Kernel } from "#functions/validator/kernel/kernel.ts";
import { BlockBuilder } from "#functions/validator/scanner/block-builder.ts";
import { DEFAULT_LIMITS, type Limits } from "#functions/validator/scanner/limits.ts";
import { createValidator, type Validator } from "#functions/validator/scanner/validator.ts";
import { createGenerator } from "#loadgen/generator.ts";
import { encodeBlock } from "#shared/events/block.ts";
import { compilePlan, type Plan } from "#shared/rules/plan.ts";
import { checkRelease } from "#shared/rules/release.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { MARKS } from "#test/support/hostile-tokens.ts";
import { goodEvent, NOW_MS } from "#test/support/validated-event.ts";

/** Printed with a failure and set to repeat it; otherwise new each run. */
const SEED = Number(process.env["FAST_CHECK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const parameters = (numRuns: number): { numRuns: number; seed: number } => ({ numRuns, seed: SEED });

const encoder = new TextEncoder();
const encode = (event: object): Uint8Array => encoder.encode(JSON.stringify(event));
const PLACE = { generation: 1, topic: "events.raw", partition: 0, firstSourceOffset: 0, lastSourceOffset: 0, rulesVersion: 1 };

interface Pair {
  readonly kernel: Validator;
  readonly twin: Validator;
}

function pairOf(plan: Plan, limits: Limits = DEFAULT_LIMITS): Pair {
  return { kernel: createValidator(plan, limits), twin: createValidator(plan, limits, { kernel: false }) };
}

interface Sample {
  readonly value: Uint8Array;
  /** undefined = none is expected. */
  readonly key?: Uint8Array | null | undefined;
  readonly timestampMs?: number;
}

/** One block each; every byte must be the same. Returns how many were accepted. */
function expectSame({ kernel, twin }: Pair, samples: readonly Sample[]): number {
  const [a, b] = [kernel, twin].map((validator) => {
    validator.begin();
    const verdicts = samples.map(({ value, key, timestampMs = NOW_MS }, i) =>
      validator.add(value, 0, value.length, key, null, 10 + i, timestampMs),
    );
    expect(validator.rows).toBe(samples.length);
    const size = validator.sizeBytes();
    const block = encodeBlock(validator.finish(), PLACE);
    return { verdicts, size, rejects: validator.rejects, versionRows: [...validator.versionRows], block };
  });
  expect(a!.verdicts).toEqual(b!.verdicts);
  expect([a!.size, a!.rejects, a!.versionRows]).toEqual([b!.size, b!.rejects, b!.versionRows]);
  expect(Buffer.compare(a!.block, b!.block)).toBe(0);
  return a!.verdicts.filter(Boolean).length;
}

const seedPair = pairOf(compilePlan(loadSeedRelease()));

/** That kernel and twin agree says nothing if the kernel leaves everything to the twin. */
function sharePassed(values: readonly Uint8Array[]): number {
  const plan = compilePlan(loadSeedRelease());
  const kernel = Kernel.create(plan, DEFAULT_LIMITS)!;
  const block = new BlockBuilder(plan);
  let passed = 0;
  for (const [i, value] of values.entries()) {
    const input = kernel.input(value.length + 8);
    input.set(value);
    input.fill(0, value.length, value.length + 8);
    if (kernel.accept(0, value.length, -1, 0, NOW_MS, i, block)) passed++;
  }
  return passed / values.length;
}

const junk = fc.constantFrom(
  ...MARKS,
  ".",
  "0",
  "1",
  "9",
  "00",
  "\\u0000",
  "\\ud83d",
  "\0",
  "\x80",
  "\xff",
  " ",
  "\t",
  "é",
  "😀",
  '"a":1,',
  '"event_id":1,',
  '"__proto__":{},',
  '{"a":{"a":1,"a":2}}',
  "[[1,{}],null]",
  "1e5",
  "123456789012345678",
  "0.1234567890123456",
  "null",
  "true",
);
const edit = fc.record({
  at: fc.double({ min: 0, max: 0.999, noNaN: true }),
  drop: fc.integer({ min: 0, max: 4 }),
  put: fc.oneof(junk, fc.constant("")),
});

function edited(bytes: Uint8Array, edits: readonly { readonly at: number; readonly drop: number; readonly put: string }[]): Uint8Array {
  let result = Buffer.from(bytes);
  for (const { at, drop, put } of edits) {
    const from = Math.floor(at * result.length);
    const raw = put.length === 1 ? Buffer.from(put, "latin1") : Buffer.from(put);
    result = Buffer.concat([result.subarray(0, from), raw, result.subarray(from + drop)]);
  }
  return result;
}

describe("kernel and twin build the same block, byte for byte,", () => {
  it("of the load generator's events, poison and all", () => {
    const generator = createGenerator({
      seed: `kernel ${SEED}`,
      users: 1_000,
      distribution: "zipf",
      shares: { late: 0.01, duplicate: 0.01, poison: 0.1, futureClock: 0.01 },
    });
    for (let block = 0; block < 10; block++) {
      const samples = Array.from({ length: 1_000 }, (_, i) => generator.next(NOW_MS + block * 1_000 + i)).map(({ value, key }) => ({
        value,
        key,
      }));
      expect(expectSame(seedPair, samples)).toBeGreaterThan(700);
    }
  });

  it("of 40,000 edited events, a few of them in one block", () => {
    const generator = createGenerator({
      seed: `edits ${SEED}`,
      users: 1_000,
      distribution: "zipf",
      shares: { late: 0, duplicate: 0, poison: 0, futureClock: 0 },
    });
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(fc.array(edit, { maxLength: 3 }), { minLength: 4, maxLength: 4 }), (all) => {
        accepted += expectSame(
          seedPair,
          all.map((edits) => ({ value: edited(generator.next(NOW_MS).value, edits) })),
        );
      }),
      parameters(10_000),
    );
    expect(accepted).toBeGreaterThan(5_000);
  });

  it("of values of every kind in every field", () => {
    const texts = fc.constantFrom(
      "",
      " ",
      "x",
      "\t",
      "null",
      "0",
      "00",
      "18446744073709551615",
      "18446744073709551616",
      "9999999999999999999",
      'a"b',
      "é",
      "\u0001",
      "💥".repeat(40),
      "y".repeat(127),
      "y".repeat(128),
      "y".repeat(129),
    );
    const times = fc.constantFrom(
      "2026-11-24T09:00:00Z",
      "2026-11-24T09:00:00.1Z",
      "2026-11-24t09:00:00.123456z",
      "2026-11-24T09:00:00+05:30",
      "2026-11-24T09:00:00-23:59",
      "2026-02-29T00:00:00Z",
      "2024-02-29T23:59:59.999Z",
      "2026-11-24T24:00:00Z",
      "2026-11-24T09:00:60Z",
      "2026-11-24T09:00:00",
      "2026-11-24T09:00:00.Z",
      "2026-13-01T00:00:00Z",
      "0000-01-01T00:00:00.000Z",
      "1969-12-31T23:59:59.999Z",
      "2026-11-24T09:00:00.000+00:00Z",
    );
    const ids = fc.oneof(
      fc.uuid(),
      fc.uuid().map((id) => id.toUpperCase()),
      fc.constantFrom(
        "00000000-0000-0000-0000-000000000000",
        "0a2f4c6e-0000-7000-8000-00000000000g",
        "0a2f4c6e00000-7000-8000-000000000001",
        "0a2f4c6e-0000-7000-8000-00000000000",
      ),
    );
    const numbers = fc.oneof(
      fc.double(),
      fc.integer(),
      fc.constantFrom(
        -0,
        0,
        1e21,
        1e-7,
        999999999999999,
        9007199254740991,
        9007199254740992,
        0.1,
        NOW_MS,
        NOW_MS / 1000,
        NOW_MS * 1000,
        -NOW_MS,
      ),
    );
    const any = fc.oneof(
      texts,
      times,
      ids,
      numbers,
      fc.boolean(),
      fc.constant(null),
      fc.constant([]),
      fc.constant({}),
      fc.constant({ a: [1, { b: 2 }, { b: 3 }] }),
      fc.constant([{ a: 1 }, [[{}]]]),
    );
    const fields = fc.record(
      {
        event_id: fc.oneof(ids, any),
        event_time: fc.oneof(times, numbers, any),
        user_id: fc.oneof(texts, numbers, fc.nat().map(String), fc.bigInt({ min: 0n, max: 2n ** 65n }).map(String), any),
        event_type: fc.oneof(fc.constantFrom("purchase", "page_view", "click", "add_to_cart", "nope", "Purchase"), any),
        source: fc.oneof(fc.constantFrom("web", "mobile", "flights", "nope"), any),
        session_id: any,
        device_info: any,
        geo_location: any,
        schema_version: fc.oneof(fc.constantFrom(1, 2, 1.5, "1"), any),
        properties: fc.oneof(
          fc.record(
            { amount: any, price: any, currency: fc.oneof(fc.constantFrom("EUR", "eur", ""), any), quantity: any, x: any },
            { requiredKeys: [] },
          ),
          any,
        ),
        extra: any,
      },
      { requiredKeys: [] },
    );
    const key = fc.oneof(
      fc.constant(undefined),
      fc.constant(null),
      fc.nat().map((n) => encoder.encode(String(n))),
    );
    const time = fc.oneof(fc.constantFrom(NOW_MS, -1, 0, NOW_MS - 400_000, NOW_MS + 40 * 86_400_000));
    let accepted = 0;
    fc.assert(
      // One or two fields off at a time, or nothing would pass at all.
      fc.property(
        fields,
        fc.subarray(
          [
            "event_id",
            "event_time",
            "user_id",
            "event_type",
            "source",
            "session_id",
            "device_info",
            "geo_location",
            "schema_version",
            "properties",
            "extra",
          ] as const,
          { maxLength: 2 },
        ),
        key,
        time,
        (values, names, key, timestampMs) => {
          const changes = Object.fromEntries(names.filter((name) => Object.hasOwn(values, name)).map((name) => [name, values[name]]));
          const value = encode(goodEvent(changes));
          accepted += expectSame(seedPair, [{ value, key, timestampMs }]);
        },
      ),
      parameters(20_000),
    );
    expect(accepted).toBeGreaterThan(1_000);
  });

  it("whatever the limits are", () => {
    const limits = fc.record({
      eventBytes: fc.integer({ min: 100, max: 600 }),
      depth: fc.integer({ min: 1, max: 4 }),
      keys: fc.integer({ min: 9, max: 16 }),
      items: fc.integer({ min: 0, max: 3 }),
      stringBytes: fc.integer({ min: 30, max: 40 }),
      // No rule names a longer key.
      keyBytes: fc.integer({ min: 14, max: 18 }),
      sessionIdBytes: fc.integer({ min: 0, max: 12 }),
      maxFutureSkewMs: fc.constantFrom(0, 1_000),
      maxAgeMs: fc.constantFrom(0, 1_000),
      historical: fc.boolean(),
    });
    const plan = compilePlan(loadSeedRelease());
    fc.assert(
      fc.property(limits, fc.constantFrom(0, 1, 1_000, 1_001, -1_001), (changed, age) => {
        const pair = pairOf(plan, { ...DEFAULT_LIMITS, ...changed });
        for (const extra of [{ a: [] }, { a: [1, [2]] }, { a: { b: { c: {} } } }, "x".repeat(34), { abcdefghijklmnop: 1 }, [1, 2, 3]]) {
          expectSame(pair, [{ value: encode(goodEvent({ extra })), timestampMs: NOW_MS + age }]);
        }
      }),
      parameters(300),
    );
  });

  it("whatever the rules are", () => {
    const rule = fc.constantFrom(
      { type: "integer", min: 1, max: 5 },
      { type: "number", min: 0.5, action: "flag" },
      { type: "number", enum: [1, 2.5] },
      { type: "string", enum: ["a", "é"] },
      { type: "string", minLength: 1, maxLength: 2 },
      { type: "string", pattern: "[a-cé]+" },
      { type: "string", pattern: "a(b|c)*", action: "flag" },
      { type: "boolean" },
      { type: "object" },
      { type: "any" },
    );
    const field = fc.constantFrom("/properties/p", "/properties/q", "/properties/q/r", "/top", "/session_id");
    const fields = fc.dictionary(field, rule, { maxKeys: 3, noNullPrototype: true });
    const required = fc.subarray(["/properties/p", "/top", "/session_id", "/device_info", "/properties"]);
    const type = fc.record({
      fields,
      required,
      nullable: fc.subarray(["/properties/p", "/top", "/session_id", "/device_info", "/properties", "/source"]),
      unknownFields: fc.constantFrom("keep", "flag", "reject"),
      measure: fc.constantFrom(undefined, "/properties/p", "/top"),
    });
    const tightening = fc.record({
      eventTypes: fc.constantFrom("*", ["purchase"]),
      sources: fc.constantFrom(undefined, ["web"]),
      schemaVersions: fc.constantFrom(undefined, [2]),
      fields,
      required,
      unknownFields: fc.constantFrom(undefined, "flag", "reject"),
    });
    const release = fc.record({
      version: fc.constant(3),
      sources: fc.constant([{ name: "mobile" }, { name: "web" }]),
      eventTypes: fc
        .tuple(
          type,
          type,
          fc.constantFrom(undefined, { rename: { "/properties/p": "/properties/q" }, default: {} }, { default: { "/properties/z": 7 } }),
        )
        .map(([old, latest, upcast]) => [
          { name: "purchase", schemaVersion: 1, ...old, upcast },
          { name: "purchase", schemaVersion: 2, ...latest },
        ]),
      rules: fc.array(tightening, { maxLength: 2 }).map((rules) => rules.map((content, i) => ({ name: `rule ${i}`, ...content }))),
    });
    const value = fc.constantFrom<unknown>(
      undefined,
      undefined,
      null,
      0,
      1,
      2.5,
      7,
      "a",
      "é",
      "abcc",
      "",
      " ",
      "abd",
      true,
      {},
      { r: 1 },
      [],
    );
    const row = fc.record({
      p: value,
      q: value,
      top: value,
      session: value,
      source: fc.constantFrom("web", "mobile"),
      version: fc.constantFrom(1, 2),
    });
    let accepted = 0;
    let releases = 0;
    fc.assert(
      fc.property(release, fc.array(row, { minLength: 6, maxLength: 6 }), (input, rows) => {
        // As it is written in a file: without members that are undefined.
        const { release: checked } = checkRelease(JSON.parse(JSON.stringify(input)));
        if (checked === null) return;
        releases++;
        const { event_id, event_time, user_id } = goodEvent();
        const identity = { event_id, event_time, user_id };
        const samples = rows.map(({ p, q, top, session, source, version }) => ({
          value: encode({
            ...identity,
            event_type: "purchase",
            source,
            schema_version: version,
            session_id: session,
            top,
            properties: { p, q },
          }),
        }));
        accepted += expectSame(pairOf(compilePlan(checked)), samples);
      }),
      parameters(2_000),
    );
    expect(releases).toBeGreaterThan(100);
    expect(accepted).toBeGreaterThan(100);
  });

  it("of more rows than fit its columns, of events of any size", () => {
    const sizes = [...Array.from({ length: 5_000 }, (_, i) => i % 40), 100_000, 200_000, 30_000, 30_000];
    const samples = sizes.map((size) => ({
      value: encode(
        goodEvent({
          properties: { amount: 1, note: Array.from({ length: Math.ceil(size / 30_000) }, () => "n".repeat(Math.min(size, 30_000))) },
        }),
      ),
    }));
    expect(expectSame(seedPair, samples)).toBe(samples.length);
  });

  it("of events with ever new keys", () => {
    for (let block = 0; block < 5; block++) {
      const samples = Array.from({ length: 1_000 }, (_, i) => ({
        value: encode(
          goodEvent({
            properties: { amount: 1, [`k${block}-${i}`]: { [`n${i % 90}`]: { deep: i } }, [`k${i % 7}`]: 2 },
            [`top${i % 500}`]: [],
          }),
        ),
      }));
      expect(expectSame(seedPair, samples)).toBe(samples.length);
    }
  });
});

describe("the kernel takes by itself", () => {
  it("nearly every event of the load generator", () => {
    const shares = { late: 0, duplicate: 0, poison: 0, futureClock: 0 };
    const generator = createGenerator({ seed: "share", users: 1_000, distribution: "zipf", shares });
    expect(sharePassed(Array.from({ length: 5_000 }, () => generator.next(NOW_MS).value))).toBe(1);
  });

  it("other spellings that are common: white space, escapes, other alphabets, offsets, numbers as text, arrays", () => {
    const pretty = encoder.encode(JSON.stringify(goodEvent(), null, 2));
    const spelled = [
      goodEvent({ properties: { amount: 1, note: 'say "hi"\n\u00e9', path: "C:\\x" } }),
      goodEvent({ properties: { amount: 1, note: "größer 東京 😀" } }),
      goodEvent({ event_time: "2026-11-24T10:00:00+01:00" }),
      goodEvent({ event_time: NOW_MS }),
      goodEvent({ user_id: "42" }),
      goodEvent({ properties: { amount: 0.5, tags: ["a", { b: [1, null, true] }, { b: 2 }], nested: { a: { b: { c: 1 } } } } }),
      goodEvent({ session_id: null, device_info: "Firefox", geo_location: null }),
    ];
    const ascii = encode(goodEvent({ device_info: { name: "SMILE" } }));
    const paired = Buffer.from(
      Buffer.from(ascii)
        .toString()
        .replace("SMILE", String.raw`\ud83d\ude00`),
    );
    for (const value of [pretty, paired, ...spelled.map(encode)]) expect(sharePassed([value]), Buffer.from(value).toString()).toBe(1);
  });
});
