/**
 * Events as producers send them, as they should not, and as nobody would: written text by text from one seed, then mutated byte by byte. The
 * same seed gives the same documents.
 */
import type { Random } from "#test/simulation/world.ts";
import { BAD_UTF8, FIELD_VALUES, KEYS, NUMBERS, SPACES, STRINGS, STRUCTURES, TOKENS, TYPES } from "./hostile-tokens.ts";
import { goodEvent } from "./validated-event.ts";

export class HostileDocuments {
  readonly #random: Random;
  readonly #often: Readonly<Record<string, readonly string[]>>;
  #fresh = 0;

  /** `often`: written values that a field of the envelope has every other time, where the rules at hand are not the seed's. */
  constructor(random: Random, often: Readonly<Record<string, readonly string[]>> = {}) {
    this.#random = random;
    this.#often = often;
  }

  /** A document, mutated or not. */
  next(): Uint8Array {
    let bytes: Uint8Array = Buffer.from(this.#chance(0.08) ? this.#loose() : this.#event(), "utf8");
    if (this.#chance(0.65)) return bytes;
    for (let left = this.#random.int(1, 3); left > 0; left--) bytes = this.mutate(bytes);
    return bytes;
  }

  #chance(probability: number): boolean {
    return this.#random.chance(probability);
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random.int(0, from.length - 1)]!;
  }

  #space(): string {
    return this.#chance(0.08) ? SPACES[this.#random.int(0, 6)]! : "";
  }

  /** No event at all: any token, alone or after another. */
  #loose(): string {
    const first = this.#chance(0.5) ? this.#value(0) : this.#pick(TOKENS);
    return this.#space() + first + this.#space() + (this.#chance(0.2) ? this.#pick(TOKENS) : "");
  }

  #event(): string {
    const good = goodEvent({ event_type: "purchase" });
    const members = Object.entries(good).map(([name, value]): [string, string] => [name, JSON.stringify(value)]);
    for (const member of members) {
      const often = this.#often[member[0]];
      if (often !== undefined && this.#chance(0.5)) member[1] = this.#pick(often);
    }
    // Most events are good but for one thing.
    const faults = this.#pick([0, 0, 0, 1, 1, 1, 2, 3]);
    for (let i = 0; i < faults; i++) {
      const member = this.#pick(members);
      if (member[0] === "properties" && this.#chance(0.5)) members[3]![1] = this.#pick(TYPES);
      member[1] = this.#chance(0.75) ? this.#pick(FIELD_VALUES[member[0]] ?? TOKENS) : this.#value(1);
    }
    if (this.#chance(0.25)) members[9]![1] = this.#object(2);
    if (this.#chance(0.15)) members.splice(this.#random.int(0, members.length - 1), 1);
    if (this.#chance(0.2)) members.push([this.#key(), this.#value(1)]);
    if (this.#chance(0.03)) members.push([...this.#pick(members)]);
    if (this.#chance(0.3)) this.#shuffle(members);
    return `${this.#space()}{${members.map(([name, text]) => this.#member(name, text)).join(",")}}${this.#space()}`;
  }

  #shuffle(members: [string, string][]): void {
    for (let i = members.length - 1; i > 0; i--) {
      const j = this.#random.int(0, i);
      [members[i], members[j]] = [members[j]!, members[i]!];
    }
  }

  #member(name: string, text: string): string {
    return `${this.#space()}${this.#written(name)}${this.#space()}:${this.#space()}${text}${this.#space()}`;
  }

  /** Sometimes with an escape where there need be none. */
  #written(name: string): string {
    if (name.length === 0 || !this.#chance(0.04)) return JSON.stringify(name);
    const at_ = this.#random.int(0, name.length - 1);
    const escaped = `\\u${name.charCodeAt(at_).toString(16).padStart(4, "0")}`;
    return JSON.stringify(name.slice(0, at_)).slice(0, -1) + escaped + JSON.stringify(name.slice(at_ + 1)).slice(1);
  }

  #key(): string {
    return this.#chance(0.1) ? `new${this.#fresh++}` : this.#pick(KEYS);
  }

  #value(depth: number): string {
    const kind = this.#random.next();
    if (depth < 5 && kind < 0.15) return this.#object(depth + 1);
    if (depth < 5 && kind < 0.25) return `[${this.#list(() => this.#value(depth + 1))}]`;
    if (kind < 0.45) return this.#pick(NUMBERS);
    if (kind < 0.6) return this.#pick(STRINGS);
    if (kind < 0.65) return this.#pick(STRUCTURES);
    if (kind < 0.75) return this.#pick(["true", "false", "null"]);
    if (kind < 0.85) return String(this.#random.int(-1_000, 1_000_000) / this.#pick([1, 1, 10, 1_000, 7]));
    return JSON.stringify("plain text of some length, ünï 😀".slice(0, this.#random.int(0, 30)).toWellFormed());
  }

  #object(depth: number): string {
    return `{${this.#list(() => this.#member(this.#key(), this.#value(depth)))}}`;
  }

  #list(item: () => string): string {
    const count = this.#chance(0.02) ? this.#random.int(15, 40) : this.#random.int(0, 4);
    return this.#space() + Array.from({ length: count }, item).join(",") + this.#space();
  }

  /** One change. */
  mutate(bytes: Uint8Array, other: Uint8Array = bytes): Uint8Array {
    const random = this.#random;
    const from = random.int(0, bytes.length);
    const length = Math.min(bytes.length - from, random.int(1, this.#chance(0.2) ? 40 : 4));
    const cut = (put: Uint8Array | readonly number[] | string, drop = 0): Uint8Array =>
      Buffer.concat([
        bytes.subarray(0, from),
        typeof put === "string" ? Buffer.from(put) : Uint8Array.from(put),
        bytes.subarray(from + drop),
      ]);
    switch (random.int(0, 10)) {
      case 0: // one bit
        return cut([(bytes[from] ?? 0) ^ (1 << random.int(0, 7))], 1);
      case 1: // one byte
        return cut([random.int(0, 255)], 1);
      case 2: // a hole
        return cut("", length);
      case 3: // the end cut off
        return bytes.slice(0, from);
      case 4: // a token put in
        return cut(this.#pick(TOKENS));
      case 5: // a token in the place of something
        return cut(this.#pick(TOKENS), length);
      case 6: // damaged UTF-8
        return cut(this.#pick(BAD_UTF8), this.#chance(0.5) ? length : 0);
      case 7: // a piece again
        return cut(bytes.subarray(from, from + length));
      case 8: // a piece of another document
        return this.#splice(bytes, other);
      case 9: // a number in the place of a number
        return this.#replaceNumber(bytes);
      default: // white space, of JSON or not
        return cut(this.#pick(SPACES));
    }
  }

  #splice(bytes: Uint8Array, other: Uint8Array): Uint8Array {
    const from = this.#random.int(0, other.length);
    const piece = other.subarray(from, from + this.#random.int(1, 60));
    const at_ = this.#random.int(0, bytes.length);
    return Buffer.concat([bytes.subarray(0, at_), piece, bytes.subarray(at_ + (this.#chance(0.5) ? piece.length : 0))]);
  }

  #replaceNumber(bytes: Uint8Array): Uint8Array {
    const text = Buffer.from(bytes).toString("latin1");
    const numbers = [...text.matchAll(/-?\d+(?:\.\d+)?/g)];
    if (numbers.length === 0) return bytes;
    const { index, 0: found } = this.#pick(numbers);
    const put = Buffer.from(this.#pick(NUMBERS)).toString("latin1");
    return Buffer.from(text.slice(0, index) + put + text.slice(index + found.length), "latin1");
  }
}
