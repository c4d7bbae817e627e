/** Where in an event a position lies, as a JSON pointer. Slow path: only for rejects. */
import { BACKSLASH, CLOSE_ARRAY, CLOSE_OBJECT, COLON, COMMA, OPEN_ARRAY, OPEN_OBJECT, QUOTE } from "./bytes.ts";
import { formatPointer } from "#shared/rules/json-pointer.ts";

/** So that no key can blow up a dead letter's header. */
const MAX_POINTER_CHARACTERS = 256;

interface Frame {
  readonly isArray: boolean;
  index: number;
  key: string;
  expectsKey: boolean;
}

const decoder = new TextDecoder();

/** `bytes` ends with the event; everything before `target` must have passed the scanner. A key's position gives the pointer to its member. */
export function locatePointer(bytes: Uint8Array, start: number, target: number): string {
  const frames: Frame[] = [];
  for (let at = start; at <= target && at < bytes.length; at++) {
    const frame = frames.at(-1);
    switch (bytes[at]!) {
      case QUOTE: {
        const from = at;
        for (at++; at < bytes.length && bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++;
        if (frame?.expectsKey === true) {
          frame.key = keyText(bytes.subarray(from, at + 1));
          frame.expectsKey = false;
        }
        break;
      }
      case OPEN_OBJECT:
      case OPEN_ARRAY:
        if (at < target) frames.push({ isArray: bytes[at] === OPEN_ARRAY, index: 0, key: "", expectsKey: bytes[at] === OPEN_OBJECT });
        break;
      case CLOSE_OBJECT:
      case CLOSE_ARRAY:
        // At the target, it or a comma stands where an item should.
        if (at < target) frames.pop();
        break;
      case COMMA:
        if (frame !== undefined && at < target) {
          frame.index++;
          frame.expectsKey = !frame.isArray;
        }
        break;
      case COLON:
      default:
    }
  }
  return cutPointer(formatPointer(frames.map((frame) => (frame.isArray ? frame.index : frame.key))));
}

export function cutPointer(pointer: string): string {
  return pointer.length <= MAX_POINTER_CHARACTERS ? pointer : `${pointer.slice(0, MAX_POINTER_CHARACTERS - 1)}…`;
}

function keyText(quoted: Uint8Array): string {
  const written = decoder.decode(quoted);
  try {
    return (JSON.parse(written) as string).toWellFormed();
  } catch {
    return written.slice(1, -1);
  }
}
