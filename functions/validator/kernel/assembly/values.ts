/** Numbers, times and ids of the envelope: as ../../scanner/{number-scanner,values}.ts. False or 0 = not for this kernel. */
import { DECIMAL, INTEGER, powersOfTen } from "./memory";
import { setKind } from "./text";

const MINUS: i32 = 0x2d;

function isDigit(byte: i32): bool {
  return <u32>(byte - 0x30) <= 9;
}

/** Position behind a number of at most 15 digits before the point and without exponent. */
export function scanNumber(start: usize): usize {
  let at = start;
  if (load<u8>(at) == MINUS) at++;
  const first = at;
  while (isDigit(load<u8>(at))) at++;
  const digits = <i32>(at - first);
  if (digits == 0 || digits > 15 || (digits > 1 && load<u8>(first) == 0x30)) return 0;
  let kind = INTEGER;
  if (load<u8>(at) == 0x2e) {
    at++;
    const fraction = at;
    while (isDigit(load<u8>(at))) at++;
    if (at == fraction || at - start > 64) return 0;
    kind = DECIMAL;
  }
  if ((load<u8>(at) | 0x20) == 0x65) return 0;
  setKind(kind);
  return at;
}

/** Of the last parseNumber. */
export let number: f64 = 0;

/** At most 15 digits in all: one exact division rounds correctly (Clinger 1990). */
export function parseNumber(start: usize, end: usize): bool {
  let at = start;
  const isNegative = load<u8>(at) == MINUS;
  if (isNegative) at++;
  let mantissa: i64 = 0;
  let digits = 0;
  let fraction = 0;
  let isFraction = 0;
  for (; at < end; at++) {
    const byte: i32 = load<u8>(at);
    if (byte == 0x2e) isFraction = 1;
    else {
      mantissa = mantissa * 10 + (byte - 0x30);
      digits++;
      fraction += isFraction;
    }
  }
  if (digits > 15) return false;
  const value = <f64>mantissa / load<f64>(powersOfTen + ((<usize>fraction) << 3));
  number = isNegative ? -value : value;
  return true;
}

/** Sixteen digits of a UUID are eight bytes; what is none sets the highest bit of `invalid`. */
let invalid: v128 = i64x2(0, 0);

function hexDigits(text: v128): v128 {
  const digit = i8x16.sub(text, i8x16.splat(0x30));
  const letter = i8x16.sub(v128.or(text, i8x16.splat(0x20)), i8x16.splat(0x61));
  const isNumber = i8x16.le_u(digit, i8x16.splat(9));
  const isLetter = i8x16.le_u(letter, i8x16.splat(5));
  invalid = v128.or(invalid, v128.not(v128.or(isNumber, isLetter)));
  return v128.bitselect(digit, i8x16.add(letter, i8x16.splat(10)), isNumber);
}

/** `text` is sixteen values of four bits; returns eight bytes. */
function packNibbles(nibbles: v128): u64 {
  const pairs = v128.or(i16x8.shl(v128.and(nibbles, i16x8.splat(0x00ff)), 4), i16x8.shr_u(nibbles, 8));
  return i64x2.extract_lane(i8x16.narrow_i16x8_u(pairs, pairs), 0);
}

/** 36 characters to 16 bytes at `target`; the nil id is none. */
export function parseUuid(at: usize, target: usize): bool {
  if (load<u8>(at, 8) != MINUS || load<u8>(at, 13) != MINUS || load<u8>(at, 18) != MINUS || load<u8>(at, 23) != MINUS) return false;
  invalid = i64x2(0, 0);
  const high = v128.shuffle<u8>(v128.load(at), v128.load(at, 8), 0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 24, 25);
  const low = v128.shuffle<u8>(v128.load(at, 19), v128.load(at, 20), 0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 31);
  const a = packNibbles(hexDigits(high));
  const b = packNibbles(hexDigits(low));
  if (v128.any_true(invalid) || (a | b) == 0) return false;
  store<u64>(target, a);
  store<u64>(target, b, 8);
  return true;
}

/** Canonical decimal text of at most 19 digits. */
export function parseUserId(start: usize, end: usize, target: usize): bool {
  const digits = <i32>(end - start);
  if (digits == 0 || digits > 19 || (digits > 1 && load<u8>(start) == 0x30)) return false;
  let value: u64 = 0;
  for (let at = start; at < end; at++) {
    const byte: i32 = load<u8>(at);
    if (!isDigit(byte)) return false;
    value = value * 10 + (byte - 0x30);
  }
  store<u64>(target, value);
  return true;
}

/** Of the last parseTimestamp or parseEpoch. */
export let timeMs: f64 = 0;

let knownDate: i32 = -1;
let knownDateMs: i64 = 0;

function digits2(at: usize): i32 {
  const tens: i32 = load<u8>(at) - 0x30;
  const ones: i32 = load<u8>(at, 1) - 0x30;
  return <u32>tens > 9 || <u32>ones > 9 ? -1 : 10 * tens + ones;
}

/** RFC 3339 with zone. */
export function parseTimestamp(start: usize, end: usize): bool {
  if (<i32>(end - start) < 20) return false;
  const century = digits2(start);
  const years = digits2(start + 2);
  const month = digits2(start + 5);
  const day = digits2(start + 8);
  const hour = digits2(start + 11);
  const minute = digits2(start + 14);
  const second = digits2(start + 17);
  if ((century | years | month | day | hour | minute | second) < 0) return false;
  if (load<u8>(start, 4) != MINUS || load<u8>(start, 7) != MINUS || (load<u8>(start, 10) | 0x20) != 0x74) return false;
  if (load<u8>(start, 13) != 0x3a || load<u8>(start, 16) != 0x3a) return false;
  if (hour > 23 || minute > 59 || second > 59) return false;
  const year = 100 * century + years;
  const date = (year * 100 + month) * 100 + day;
  if (date != knownDate) {
    if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return false;
    knownDate = date;
    knownDateMs = <i64>daysSinceEpoch(year, month, day) * 86_400_000;
  }
  let at = start + 19;
  let fractionMs = 0;
  if (load<u8>(at) == 0x2e) {
    at++;
    const from = at;
    for (let scale = 100; isDigit(load<u8>(at)); at++, scale /= 10) fractionMs += scale * (load<u8>(at) - 0x30);
    if (at == from) return false;
  }
  let offsetMinutes = 0;
  const zone: i32 = load<u8>(at);
  if ((zone | 0x20) == 0x7a) at++;
  else {
    const sign = zone == 0x2b ? 1 : zone == MINUS ? -1 : 0;
    if (sign == 0 || end - at != 6 || load<u8>(at, 3) != 0x3a) return false;
    const offsetHour = digits2(at + 1);
    const offsetMinute = digits2(at + 4);
    if ((offsetHour | offsetMinute) < 0 || offsetHour > 23 || offsetMinute > 59) return false;
    offsetMinutes = sign * (60 * offsetHour + offsetMinute);
    at += 6;
  }
  if (at != end) return false;
  timeMs = <f64>(knownDateMs + <i64>((hour * 60 + minute - offsetMinutes) * 60 + second) * 1000 + fractionMs);
  return true;
}

function daysIn(year: i32, month: i32): i32 {
  if (month == 2) return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/** Howard Hinnant, days_from_civil. */
function daysSinceEpoch(year: i32, month: i32, day: i32): i32 {
  const y = month <= 2 ? year - 1 : year;
  const era = y >= 0 ? y / 400 : -1;
  const yearOfEra = y - era * 400;
  const dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468;
}

/** Milliseconds where they can be nothing else. */
export function parseEpoch(start: usize, end: usize): bool {
  if (end - start > 14 || load<u8>(start) == MINUS) return false;
  let value: i64 = 0;
  for (let at = start; at < end; at++) value = value * 10 + (load<u8>(at) - 0x30);
  if (value < 100_000_000_000 || value >= 100_000_000_000_000) return false;
  timeMs = <f64>value;
  return true;
}

/** xxHash32 with seed 0: as ../../scanner/fingerprint.ts. */
export function fingerprint(start: usize, end: usize): u32 {
  const size = end - start;
  let at = start;
  let hash: u32;
  if (size >= 16) {
    let a: u32 = 0x9e3779b1 + 0x85ebca77;
    let b: u32 = 0x85ebca77;
    let c: u32 = 0;
    let d: u32 = 0 - 0x9e3779b1;
    for (const last = end - 16; at <= last; at += 16) {
      a = rotl<u32>(a + load<u32>(at) * 0x85ebca77, 13) * 0x9e3779b1;
      b = rotl<u32>(b + load<u32>(at, 4) * 0x85ebca77, 13) * 0x9e3779b1;
      c = rotl<u32>(c + load<u32>(at, 8) * 0x85ebca77, 13) * 0x9e3779b1;
      d = rotl<u32>(d + load<u32>(at, 12) * 0x85ebca77, 13) * 0x9e3779b1;
    }
    hash = rotl<u32>(a, 1) + rotl<u32>(b, 7) + rotl<u32>(c, 12) + rotl<u32>(d, 18);
  } else hash = 0x165667b1;
  hash += <u32>size;
  for (; at + 4 <= end; at += 4) hash = rotl<u32>(hash + load<u32>(at) * 0xc2b2ae3d, 17) * 0x27d4eb2f;
  for (; at < end; at++) hash = rotl<u32>(hash + <u32>load<u8>(at) * 0x165667b1, 11) * 0x9e3779b1;
  hash = (hash ^ (hash >> 15)) * 0x85ebca77;
  hash = (hash ^ (hash >> 13)) * 0xc2b2ae3d;
  return hash ^ (hash >> 16);
}
