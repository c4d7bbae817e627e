/**
 * Which keys stand where. Members that the plan's rules name have their plan's field id; other keys get an id of their own when they are first
 * seen, so that the next event finds them by comparing a few words instead of hashing and searching. Objects inside arrays have no node: an id
 * stands for one place in an event.
 *
 * Learned keys are only a memory of what producers send. They are bounded, and forgotten all at once when there are too many.
 */
import type { Plan } from "#shared/rules/plan.ts";
import { hashKey } from "./key-hash.ts";

const LEARNED_KEYS = 256;
const LEARNED_NODES = 64;
const TABLE_SLOTS = 2_048;

/**
 * All that the scanner needs of one key stands in one record of 32 numbers, two or three cache lines: what it noted about the key's value in
 * the last event that had it (number of the event, start, end, kind of the value), how the key is spelled, what follows it.
 */
export const RECORD_SHIFT = 5;
export const RECORD = {
  event: 0,
  start: 1,
  end: 2,
  kind: 3,
  /** Of `key":` as little-endian words from `words` on; 0 = never equal to text as written. */
  wordCount: 4,
  /** Of the last word. */
  lastMask: 5,
  /** Node of the members, -1 = none. */
  childNode: 6,
  /** The key that came behind this one last time, for producers keep one order. Only a guess; -1 = none. Node n has a record of its own, `capacity + n`. */
  next: 7,
  words: 8,
} as const;
const SPELLED_BYTES = 4 * ((1 << RECORD_SHIFT) - RECORD.words);

const encoder = new TextEncoder();

export class KeyTree {
  readonly capacity: number;
  readonly nodeCapacity: number;
  readonly records: Int32Array;

  readonly #plan: Plan;
  readonly #names: Uint8Array[] = [];
  readonly #nodes: Int32Array;
  readonly #hashes: Int32Array;
  #slots: Int32Array;
  #keys = 0;
  #nodeCount = 0;
  #full = false;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.capacity = plan.fieldCount + LEARNED_KEYS;
    this.nodeCapacity = plan.nodes.length + LEARNED_NODES;
    this.records = new Int32Array((this.capacity + this.nodeCapacity) << RECORD_SHIFT);
    this.#nodes = new Int32Array(this.capacity);
    this.#hashes = new Int32Array(this.capacity);
    let slots = TABLE_SLOTS;
    while (slots < 4 * this.capacity) slots *= 2;
    this.#slots = new Int32Array(slots);
    this.#forget();
  }

  /** Before an event. */
  begin(): void {
    if (this.#full) this.#forget();
  }

  /** Id of a key under a node, learned if there is room; -1 = none. */
  resolve(node: number, bytes: Uint8Array, start: number, end: number, hash: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = place(node, hash) & mask; ; slot = (slot + 1) & mask) {
      const id = slots[slot]! - 1;
      if (id < 0) return this.#learn(node, bytes, start, end, hash, slot);
      if (this.#hashes[id] === hash && this.#nodes[id] === node && equalBytes(this.#names[id]!, bytes, start, end)) return id;
    }
  }

  /** Node for the members of a learned key, made when it first holds an object; -1 = no room. */
  openChild(id: number): number {
    const at = (id << RECORD_SHIFT) + RECORD.childNode;
    const known = this.records[at]!;
    if (known >= 0 || this.#nodeCount === this.nodeCapacity) return known;
    const node = this.#nodeCount++;
    this.records[at] = node;
    return node;
  }

  #forget(): void {
    this.#full = false;
    this.#keys = 0;
    this.#nodeCount = this.#plan.nodes.length;
    this.#names.length = 0;
    this.#slots.fill(0);
    for (let record = 0; record < this.records.length; record += 1 << RECORD_SHIFT) {
      this.records[record + RECORD.next] = -1;
      this.records[record + RECORD.childNode] = -1;
    }
    for (const [field, node] of this.#plan.childNode.entries()) this.records[(field << RECORD_SHIFT) + RECORD.childNode] = node;
    for (const [node, { table }] of this.#plan.nodes.entries()) {
      for (const name of table.names) {
        const bytes = encoder.encode(name);
        this.#put(node, bytes, hashKey(bytes, 0, bytes.length));
      }
    }
  }

  #learn(node: number, bytes: Uint8Array, start: number, end: number, hash: number, slot: number): number {
    if (this.#keys === this.capacity) {
      this.#full = true;
      return -1;
    }
    if (end - start > SPELLED_BYTES - 2) return -1;
    return this.#put(node, bytes.slice(start, end), hash, slot);
  }

  #put(node: number, name: Uint8Array, hash: number, freeSlot = -1): number {
    const id = this.#keys++;
    let slot = freeSlot;
    if (slot < 0) {
      slot = place(node, hash) & (this.#slots.length - 1);
      while (this.#slots[slot] !== 0) slot = (slot + 1) & (this.#slots.length - 1);
    }
    this.#slots[slot] = id + 1;
    this.#names[id] = name;
    this.#nodes[id] = node;
    this.#hashes[id] = hash;
    this.#spell(id, name);
    return id;
  }

  #spell(id: number, name: Uint8Array): void {
    const record = id << RECORD_SHIFT;
    this.records[record + RECORD.wordCount] = 0;
    if (name.length + 2 > SPELLED_BYTES || name.some((byte) => byte < 0x20 || byte === 0x22 || byte === 0x5c)) return;
    const spelled = new Uint8Array((name.length + 2 + 3) & ~3);
    spelled.set(name);
    spelled.set([0x22, 0x3a], name.length);
    const view = new DataView(spelled.buffer);
    for (let at = 0; at < spelled.length; at += 4) this.records[record + RECORD.words + at / 4] = view.getInt32(at, true);
    this.records[record + RECORD.wordCount] = spelled.length / 4;
    this.records[record + RECORD.lastMask] = -1 >>> (8 * (spelled.length - name.length - 2));
  }
}

function equalBytes(name: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let i = 0; i < name.length; i++) if (name[i] !== bytes[start + i]) return false;
  return true;
}

function place(node: number, hash: number): number {
  const mixed = Math.imul(hash ^ Math.imul(node, 0x85ebca6b), 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
