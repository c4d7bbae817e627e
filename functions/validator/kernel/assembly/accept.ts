/**
 * The whole way of an event that nothing is wrong with: scanned, checked against its type's rules, written to the staged columns. Anything else
 * (a reject, a flag, an unusual form) changes nothing and answers NO; the twin (../../scanner) then says what it is. So this code may always
 * refuse, but what it accepts the twin accepts too, with the same columns.
 */
import * as m from "./memory";
import { forgetLearned, isFull } from "./keys";
import { equalBytes, findName } from "./names";
import { event, PARSED, scanEvent } from "./scan";
import { copyBytes, countCharacters } from "./text";
import { fingerprint, number, parseEpoch, parseNumber, parseTimestamp, parseUserId, parseUuid, timeMs } from "./values";

export const NO = 0;
export const YES = 1;
/** No room in the staged columns: drain them and ask again. */
export const FULL = 2;

/** Of the staged columns, by address: see ../staged-columns.ts. */
const S_ROWS: usize = 0;
const S_LENGTHS: usize = 4;
const S_PRESENT: usize = 20;
const S_OFFSET: usize = 64;
const S_TIME: usize = 68;
const S_ID: usize = 72;
const S_USER: usize = 76;
const S_VALUE: usize = 80;
const S_FINGERPRINT: usize = 84;
const S_TYPE: usize = 88;
const S_SOURCE: usize = 92;
const S_OFFSETS: usize = 96;
const S_PRESENCE: usize = 112;
const S_BYTES: usize = 128;
const S_VERSION: usize = 144;

/** A type's rules, by address: see ../plan-image.ts. */
const T_PRESENCE_COUNT: usize = 0;
const T_PRESENCE: usize = 4;
const T_CHECK_COUNT: usize = 8;
const T_CHECKS: usize = 12;
const T_MEASURE: usize = 16;
const T_STRICT: usize = 20;
const T_DECLARED: usize = 24;
const T_PLACE: usize = 28;
const T_BY_SOURCE: usize = 32;
const C_FIELD: usize = 0;
const C_MIN_LENGTH: usize = 4;
const C_MIN: usize = 8;
const C_MAX: usize = 16;
const C_MAX_LENGTH: usize = 24;
const C_NUMBERS: usize = 28;
const C_NUMBER_COUNT: usize = 32;
const C_NAMES: usize = 36;
const C_NAME_MASK: usize = 40;
const C_PATTERN: usize = 44;
const C_SIZE: usize = 48;
/** An automaton of #shared/rules/pattern.ts: byte to column, rows, first row. */
const P_COLUMNS: usize = 0;
const P_ROWS: usize = 4;
const P_START: usize = 8;

function recordOf(field: i32): usize {
  return m.records + ((<usize>field) << m.RECORD_SHIFT);
}

/** 0 = absent. */
function kindOf(record: usize): i32 {
  return load<i32>(record, m.R_EVENT) == event ? load<i32>(record, m.R_KIND) : 0;
}

/** `key` 0 = none is expected. */
export function accept(start: usize, end: usize, key: usize, keyBytes: i32, timestampMs: f64, sourceOffset: f64): i32 {
  const stage = m.stage;
  const row = load<i32>(stage, S_ROWS);
  const size = <i32>(end - start);
  if (row == m.stageRows || longest(stage) + size + 16 > m.stageBytes) return row == 0 ? NO : FULL;
  if (isFull) forgetLearned();
  const id = <usize>load<u32>(stage, S_ID) + ((<usize>row) << 4);
  if (!scanEvent(start, end, id)) return NO;

  const idKind = kindOf(recordOf(m.EVENT_ID));
  if (idKind != (m.STRING | PARSED)) {
    const record = recordOf(m.EVENT_ID);
    if (idKind != m.STRING || textSize(record) != 36 || !parseUuid(textStart(record), id)) return NO;
  }

  const user = recordOf(m.USER_ID);
  const userKind = kindOf(user);
  let userStart: usize = load<u32>(user, m.R_START);
  let userEnd: usize = load<u32>(user, m.R_END);
  if (userKind == m.STRING) {
    userStart++;
    userEnd--;
  } else if (userKind != m.INTEGER) return NO;
  if (!parseUserId(userStart, userEnd, <usize>load<u32>(stage, S_USER) + ((<usize>row) << 3))) return NO;
  if (key != 0 && (keyBytes != <i32>(userEnd - userStart) || !equalBytes(key, userStart, keyBytes))) return NO;

  const typeRecord = recordOf(m.EVENT_TYPE);
  if (kindOf(typeRecord) != m.STRING) return NO;
  const type = findName(m.typeTable, m.typeMask, textStart(typeRecord), textSize(typeRecord));
  if (type < 0) return NO;
  let rules = rulesOf(type);
  if (rules == 0) return NO;
  const place = load<i32>(rules, T_PLACE);

  const sourceRecord = recordOf(m.SOURCE);
  const sourceKind = kindOf(sourceRecord);
  let source = -1;
  if (sourceKind == m.STRING) {
    source = findName(m.sourceTable, m.sourceMask, textStart(sourceRecord), textSize(sourceRecord));
    if (source < 0) return NO;
  } else if ((sourceKind & m.STRING) != 0) return NO;

  const bySource: usize = load<u32>(rules, T_BY_SOURCE);
  if (bySource != 0) rules = load<u32>(bySource + ((<usize>(source + 1)) << 2));
  if (!checkPresence(rules) || (load<i32>(rules, T_STRICT) != 0 && !checkDeclared(rules))) return NO;
  const session = recordOf(m.SESSION_ID);
  if ((kindOf(session) & m.STRING) != 0 && textSize(session) > m.maxSessionBytes) return NO;
  let value: f64 = NaN;
  const measure = load<i32>(rules, T_MEASURE);
  if (measure >= 0 && (kindOf(recordOf(measure)) & (m.INTEGER | m.DECIMAL)) != 0) {
    if (!readNumber(recordOf(measure))) return NO;
    value = number;
  }
  if (!checkValues(rules)) return NO;

  const time = recordOf(m.EVENT_TIME);
  const timeKind = kindOf(time);
  if (timeKind == m.STRING) {
    if (!parseTimestamp(textStart(time), textStart(time) + textSize(time))) return NO;
  } else if (timeKind == m.INTEGER) {
    if (!parseEpoch(load<u32>(time, m.R_START), load<u32>(time, m.R_END))) return NO;
  } else if (timeKind != (m.STRING | PARSED)) return NO;
  if (!(timeMs > 0 && timestampMs > 0) || timeMs > timestampMs + m.maxFutureSkewMs) return NO;
  if (timeMs < timestampMs - m.maxAgeMs && m.isHistorical == 0 && (source < 0 || load<u8>(m.sourceHistorical + source) == 0)) return NO;

  if (!writeBytes(row)) return NO;
  const wide = (<usize>row) << 3;
  store<f64>(<usize>load<u32>(stage, S_OFFSET) + wide, sourceOffset);
  store<f64>(<usize>load<u32>(stage, S_TIME) + wide, timeMs);
  store<f64>(<usize>load<u32>(stage, S_VALUE) + wide, value);
  store<u32>(<usize>load<u32>(stage, S_FINGERPRINT) + ((<usize>row) << 2), fingerprint(start, end));
  store<i16>(<usize>load<u32>(stage, S_TYPE) + ((<usize>row) << 1), <i16>type);
  store<i16>(<usize>load<u32>(stage, S_SOURCE) + ((<usize>row) << 1), <i16>source);
  store<u16>(<usize>load<u32>(stage, S_VERSION) + ((<usize>row) << 1), <u16>place);
  store<i32>(stage, row + 1, S_ROWS);
  return YES;
}

function textStart(record: usize): usize {
  return load<u32>(record, m.R_START) + 1;
}

function textSize(record: usize): i32 {
  return load<i32>(record, m.R_END) - load<i32>(record, m.R_START) - 2;
}

function longest(stage: usize): i32 {
  return max(
    max(load<i32>(stage, S_LENGTHS), load<i32>(stage, S_LENGTHS + 4)),
    max(load<i32>(stage, S_LENGTHS + 8), load<i32>(stage, S_LENGTHS + 12)),
  );
}

/** Address of the rules of a type in the event's version; 0 = none, or the twin's. */
function rulesOf(type: i32): usize {
  const record = recordOf(m.SCHEMA_VERSION);
  const kind = kindOf(record);
  let wanted: f64 = 1;
  if (kind == m.INTEGER) {
    if (!readNumber(record)) return 0;
    wanted = number;
  } else if (kind != 0) return 0;
  const versions: usize = load<u32>(m.typeVersions + ((<usize>type) << 2));
  const count = load<i32>(versions);
  for (let i = 0; i < count; i++) {
    if (<f64>load<i32>(versions + ((<usize>i) << 3), 4) == wanted) {
      return load<u32>(versions + ((<usize>i) << 3), 8);
    }
  }
  return 0;
}

function readNumber(record: usize): bool {
  return parseNumber(load<u32>(record, m.R_START), load<u32>(record, m.R_END));
}

function checkPresence(rules: usize): bool {
  let at: usize = load<u32>(rules, T_PRESENCE);
  for (const last = at + ((<usize>load<i32>(rules, T_PRESENCE_COUNT)) << 2); at < last; at += 4) {
    const rule = load<i32>(at);
    const record = recordOf(rule >> m.PRESENCE_FIELD_SHIFT);
    const kind = kindOf(record);
    if (kind == 0) {
      if ((rule & m.REQUIRED) != 0) return false;
    } else if (kind == m.NULL) {
      if ((rule & m.NULLABLE) == 0) return false;
    } else if ((kind & rule & 255) == 0) return false;
    else if ((kind & m.STRING) != 0 && (rule & m.REQUIRED) != 0) {
      // Blank, or perhaps blank: the first character decides, an escape is left to the twin.
      const first = load<u8>(textStart(record));
      if (first <= 0x20 || first == 0x22 || first == 0x5c) return false;
    }
  }
  return true;
}

function checkDeclared(rules: usize): bool {
  if (load<i32>(m.nodes, m.N_UNKNOWN) == event) return false;
  if (m.propertiesNode >= 0 && load<i32>(m.nodes + ((<usize>m.propertiesNode) << m.NODE_SHIFT), m.N_UNKNOWN) == event) return false;
  const declared: usize = load<u32>(rules, T_DECLARED);
  for (let field = 0; field < m.fieldCount; field++) if (load<u8>(declared + field) == 0 && kindOf(recordOf(field)) != 0) return false;
  return true;
}

function checkValues(rules: usize): bool {
  let check: usize = load<u32>(rules, T_CHECKS);
  for (let left = load<i32>(rules, T_CHECK_COUNT); left > 0; left--, check += C_SIZE) {
    const record = recordOf(load<i32>(check, C_FIELD));
    const kind = kindOf(record);
    if ((kind & (m.INTEGER | m.DECIMAL)) != 0) {
      if (!readNumber(record) || number < load<f64>(check, C_MIN) || number > load<f64>(check, C_MAX)) return false;
      const count = load<i32>(check, C_NUMBER_COUNT);
      if (count >= 0 && !hasNumber(load<u32>(check, C_NUMBERS), count)) return false;
    } else if ((kind & m.STRING) != 0) {
      if ((kind & m.ESCAPED) != 0) return false;
      const start = textStart(record);
      const size = textSize(record);
      const least = load<i32>(check, C_MIN_LENGTH);
      const most = load<i32>(check, C_MAX_LENGTH);
      if (least > 0 || most < i32.MAX_VALUE) {
        const characters = countCharacters(start, start + size);
        if (characters < least || characters > most) return false;
      }
      const names: usize = load<u32>(check, C_NAMES);
      if (names != 0 && findName(names, load<i32>(check, C_NAME_MASK), start, size) < 0) return false;
      const pattern: usize = load<u32>(check, C_PATTERN);
      if (pattern != 0 && !matchesPattern(pattern, start, start + size)) return false;
    }
  }
  return true;
}

function matchesPattern(pattern: usize, start: usize, end: usize): bool {
  const columns: usize = load<u32>(pattern, P_COLUMNS);
  const rows: usize = load<u32>(pattern, P_ROWS);
  let state = load<i32>(pattern, P_START);
  for (let at = start; at < end; at++) {
    state = load<i32>(rows + ((<usize>(state + load<u16>(columns + ((<usize>load<u8>(at)) << 1)))) << 2));
    if (state == 0) return false;
  }
  return load<i32>(rows + ((<usize>state) << 2)) == 1;
}

function hasNumber(numbers: usize, count: i32): bool {
  for (let i = 0; i < count; i++) if (load<f64>(numbers + ((<usize>i) << 3)) == number) return true;
  return false;
}

/** JSON as it stands, or the content of a plain string; an empty session id is none; no properties are {}. */
function writeBytes(row: i32): bool {
  if (isEscapedText(m.SESSION_ID) || isEscapedText(m.DEVICE_INFO) || isEscapedText(m.GEO_LOCATION)) return false;
  writeField(row, 0, m.SESSION_ID);
  writeField(row, 1, m.DEVICE_INFO);
  writeField(row, 2, m.GEO_LOCATION);
  if (!writeField(row, 3, m.PROPERTIES)) {
    const end = load<i32>(m.stage, S_LENGTHS + 12);
    store<u16>(<usize>load<u32>(m.stage, S_BYTES + 12) + end, 0x7d7b);
    finishField(row, 3, end + 2, 1);
  }
  return true;
}

function isEscapedText(field: i32): bool {
  const kind = kindOf(recordOf(field));
  return (kind & (m.STRING | m.ESCAPED)) == (m.STRING | m.ESCAPED);
}

function writeField(row: i32, column: i32, field: i32): bool {
  const record = recordOf(field);
  const kind = kindOf(record);
  const slot = m.stage + ((<usize>column) << 2);
  const from = load<i32>(slot, S_LENGTHS);
  let start: usize = load<u32>(record, m.R_START);
  let size = load<i32>(record, m.R_END) - <i32>start;
  if ((kind & m.STRING) != 0) {
    start++;
    size -= 2;
  }
  if (kind == 0 || kind == m.NULL || (size == 0 && field == m.SESSION_ID)) {
    finishField(row, column, from, 0);
    return false;
  }
  copyBytes(<usize>load<u32>(slot, S_BYTES) + from, start, size);
  finishField(row, column, from + size, 1);
  return true;
}

function finishField(row: i32, column: i32, end: i32, present: i32): void {
  const slot = m.stage + ((<usize>column) << 2);
  store<i32>(slot, end, S_LENGTHS);
  store<i32>(slot, load<i32>(slot, S_PRESENT) + present, S_PRESENT);
  store<i32>(<usize>load<u32>(slot, S_OFFSETS) + ((<usize>row) << 2), end, 4);
  store<u8>(<usize>load<u32>(slot, S_PRESENCE) + row, <u8>present);
}
