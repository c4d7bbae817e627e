/**
 * A JSON reader written from RFC 8259 and from the limits in functions/validator/scanner/limits.ts, with strings, maps and recursion and no
 * thought of speed. It names the first violation in the order of the text; JSON.parse is asked beside it, so that both cannot misread the RFC
 * in the same way.
 */
import type { Limits } from "#functions/validator/scanner/limits.ts";
import type { ReasonCode } from "#shared/events/reasons.ts";

export type JsonKind = "string" | "integer" | "decimal" | "true" | "false" | "null" | "object" | "array";

export interface JsonNode {
  readonly kind: JsonKind;
  readonly start: number;
  readonly end: number;
  readonly path: readonly (string | number)[];
  /** As written: of a string what stands between the quotes, of everything else all of it. */
  readonly text: string;
  /** Of a string. */
  readonly decoded: string;
  readonly members: ReadonlyMap<string, JsonNode>;
}

export interface Violation {
  readonly reason: ReasonCode;
  readonly at: number;
  readonly path: readonly (string | number)[];
}

class ViolationError extends Error {
  readonly violation: Violation;

  constructor(violation: Violation) {
    super(violation.reason);
    this.violation = violation;
  }
}

const FORBIDDEN = new Set(["__proto__", "constructor", "prototype"]);
const ESCAPED = '"\\/bfnrt';
const LONGEST_NUMBER = 64;
const fatal = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The event's tree, or the first thing wrong with it. */
export function readJson(bytes: Uint8Array, limits: Limits): JsonNode | Violation {
  try {
    return new Reader(bytes, limits).event();
  } catch (thrown) {
    if (thrown instanceof ViolationError) return thrown.violation;
    throw thrown;
  }
}

export function isViolation(result: JsonNode | Violation): result is Violation {
  return "reason" in result;
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #text: string;
  readonly #limits: Limits;
  #at = 0;
  #keys = 0;

  constructor(bytes: Uint8Array, limits: Limits) {
    this.#bytes = bytes;
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
    this.#limits = limits;
  }

  event(): JsonNode {
    this.#space();
    if (this.#at === this.#text.length) this.#fail("json.empty", [], 0);
    const start = this.#at;
    const opened = /^\[[ \n\r\t]*\{/.test(this.#text.slice(start));
    const isObject = this.#text[start] === "{";
    let node: JsonNode;
    try {
      node = this.#value([], 1);
    } catch (thrown) {
      const tooMany = thrown instanceof ViolationError && ["json.items", "json.keys"].includes(thrown.violation.reason);
      if (opened && tooMany) this.#fail("batch_not_allowed", [], start);
      throw thrown;
    }
    this.#space();
    const next = this.#text[this.#at];
    if (next !== undefined) this.#fail(next === "{" || next === "[" ? "json.multiple" : "json.syntax", []);
    if (!isObject) this.#fail(opened ? "batch_not_allowed" : "schema.not_object", [], start);
    return node;
  }

  #fail(reason: ReasonCode, path: readonly (string | number)[], at = this.#at): never {
    throw new ViolationError({ reason, at, path });
  }

  #space(): void {
    while (" \n\r\t".includes(this.#text[this.#at] ?? "x")) this.#at++;
  }

  #value(path: readonly (string | number)[], depth: number): JsonNode {
    const start = this.#at;
    const character = this.#text[start] ?? "";
    if (character === '"') {
      const decoded = this.#string(path);
      return this.#node("string", start, path, { text: this.#utf8(start + 1, this.#at - 1), decoded });
    }
    if (character === "-" || isDigit(character)) return this.#number(path);
    if (character === "{") return this.#object(path, depth);
    if (character === "[") return this.#array(path, depth);
    const word = ["true", "false", "null"].find((candidate) => character === candidate[0]);
    if (word === undefined) this.#fail("json.syntax", path);
    for (const letter of word) {
      if (this.#text[this.#at] !== letter) this.#fail("json.syntax", path);
      this.#at++;
    }
    return this.#node(word as JsonKind, start, path);
  }

  #node(
    kind: JsonKind,
    start: number,
    path: readonly (string | number)[],
    more: Partial<Pick<JsonNode, "text" | "decoded" | "members">> = {},
  ): JsonNode {
    return {
      kind,
      start,
      end: this.#at,
      path,
      text: this.#text.slice(start, this.#at),
      decoded: "",
      members: new Map(),
      ...more,
    };
  }

  #object(path: readonly (string | number)[], depth: number): JsonNode {
    const start = this.#at;
    if (depth > this.#limits.depth) this.#fail("json.depth", path);
    const members = new Map<string, JsonNode>();
    this.#at++;
    this.#space();
    if (this.#text[this.#at] === "}") this.#at++;
    else {
      for (let more = true; more;) {
        if (this.#text[this.#at] !== '"') this.#fail("json.syntax", path);
        const keyAt = this.#at;
        // The key's own name is not known before it is read; a fault in it is told with what can be read of it.
        const inKey = [...path, this.#writtenKey(keyAt)];
        if (++this.#keys > this.#limits.keys) this.#fail("json.keys", inKey);
        const key = this.#string(inKey);
        const keyEnd = this.#at;
        const member = [...path, key];
        // A key is judged when its colon has been seen.
        this.#space();
        if (this.#text[this.#at] !== ":") this.#fail("json.syntax", member);
        this.#at++;
        if (keyEnd - keyAt - 2 > this.#limits.keyBytes) this.#fail("size.key", member, keyAt);
        if (FORBIDDEN.has(key)) this.#fail("forbidden_key", member, keyAt);
        if (members.has(key)) this.#fail("json.duplicate_key", member, keyAt);
        this.#space();
        members.set(key, this.#value(member, depth + 1));
        this.#space();
        more = this.#text[this.#at] === ",";
        if (!more && this.#text[this.#at] !== "}") this.#fail("json.syntax", path);
        this.#at++;
        if (more) this.#space();
      }
    }
    return this.#node("object", start, path, { members });
  }

  #array(path: readonly (string | number)[], depth: number): JsonNode {
    const start = this.#at;
    if (depth > this.#limits.depth) this.#fail("json.depth", path);
    this.#at++;
    this.#space();
    if (this.#text[this.#at] === "]") this.#at++;
    else {
      for (let index = 0, more = true; more; index++) {
        const item = [...path, index];
        if (index === this.#limits.items) this.#fail("json.items", item);
        this.#value(item, depth + 1);
        this.#space();
        more = this.#text[this.#at] === ",";
        if (!more && this.#text[this.#at] !== "]") this.#fail("json.syntax", path);
        this.#at++;
        if (more) this.#space();
      }
    }
    return this.#node("array", start, path);
  }

  #string(path: readonly (string | number)[]): string {
    const start = this.#at;
    for (this.#at++; ;) {
      const character = this.#text[this.#at];
      if (character === '"') break;
      if (character === undefined || character < " ") this.#fail("json.syntax", path);
      if (character === "\\") this.#escape(path);
      else if (character < "\x80") this.#at++;
      else this.#at += this.#characterBytes(path);
    }
    this.#at++;
    if (this.#at - start - 2 > this.#limits.stringBytes) this.#fail("size.field", path, start);
    return JSON.parse(this.#utf8(start, this.#at)) as string;
  }

  #escape(path: readonly (string | number)[]): void {
    const rest = this.#text.slice(this.#at, this.#at + 12);
    if (rest[1] !== "u") {
      if (rest[1] === undefined || !ESCAPED.includes(rest[1])) this.#fail("json.syntax", path);
      this.#at += 2;
      return;
    }
    const unit = /^\\u([0-9a-fA-F]{4})/.exec(rest);
    if (unit === null) this.#fail("json.syntax", path);
    const code = Number.parseInt(unit[1]!, 16);
    if (code === 0) this.#fail("text.nul", path);
    if (code < 0xd800 || code > 0xdfff) this.#at += 6;
    else if (/^\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}/.test(rest)) this.#at += 12;
    else this.#fail("encoding.surrogate", path);
  }

  /** Bytes of the character that starts here, as the strictest decoder at hand says. */
  #characterBytes(path: readonly (string | number)[]): number {
    const length = utf8Length(this.#bytes, this.#at);
    if (length === 0) this.#fail("encoding", path);
    return length;
  }

  #number(path: readonly (string | number)[]): JsonNode {
    const start = this.#at;
    const rest = this.#text.slice(start);
    const whole = /^-?(?:0|[1-9][0-9]*)/.exec(rest);
    if (whole === null) this.#fail("json.syntax", path, start + 1);
    this.#at += whole[0].length;
    // "01": the zero is a whole number, and no number goes on behind it.
    if (isDigit(this.#text[this.#at] ?? "")) this.#fail("json.syntax", path);
    for (const part of [/^\.([0-9]*)/, /^[eE][+-]?([0-9]*)/]) {
      const found = part.exec(this.#text.slice(this.#at));
      if (found === null) continue;
      this.#at += found[0].length;
      if (found[1] === "") this.#fail("json.syntax", path);
    }
    const text = this.#text.slice(start, this.#at);
    const value = Number(text);
    const digits = whole[0].replace("-", "");
    const unsafe = BigInt(digits.length > 400 ? `1${"0".repeat(400)}` : digits) > BigInt(Number.MAX_SAFE_INTEGER);
    const isEventTime = path.length === 1 && path[0] === "event_time";
    if (unsafe && !isEventTime) this.#fail("number.unsafe", path, start);
    const vanishes = value === 0 && /[1-9]/.test(text.split(/e/i)[0]!);
    if (!unsafe && (text.length > LONGEST_NUMBER || !Number.isFinite(value) || vanishes)) this.#fail("number.range", path, start);
    return this.#node(unsafe || text === whole[0] ? "integer" : "decimal", start, path);
  }

  #utf8(start: number, end: number): string {
    return fatal.decode(this.#bytes.subarray(start, end));
  }

  /** For the pointer of a fault inside a key. */
  #writtenKey(start: number): string {
    let end = start + 1;
    while (end < this.#text.length && this.#text[end] !== '"') end += this.#text[end] === "\\" ? 2 : 1;
    const written = Buffer.from(this.#bytes.subarray(start, end + 1)).toString("utf8");
    try {
      return (JSON.parse(written) as string).toWellFormed();
    } catch {
      return written.slice(1, -1);
    }
  }
}

/** Bytes of the UTF-8 character at `at`, 0 = there is none. */
export function utf8Length(bytes: Uint8Array, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length++) {
    try {
      fatal.decode(bytes.subarray(at, at + length));
      return length;
    } catch {
      // Longer, or none.
    }
  }
  return 0;
}

function isDigit(character: string): boolean {
  return character >= "0" && character <= "9" && character.length === 1;
}
