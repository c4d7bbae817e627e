/** Strings, sixteen bytes at a time (WebAssembly SIMD). A position of 0 means: not for this kernel. Reads go up to 15 bytes past what they look at. */
import { ESCAPED, maxStringBytes, STRING } from "./memory";

const QUOTE: i32 = 0x22;
const BACKSLASH: i32 = 0x5c;

/** Of the last value that was scanned. */
export let kind: i32 = 0;

export function setKind(value: i32): void {
  kind = value;
}

/** Position of the next quote, backslash, control character or byte of a longer character. */
function nextStop(start: usize): usize {
  let at = start;
  while (true) {
    const bytes = v128.load(at);
    // Signed: what is below 0x20 is a control character or 0x80 and more.
    const stops = i8x16.bitmask(
      v128.or(v128.or(i8x16.eq(bytes, i8x16.splat(0x22)), i8x16.eq(bytes, i8x16.splat(0x5c))), i8x16.lt_s(bytes, i8x16.splat(0x20))),
    );
    if (stops != 0) return at + ctz(stops);
    at += 16;
  }
}

/** `start` is the opening quote; returns the position behind the closing one. */
export function scanString(start: usize): usize {
  const at = nextStop(start + 1);
  if (load<u8>(at) != QUOTE) return scanRichString(start, at);
  kind = STRING;
  return <i32>(at - start) - 1 > maxStringBytes ? 0 : at + 1;
}

function scanRichString(start: usize, stop: usize): usize {
  let at = stop;
  let result = STRING;
  while (true) {
    const byte: i32 = load<u8>(at);
    if (byte == QUOTE) break;
    if (byte == BACKSLASH) {
      result = STRING | ESCAPED;
      at = escapeEnd(at);
    } else at = byte < 0x20 ? 0 : characterEnd(at);
    if (at == 0) return 0;
    at = nextStop(at);
  }
  kind = result;
  return <i32>(at - start) - 1 > maxStringBytes ? 0 : at + 1;
}

/** Position of the quote that closes a key; 0 = it has escapes, or is no text. */
export function keyEnd(start: usize): usize {
  let at = nextStop(start);
  while (load<u8>(at) >= 0x80) {
    at = characterEnd(at);
    if (at == 0) return 0;
    at = nextStop(at);
  }
  return load<u8>(at) == QUOTE ? at : 0;
}

/** No \u0000, no half of a surrogate pair: the twin says what is wrong with those. */
function escapeEnd(at: usize): usize {
  const letter: i32 = load<u8>(at, 1);
  switch (letter) {
    case 0x22:
    case 0x5c:
    case 0x2f:
    case 0x62:
    case 0x66:
    case 0x6e:
    case 0x72:
    case 0x74:
      return at + 2;
    case 0x75: {
      const code = hex4(at + 2);
      if (code <= 0 || (code >= 0xdc00 && code <= 0xdfff)) return 0;
      if (code < 0xd800 || code > 0xdbff) return at + 6;
      const low = load<u16>(at, 6) == 0x755c ? hex4(at + 8) : 0;
      return low >= 0xdc00 && low <= 0xdfff ? at + 12 : 0;
    }
    default:
      return 0;
  }
}

/** -1 = no four hexadecimal digits. */
function hex4(at: usize): i32 {
  const a = hexValue(load<u8>(at));
  const b = hexValue(load<u8>(at, 1));
  const c = hexValue(load<u8>(at, 2));
  const d = hexValue(load<u8>(at, 3));
  return (a | b | c | d) < 0 ? -1 : (a << 12) | (b << 8) | (c << 4) | d;
}

function hexValue(byte: i32): i32 {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = (byte | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
}

/** As utf8End of ../../scanner/bytes.ts. The zero bytes behind an event are no continuation. */
function characterEnd(at: usize): usize {
  const first: i32 = load<u8>(at);
  if (first < 0xc2 || first > 0xf4) return 0;
  const second: i32 = load<u8>(at, 1);
  const lowest = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const highest = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (second < lowest || second > highest) return 0;
  if (first < 0xe0) return at + 2;
  if ((load<u8>(at, 2) & 0xc0) != 0x80) return 0;
  if (first < 0xf0) return at + 3;
  return (load<u8>(at, 3) & 0xc0) != 0x80 ? 0 : at + 4;
}

export function countCharacters(start: usize, end: usize): i32 {
  let count = 0;
  for (let at = start; at < end; at++) if ((load<u8>(at) & 0xc0) != 0x80) count++;
  return count;
}

/** Copies up to 15 bytes too many. */
export function copyBytes(target: usize, source: usize, size: i32): void {
  if (size > 256) memory.copy(target, source, size);
  else for (let at = 0; at < size; at += 16) v128.store(target + at, v128.load(source + at));
}
