/**
 * Open-addressing index from a 32-bit hash to row numbers: 8 bytes a slot, so eight slots share a cache line and a probe rarely leaves it.
 * Several rows may have the same hash and even the same key (a user's open sessions). The keys stand in the rows; the owner compares them.
 *
 * I1 A pair (hash, row) is in exactly one of `slots` and `old`.
 * I2 Its layout is never observable: owners find rows by exact key, so a snapshot leaves it out and restore rebuilds it.
 *
 * Growth from SMALL slots on is spread over the inserts that follow: a rebuild of 16 M rows at once would stop the fold for 0.3 s.
 */
const FIRST_SLOTS = 64;
const SMALL = 1 << 15;
/** Below, growth is by four: fewer moves, and the waste is small. */
const LARGE = 1 << 20;
const MIGRATED_PER_INSERT = 16;

export class RowIndex {
  /** Slot i: [hash, row + 1]; second word 0 = never used, ends a probe; -1 = removed (only in `old`). */
  slots: Int32Array;
  mask: number;
  /** The smaller table while it empties into `slots`. */
  old: Int32Array | null = null;
  oldMask = 0;
  #oldAt = 0;
  #size = 0;

  constructor(expectedRows = 0) {
    let slots = FIRST_SLOTS;
    while (slots * 5 < expectedRows * 8) slots *= 2;
    this.slots = new Int32Array(slots * 2);
    this.mask = slots - 1;
  }

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.slots.byteLength + (this.old?.byteLength ?? 0);
  }

  /**
   * Reads the slots where the hashes begin to probe and writes the row numbers that stand there (-1 = none or another hash). Independent
   * reads in a tight loop overlap in the memory system: the probes that follow find their lines in cache.
   */
  touch(hashes: Int32Array, from: number, to: number, rows: Int32Array): void {
    const { slots, mask } = this;
    for (let i = from; i < to; i++) {
      const hash = hashes[i]!;
      const at = (hash & mask) * 2;
      const other = slots[at]! ^ hash;
      // No branch on what was read: a wrong guess would wait for the read and end the overlap.
      rows[i] = (slots[at + 1]! - 1) | ((other | -other) >> 31);
    }
  }

  insert(hash: number, row: number): void {
    if (this.old !== null) this.#migrate(MIGRATED_PER_INSERT);
    else if ((this.#size + 1) * 8 > (this.mask + 1) * 5) this.#grow();
    this.#size++;
    place(this.slots, this.mask, hash, row + 1);
  }

  /** Inserts at a slot that a probe of `slots` found empty; false = the index has to grow first: use insert. */
  insertAt(slot: number, hash: number, row: number): boolean {
    if (this.old !== null || (this.#size + 1) * 8 > (this.mask + 1) * 5) return false;
    this.#size++;
    this.slots[slot * 2] = hash;
    this.slots[slot * 2 + 1] = row + 1;
    return true;
  }

  remove(hash: number, row: number): void {
    this.#size--;
    const { slots, mask } = this;
    for (let slot = hash & mask; slots[slot * 2 + 1] !== 0; slot = (slot + 1) & mask) {
      if (slots[slot * 2 + 1] === row + 1) return closeGap(slots, mask, slot);
    }
    const { old, oldMask } = this;
    if (old === null) return;
    for (let slot = hash & oldMask; old[slot * 2 + 1] !== 0; slot = (slot + 1) & oldMask) {
      if (old[slot * 2 + 1] === row + 1) {
        old[slot * 2 + 1] = -1;
        return;
      }
    }
  }

  #grow(): void {
    this.old = this.slots;
    this.oldMask = this.mask;
    this.#oldAt = 0;
    const slots = (this.mask + 1) * (this.mask < LARGE ? 4 : 2);
    this.slots = new Int32Array(slots * 2);
    this.mask = slots - 1;
    if (slots <= SMALL) this.#migrate(slots);
  }

  #migrate(count: number): void {
    const old = this.old!;
    const end = Math.min(this.#oldAt + count, this.oldMask + 1);
    for (let slot = this.#oldAt; slot < end; slot++) {
      const row = old[slot * 2 + 1]!;
      if (row <= 0) continue;
      place(this.slots, this.mask, old[slot * 2]!, row);
      old[slot * 2 + 1] = -1;
    }
    this.#oldAt = end;
    if (end > this.oldMask) this.old = null;
  }
}

function place(slots: Int32Array, mask: number, hash: number, rowPlusOne: number): void {
  let slot = hash & mask;
  while (slots[slot * 2 + 1] !== 0) slot = (slot + 1) & mask;
  slots[slot * 2] = hash;
  slots[slot * 2 + 1] = rowPlusOne;
}

/** Moves later entries of the probe run back, so that no tombstones pile up (Knuth 6.4, algorithm R). */
function closeGap(slots: Int32Array, mask: number, gap: number): void {
  let hole = gap;
  for (let slot = (hole + 1) & mask; slots[slot * 2 + 1] !== 0; slot = (slot + 1) & mask) {
    const home = slots[slot * 2]! & mask;
    if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
    slots[hole * 2] = slots[slot * 2]!;
    slots[hole * 2 + 1] = slots[slot * 2 + 1]!;
    hole = slot;
  }
  slots[hole * 2] = 0;
  slots[hole * 2 + 1] = 0;
}
