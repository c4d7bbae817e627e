import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprint } from "#functions/validator/scanner/fingerprint.ts";
import { NUMBER, parseNumber, scanNumber } from "#functions/validator/scanner/number-scanner.ts";
import { parseTimestamp, parseUserId, parseUuid } from "#functions/validator/scanner/values.ts";

const SEED = Number(process.env["FAST_CHECK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const parameters = { numRuns: 5_000, seed: SEED };
const two = (value: number): string => String(value).padStart(2, "0");

/** The text stands between other digits: nothing may be read beyond its ends. */
function within(text: string): { bytes: Uint8Array; start: number; end: number } {
  const bytes = Buffer.from(`12345678${text}87654321`);
  return { bytes, start: 8, end: bytes.length - 8 };
}

describe("a timestamp", () => {
  it("is what Date.parse makes of it, with any zone and fraction, and nothing where the calendar has no such day", () => {
    const part = fc.tuple(
      fc.integer({ min: 0, max: 9_999 }),
      fc.integer({ min: 0, max: 13 }),
      fc.integer({ min: 0, max: 32 }),
      fc.integer({ min: 0, max: 24 }),
      fc.integer({ min: 0, max: 60 }),
      fc.integer({ min: 0, max: 60 }),
    );
    const fraction = fc.oneof(fc.constant(""), fc.stringMatching(/^\.[0-9]{1,9}$/));
    const zone = fc.oneof(
      fc.constantFrom("Z", "z", "+00:00", "-00:00", "+14:00"),
      fc
        .tuple(fc.constantFrom("+", "-"), fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }))
        .map(([sign, h, m]) => `${sign}${two(h)}:${two(m)}`),
    );
    const target = new Float64Array(1);
    fc.assert(
      fc.property(part, fraction, zone, ([year, month, day, hour, minute, second], tail, offset) => {
        const date = `${String(year).padStart(4, "0")}-${two(month)}-${two(day)}`;
        const text = `${date}T${two(hour)}:${two(minute)}:${two(second)}${tail}${offset}`;
        const { bytes, start, end } = within(text);
        const reason = parseTimestamp(bytes, start, end, target);
        const midnightMs = Date.parse(`${date}T00:00:00Z`);
        const isDay = !Number.isNaN(midnightMs) && new Date(midnightMs).toISOString().startsWith(date);
        if (!isDay || hour > 23 || minute > 59 || second > 59) expect(reason, text).toBe("time.unparseable");
        else {
          expect(reason, text).toBeNull();
          const millis = tail.slice(1, 4).padEnd(3, "0");
          expect(target[0], text).toBe(Date.parse(`${date}T${two(hour)}:${two(minute)}:${two(second)}.${millis}${offset.toUpperCase()}`));
        }
      }),
      parameters,
    );
  });
});

describe("a number", () => {
  it("is the double that the language makes of it, to the last bit", () => {
    const literal = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
      fc.stringMatching(/^-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,30})?$/),
      fc.stringMatching(/^-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,9})?[eE][+-]?[0-9]{1,3}$/),
    );
    fc.assert(
      fc.property(literal, (text) => {
        const bytes = Buffer.from(`${text}\0`);
        const result = scanNumber(bytes, 0, text.length);
        const value = Number(text);
        const integerDigits = /^-?(\d+)/.exec(text)![1]!;
        if (BigInt(integerDigits) > BigInt(Number.MAX_SAFE_INTEGER)) expect(result & 7, text).toBe(NUMBER.unsafe);
        else if (!Number.isFinite(value) || (value === 0 && /[1-9]/.test(text.split(/e/i)[0]!)))
          expect(result & 7, text).toBe(NUMBER.range);
        else {
          expect(result, text).toBe(8 * text.length + (/^-?\d+$/.test(text) ? NUMBER.integer : NUMBER.decimal));
          expect(parseNumber(bytes, 0, text.length), text).toBe(value);
        }
      }),
      { ...parameters, examples: [["-0"], ["0.1"], ["5e-324"], ["1.7976931348623157e308"], ["9007199254740991"], ["123456789012345.6"]] },
    );
  });
});

describe("an id", () => {
  it("of a user is every unsigned 64-bit number in its one spelling", () => {
    const words = new Uint32Array(2);
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 65n }), (id) => {
        const { bytes, start, end } = within(String(id));
        const reason = parseUserId(bytes, start, end, words, 0);
        if (id < 2n ** 64n) expect([reason, (BigInt(words[1]!) << 32n) | BigInt(words[0]!)]).toEqual([null, id]);
        else expect(reason).toBe("schema.range");
      }),
      { ...parameters, examples: [[0n], [2n ** 32n - 1n], [2n ** 32n], [2n ** 53n], [2n ** 64n - 1n], [2n ** 64n]] },
    );
  });

  it("of an event is its 16 bytes, in either case", () => {
    const target = new Uint8Array(16);
    fc.assert(
      fc.property(fc.uuid(), fc.boolean(), (id, upper) => {
        const { bytes, start, end } = within(upper ? id.toUpperCase() : id);
        expect(parseUuid(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), start, end, target)).toBe(true);
        expect(Buffer.from(target).toString("hex")).toBe(id.replaceAll("-", ""));
      }),
      parameters,
    );
  });
});

describe("a fingerprint", () => {
  // xxHash32, seed 0: the sums that the reference implementation's command line prints.
  it.each([
    ["", 0x02cc5d05],
    ["a", 0x550d7456],
    ["abc", 0x32d153ff],
    ["Nobody inspects the spammish repetition", 0xe2293b2f],
  ])("of %j is xxHash32", (text, expected) => {
    const { bytes, start, end } = within(text);
    expect(fingerprint(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), start, end)).toBe(expected);
  });
});
