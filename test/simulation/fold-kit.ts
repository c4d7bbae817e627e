/** What a simulated run needs to know of the fold that it runs: how to write its input, and how to read its output as rows of text. */
import { FOLD_VERSION } from "#processor/fold/fold-state.ts";
import { createFold, restoreFold } from "#processor/fold/partition-fold.ts";
import type { FoldFactory } from "#processor/runtime/ports.ts";
import type { OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { decodeClean, decodeLate, decodeWindows, encodeBlock } from "#shared/events/block.ts";
import { HEADERS, type OutputRole } from "#shared/events/names.ts";
import { cleanRows, type EventRow, eventColumns, lateRows, windowRows } from "../support/event-batch.ts";
import { partialRows } from "../support/partial-rows.ts";
import { modelFolds, type ModelRow } from "./model-fold.ts";
import type { Random } from "./world.ts";

export interface FoldKit {
  readonly folds: FoldFactory;
  /** A block of the rows [first, first + rows): always the same for the same source offsets. */
  block(first: number, rows: number, nowMs: number): OutgoingRecord;
  rowsOf(role: OutputRole, value: Uint8Array): string[];
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const USERS = 7;

export function modelKit(folds: FoldFactory = modelFolds()): FoldKit {
  return {
    folds,
    block(first, rows) {
      const content = Array.from({ length: rows }, (_, i): ModelRow => [first + i, ((first + i) * 2_654_435_761) % USERS]);
      return blockRecord(first, rows, encoder.encode(JSON.stringify(content)));
    },
    rowsOf: (_role, value) => decoder.decode(value).split("\n"),
  };
}

/** The real fold. Event times follow `nowMs` at the first writing; a redelivered row keeps the one it had. */
export function columnKit(random: Random): FoldKit {
  const options = {
    generation: 1,
    partition: 0,
    historical: false,
    outOfOrdernessMs: 1_000,
    idleMarginMs: 1_000,
    dedupHorizonMs: 60_000,
    cutRows: 20,
    cutMs: 2_000,
  };
  const written = new Map<number, EventRow>();
  const row = (sourceOffset: number, nowMs: number): EventRow => {
    const kind = random.next();
    const before = written.get(sourceOffset - random.int(1, 10));
    const id = kind < 0.1 && before !== undefined ? before.eventId! : sourceOffset + 1;
    const times = { eventTimeMs: Math.floor(nowMs) - random.int(0, kind > 0.95 ? 10_000 : 900), userId: random.int(1, USERS) };
    if (kind > 0.1 && kind < 0.15)
      return { sourceOffset, verdict: "reject", reason: "json.syntax", raw: `{"broken ${sourceOffset}`, rawKey: "1", properties: null };
    return { sourceOffset, eventId: id, ...times, sessionId: `s${times.userId}`, value: random.int(0, 100) };
  };
  return {
    folds: { version: FOLD_VERSION, create: () => createFold(options), restore: (state) => restoreFold(options, state) },
    block(first, rows, nowMs) {
      const content = Array.from({ length: rows }, (_, i) => {
        const known = written.get(first + i) ?? row(first + i, nowMs);
        written.set(first + i, known);
        return known;
      });
      const meta = {
        generation: 1,
        topic: "events.raw",
        partition: 0,
        firstSourceOffset: first,
        lastSourceOffset: first + rows - 1,
        rulesVersion: 1,
      };
      return blockRecord(first, rows, encodeBlock(eventColumns(content), meta));
    },
    rowsOf(role, value) {
      if (role === "clean") return cleanRows(decodeClean(value)).map(text);
      if (role === "windows") return windowRows(decodeWindows(value)).map(text);
      if (role === "late") return lateRows(decodeLate(value)).map(text);
      if (role === "partials") return partialRows(value).map(text);
      return [Buffer.from(value).toString("hex")];
    },
  };
}

function blockRecord(first: number, rows: number, value: Uint8Array): OutgoingRecord {
  const headers = {
    [HEADERS.kind]: "block",
    [HEADERS.firstSourceOffset]: first,
    [HEADERS.lastSourceOffset]: first + rows - 1,
    [HEADERS.count]: rows,
  };
  return { key: null, value, headers: Object.entries(headers).map(([key, header]) => [key, encoder.encode(String(header))] as const) };
}

function text(row: object): string {
  return JSON.stringify(row, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value));
}
