/** Lines of a file as records of events.raw: which key, and what an option changes in them. Bytes that need no change stay as they are. */

import { isRawJson, parseExactly } from "./exact-json.ts";

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const OPENING_BRACKET = 0x5b;

/** Lines without their end, blank ones left out. A file that begins with `[` is one JSON array if it can be, each element a line. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const held: Uint8Array[] = [];
  let isArray: boolean | undefined;
  const lines = new LineSplitter();
  for await (const chunk of chunks) {
    isArray ??= firstVisible(chunk) === undefined ? undefined : firstVisible(chunk) === OPENING_BRACKET;
    if (isArray === true) held.push(chunk);
    else yield* lines.add(chunk);
  }
  const elements = isArray === true ? parseArray(Buffer.concat(held)) : undefined;
  if (elements !== undefined) for (const element of elements) yield Buffer.from(JSON.stringify(element));
  else for (const chunk of held) yield* lines.add(chunk);
  yield* lines.end();
}

class LineSplitter {
  #parts: Uint8Array[] = [];

  *add(chunk: Uint8Array): Generator<Buffer> {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      this.#parts.push(chunk.subarray(start, end));
      yield* this.end();
      start = end + 1;
    }
    this.#parts.push(chunk.subarray(start));
  }

  *end(): Generator<Buffer> {
    const line = Buffer.concat(this.#parts);
    this.#parts = [];
    if (firstVisible(line) !== undefined) yield line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line;
  }
}

function firstVisible(bytes: Uint8Array): number | undefined {
  return bytes.find((byte) => byte > 0x20);
}

function parseArray(bytes: Buffer): unknown[] | undefined {
  try {
    const content = parseExactly(bytes.toString());
    return Array.isArray(content) ? content : undefined;
  } catch {
    // Lines that are arrays, or no JSON at all: the validator says which.
    return undefined;
  }
}

export interface LineOptions {
  /** Top-level field whose value is the record's key. */
  readonly keyField: string;
  readonly source?: string | undefined;
  /** Replaces event_time. */
  readonly eventTimeMs?: number | undefined;
  /** Replaces event_id. */
  readonly eventId?: string | undefined;
}

export interface EventLine {
  /** Null: the line has no such field; such an event is for the dead letters. */
  readonly key: string | null;
  readonly value: Buffer;
}

export function prepareLine(line: Buffer, options: LineOptions): EventLine {
  let event: unknown;
  try {
    event = parseExactly(line.toString());
  } catch {
    return { key: null, value: line };
  }
  if (typeof event !== "object" || event === null || Array.isArray(event)) return { key: null, value: line };
  const fields = event as Record<string, unknown>;
  const key = Object.hasOwn(fields, options.keyField) ? keyOf(fields[options.keyField]) : null;
  if (options.source === undefined && options.eventTimeMs === undefined && options.eventId === undefined) return { key, value: line };
  const changed = {
    ...fields,
    ...(options.source === undefined ? {} : { source: options.source }),
    ...(options.eventTimeMs === undefined ? {} : { event_time: new Date(options.eventTimeMs).toISOString() }),
    ...(options.eventId === undefined ? {} : { event_id: options.eventId }),
  };
  return { key, value: Buffer.from(JSON.stringify(changed)) };
}

function keyOf(value: unknown): string | null {
  if (typeof value === "string") return value;
  return typeof value === "number" || isRawJson(value) ? JSON.stringify(value) : null;
}
