/** Numbers: their grammar, and what a double cannot hold. */

const MINUS = 0x2d;
/** Longer literals are refused before anything converts them. */
const MAX_NUMBER_BYTES = 64;
const MAX_SAFE_DIGITS = new TextEncoder().encode(String(Number.MAX_SAFE_INTEGER));

export const NUMBER = { integer: 0, decimal: 1, syntax: 2, unsafe: 3, range: 4 } as const;

/** Position behind the number (of the bad byte for `syntax`) times 8, plus one of {@link NUMBER}: two results without an object. */
export function scanNumber(bytes: Uint8Array, start: number, end: number): number {
  const digitsAt = bytes[start] === MINUS ? start + 1 : start;
  let at = digitsAt;
  while (at < end && isDigit(bytes[at]!)) at++;
  const digits = at - digitsAt;
  if (digits === 0 || (digits > 1 && bytes[digitsAt] === 0x30)) return 8 * (digits === 0 ? at : digitsAt + 1) + NUMBER.syntax;
  const point = at < end && bytes[at] === 0x2e;
  if (point) {
    at = digitsEnd(bytes, at + 1, end);
    if (at < 0) return 8 * -at + NUMBER.syntax;
  }
  const exponent = at < end && (bytes[at] === 0x65 || bytes[at] === 0x45);
  if (exponent) {
    const signed = at + 1 < end && (bytes[at + 1] === 0x2b || bytes[at + 1] === MINUS);
    at = digitsEnd(bytes, at + (signed ? 2 : 1), end);
    if (at < 0) return 8 * -at + NUMBER.syntax;
  }
  if (digits >= MAX_SAFE_DIGITS.length && isUnsafe(bytes, digitsAt, digits)) return 8 * at + NUMBER.unsafe;
  if (at - start > MAX_NUMBER_BYTES) return 8 * at + NUMBER.range;
  if (exponent && isOutOfRange(bytes, start, at)) return 8 * at + NUMBER.range;
  return 8 * at + (point || exponent ? NUMBER.decimal : NUMBER.integer);
}

/** End of one or more digits; minus the position where one was missing. */
function digitsEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && isDigit(bytes[at]!)) at++;
  return at === start ? -at : at;
}

function isUnsafe(bytes: Uint8Array, at: number, digits: number): boolean {
  if (digits > MAX_SAFE_DIGITS.length) return true;
  for (let i = 0; i < digits; i++) {
    const difference = bytes[at + i]! - MAX_SAFE_DIGITS[i]!;
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** Overflow to infinity, or something that is not zero and becomes it. */
function isOutOfRange(bytes: Uint8Array, start: number, end: number): boolean {
  const value = parseNumber(bytes, start, end);
  if (!Number.isFinite(value)) return true;
  if (value !== 0) return false;
  for (let at = start; at < end && bytes[at] !== 0x65 && bytes[at] !== 0x45; at++)
    if (bytes[at]! >= 0x31 && bytes[at]! <= 0x39) return true;
  return false;
}

const POWERS_OF_TEN = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

/** The double nearest to a number that has passed {@link scanNumber}. */
export function parseNumber(bytes: Uint8Array, start: number, end: number): number {
  const negative = bytes[start] === MINUS;
  let at = negative ? start + 1 : start;
  let mantissa = 0;
  let digits = 0;
  let fraction = 0;
  let inFraction = false;
  for (; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === 0x2e) inFraction = true;
    else if (byte === 0x65 || byte === 0x45) break;
    else {
      mantissa = mantissa * 10 + (byte - 0x30);
      digits++;
      if (inFraction) fraction++;
    }
  }
  // Both operands are exact up to here, so one division rounds correctly (Clinger 1990); beyond, the language's parser does it.
  if (at < end || digits > 15 || fraction > 22) return Number(latin1(bytes, start, end));
  const value = mantissa / POWERS_OF_TEN[fraction]!;
  return negative ? -value : value;
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}
