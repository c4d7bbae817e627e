/**
 * Finds one member of a JSON object by its path, over bytes that are known to be JSON (the validator has parsed them), without making an object or,
 * unless an escape stands in the way, a string.
 */
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const COMMA = 0x2c;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class JsonMember {
  readonly #names: readonly string[];
  readonly #path: readonly Uint8Array[];
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;
  /** Whether the string read last holds an escape. */
  #isEscaped = false;
  /** Of what {@link find} found: the text between the quotes of a string, or a number, true or false as written. */
  from = 0;
  to = 0;
  /** A string with escapes, written out; null = bytes from..to are the text. */
  text: string | null = null;

  constructor(path: readonly string[]) {
    this.#names = path;
    this.#path = path.map((name) => encoder.encode(name));
  }

  /** False when there is no such member, or it is an object, an array or null. */
  find(bytes: Uint8Array, from: number, to: number): boolean {
    this.#bytes = bytes;
    this.#at = from;
    this.#end = to;
    for (let depth = 0; depth < this.#path.length; depth++) {
      if (this.#peek() !== OPEN || !this.#member(depth)) return false;
    }
    return this.#scalar();
  }

  /** Steps to the value of the member of that name in the object that begins here. */
  #member(depth: number): boolean {
    this.#at++;
    while (this.#peek() === QUOTE) {
      const from = this.#at + 1;
      this.#string();
      const isIt = this.#is(depth, from, this.#at - 1);
      this.#peek();
      this.#at++;
      this.#peek();
      if (isIt) return true;
      this.#skip();
      if (this.#peek() === COMMA) this.#at++;
    }
    return false;
  }

  #is(depth: number, from: number, to: number): boolean {
    if (this.#isEscaped) return this.#unescaped(from, to) === this.#names[depth];
    const name = this.#path[depth]!;
    if (to - from !== name.length) return false;
    for (let i = 0; i < name.length; i++) if (this.#bytes[from + i] !== name[i]) return false;
    return true;
  }

  #scalar(): boolean {
    const first = this.#peek();
    if (first === OPEN || first === OPEN_LIST || first === 0x6e) return false;
    const begin = this.#at;
    this.#skip();
    const isString = first === QUOTE;
    this.from = isString ? begin + 1 : begin;
    this.to = isString ? this.#at - 1 : this.#at;
    this.text = isString && this.#isEscaped ? this.#unescaped(this.from, this.to) : null;
    return true;
  }

  /** Past white space; the byte there, 0 at the end. */
  #peek(): number {
    while (this.#at < this.#end && this.#bytes[this.#at]! <= 0x20) this.#at++;
    return this.#at < this.#end ? this.#bytes[this.#at]! : 0;
  }

  /** Past the value that begins here. */
  #skip(): void {
    let depth = 0;
    do {
      const byte = this.#peek();
      if (byte === QUOTE) this.#string();
      else if (byte === OPEN || byte === OPEN_LIST) {
        depth++;
        this.#at++;
      } else if (byte === CLOSE || byte === CLOSE_LIST) {
        depth--;
        this.#at++;
      } else if (depth > 0 && (byte === COMMA || byte === 0x3a)) this.#at++;
      else this.#word();
    } while (depth > 0 && this.#at < this.#end);
  }

  #string(): void {
    this.#isEscaped = false;
    this.#at++;
    for (; this.#at < this.#end && this.#bytes[this.#at] !== QUOTE; this.#at++) {
      if (this.#bytes[this.#at] !== BACKSLASH) continue;
      this.#isEscaped = true;
      this.#at++;
    }
    this.#at++;
  }

  #word(): void {
    for (; this.#at < this.#end; this.#at++) {
      const byte = this.#bytes[this.#at]!;
      if (byte <= 0x20 || byte === COMMA || byte === CLOSE || byte === CLOSE_LIST) return;
    }
  }

  #unescaped(from: number, to: number): string {
    return JSON.parse(decoder.decode(this.#bytes.subarray(from - 1, to + 1))) as string;
  }
}
