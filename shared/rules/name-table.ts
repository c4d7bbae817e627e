/** Byte strings to small numbers, looked up in place: no string is made, and names like `constructor` find nothing that was not put in. */

const encoder = new TextEncoder();

/** The multiplier is small so that the scanner can hash while it reads. Equal hashes are always compared byte by byte. */
export function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0;
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
  return hash;
}

export class NameTable {
  readonly names: readonly string[];
  readonly #bytes: Uint8Array;
  readonly #offsets: Int32Array;
  readonly #hashes: Int32Array;
  /** Open addressing, index + 1, 0 = free. */
  readonly #slots: Int32Array;

  constructor(names: readonly string[]) {
    this.names = names;
    const encoded = names.map((name) => encoder.encode(name));
    this.#offsets = new Int32Array(names.length + 1);
    this.#hashes = new Int32Array(names.length);
    for (const [i, name] of encoded.entries()) this.#offsets[i + 1] = this.#offsets[i]! + name.length;
    this.#bytes = new Uint8Array(this.#offsets[names.length]!);
    let size = 4;
    while (size < names.length * 3) size *= 2;
    this.#slots = new Int32Array(size);
    for (const [i, name] of encoded.entries()) {
      this.#bytes.set(name, this.#offsets[i]);
      const hash = hashBytes(name, 0, name.length);
      this.#hashes[i] = hash;
      let slot = spread(hash) & (size - 1);
      while (this.#slots[slot] !== 0) slot = (slot + 1) & (size - 1);
      this.#slots[slot] = i + 1;
    }
  }

  /** Place in `names`, or -1. `hash` is {@link hashBytes} of the same bytes. */
  find(bytes: Uint8Array, start: number, end: number, hash: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = spread(hash) & mask; ; slot = (slot + 1) & mask) {
      const index = slots[slot]! - 1;
      if (index < 0) return -1;
      if (this.#hashes[index] === hash && this.equals(index, bytes, start, end)) return index;
    }
  }

  equals(index: number, bytes: Uint8Array, start: number, end: number): boolean {
    const from = this.#offsets[index]!;
    return this.#offsets[index + 1]! - from === end - start && this.prefixEnd(index, bytes, start, end) === end;
  }

  /** Where name `index` ends in `bytes` if it stands at `start`, else -1. */
  prefixEnd(index: number, bytes: Uint8Array, start: number, end: number): number {
    const names = this.#bytes;
    const to = this.#offsets[index + 1]!;
    let from = this.#offsets[index]!;
    if (end - start < to - from) return -1;
    let at = start;
    for (; from < to; from++, at++) if (names[from] !== bytes[at]) return -1;
    return at;
  }
}

function spread(hash: number): number {
  return (Math.imul(hash, 0x9e3779b1) >>> 16) ^ hash;
}
