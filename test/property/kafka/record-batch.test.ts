import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AbortedTransaction, decodeBatches } from "#shared/clients/kafka/record-batch.ts";
import type { Compression, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { abortMarker, at, batchOf, commitMarker, encoded } from "#test/support/kafka-batches.ts";

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });

const record: fc.Arbitrary<OutgoingRecord> = fc.record({
  key: fc.option(bytes(40)),
  value: fc.option(
    fc.oneof(
      bytes(300),
      fc.integer({ min: 1, max: 70_000 }).map((size) => Buffer.alloc(size, "weir ")),
    ),
  ),
  headers: fc.array(fc.tuple(fc.string({ unit: "grapheme", maxLength: 12 }), bytes(30)), { maxLength: 4 }),
  timestampMs: fc.oneof(fc.integer({ min: 0, max: 4_102_444_800_000 }), fc.constant(0)),
});

const compression = fc.constantFrom<Compression>("none", "gzip", "snappy", "lz4", "zstd");

describe("record batches", () => {
  test("come back as they went, by every codec, from any base offset", () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 30 }), compression, fc.nat(2 ** 50), (records, codec, baseOffset) => {
        const batch = encoded(records, { compression: codec, defaultTimestampMs: 1 });
        const { records: decoded, nextOffset } = decodeBatches(at(batch, baseOffset), baseOffset, [], "t/0");
        expect(nextOffset).toBe(baseOffset + records.length);
        expect(decoded).toEqual(
          records.map(({ key, value, headers, timestampMs }, i) => ({
            offset: baseOffset + i,
            timestampMs,
            key: key === null ? null : Buffer.from(key),
            value: value === null ? null : Buffer.from(value),
            headers: (headers ?? []).map(([name, content]) => [name, Buffer.from(content)]),
          })),
        );
      }),
      { numRuns: 80 },
    );
  });

  test("refuse every flipped bit behind the checksum, and in it", () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 5 }), compression, fc.nat(), fc.nat(7), (records, codec, place, bit) => {
        const batch = encoded(records, { compression: codec, defaultTimestampMs: 1 });
        batch[17 + (place % (batch.length - 17))]! ^= 1 << bit;
        expect(() => decodeBatches(batch, 0, [], "t/0")).toThrow("fails its CRC");
      }),
      { numRuns: 100 },
    );
  });

  test("cut off anywhere give every whole batch before the cut, and where to go on", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (sizes, share) => {
          let offset = 0;
          const batches = sizes.map((size) => {
            const batch = batchOf(offset, size);
            offset += size;
            return { batch, end: offset };
          });
          const all = Buffer.concat(batches.map(({ batch }) => batch));
          const cut = Math.floor(all.length * share);
          let whole = 0;
          let expected = 0;
          for (const { batch, end } of batches) {
            whole += batch.length;
            if (whole <= cut) expected = end;
          }
          const { records, nextOffset } = decodeBatches(all.subarray(0, cut), 0, [], "t/0");
          expect(nextOffset).toBe(expected);
          expect(records.map(({ offset: one }) => one)).toEqual(Array.from({ length: expected }, (_, i) => i));
        },
      ),
    );
  });
});

/** A log as a broker would hold it: transactions of a few producers, interleaved, each ended by a marker, and plain records between. */
interface LogEntry {
  readonly batch: Buffer;
  readonly firstOffset: number;
  readonly nextOffset: number;
  /** Offsets that a read_committed reader must see. */
  readonly visible: number[];
}

type Step = readonly [producer: number, action: "send" | "commit" | "abort" | "plain", size: number];

function buildLog(steps: readonly Step[]): { entries: LogEntry[]; aborted: (AbortedTransaction & { lastOffset: number })[] } {
  const entries: LogEntry[] = [];
  const aborted: (AbortedTransaction & { lastOffset: number })[] = [];
  const open = new Map<number, { firstOffset: number; entries: LogEntry[] }>();
  let offset = 0;
  const append = (batch: Buffer, size: number, visible: boolean): LogEntry => {
    const offsets = Array.from({ length: size }, (_, i) => offset + i);
    const entry = { batch, firstOffset: offset, nextOffset: offset + size, visible: visible ? offsets : [] };
    entries.push(entry);
    offset += size;
    return entry;
  };
  const end = (producer: number, commit: boolean): void => {
    const transaction = open.get(producer);
    if (transaction === undefined) return;
    open.delete(producer);
    const marker = offset;
    append(commit ? commitMarker(offset, BigInt(producer)) : abortMarker(offset, BigInt(producer)), 1, false);
    if (commit) return;
    for (const entry of transaction.entries) entry.visible.length = 0;
    aborted.push({ producerId: BigInt(producer), firstOffset: transaction.firstOffset, lastOffset: marker });
  };
  for (const [producer, action, size] of steps) {
    if (action === "plain") append(batchOf(offset, size), size, true);
    else if (action === "send") {
      const transaction = open.get(producer) ?? { firstOffset: offset, entries: [] };
      open.set(producer, transaction);
      transaction.entries.push(append(batchOf(offset, size, { producerId: BigInt(producer) }), size, true));
    } else end(producer, action === "commit");
  }
  for (const producer of open.keys()) end(producer, false);
  return { entries, aborted };
}

const step: fc.Arbitrary<Step> = fc.tuple(
  fc.integer({ min: 1, max: 3 }),
  fc.constantFrom<Step[1]>("send", "send", "send", "commit", "abort", "plain"),
  fc.integer({ min: 1, max: 4 }),
);

describe("the abort filter", () => {
  test("shows exactly the committed records, however the log is cut into answers", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.infiniteStream(fc.integer({ min: 1, max: 5 })), (steps, cuts) => {
        const { entries, aborted } = buildLog(steps);
        const seen: number[] = [];
        let offset = 0;
        for (let i = 0; i < entries.length;) {
          const answer = entries.slice(i, i + cuts.next().value);
          i += answer.length;
          const end = answer.at(-1)!.nextOffset;
          // As the broker lists them: every aborted transaction that overlaps the answer.
          const listed = aborted.filter(({ firstOffset, lastOffset }) => firstOffset < end && lastOffset >= offset);
          const decoded = decodeBatches(Buffer.concat(answer.map(({ batch }) => batch)), offset, listed, "t/0");
          seen.push(...decoded.records.map(({ offset: one }) => one));
          offset = decoded.nextOffset;
        }
        expect(seen).toEqual(entries.flatMap(({ visible }) => visible));
        expect(offset).toBe(entries.at(-1)?.nextOffset ?? 0);
      }),
      { numRuns: 500 },
    );
  });

  test("shows the same to a reader that starts inside a batch, without what lies before its start", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), fc.nat(), (steps, place) => {
        const { entries, aborted } = buildLog(steps);
        const end = entries.at(-1)?.nextOffset ?? 0;
        if (end === 0) return;
        const start = place % end;
        const answer = entries.filter(({ nextOffset }) => nextOffset > start);
        const listed = aborted.filter(({ lastOffset }) => lastOffset >= start);
        const { records } = decodeBatches(Buffer.concat(answer.map(({ batch }) => batch)), start, listed, "t/0");
        expect(records.map(({ offset }) => offset)).toEqual(entries.flatMap(({ visible }) => visible).filter((offset) => offset >= start));
      }),
    );
  });
});
