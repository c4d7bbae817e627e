/** One pass over the bytes of one event: as ../../scanner/json-scanner.ts, but for what only the twin can name. A position of 0 = not for this kernel. */
import * as m from "./memory";
import { isForbidden, learnedFrom, matchesKey, openChild, resolveKey } from "./keys";
import { equalBytes, hashBytes } from "./names";
import { keyEnd, kind, scanString, setKind } from "./text";
import { parseTimestamp, parseUuid, scanNumber } from "./values";

const QUOTE: i32 = 0x22;
const COMMA: i32 = 0x2c;
const MINUS: i32 = 0x2d;
const COLON: i32 = 0x3a;
const OPEN_ARRAY: i32 = 0x5b;
const CLOSE_ARRAY: i32 = 0x5d;
const OPEN_OBJECT: i32 = 0x7b;
const CLOSE_OBJECT: i32 = 0x7d;
/** Beside STRING: was parsed in passing. */
export const PARSED = 512;
/** An object without a place: more keys than this are compared by the twin's table. */
const LOOSE_KEYS = 16;

/** Number of this event. */
export let event: i32 = 0;
let keyCount: i32 = 0;
/** Which of a record's links to follow, times four: by event type once it is known. */
let context: usize = 0;
/** Where the parsed event_id goes. */
let idTarget: usize = 0;

function skip(start: usize): usize {
  return load<u8>(start) <= 0x20 ? skipSpace(start) : start;
}

function skipSpace(start: usize): usize {
  let at = start;
  while (true) {
    const byte: i32 = load<u8>(at);
    if (byte != 0x20 && byte != 0x0a && byte != 0x0d && byte != 0x09) return at;
    at++;
  }
}

/** A zero byte stands at `end`, seven more behind it. */
export function scanEvent(start: usize, end: usize, id: usize): bool {
  if (event == 0x3fffffff) {
    event = 0;
    for (let i = 0; i < m.keyCapacity; i++) store<i32>(m.records + ((<usize>i) << m.RECORD_SHIFT), 0, m.R_EVENT);
    for (let i = 0; i < m.nodeCapacity; i++) store<i32>(m.nodes + ((<usize>i) << m.NODE_SHIFT), 0, m.N_UNKNOWN);
  }
  event++;
  keyCount = 0;
  context = 0;
  idTarget = id;
  let at = skip(start);
  if (load<u8>(at) != OPEN_OBJECT) return false;
  at = scanObject(at, 1, 0);
  return at != 0 && skip(at) == end;
}

function scanObject(start: usize, depth: i32, node: i32): usize {
  if (depth > m.maxDepth) return 0;
  let at = skip(start + 1);
  if (load<u8>(at) == CLOSE_OBJECT) {
    setKind(m.OBJECT);
    return at + 1;
  }
  const place = m.nodes + ((<usize>node) << m.NODE_SHIFT);
  const event_ = event;
  let links = place + m.N_LINKS;
  while (true) {
    if (load<u8>(at) != QUOTE || ++keyCount > m.maxKeys) return 0;
    at++;
    let record: usize = load<u32>(links + context);
    if (record != 0 && matchesKey(record, at)) at += load<i32>(record, m.R_SPELLED);
    else {
      const end = keyEnd(at);
      if (end == 0) return 0;
      record = resolveKey(node, at, <i32>(end - at));
      if (record == 0) return 0;
      store<u32>(links + context, <u32>record);
      at = skip(end + 1);
      if (load<u8>(at) != COLON) return 0;
      at++;
    }
    at = skip(at);
    if (load<i32>(record, m.R_EVENT) == event_) return 0;
    store<i32>(record, event_, m.R_EVENT);
    store<u32>(record, <u32>at, m.R_START);
    if (record >= learnedFrom) store<i32>(place, event_, m.N_UNKNOWN);
    links = record + m.R_LINKS;
    const byte: i32 = load<u8>(at);
    if (byte == QUOTE) at = record <= m.records + ((<usize>m.EVENT_TYPE) << m.RECORD_SHIFT) ? scanEnvelope(at, record) : scanString(at);
    else if (byte == MINUS || <u32>(byte - 0x30) <= 9) at = scanNumber(at);
    else if (byte == OPEN_OBJECT) {
      const child = openChild(record);
      at = child < 0 ? scanLooseObject(at, depth + 1, 0) : scanObject(at, depth + 1, child);
    } else at = byte == OPEN_ARRAY ? scanArray(at, depth + 1, 0) : scanLiteral(at);
    if (at == 0) return 0;
    store<u32>(record, <u32>at, m.R_END);
    store<i32>(record, kind, m.R_KIND);
    at = skip(at);
    const next: i32 = load<u8>(at);
    if (next == COMMA) at = skip(at + 1);
    else if (next == CLOSE_OBJECT) {
      setKind(m.OBJECT);
      return at + 1;
    } else return 0;
  }
}

/** event_id and event_time in their usual form are parsed in passing, which shows that they are plain text; event_type says what comes next. */
function scanEnvelope(start: usize, record: usize): usize {
  const field = <i32>((record - m.records) >> m.RECORD_SHIFT);
  if (field == m.EVENT_ID && load<u8>(start, 37) == QUOTE && parseUuid(start + 1, idTarget)) {
    setKind(m.STRING | PARSED);
    return start + 38;
  }
  if (field == m.EVENT_TIME && load<u8>(start, 25) == QUOTE && parseTimestamp(start + 1, start + 25)) {
    setKind(m.STRING | PARSED);
    return start + 26;
  }
  const end = scanString(start);
  if (field == m.EVENT_TYPE && end != 0) context = (<usize>(hashBytes(start + 1, <i32>(end - start) - 2) & 7)) << 2;
  return end;
}

function scanValue(start: usize, depth: i32, loose: i32): usize {
  const byte: i32 = load<u8>(start);
  if (byte == QUOTE) return scanString(start);
  if (byte == MINUS || <u32>(byte - 0x30) <= 9) return scanNumber(start);
  if (byte == OPEN_OBJECT) return scanLooseObject(start, depth, loose);
  return byte == OPEN_ARRAY ? scanArray(start, depth, loose) : scanLiteral(start);
}

/** In an array, or where there is no room for nodes. `loose`: keys of the enclosing objects on the stack at `looseKeys` {hash, address, bytes}. */
function scanLooseObject(start: usize, depth: i32, loose: i32): usize {
  if (depth > m.maxDepth) return 0;
  let at = skip(start + 1);
  if (load<u8>(at) == CLOSE_OBJECT) {
    setKind(m.OBJECT);
    return at + 1;
  }
  let count = 0;
  while (true) {
    if (load<u8>(at) != QUOTE || ++keyCount > m.maxKeys || count == LOOSE_KEYS) return 0;
    at++;
    const end = keyEnd(at);
    if (end == 0) return 0;
    const size = <i32>(end - at);
    if (size > m.maxKeyBytes || isForbidden(at, size)) return 0;
    const hash = hashBytes(at, size);
    const top = m.looseKeys + <usize>(12 * (loose + count));
    for (let other = m.looseKeys + <usize>(12 * loose); other < top; other += 12) {
      if (load<i32>(other) == hash && load<i32>(other, 8) == size && equalBytes(load<u32>(other, 4), at, size)) return 0;
    }
    store<i32>(top, hash);
    store<u32>(top, <u32>at, 4);
    store<i32>(top, size, 8);
    at = skip(end + 1);
    if (load<u8>(at) != COLON) return 0;
    count++;
    at = scanValue(skip(at + 1), depth + 1, loose + count);
    if (at == 0) return 0;
    at = skip(at);
    const next: i32 = load<u8>(at);
    if (next == COMMA) at = skip(at + 1);
    else if (next == CLOSE_OBJECT) {
      setKind(m.OBJECT);
      return at + 1;
    } else return 0;
  }
}

function scanArray(start: usize, depth: i32, loose: i32): usize {
  if (depth > m.maxDepth) return 0;
  let at = skip(start + 1);
  if (load<u8>(at) == CLOSE_ARRAY) {
    setKind(m.ARRAY);
    return at + 1;
  }
  for (let items = 1; items <= m.maxItems; items++) {
    at = scanValue(at, depth + 1, loose);
    if (at == 0) return 0;
    at = skip(at);
    const next: i32 = load<u8>(at);
    if (next == COMMA) at = skip(at + 1);
    else if (next == CLOSE_ARRAY) {
      setKind(m.ARRAY);
      return at + 1;
    } else return 0;
  }
  return 0;
}

function scanLiteral(start: usize): usize {
  const word = load<u32>(start);
  if (word == 0x65757274) {
    setKind(m.TRUE);
    return start + 4;
  }
  if (word == 0x6c6c756e) {
    setKind(m.NULL);
    return start + 4;
  }
  if (word == 0x736c6166 && load<u8>(start, 4) == 0x65) {
    setKind(m.FALSE);
    return start + 5;
  }
  return 0;
}
