/**
 * The keys of the objects that are open in one event, to find a key that comes twice. A small object is compared key by key; one with more
 * than {@link SMALL} keys goes into an open-addressing table, marked by the object's serial number, so nothing is ever cleared.
 *
 * Keys with escapes are kept decoded in a side buffer (positions from {@link DECODED} on), since "\u0061" is the key "a".
 */
const SMALL = 16;
export const DECODED = 1 << 30;

export class KeySet {
  /** Stack over the open objects: hash, start, end. */
  #stack = new Int32Array(3 * 1_024);
  #table = new Int32Array(4 * 4_096);
  #serial = 0;
  #tableKeys = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  decoded = new Uint8Array(4_096);
  decodedLength = 0;

  begin(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.decodedLength = 0;
    if (this.#tableKeys > 0 || this.#serial > 0x3fffffff) {
      this.#table.fill(0);
      this.#tableKeys = 0;
      this.#serial = 0;
    }
  }

  /** A number that no other object of this event has. */
  openObject(): number {
    return ++this.#serial;
  }

  /** `base`: keys of the enclosing objects on the stack; `count`: keys of this object so far. False = the key is there already. */
  add(serial: number, base: number, count: number, hash: number, start: number, end: number): boolean {
    if ((base + count + 1) * 3 > this.#stack.length) this.#growStack();
    const stack = this.#stack;
    if (count <= SMALL) {
      for (let i = base; i < base + count; i++) {
        if (stack[3 * i] === hash && this.#equal(stack[3 * i + 1]!, stack[3 * i + 2]!, start, end)) return false;
      }
      if (count === SMALL) {
        for (let i = base; i < base + count; i++) this.#insert(serial, stack[3 * i]!, stack[3 * i + 1]!, stack[3 * i + 2]!);
      }
    }
    stack[3 * (base + count)] = hash;
    stack[3 * (base + count) + 1] = start;
    stack[3 * (base + count) + 2] = end;
    return count < SMALL || this.#insert(serial, hash, start, end);
  }

  #insert(serial: number, hash: number, start: number, end: number): boolean {
    if (this.#tableKeys * 8 >= this.#table.length) this.#growTable();
    const table = this.#table;
    const mask = table.length / 4 - 1;
    for (let slot = place(serial, hash) & mask; ; slot = (slot + 1) & mask) {
      const at = 4 * slot;
      if (table[at] === 0) {
        table[at] = serial;
        table[at + 1] = hash;
        table[at + 2] = start;
        table[at + 3] = end;
        this.#tableKeys++;
        return true;
      }
      if (table[at] === serial && table[at + 1] === hash && this.#equal(table[at + 2]!, table[at + 3]!, start, end)) return false;
    }
  }

  #equal(startA: number, endA: number, startB: number, endB: number): boolean {
    if (endA - startA !== endB - startB) return false;
    const a = startA >= DECODED ? this.decoded : this.#bytes;
    const b = startB >= DECODED ? this.decoded : this.#bytes;
    let i = startA & (DECODED - 1);
    let j = startB & (DECODED - 1);
    const end = i + endA - startA;
    for (; i < end; i++, j++) if (a[i] !== b[j]) return false;
    return true;
  }

  /** Room for `sizeBytes` more decoded bytes. */
  reserveDecoded(sizeBytes: number): void {
    if (this.decodedLength + sizeBytes <= this.decoded.length) return;
    const grown = new Uint8Array(2 * (this.decodedLength + sizeBytes));
    grown.set(this.decoded);
    this.decoded = grown;
  }

  #growStack(): void {
    const grown = new Int32Array(2 * this.#stack.length);
    grown.set(this.#stack);
    this.#stack = grown;
  }

  #growTable(): void {
    const old = this.#table;
    this.#table = new Int32Array(2 * old.length);
    this.#tableKeys = 0;
    for (let at = 0; at < old.length; at += 4) if (old[at] !== 0) this.#insert(old[at]!, old[at + 1]!, old[at + 2]!, old[at + 3]!);
  }
}

function place(serial: number, hash: number): number {
  const mixed = Math.imul(hash ^ Math.imul(serial, 0x85ebca6b), 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
