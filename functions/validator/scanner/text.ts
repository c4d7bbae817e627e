/** Strings without their escapes. The source has passed the scanner: escapes are well-formed and surrogates come in pairs. */
import { BACKSLASH, ESCAPES, hex4 } from "./bytes.ts";

/** Writes the content `bytes[start..end)` decoded to `target` at `at`, which has room for end - start bytes (decoding never grows). Returns the new end. */
export function decodeText(bytes: Uint8Array, start: number, end: number, target: Uint8Array, at: number): number {
  let from = start;
  let to = at;
  while (from < end) {
    const byte = bytes[from]!;
    if (byte !== BACKSLASH) {
      target[to++] = byte;
      from++;
    } else if (bytes[from + 1] !== 0x75) {
      target[to++] = ESCAPES[bytes[from + 1]!]!;
      from += 2;
    } else {
      let code = hex4(bytes, from + 2, end);
      from += 6;
      if (code >= 0xd800 && code < 0xdc00) {
        code = 0x10000 + ((code - 0xd800) << 10) + (hex4(bytes, from + 2, end) - 0xdc00);
        from += 6;
      }
      to = encodeUtf8(code, target, to);
    }
  }
  return to;
}

function encodeUtf8(code: number, target: Uint8Array, at: number): number {
  if (code < 0x80) {
    target[at] = code;
    return at + 1;
  }
  if (code < 0x800) {
    target[at] = 0xc0 | (code >> 6);
    target[at + 1] = 0x80 | (code & 63);
    return at + 2;
  }
  if (code < 0x10000) {
    target[at] = 0xe0 | (code >> 12);
    target[at + 1] = 0x80 | ((code >> 6) & 63);
    target[at + 2] = 0x80 | (code & 63);
    return at + 3;
  }
  target[at] = 0xf0 | (code >> 18);
  target[at + 1] = 0x80 | ((code >> 12) & 63);
  target[at + 2] = 0x80 | ((code >> 6) & 63);
  target[at + 3] = 0x80 | (code & 63);
  return at + 4;
}

/** Characters (code points) of UTF-8 bytes. */
export function countCharacters(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let i = start; i < end; i++) if ((bytes[i]! & 0xc0) !== 0x80) count++;
  return count;
}

/** No character but white space. */
export function isBlank(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i]! > 0x20) return false;
  return true;
}
