/** What is fuzzed: everything that reads bytes from outside. */
import { BatchValidator } from "#functions/validator/batch-validator.ts";
import { readInvocationEvent } from "#functions/validator/invocation-event.ts";
import { DEFAULT_LIMITS } from "#functions/validator/scanner/limits.ts";
import { createValidator } from "#functions/validator/scanner/validator.ts";
import { decodeBatches } from "#shared/clients/kafka/record-batch.ts";
import { decodeBlock, encodeBlock } from "#shared/events/block.ts";
import { decodeHeaders, encodeHeaders } from "#shared/events/headers.ts";
import { CorruptStateError, OperatingError } from "#shared/kernel/errors.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { compilePlan } from "#shared/rules/plan.ts";
import { HostileDocuments } from "../support/hostile-documents.ts";
import { STRINGS, STRUCTURES } from "../support/hostile-tokens.ts";
import { encoded, resealed } from "../support/kafka-batches.ts";
import { type ReferenceRecord, type ReferenceRow, ReferenceValidator } from "../support/reference/validator.ts";
import { goodEvent, NOW_MS, seedValidator, validateRecords } from "../support/validated-event.ts";
import { addRecord, difference, LAYOUTS, rowOf } from "../support/validator-comparison.ts";
import type { FuzzTarget } from "./engine.ts";

const KEY = Buffer.from("42");
const TOPIC = "events.raw";
const META = { generation: 1, topic: TOPIC, partition: 0, firstSourceOffset: 0, lastSourceOffset: 2, rulesVersion: 1 };
const BATCH_HEADER_BYTES = 61;
const encoder = new TextEncoder();

const release = loadSeedRelease();
const plan = compilePlan(release);

/** The validator, with kernel and without, in memory that other records used before, against the reference. */
export function validatorTarget(expectedRow?: (record: ReferenceRecord) => ReferenceRow): FuzzTarget {
  const reference = new ReferenceValidator(release, DEFAULT_LIMITS);
  const expect = expectedRow ?? ((record: ReferenceRecord) => reference.row(record));
  const engines = [true, false].map((kernel) => createValidator(plan, DEFAULT_LIMITS, { kernel }));
  let turn = 0;
  return {
    name: "validator",
    seeds: () => [goodEvent(), {}, [goodEvent()], ...[...STRINGS, ...STRUCTURES].map((text) => `{"x":${text}}`)].map(written),
    fresh: (random) => new HostileDocuments(random).next(),
    check(value) {
      const record = { value, key: KEY, timestampMs: NOW_MS };
      const expected = expect(record);
      for (const [i, validator] of engines.entries()) {
        validator.begin();
        addRecord(validator, record, 0, LAYOUTS[turn++ % LAYOUTS.length]);
        const wrong = difference(rowOf(validator.finish(), 0), expected);
        if (wrong !== null) return `${i === 0 ? "kernel and twin" : "twin alone"}: ${wrong}`;
      }
      return null;
    },
  };
}

function written(value: unknown): Uint8Array {
  return encoder.encode(typeof value === "string" ? value : JSON.stringify(value));
}

/** Bytes as JSON of an event of the mapping: refused by code, or one row per record. */
function invocationTarget(): FuzzTarget {
  let rows = 0;
  const validator = new BatchValidator(DEFAULT_LIMITS, {
    encode: (columns, place) => encodeBlock(columns, { ...META, ...place }),
    send: (value) => {
      rows += decodeBlock(value).columns.rows;
      return Promise.resolve();
    },
  });
  const record = (offset: number, more: object = {}): object => ({
    topic: TOPIC,
    partition: 0,
    offset,
    timestamp: NOW_MS,
    timestampType: "CREATE_TIME",
    key: KEY.toString("base64"),
    value: Buffer.from(JSON.stringify(goodEvent())).toString("base64"),
    headers: [{ traceparent: [48, 48, -1] }, { x: [] }],
    ...more,
  });
  const event = (records: object): object => ({ eventSource: "aws:kafka", eventSourceArn: "arn:x", bootstrapServers: "b:1", records });
  return {
    name: "invocation",
    seeds: () =>
      [
        event({ "events.raw-0": [record(0), record(1, { value: null, key: null, headers: [] })] }),
        event({ "events.raw-0": [record(7, { value: "" })], "events.raw-1": [record(0, { partition: 1, headers: [{ h: null }] })] }),
        event({ "events.raw-0": [record(3), record(1), record(3), record(2, { value: 5, key: "***", timestamp: "x" })] }),
        event({}),
      ].map(written),
    async check(bytes) {
      let input: unknown;
      try {
        input = JSON.parse(Buffer.from(bytes).toString("utf8"));
      } catch {
        return null;
      }
      try {
        const batches = readInvocationEvent(input, TOPIC);
        rows = 0;
        const counts = await validator.run(batches, plan);
        const expected = batches.reduce((sum, { records }) => sum + records.length, 0);
        return rows === expected && counts.events === expected ? null : `${expected} records became ${rows} rows, ${counts.events} counted`;
      } catch (thrown) {
        if (thrown instanceof OperatingError && ["LAMBDA_EVENT_SHAPE", "LAMBDA_WRONG_TOPIC"].includes(thrown.code)) return null;
        throw thrown;
      }
    },
  };
}

/** Runs `read`; damage may be refused as corrupt and in no other way. */
function orCorrupt(read: () => void): null {
  try {
    read();
  } catch (thrown) {
    if (!(thrown instanceof CorruptStateError)) throw thrown;
  }
  return null;
}

function seedBlocks(): Uint8Array[] {
  const validator = seedValidator();
  const good = JSON.stringify(goodEvent());
  const headers = [["traceparent", encoder.encode("00-1-2-01")]] as const;
  return [
    [{ value: good }, { value: "{", headers }, { value: null, key: null }],
    [{ value: JSON.stringify(goodEvent({ session_id: null, source: null })) }],
  ].map((records) => encodeBlock(validateRecords(validator, records), META).slice());
}

/** A block of events.valid: the fold reads every column, so every value is read here too. */
function blockTarget(): FuzzTarget {
  return {
    name: "block",
    seeds: () => seedBlocks(),
    check: (bytes) =>
      orCorrupt(() => {
        const { columns } = decodeBlock(bytes);
        for (let row = 0; row < columns.rows; row++) {
          rowOf(columns, row);
          if (columns.headers.validity === null || (columns.headers.validity[row >> 3]! & (1 << (row & 7))) !== 0) {
            decodeHeaders(columns.headers.bytes.subarray(columns.headers.offsets[row], columns.headers.offsets[row + 1]));
          }
        }
      }),
  };
}

function headersTarget(): FuzzTarget {
  return {
    name: "headers",
    seeds: () => [
      encodeHeaders([]),
      encodeHeaders([
        ["a", Uint8Array.of()],
        ["traceparent", encoder.encode("00-1-2-01")],
        ["a", Uint8Array.of(0, 255)],
      ]),
    ],
    check: (bytes) =>
      orCorrupt(() => {
        for (const [name, value] of decodeHeaders(bytes)) if (name.length + value.length < 0) throw new Error("impossible");
      }),
  };
}

/** Record batches of Kafka. Every other input gets the right checksum again, or nothing behind it would ever be reached. */
function batchTarget(): FuzzTarget {
  let turn = 0;
  return {
    name: "batch",
    seeds: () =>
      (["none", "gzip", "snappy", "lz4", "zstd"] as const).map((compression) =>
        encoded(
          [
            { key: KEY, value: encoder.encode("value ".repeat(20)), headers: [["h", encoder.encode("v")]] },
            { key: null, value: null },
          ],
          { compression, defaultTimestampMs: NOW_MS },
        ),
      ),
    check: (bytes) => {
      const batch = Buffer.from(bytes);
      if (turn++ % 4 !== 0 && batch.length >= BATCH_HEADER_BYTES) {
        batch.writeInt32BE(batch.length - 12, 8);
        resealed(batch);
      }
      return orCorrupt(() => {
        for (const { value, key, headers } of decodeBatches(batch, 0, [], "events.raw/0").records) {
          const size = (value?.length ?? 0) + (key?.length ?? 0) + headers.length;
          if (size < 0) throw new Error("impossible");
        }
      });
    },
  };
}

export const TARGETS: Readonly<Record<string, () => FuzzTarget>> = {
  validator: () => validatorTarget(),
  invocation: invocationTarget,
  block: blockTarget,
  headers: headersTarget,
  batch: batchTarget,
};

export function targetNames(): string[] {
  return Object.keys(TARGETS);
}

/** Share of the time. */
export const WEIGHTS: Readonly<Record<string, number>> = { validator: 0.6, invocation: 0.1, block: 0.12, headers: 0.06, batch: 0.12 };

export function isFuzzedModule(url: string): boolean {
  return /\/(functions\/validator|shared\/events|shared\/rules|shared\/clients\/kafka)\//.test(url) && !url.includes("/node_modules/");
}
