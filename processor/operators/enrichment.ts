/** Looks rows of a block up in an enrichment table: once a block for a key that is a dictionary, once a row for a path of `properties`. */
import type { DictionaryColumn, EventColumns } from "#shared/events/columns.ts";
import { decodeEnrichment, type EnrichmentTable } from "#shared/events/enrichment-table.ts";
import { JsonMember } from "./json-member.ts";
import type { RowRuns } from "./row-runs.ts";
import type { WordList } from "./word-list.ts";

const encoder = new TextEncoder();

export class Enrichment {
  /** As it was loaded: a snapshot carries it along, so that a restored fold needs no object. */
  readonly bytes: Uint8Array;
  readonly sha256: string;
  readonly #table: EnrichmentTable;
  readonly #lookup: MemberLookup | null;

  constructor(bytes: Uint8Array, version: number, sha256: string) {
    // By the constructor: the slice of a Buffer is no copy.
    this.bytes = new Uint8Array(bytes);
    this.sha256 = sha256;
    this.#table = decodeEnrichment(bytes, version);
    const { key, rows } = this.#table;
    this.#lookup = typeof key === "string" ? null : new MemberLookup(key, rows);
  }

  get version(): number {
    return this.#table.version;
  }

  /** Writes the code in `words` of each chosen row's attributes from `at` on; -1 = none. */
  append(block: EventColumns, runs: RowRuns, target: Int32Array, at: number, words: WordList): void {
    const { key, rows } = this.#table;
    if (this.#lookup !== null) return this.#lookup.append(block, runs, target, at, words);
    const column: DictionaryColumn = key === "source" ? block.source : block.eventType;
    const codes = column.values.map((value) => {
      const attributes = rows.get(value);
      return attributes === undefined ? -1 : words.codeOf(attributes);
    });
    let to = at;
    for (let run = 0; run < runs.count; run++) {
      for (let row = runs.bounds[run * 2]!, end = runs.bounds[run * 2 + 1]!; row < end; row++)
        target[to++] = codes[column.codes[row]!] ?? -1;
    }
  }
}

/** Keys as bytes, in a hash table of their own: a row's key never becomes a string. */
class MemberLookup {
  readonly #member: JsonMember;
  readonly #rows: ReadonlyMap<string, string>;
  readonly #slots: Int32Array;
  readonly #keys: readonly Uint8Array[];
  readonly #values: readonly string[];

  constructor(path: readonly string[], rows: ReadonlyMap<string, string>) {
    this.#member = new JsonMember(path);
    this.#rows = rows;
    this.#keys = [...rows.keys()].map((key) => encoder.encode(key));
    this.#values = [...rows.values()];
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(rows.size * 2 + 2)));
    for (const [i, key] of this.#keys.entries()) {
      let slot = this.#hash(key, 0, key.length);
      while (this.#slots[slot] !== 0) slot = (slot + 1) & (this.#slots.length - 1);
      this.#slots[slot] = i + 1;
    }
  }

  append(block: EventColumns, runs: RowRuns, target: Int32Array, at: number, words: WordList): void {
    const { offsets, bytes, validity } = block.properties;
    let to = at;
    for (let run = 0; run < runs.count; run++) {
      for (let row = runs.bounds[run * 2]!, end = runs.bounds[run * 2 + 1]!; row < end; row++) {
        const isPresent = validity === null || ((validity[row >> 3]! >> (row & 7)) & 1) === 1;
        const attributes = isPresent ? this.#attributes(bytes, offsets[row]!, offsets[row + 1]!) : undefined;
        target[to++] = attributes === undefined ? -1 : words.codeOf(attributes);
      }
    }
  }

  #attributes(bytes: Uint8Array, from: number, to: number): string | undefined {
    const member = this.#member;
    if (!member.find(bytes, from, to)) return undefined;
    if (member.text !== null) return this.#rows.get(member.text);
    for (let slot = this.#hash(bytes, member.from, member.to); ; slot = (slot + 1) & (this.#slots.length - 1)) {
      const entry = this.#slots[slot]! - 1;
      if (entry < 0) return undefined;
      if (equals(this.#keys[entry]!, bytes, member.from, member.to)) return this.#values[entry];
    }
  }

  /** FNV-1a, as a slot. */
  #hash(bytes: Uint8Array, from: number, to: number): number {
    let hash = 0x811c9dc5 | 0;
    for (let i = from; i < to; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
    return (hash ^ (hash >>> 15)) & (this.#slots.length - 1);
  }
}

function equals(key: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from !== key.length) return false;
  for (let i = 0; i < key.length; i++) if (key[i] !== bytes[from + i]) return false;
  return true;
}
